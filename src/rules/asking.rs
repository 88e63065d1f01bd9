//! Rules that wait for an approval, and whether anybody may give it where its button is.

use super::check::Check;
use crate::{
    config::node::Place,
    decide::policy::{Rule, Severity},
    model::mode::Mode,
};
use std::collections::{BTreeMap, BTreeSet};

/// Severities whose approvals nobody may give in Slack. Where nobody is an approver at all, the settings' own warning says so.
pub(super) fn nobody_answers(
    check: &mut Check<'_>,
    rules: &[(Place, Rule)],
    approvers: &BTreeMap<String, Vec<String>>,
    severities: &[Severity],
) {
    if !check.context.slack_buttons || approvers.is_empty() {
        return;
    }
    let most = check.context.mode;
    let asks = |rule: &Rule| {
        let mut modes = rule.remediate.iter().map(|rung| rung.mode.unwrap_or(Mode::Auto).min(rule.mode).min(most));
        modes.any(|mode| mode == Mode::Ask)
    };
    let mut told: BTreeSet<&str> = BTreeSet::new();
    for (place, rule) in rules.iter().filter(|(_, rule)| asks(rule)) {
        let is_of = |severity: &&Severity| rule.severity.as_ref().is_none_or(|own| *own == severity.name);
        let lacks = severities.iter().filter(is_of).map(|severity| severity.name.as_str());
        let lacks = lacks.filter(|name| approvers.get(*name).is_none_or(Vec::is_empty) && !told.contains(name));
        let lacks: Vec<&str> = lacks.collect();
        let Some(first) = lacks.first() else { continue };
        let what = format!(
            "`{}` asks, and nobody is listed under `approvers` for {}: nobody may approve it in Slack",
            rule.name,
            lacks.join(" or ")
        );
        let hint = format!("add `{first}: [S0123ABC]` to `approvers` in nightshift.yaml; `nightshift approve` works");
        check.problems.push(place.warning(what).hint(hint));
        told.extend(lacks);
    }
}
