//! The section `escalations`: who is called when an incident pages, and whom else while nobody acknowledges it.

use super::{
    Context,
    check::{Check, MOST_ENTRIES, Written, place},
    file::{self, Named},
    sections::range,
};
use crate::{
    config::{node::Place, yaml::Located},
    decide::{
        levels::Reach,
        policy::{Escalation, Level, Person, Rule, Severity},
    },
    model::{alert::HOLD_LABEL, matcher::Matcher, mode::Mode, time::Span},
};
use std::collections::{BTreeMap, BTreeSet};

const HOW: &str = "write `levels: [{after: 0m, to: NAME}, {after: 5m, to: NAME}]`";

/// All of them, with their places. The severities learn whom their page mentions. None: they could not be read, and nobody is
/// blamed.
pub(super) fn all(
    check: &mut Check<'_>,
    written: &Written,
    severities: Option<&mut [Severity]>,
) -> Vec<(Place, Escalation)> {
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
        let escalation_place = escalation.severities.place.clone();
        escalations.push((escalation_place, Escalation { name: name.value.clone(), severities: names, levels }));
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
    // Where nothing calls anybody, the settings' own warning says so.
    let mut is_told = check.context.calls_nobody();
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
        if !is_told && !is_heard(check.context, &written.to, levels.is_empty()) {
            is_told = true;
            let what =
                format!("`{}` is called in Slack, which is not set up: this level calls nobody", written.to.value);
            let hint = "set slack.channel and slack.bot_token_file; PagerDuty is called by the page alone, and has levels of its own";
            check.problems.push(written.to.warning(what).hint(hint));
        }
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

/// Whether a level reaches anybody by what the settings have.
fn is_heard(context: &Context<'_>, to: &Located<String>, by_the_page: bool) -> bool {
    let by_pagerduty = || {
        context.pagerduty.is_none_or(|pagerduty| pagerduty.pages)
            || context.people.is_none_or(|people| people.get(&to.value).is_none_or(|person| person.pagerduty))
    };
    context.slack_channel.is_some() || (by_the_page && by_pagerduty())
}

/// Severities for which nobody is ever called: none of their rules acts, and only what acts hands over to people.
pub(super) fn never_called(check: &mut Check<'_>, escalations: &[(Place, Escalation)], rules: &[(Place, Rule)]) {
    let most = check.context.mode;
    let acts = |rule: &Rule| {
        let first = rule.remediate.first().map(|rung| rung.mode.unwrap_or(Mode::Auto));
        first.is_some_and(|first| first.min(rule.mode).min(most) != Mode::Shadow)
    };
    // One that is told together with an incident that acts makes it more severe, and its page with it.
    let services: BTreeSet<&String> =
        rules.iter().filter(|(_, rule)| acts(rule)).filter_map(|(_, rule)| rule.service.as_ref()).collect();
    let joins = |rule: &Rule| rule.service.as_ref().is_some_and(|service| services.contains(service));
    let asks = |matcher: &Matcher| matcher.name() == HOLD_LABEL && matcher.matches_value("true");
    let pages = |rule: &Rule| acts(rule) || joins(rule) || rule.matchers.iter().any(asks);
    let is_of = |rule: &Rule, severity: &String| rule.severity.as_ref().is_none_or(|own| own == severity);
    for (place, escalation) in escalations {
        let is_silent = |severity: &&String| {
            let mut of_it = rules.iter().filter(|(_, rule)| is_of(rule, severity)).peekable();
            of_it.peek().is_some() && !of_it.any(|(_, rule)| pages(rule))
        };
        let never: Vec<&str> = escalation.severities.iter().filter(is_silent).map(String::as_str).collect();
        if never.is_empty() {
            continue;
        }
        let (of, name) = (never.join(" or "), &escalation.name);
        let what = format!(
            "no rule of {of} acts, and only what acts pages people: `{name}` is never called for an incident of {of}"
        );
        let hint = match most {
            Mode::Shadow => "nightshift.yaml says `mode: shadow`: Alertmanager pages as before",
            Mode::Ask | Mode::Auto => {
                "Alertmanager pages for it as before; a rule acts that has `remediate` and mode ask or auto"
            }
        };
        check.problems.push(place.warning(what).hint(hint));
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
pub(super) fn pages_to(check: &Check<'_>, escalations: &[(Place, Escalation)]) -> BTreeMap<String, String> {
    let Some(people) = check.context.people else { return BTreeMap::new() };
    let of = |(_, escalation): &(Place, Escalation)| {
        let first = &escalation.levels.first()?.to;
        let is_paged = people.get(first).is_some_and(|person| person.pagerduty);
        let of_each = |severity: &String| (severity.clone(), first.clone());
        is_paged.then(|| escalation.severities.iter().map(of_each).collect::<Vec<_>>())
    };
    escalations.iter().filter_map(of).flatten().collect()
}
