//! After a ladder that acted, the rule leaves the target alone for a while.

use super::{Case, Says};
use crate::model::{reason::Reason, step::Verdict};

pub fn guard(case: &Case) -> Says {
    let limit = case.rule.map(|rule| rule.cooldown.to_string()).unwrap_or_default();
    let key = (case.incident.rule.clone(), case.target.clone(), case.is_shadow());
    match case.state.cooldowns.get(&key).filter(|until| **until > case.now) {
        Some(until) => {
            let reason = Reason::CoolingDown { until: *until };
            let value = format!("until {}", case.time(*until));
            Says::verdict(value, limit, Verdict::Hold { until: Some(*until), reason })
        }
        None => Says::allow("not cooling down", limit),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::laws::*, *};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn it_holds_until_the_very_moment_for_this_rule_here(
            until in around(Span::minutes(1), 20), passed in around(Span::minutes(1), 20), same_rule in any::<bool>(),
            same_target in any::<bool>(), in_shadow in any::<bool>(), mode in modes(),
        ) {
            let mut scene = Scene::clear();
            let rule = if same_rule { scene.rule() } else { "another-rule".into() };
            let target = if same_target { scene.target() } else { TargetKey("production/Deployment/other".into()) };
            let until = scene.now + until;
            scene.state.cooldowns.insert((rule, target, in_shadow), until);
            scene.now = scene.now + passed;
            scene.step().rung.mode = mode;
            // Shadow counts for itself.
            let is_ours = same_rule && same_target && in_shadow == scene.is_shadow();
            let wanted = if is_ours && scene.now < until {
                hold(Some(until), Reason::CoolingDown { until })
            } else {
                Verdict::Allow
            };
            prop_assert_eq!(scene.says(Guard::Cooldown), wanted);
        }
    }
}
