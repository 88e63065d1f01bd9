//! No action leaves the target's bounds, and none that nobody approved may leave it without a ready pod.

use super::{Case, Says};
use crate::model::{plan::Replicas, reason::Reason, step::Verdict};

pub fn guard(case: &Case) -> Says {
    let effect = case.plan.map(|plan| &plan.proposal.effect);
    let says = of_replicas(case, effect.and_then(|effect| effect.replicas));
    let ready = case.facts().map_or(0, |facts| facts.ready);
    let leaves_none = ready > 0 && effect.is_some_and(|effect| effect.min_ready_after == Some(0));
    // What puts something back leaves what was there before.
    if says.verdict != Verdict::Allow || !leaves_none || !case.is_fix() || case.step.approved_by.is_some() {
        return says;
    }
    let verdict = Verdict::Ask { reason: Reason::NoneReady { now: ready } };
    Says::verdict(format!("{ready} ready → perhaps 0"), "at least 1 ready, or an approval", verdict)
}

fn of_replicas(case: &Case, replicas: Option<Replicas>) -> Says {
    let Some(replicas) = replicas else { return Says::allow("does not change replicas", "") };
    let bounds = case.step.rung.bounds;
    let (min, max) = bounds.map_or((1, u32::MAX), |bounds| (bounds.min.max(1), bounds.max));
    let limit = bounds.map_or_else(|| "at least 1".to_owned(), |_| format!("{min}..{max}"));
    let value = format!("{} → {}", replicas.from, replicas.to);
    if replicas.to == 0 && case.is_fix() && bounds.is_some_and(|bounds| bounds.may_scale_to_zero) {
        return to_zero(case, value);
    }
    if replicas.to < min || replicas.to > max {
        return Says::deny(value, limit, Reason::OutOfBounds { want: replicas.to, min, max });
    }
    Says::allow(value, limit)
}

/// Isolation: the target allows it, the incident is of the most severe, and somebody approved it.
fn to_zero(case: &Case, value: String) -> Says {
    let limit = "the most severe, and an approval";
    let Some(worst) = case.policy.spec.severities.first().filter(|_| case.incident.rank > 0) else {
        return match &case.step.approved_by {
            Some(_) => Says::allow(value, limit),
            None => Says::verdict(value, limit, Verdict::Ask { reason: Reason::ToZero }),
        };
    };
    let (severity, worst) = (case.incident.severity.clone(), worst.name.clone());
    Says::deny(value, limit, Reason::ZeroOnlyForWorst { severity, worst })
}
