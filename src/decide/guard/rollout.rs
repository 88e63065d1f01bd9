//! Somebody else's rollout of the target is not disturbed, and a paused one is left alone.

use super::{Case, Says};
use crate::model::reason::Reason;

pub fn guard(case: &Case) -> Says {
    let limit = "no rollout running or paused";
    let Some(facts) = case.facts() else { return Says::allow("no facts", limit) };
    if facts.paused {
        return Says::deny("paused", limit, Reason::RolloutPaused);
    }
    match &facts.rollout {
        Some(says) => Says::deny(says.clone(), limit, Reason::RolloutRunning { says: says.clone() }),
        None => Says::allow("none", limit),
    }
}
