//! What comes and goes is not mended by doing the same again and again: over its number, people look.

use super::{Case, Says};
use crate::model::reason::Reason;

pub fn guard(case: &Case) -> Says {
    let Some(limit) = case.rule.and_then(|rule| rule.flapping) else { return Says::allow("not counted", "") };
    let times = case.state.records.fired_within(&case.incident.rule, &case.incident.key, limit.within, case.now);
    let value = format!("began to fire {times} times");
    let says = format!("under {} in {}", limit.count, limit.within);
    if times < limit.count {
        return Says::allow(value, says);
    }
    Says::deny(value, says, Reason::Flapping { times, limit: limit.count, within: limit.within })
}

#[cfg(test)]
mod tests {
    use super::{super::laws::*, *};
    use crate::decide::policy::Limit;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn it_is_no_with_the_number_within_the_window_and_yes_below(
            began in prop::collection::vec(around(Span::minutes(1), 30), 0..8), count in 1..6_u32, within in 1..20_i64,
            is_limited in any::<bool>(),
        ) {
            let mut scene = Scene::clear();
            let limit = Limit { count, within: Span::minutes(within) };
            scene.rules(|spec| spec.rules.iter_mut().for_each(|rule| rule.flapping = is_limited.then_some(limit)));
            scene.state.records = Default::default();
            let (rule, now) = (scene.rule(), scene.now);
            let key = scene.incident().key.clone();
            let mut began = began;
            began.sort();
            for ago in began.iter().rev() {
                scene.state.records.fires(&rule, &key, now - *ago);
                scene.state.records.fires(&rule, "another's", now - *ago);
            }
            let times = u32::try_from(began.iter().filter(|ago| **ago < limit.within).count()).unwrap();
            let wanted = if is_limited && times >= count {
                deny(Reason::Flapping { times, limit: count, within: limit.within })
            } else {
                Verdict::Allow
            };
            prop_assert_eq!(scene.says(Guard::Flapping), wanted);
        }
    }
}
