//! One incident at a time works on a target, from its first start to its last verdict; and one step of it at a time.

use super::{Case, Says};
use crate::model::{reason::Reason, step::Verdict, time::Span};

/// A step whose window has passed is about to get its verdict.
const LOOK_AGAIN: Span = Span::seconds(5);

pub fn guard(case: &Case) -> Says {
    match case.state.lock_on(&case.step.rung.target, case.id.incident) {
        _ if case.is_shadow() => Says::allow("shadow takes no lock", ""),
        Some(lock) if lock.incident == case.id.incident && lock.unknown && case.is_fix() => {
            let why =
                "an earlier step on it ended with an unknown outcome; nightshift rearm or resolve frees it".to_owned();
            Says::deny("held by an unknown outcome", "free", Reason::OutcomeUnknown { why })
        }
        // Only a person frees it: whoever waits for that is a person's affair, too.
        Some(lock) if lock.incident != case.id.incident && lock.unknown => {
            let why = format!("incident {} left it so, and a person must look at the target", lock.incident);
            Says::deny(format!("held by incident {}", lock.incident), "free", Reason::OutcomeUnknown { why })
        }
        Some(lock) if lock.incident != case.id.incident && case.state.waits_for(lock.incident, case.id.incident) => {
            let reason = Reason::WaitInCircle { by: lock.incident };
            Says::deny(format!("held by incident {}, which waits for this one", lock.incident), "free", reason)
        }
        Some(lock) if lock.incident != case.id.incident => {
            let reason = Reason::TargetLocked { by: lock.incident };
            Says::verdict(format!("held by incident {}", lock.incident), "free", Verdict::Hold { until: None, reason })
        }
        Some(_) => match case.state.working_on(&case.step.rung.target, case.id) {
            // Also our own: what one step did is measured before the next touches it.
            Some((other, until)) => {
                let reason = Reason::TargetLocked { by: case.id.incident };
                let until = Some(until.max(case.now + LOOK_AGAIN));
                Says::verdict(format!("step {other} works on it"), "free", Verdict::Hold { until, reason })
            }
            None => Says::allow("ours", "free"),
        },
        None => Says::allow("free", "free"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::laws::*;
    use crate::decide::state::Lock;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn one_incident_at_a_time_and_one_step_of_it(
            held in prop::option::of((any::<bool>(), any::<bool>())), works in prop::option::of((0..3_usize, -20..20_i64)),
            mode in modes(), purpose in purposes(),
        ) {
            let mut scene = Scene::clear();
            let (id, now, target) = (scene.id, scene.now, scene.target());
            if let Some((ours, unknown)) = held {
                let incident = if ours { id.incident } else { OTHER };
                scene.state.locks.insert(target, Lock { incident, unknown });
            }
            scene.step().rung.mode = mode;
            scene.step().purpose = purpose.clone();
            if let Some((phase, due)) = works {
                let phase = [Phase::Acting, Phase::ReadBack, Phase::Verifying][phase];
                let mut other = scene.step().clone();
                (other.phase, other.verify_by) = (phase, Some(now + Span::seconds(due)));
                let number = StepId { number: id.number + 1, ..id };
                scene.state.live.entry(phase).or_default().insert((other.rank, number));
                scene.state.steps.insert(number, other);
            }
            let says = scene.says(Guard::Lock);
            let (is_fix, is_shadow) = (purpose.is_fix(), scene.is_shadow());
            match (held, works) {
                _ if is_shadow => prop_assert_eq!(says, Verdict::Allow, "shadow takes no lock"),
                (None, _) => prop_assert_eq!(says, Verdict::Allow),
                (Some((false, false)), _) => prop_assert_eq!(says, hold(None, Reason::TargetLocked { by: OTHER })),
                (Some((false, true)), _) => {
                    prop_assert!(matches!(says, Verdict::Deny { reason: Reason::OutcomeUnknown { .. } }), "{:?}", says);
                }
                (Some((true, true)), _) if is_fix => {
                    prop_assert!(matches!(says, Verdict::Deny { reason: Reason::OutcomeUnknown { .. } }), "{:?}", says);
                }
                (Some((true, _)), Some((_, due))) => {
                    let until = now + Span::seconds(due.max(5));
                    prop_assert_eq!(says, hold(Some(until), Reason::TargetLocked { by: id.incident }));
                }
                (Some((true, _)), None) => prop_assert_eq!(says, Verdict::Allow),
            }
        }
    }
}
