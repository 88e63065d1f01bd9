//! A rule that is new or was changed asks for its first runs, though its mode is auto.

use super::{Case, Says};
use crate::model::{mode::Mode, reason::Reason, step::Verdict};

pub fn guard(case: &Case) -> Says {
    let first = case.rule.map_or(0, |rule| rule.canary);
    if first == 0 || case.mode() != Mode::Auto {
        return Says::allow("not asked for", "");
    }
    let hash = case.policy.rule_hash(&case.incident.rule).unwrap_or_default();
    let run = case.state.records.runs_of(&case.incident.rule, hash).saturating_add(1);
    let limit = format!("its first {first} need an approval");
    if run > first {
        return Says::allow(format!("run {run}"), limit);
    }
    match &case.step.approved_by {
        Some(by) => Says::allow(format!("run {run}, approved by {by}"), limit),
        None => {
            let reason = Reason::Canary { run, of: first };
            Says::verdict(format!("run {run}"), limit, Verdict::Ask { reason })
        }
    }
}
