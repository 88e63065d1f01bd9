//! No action leaves the target's bounds, and none leaves it without a ready pod.

use super::{Case, Says};
use crate::model::reason::Reason;

pub fn guard(case: &Case) -> Says {
    let replicas = case.plan.and_then(|plan| plan.proposal.effect.replicas);
    let Some(replicas) = replicas else { return Says::allow("does not change replicas", "") };
    let bounds = case.step.rung.bounds;
    let (min, max) = bounds.map_or((1, u32::MAX), |bounds| (bounds.min.max(1), bounds.max));
    let limit = bounds.map_or_else(|| "at least 1".to_owned(), |_| format!("{min}..{max}"));
    let value = format!("{} → {}", replicas.from, replicas.to);
    if replicas.to < min || replicas.to > max {
        return Says::deny(value, limit, Reason::OutOfBounds { want: replicas.to, min, max });
    }
    Says::allow(value, limit)
}
