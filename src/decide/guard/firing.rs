//! Still firing, asked of Alertmanager at the moment of acting. Absent is not resolved, and not firing either.

use super::{Case, Says};
use crate::{
    decide::state::Held,
    model::{
        firing::{Firing, FiringAnswer},
        reason::Reason,
    },
};

pub fn guard(case: &Case) -> Says {
    let limit = "active in Alertmanager";
    let Ok(observation) = case.observation else {
        return Says::allow("not asked: the target was not observed", limit);
    };
    match &observation.firing {
        FiringAnswer::NotAsked if case.is_shadow() => {
            let alerts = case.incident.alerts.iter().filter_map(|print| case.state.alerts.get(print));
            let mut firing = alerts.filter(|alert| alert.held == Held::Firing);
            if firing.all(|alert| alert.doubtful) {
                return Says::deny("doubtful", limit, Reason::Doubtful);
            }
            Says::allow("not asked: no alertmanager.urls", "")
        }
        FiringAnswer::NotAsked => {
            let problem = "no alertmanager.urls are configured".to_owned();
            Says::deny("not asked", limit, Reason::FiringUnknown { problem })
        }
        FiringAnswer::Unreachable { problem } => {
            let reason = Reason::FiringUnknown { problem: problem.clone() };
            Says::verdict("no peer answered", limit, case.doubt(reason))
        }
        FiringAnswer::Answered { alerts, .. } => {
            let active = alerts.values().filter(|firing| matches!(firing, Firing::Active { .. })).count();
            let value = format!("{active} of {} active", alerts.len());
            let suppressed = alerts.values().any(|firing| matches!(firing, Firing::Suppressed { .. }));
            let unprocessed = alerts.values().any(|firing| matches!(firing, Firing::Unprocessed));
            if active > 0 || suppressed {
                // What is silenced is the next guard's affair.
                Says::allow(value, limit)
            } else if unprocessed {
                let problem = "Alertmanager has not processed the alert yet".to_owned();
                Says::verdict(value, limit, case.doubt(Reason::FiringUnknown { problem }))
            } else {
                Says::verdict(value, limit, case.doubt(Reason::NotListed))
            }
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
        fn only_what_alertmanager_lists_is_acted_on(
            answer in answers(), doubts in 0..5_u32, mode in modes(), doubtful in any::<bool>(),
        ) {
            let mut scene = Scene::clear();
            scene.step().doubts = doubts;
            scene.step().rung.mode = mode;
            scene.alert().doubtful = doubtful;
            prop_assert_eq!(scene.alert().held, Held::Firing);
            scene.seen().firing = answer.clone();
            let says = scene.says(Guard::Firing);
            let listed = |wanted: fn(&Firing) -> bool| match &answer {
                FiringAnswer::Answered { alerts, .. } => alerts.values().any(wanted),
                FiringAnswer::NotAsked | FiringAnswer::Unreachable { .. } => false,
            };
            let is_active = listed(|firing| matches!(firing, Firing::Active { .. }));
            let is_silenced = listed(|firing| matches!(firing, Firing::Suppressed { .. }));
            let is_unknown = listed(|firing| matches!(firing, Firing::Unprocessed));
            match &answer {
                FiringAnswer::NotAsked if scene.is_shadow() => {
                    prop_assert_eq!(says, if doubtful { deny(Reason::Doubtful) } else { Verdict::Allow });
                }
                FiringAnswer::NotAsked => {
                    prop_assert!(matches!(says, Verdict::Deny { reason: Reason::FiringUnknown { .. } }), "{:?}", says);
                }
                FiringAnswer::Unreachable { problem } => {
                    prop_assert_eq!(says, doubt(&scene, Reason::FiringUnknown { problem: problem.clone() }));
                }
                // A silence is the next guard's affair.
                FiringAnswer::Answered { .. } if is_active || is_silenced => prop_assert_eq!(says, Verdict::Allow),
                FiringAnswer::Answered { .. } if is_unknown => {
                    let is_unknown = matches!(says.reason(), Some(Reason::FiringUnknown { .. }));
                    prop_assert!(is_unknown && says != Verdict::Allow, "{:?}", says);
                }
                FiringAnswer::Answered { .. } => prop_assert_eq!(says, doubt(&scene, Reason::NotListed)),
            }
        }
    }
}
