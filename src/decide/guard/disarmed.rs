//! What failed again and again is not done again, until a person rearms it.

use super::{Case, Says};
use crate::model::reason::Reason;

pub fn guard(case: &Case) -> Says {
    let limit = "not disarmed";
    let rule = &case.incident.rule;
    let Some((target, disarm)) = case.state.records.disarmed(rule, &case.target) else {
        return Says::allow("armed", limit);
    };
    let reason =
        Reason::Disarmed { rule: rule.clone(), target: target.cloned(), failures: disarm.failures, of: disarm.of };
    Says::deny(format!("{} of the last {} failed", disarm.failures, disarm.of), limit, reason)
}

#[cfg(test)]
mod tests {
    use super::{super::laws::*, *};
    use crate::decide::records::Disarm;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn two_in_a_row_or_half_of_the_last_ten_keep_it_away_until_rearmed(
            outcomes in prop::collection::vec(any::<bool>(), 0..16), rearmed in any::<bool>(),
        ) {
            let mut scene = Scene::clear();
            let (rule, target) = (scene.rule(), scene.target());
            let other = TargetKey("production/Deployment/other".into());
            let mut wanted: Option<Reason> = None;
            let (mut row, mut last): (u32, Vec<bool>) = (0, Vec::new());
            for failed in outcomes {
                scene.state.records.ended(&rule, &target, failed);
                if let Some((target, disarm)) = scene.state.records.to_disarm(&rule, &target) {
                    scene.state.records.disarm(&rule, target.as_ref(), disarm);
                }
                row = if failed { row + 1 } else { 0 };
                last.push(failed);
                let lately = &last[last.len().saturating_sub(10)..];
                let failures = u32::try_from(lately.iter().filter(|failed| **failed).count()).unwrap();
                let whole = matches!(wanted, Some(Reason::Disarmed { target: None, .. }));
                if failures >= 5 && !whole {
                    let of = u32::try_from(lately.len()).unwrap();
                    wanted = Some(Reason::Disarmed { rule: rule.clone(), target: None, failures, of });
                } else if row >= 2 && wanted.is_none() {
                    let target = Some(target.clone());
                    wanted = Some(Reason::Disarmed { rule: rule.clone(), target, failures: row, of: row });
                }
                prop_assert_eq!(scene.says(Guard::Disarmed), wanted.clone().map_or(Verdict::Allow, deny));
            }
            // Another rule's, or another target's, is not ours.
            let mut elsewhere = Scene::clear();
            let disarm = Disarm { failures: 2, of: 2 };
            elsewhere.state.records.disarm("another-rule", None, disarm);
            elsewhere.state.records.disarm(&rule, Some(&other), disarm);
            prop_assert_eq!(elsewhere.says(Guard::Disarmed), Verdict::Allow);
            if rearmed {
                scene.state.records.rearm(&rule, &[target], true);
                prop_assert_eq!(scene.says(Guard::Disarmed), Verdict::Allow);
            }
        }
    }
}
