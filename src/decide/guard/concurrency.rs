//! At most `max_concurrent` steps act at a time, from start to read-back.

use super::{Case, Says};
use crate::model::{reason::Reason, step::Verdict};

pub fn guard(case: &Case) -> Says {
    let limit = case.policy.spec.max_concurrent;
    let acting = case.state.acting();
    if acting >= limit && !case.is_shadow() {
        let verdict = Verdict::Hold { until: None, reason: Reason::NoSlot { acting, limit } };
        return Says::verdict(format!("{acting} acting"), limit.to_string(), verdict);
    }
    Says::allow(format!("{acting} acting"), limit.to_string())
}

#[cfg(test)]
mod tests {
    use super::{super::laws::*, *};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn no_more_act_than_may_and_what_is_verified_takes_no_slot(
            limit in 1..5_u32, phases in prop::collection::vec(0..4_usize, 0..8), mode in modes(), purpose in purposes(),
        ) {
            let mut scene = Scene::clear();
            scene.rules(|spec| spec.max_concurrent = limit);
            (scene.step().rung.mode, scene.step().purpose) = (mode, purpose);
            let all = [Phase::Acting, Phase::ReadBack, Phase::Verifying, Phase::Holding];
            for (number, phase) in (0..).zip(&phases) {
                let id = StepId { incident: OTHER, number };
                scene.state.live.entry(all[*phase]).or_default().insert((0, id));
            }
            let acting = u32::try_from(phases.iter().filter(|phase| **phase < 2).count()).unwrap();
            let wanted = if acting < limit || scene.is_shadow() {
                Verdict::Allow
            } else {
                hold(None, Reason::NoSlot { acting, limit })
            };
            prop_assert_eq!(scene.says(Guard::Concurrency), wanted);
        }
    }
}
