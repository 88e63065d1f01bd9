//! The section `escalations`: who is called when an incident pages, and whom else while nobody acknowledges it.

use super::{
    check::{Check, MOST_ENTRIES, Written, place},
    file::{self, Named},
    sections::range,
};
use crate::{
    config::yaml::Located,
    decide::{
        levels::Reach,
        policy::{Escalation, Level, Person, Severity},
    },
    model::time::Span,
};
use std::collections::BTreeMap;

const HOW: &str = "write `levels: [{after: 0m, to: NAME}, {after: 5m, to: NAME}]`";

/// All of them. The severities learn whom their page mentions. None: they could not be read, and nobody is blamed.
pub(super) fn all(check: &mut Check<'_>, written: &Written, severities: Option<&mut [Severity]>) -> Vec<Escalation> {
    let (Some(Named(given)), Some(severities)) =
        (written.section::<Named<file::Escalation>>(check, "escalations"), severities)
    else {
        return Vec::new();
    };
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    let mut escalations = Vec::new();
    for (name, escalation) in given.iter().take(MOST_ENTRIES) {
        check.name(name, "escalation");
        let levels = levels(check, escalation);
        let Some((from, to)) = range(check, &escalation.severities, severities) else { continue };
        let mention = mention(check, levels.first());
        let mut names = Vec::new();
        for severity in severities.iter_mut().take(to + 1).skip(from) {
            if let Some(first) = taken.insert(severity.name.clone(), place(&name.place)) {
                let what = format!("`{}` is in a second escalation", severity.name);
                check.hinted(&escalation.severities.place, what, format!("the first one is in {first}"));
            }
            severity.mentions.extend(mention.clone());
            names.push(severity.name.clone());
        }
        escalations.push(Escalation { name: name.value.clone(), severities: names, levels });
    }
    if let Some((name, _)) = given.get(MOST_ENTRIES) {
        check.error(&name.place, format!("more than {MOST_ENTRIES} escalations"));
    }
    escalations
}

fn levels(check: &mut Check<'_>, escalation: &file::Escalation) -> Vec<Level> {
    if escalation.levels.value.is_empty() {
        check.hinted(&escalation.levels.place, "an escalation without levels calls nobody", HOW);
    }
    let mut levels: Vec<Level> = Vec::new();
    for written in check.bounded(Some(&escalation.levels), MOST_ENTRIES, "levels") {
        let before = check.problems.len();
        let after = check.span(Some(&written.after), Span::ZERO);
        match levels.last() {
            _ if check.problems.len() > before => {}
            None if after != Span::ZERO => {
                let what = "the first level is called by the page itself: `after: 0m`";
                check.hinted(&written.after.place, what, HOW);
            }
            Some(before) if after <= before.after => {
                let what = format!("`after: {}` does not come after {}", written.after.value, before.after);
                check.hinted(&written.after.place, what, "times count from the page, each later than the one before");
            }
            None | Some(_) => {}
        }
        // The page calls the first level, also through PagerDuty; those after it are called in Slack.
        called(check, &written.to, levels.is_empty());
        levels.push(Level { after, to: written.to.value.clone() });
    }
    levels
}

/// Somebody of `people`, who can be called there.
fn called(check: &mut Check<'_>, to: &Located<String>, by_the_page: bool) {
    let Some(people) = check.context.people else { return };
    let Some(person) = people.get(&to.value) else {
        let what = format!("nobody is named `{}` under `people` in nightshift.yaml", to.value);
        if people.is_empty() {
            check.hinted(&to.place, what, format!("add `people: {{{}: {{slack: U…}}}}` there", to.value));
        } else {
            check.unknown(to, what, people.keys().map(String::as_str));
        }
        return;
    };
    let paged = by_the_page && person.pagerduty;
    if person.in_slack() == Reach::Nowhere && !paged {
        let what = format!("`{}` is not in Slack, where this level is called", to.value);
        let hint = format!("add `slack: U…` to `{}` under `people`; PagerDuty has levels of its own", to.value);
        check.hinted(&to.place, what, hint);
    }
}

/// The id in Slack that the page mentions. A channel is no one to mention: it gets a post of its own.
fn mention(check: &Check<'_>, first: Option<&Level>) -> Option<String> {
    let person: &Person = check.context.people?.get(&first?.to)?;
    match person.in_slack() {
        Reach::Mention(id) => Some(id.to_owned()),
        Reach::Channel(_) | Reach::Nowhere => None,
    }
}

/// The severities whose page goes to the PagerDuty service of whom their first level calls.
pub(super) fn pages_to(check: &Check<'_>, escalations: &[Escalation]) -> BTreeMap<String, String> {
    let Some(people) = check.context.people else { return BTreeMap::new() };
    let of = |escalation: &Escalation| {
        let first = &escalation.levels.first()?.to;
        let is_paged = people.get(first).is_some_and(|person| person.pagerduty);
        let of_each = |severity: &String| (severity.clone(), first.clone());
        is_paged.then(|| escalation.severities.iter().map(of_each).collect::<Vec<_>>())
    };
    escalations.iter().filter_map(of).flatten().collect()
}
