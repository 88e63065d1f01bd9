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
