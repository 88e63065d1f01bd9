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
