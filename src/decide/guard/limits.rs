//! Budgets: started steps per (rule, target), per namespace and in all. Over the limit is no, not later.

use super::{Case, Says};
use crate::{
    decide::{State, policy::Limit},
    model::{id::StepId, mode::Mode, reason::Reason, time::Micros},
};

pub fn guard(case: &Case) -> Says {
    let mut values = Vec::new();
    let mut limits = Vec::new();
    let mut full = None;
    let [rule, namespace, all] = names(case.state, case.id, case.is_shadow());
    let by_rule = case.rule.map_or(&[][..], |rule| &rule.limits);
    let spec = &case.policy.spec;
    let scopes = [
        (rule, by_rule, "here"),
        (namespace, &spec.limits_namespace[..], "in its namespace"),
        (all, &spec.limits_all[..], "in all"),
    ];
    for (scope, of_scope, whose) in scopes {
        let Some(scope) = scope else { continue };
        for limit in of_scope {
            let (used, frees_at) = used(case.state, &scope, limit, case.now);
            values.push(used.to_string());
            limits.push(format!("{} per {} {whose}", limit.count, limit.within));
            if used >= limit.count && full.is_none() {
                let scope = scope.clone();
                full = Some(Reason::LimitReached { scope, used, limit: limit.count, within: limit.within, frees_at });
            }
        }
    }
    let (value, limit) = (values.join(", "), limits.join(", "));
    match full {
        Some(reason) => Says::deny(format!("{value} used"), limit, reason),
        None if value.is_empty() => Says::allow("no limits are set", ""),
        None => Says::allow(format!("{value} used"), limit),
    }
}

/// What a start of this step counts against.
pub(in crate::decide) fn scopes(state: &State, id: StepId) -> Vec<String> {
    let shadow = state.steps.get(&id).is_some_and(|step| step.purpose.is_fix() && step.rung.mode == Mode::Shadow);
    names(state, id, shadow).into_iter().flatten().collect()
}

fn names(state: &State, id: StepId, shadow: bool) -> [Option<String>; 3] {
    let (Some(step), Some(incident)) = (state.steps.get(&id), state.incidents.get(&id.incident)) else {
        return [None, None, None];
    };
    let prefix = if shadow { "shadow: " } else { "" };
    let rule = format!("{prefix}{} on {}", incident.rule, step.rung.target.key());
    let namespace = step.rung.target.namespace().map(|namespace| format!("{prefix}namespace {namespace}"));
    [Some(rule), namespace, Some(format!("{prefix}all rules"))]
}

fn used(state: &State, scope: &str, limit: &Limit, now: Micros) -> (u32, Option<Micros>) {
    let Some(starts) = state.starts.get(scope) else { return (0, None) };
    let recent: Vec<Micros> = starts.iter().filter(|start| **start + limit.within > now).copied().collect();
    let used = u32::try_from(recent.len()).unwrap_or(u32::MAX);
    let over = recent.len().saturating_sub(limit.count as usize);
    (used, recent.get(over).map(|start| *start + limit.within))
}

#[cfg(test)]
mod tests {
    use super::{super::laws::*, *};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn it_is_yes_exactly_while_fewer_have_started_within_the_window(
            starts in prop::collection::vec((around(Span::minutes(1), 20), 0..3_usize), 0..10),
            limits in prop::collection::vec((0..3_usize, 1..5_u32, 1..15_i64), 0..4), mode in modes(),
        ) {
            let mut scene = Scene::clear();
            let made = |scope: usize| {
                let of = limits.iter().filter(|(of, ..)| *of == scope);
                of.map(|(_, count, within)| Limit { count: *count, within: Span::minutes(*within) }).collect::<Vec<_>>()
            };
            scene.rules(|spec| {
                spec.rules.iter_mut().for_each(|rule| rule.limits = made(0));
                (spec.limits_namespace, spec.limits_all) = (made(1), made(2));
            });
            scene.step().rung.mode = mode;
            let (rule, target, now) = (scene.rule(), scene.target(), scene.now);
            let prefix = if scene.is_shadow() { "shadow: " } else { "" };
            let scopes = [format!("{rule} on {target}"), "namespace production".into(), "all rules".into()];
            let scopes = scopes.map(|scope| format!("{prefix}{scope}"));
            scene.state.starts.clear();
            let mut oldest_first = starts;
            oldest_first.sort_by_key(|(ago, _)| std::cmp::Reverse(*ago));
            for (ago, scope) in &oldest_first {
                scene.state.starts.entry(scopes[*scope].clone()).or_default().push_back(now - *ago);
            }
            let used_of = |scope: usize, within: Span| {
                u32::try_from(oldest_first.iter().filter(|(ago, of)| *of == scope && *ago < within).count()).unwrap()
            };
            let is_full = |(scope, count, within): &(usize, u32, i64)| used_of(*scope, Span::minutes(*within)) >= *count;
            match scene.says(Guard::Limits) {
                Verdict::Allow => prop_assert!(!limits.iter().any(is_full)),
                Verdict::Deny { reason: Reason::LimitReached { scope, used, limit, within, frees_at } } => {
                    let place = scopes.iter().position(|name| *name == scope).unwrap();
                    prop_assert!(limits.contains(&(place, limit, within.0 / 60_000_000)), "a limit that is set");
                    prop_assert!(used >= limit && used == used_of(place, within), "{} of {}", used, limit);
                    // Then one may start again, and not a moment sooner.
                    let frees_at = frees_at.unwrap();
                    let used_at = |at: Micros| {
                        let recent = |(ago, of): &&(Span, usize)| *of == place && now - *ago + within > at;
                        oldest_first.iter().filter(recent).count()
                    };
                    prop_assert!(used_at(frees_at) < limit as usize && used_at(frees_at - Span(1)) >= limit as usize);
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
