//! A pod that a PodDisruptionBudget keeps stays: it is asked again a few times, while others become ready, then it is no.

use super::{Case, Says};
use crate::model::reason::Reason;

pub fn guard(case: &Case) -> Says {
    match case.facts().and_then(|facts| facts.disruption.as_ref()) {
        Some(says) => {
            let verdict = case.doubt(Reason::DisruptionNotAllowed { says: says.clone() });
            Says::verdict("not allowed now", "a disruption is allowed", verdict)
        }
        None => Says::allow("no budget forbids it", ""),
    }
}
