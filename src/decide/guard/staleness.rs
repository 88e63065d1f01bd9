//! Old news only informs: some alert of the incident must have been confirmed lately.

use super::{CONFIRMATION_FRESH, Case, Says};
use crate::model::{
    firing::{Firing, FiringAnswer},
    reason::Reason,
};

pub fn guard(case: &Case) -> Says {
    let limit = CONFIRMATION_FRESH.to_string();
    let Ok(observation) = case.observation else { return Says::allow("not known", limit) };
    let delivered = observation.delivered.values().max().copied();
    let listed = match &observation.firing {
        FiringAnswer::Answered { at, alerts } => {
            alerts.values().any(|firing| matches!(firing, Firing::Active { .. })).then_some(*at)
        }
        FiringAnswer::NotAsked | FiringAnswer::Unreachable { .. } => None,
    };
    match delivered.max(listed) {
        Some(last) if last + CONFIRMATION_FRESH >= case.now => {
            Says::allow(format!("confirmed {} ago", (case.now - last).rounded()), limit)
        }
        Some(last) => {
            let age = Some(case.now - last);
            let value = format!("confirmed {} ago", (case.now - last).rounded());
            Says::deny(value, limit, Reason::Stale { age, limit: CONFIRMATION_FRESH })
        }
        None => Says::deny("not confirmed", limit, Reason::Stale { age: None, limit: CONFIRMATION_FRESH }),
    }
}
