//! Zero on purpose: what has 0 replicas that we did not set is switched off, and stays off.

use super::{Case, Says};
use crate::model::reason::Reason;

pub fn guard(case: &Case) -> Says {
    match case.facts().and_then(|facts| facts.replicas) {
        Some(0) => Says::deny("0 replicas", "more than 0", Reason::SwitchedOff),
        Some(replicas) => Says::allow(format!("{replicas} replicas"), "more than 0"),
        None => Says::allow("not counted in replicas", ""),
    }
}
