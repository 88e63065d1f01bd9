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
