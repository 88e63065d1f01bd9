//! What was approved is what is done: anything changed since voids it.

use super::{Case, Says};
use crate::model::{observation::Holds, reason::Reason};

pub fn guard(case: &Case) -> Says {
    let limit = "as it was approved";
    if case.step.approved_by.is_none() {
        return Says::allow("planned just now", "");
    }
    let Ok(observation) = case.observation else { return Says::allow("no observation", limit) };
    match &observation.holds {
        Some(Holds::Yes) => match case.plan {
            Some(plan) if plan.until >= case.now => Says::allow("unchanged", limit),
            _ => Says::deny("expired", limit, Reason::ApprovalExpired),
        },
        Some(Holds::Changed { difference }) => {
            Says::deny(difference.clone(), limit, Reason::ChangedSince { difference: difference.clone() })
        }
        None => {
            let problem = "whether the plan still holds was not observed".to_owned();
            Says::deny("not observed", limit, Reason::NotObserved { problem })
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
        fn an_approval_is_of_what_was_approved_while_it_holds(
            approved_by in approvals(), holds in 0..3_usize, planned in any::<bool>(), until in around(Span::minutes(10), 4),
            passed in around(Span::minutes(10), 4),
        ) {
            let mut scene = Scene::clear();
            scene.step().approved_by = approved_by.clone();
            let difference = "replicas 4 → 5".to_owned();
            scene.seen().holds = [None, Some(Holds::Yes), Some(Holds::Changed { difference: difference.clone() })][holds].clone();
            scene.plan().until = scene.now + until;
            scene.now = scene.now + passed;
            if !planned {
                scene.plan = None;
            }
            let says = scene.says(Guard::ChangedSince);
            match (approved_by, holds) {
                (None, _) => prop_assert_eq!(says, Verdict::Allow, "planned just now"),
                (Some(_), 1) if planned && passed <= until => prop_assert_eq!(says, Verdict::Allow),
                (Some(_), 1) => prop_assert_eq!(says, deny(Reason::ApprovalExpired)),
                (Some(_), 2) => prop_assert_eq!(says, deny(Reason::ChangedSince { difference })),
                (Some(_), _) => {
                    prop_assert!(matches!(says, Verdict::Deny { reason: Reason::NotObserved { .. } }), "{:?}", says);
                }
            }
        }
    }
}
