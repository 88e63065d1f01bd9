//! Somebody else's rollout of the target is not disturbed, and a paused one is left alone.
//!
//! The rollout of the very change that is rolled back is no obstacle: a bad version often never gets ready.

use super::{Case, Says};
use crate::model::reason::Reason;

pub fn guard(case: &Case) -> Says {
    let limit = "no rollout running or paused";
    let Some(facts) = case.facts() else { return Says::allow("no facts", limit) };
    if facts.paused {
        return Says::deny("paused", limit, Reason::RolloutPaused);
    }
    match (&facts.rollout, case.rolled_back_cause()) {
        (Some(says), Some(cause)) => {
            Says::allow(format!("of revision {}, which is rolled back: {says}", cause.revision), limit)
        }
        (Some(says), None) => Says::deny(says.clone(), limit, Reason::RolloutRunning { says: says.clone() }),
        (None, _) => Says::allow("none", limit),
    }
}
