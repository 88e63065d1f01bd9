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

#[cfg(test)]
mod tests {
    use super::{super::laws::*, *};
    use crate::model::rung::Bounds;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn what_is_let_through_is_within_bounds_and_leaves_one_ready_or_was_approved(
            replicas in prop::option::of((0..8_u32, 0..8_u32)), bounds in prop::option::of((0..4_u32, 0..4_u32, any::<bool>())),
            ready in 0..4_u32, min_ready_after in prop::option::of(0..3_u32), approved_by in approvals(),
            purpose in purposes(), rank in 0..3_u32,
        ) {
            let mut scene = Scene::clear();
            let bounds = bounds.map(|(min, more, zero)| Bounds { min, max: min + more, may_scale_to_zero: zero });
            scene.step().rung.bounds = bounds;
            (scene.step().approved_by, scene.step().purpose) = (approved_by.clone(), purpose.clone());
            scene.incident().rank = rank;
            scene.facts().ready = ready;
            let effect = &mut scene.plan().proposal.effect;
            effect.replicas = replicas.map(|(from, to)| Replicas { from, to });
            effect.min_ready_after = min_ready_after;
            let says = scene.says(Guard::Bounds);
            let is_fix = purpose.is_fix();
            let leaves_none = is_fix && ready > 0 && min_ready_after == Some(0);
            match (&says, replicas) {
                (Verdict::Allow, Some((_, 0))) => {
                    // The one way to zero: a target that allows it, the most severe, and somebody's approval.
                    prop_assert!(is_fix && rank == 0 && approved_by.is_some());
                    prop_assert!(bounds.is_some_and(|bounds| bounds.may_scale_to_zero));
                }
                (Verdict::Allow, Some((_, to))) => {
                    prop_assert!(bounds.is_none_or(|bounds| (bounds.min..=bounds.max).contains(&to)));
                    prop_assert!(!leaves_none || approved_by.is_some());
                }
                (Verdict::Allow, None) => prop_assert!(!leaves_none || approved_by.is_some()),
                (Verdict::Deny { reason: Reason::OutOfBounds { want, min, max } }, Some((_, to))) => {
                    prop_assert!(*want == to && (to < *min || *max < to) && *min >= 1);
                }
                (Verdict::Deny { reason: Reason::ZeroOnlyForWorst { .. } }, Some((_, to))) => {
                    prop_assert!(to == 0 && rank > 0);
                }
                (Verdict::Ask { reason: Reason::ToZero }, Some((_, to))) => {
                    prop_assert!(to == 0 && rank == 0 && approved_by.is_none());
                }
                (Verdict::Ask { reason: Reason::NoneReady { now } }, _) => {
                    prop_assert!(leaves_none && approved_by.is_none() && *now == ready);
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
