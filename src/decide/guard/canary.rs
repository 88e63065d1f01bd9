//! A rule that is new or was changed asks for its first runs, though its mode is auto.

use super::{Case, Says};
use crate::model::{mode::Mode, reason::Reason, step::Verdict};

pub fn guard(case: &Case) -> Says {
    let first = case.rule.map_or(0, |rule| rule.canary);
    if first == 0 || case.mode() != Mode::Auto {
        return Says::allow("not asked for", "");
    }
    let hash = case.policy.rule_hash(&case.incident.rule).unwrap_or_default();
    let run = case.state.records.runs_of(&case.incident.rule, hash).saturating_add(1);
    let limit = format!("its first {first} need an approval");
    if run > first {
        return Says::allow(format!("run {run}"), limit);
    }
    match &case.step.approved_by {
        Some(by) => Says::allow(format!("run {run}, approved by {by}"), limit),
        None => {
            let reason = Reason::Canary { run, of: first };
            Says::verdict(format!("run {run}"), limit, Verdict::Ask { reason })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::laws::*, *};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn the_first_runs_are_asked_for_and_a_change_begins_anew(
            canary in 0..4_u32, runs in 0..6_u32, before_a_change in any::<bool>(), mode in modes(), approved_by in approvals(),
        ) {
            let mut scene = Scene::clear();
            scene.rules(|spec| spec.rules.iter_mut().for_each(|rule| rule.canary = canary));
            (scene.step().rung.mode, scene.step().approved_by) = (mode, approved_by.clone());
            let rule = scene.rule();
            let hash = if before_a_change { "before" } else { scene.policy.rule_hash(&rule).unwrap() }.to_owned();
            for _ in 0..runs {
                scene.state.records.acted(&rule, &hash);
            }
            let run = if before_a_change { 1 } else { runs + 1 };
            let wanted = if mode == Mode::Auto && run <= canary && approved_by.is_none() {
                asks(Reason::Canary { run, of: canary })
            } else {
                Verdict::Allow
            };
            prop_assert_eq!(scene.says(Guard::Canary), wanted);
        }
    }
}
