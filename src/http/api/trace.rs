//! The decision trace as text: why something was done, or was not. Pure; the same text in API and CLI.
//!
//! Everything that an alert, a peer or a person wrote is made plain before it is shown.

use super::{
    list::table,
    shapes::{AlertWhy, RuleTried},
};
use crate::{
    model::{
        public::PublicView,
        step::{GuardLine, Verdict},
        time::Micros,
        view::{AlertView, CallView, IncidentView, StepView},
    },
    telemetry::text::{plain, shortened},
};
use jiff::tz::TimeZone;
use std::fmt::Write;

/// Labels shown of one alert; the rest is counted.
const LABELS_SHOWN: usize = 12;
const LONGEST_VALUE_CHARS: usize = 80;

/// One incident. `with_guards`: every guard of every step, with its value and limit.
#[must_use]
pub fn incident(view: &IncidentView, zone: &TimeZone, with_guards: bool) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "incident {}  {}", view.id, plain(&view.title));
    text.push_str(&indented(&table(&facts_of(view, zone)), 2));
    for alert in &view.alerts {
        let _ = writeln!(text, "\nalert {}  {}", alert.fingerprint, state_of(alert, zone));
        let _ = writeln!(text, "  {}", labels_of(alert));
    }
    let all = u64::from(view.firing) + u64::from(view.resolved) + u64::from(view.lost);
    let more = all.saturating_sub(view.alerts.len() as u64);
    if more > 0 {
        let _ = writeln!(text, "\nand {more} more {}", if more == 1 { "alert" } else { "alerts" });
    }
    for step in &view.steps {
        text.push('\n');
        text.push_str(&self::step(step, zone, with_guards));
    }
    if !view.evidence.is_empty() {
        text.push_str("\nevidence\n");
        let rows: Vec<Vec<String>> = view
            .evidence
            .iter()
            .map(|evidence| {
                let at = evidence.at.in_zone(zone);
                vec![plain(&evidence.collector), plain(&evidence.target), at, plain(&evidence.summary)]
            })
            .collect();
        text.push_str(&indented(&table(&rows), 2));
    }
    text.push_str(&next_commands(view));
    text
}

fn facts_of(view: &IncidentView, zone: &TimeZone) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    let mut state = plain(&view.state);
    if let Some(until) = view.quiet_until {
        let _ = write!(state, ", resolved at {} if nothing fires until then", until.in_zone(zone));
    }
    if let Some(at) = view.resolved_at {
        let _ = write!(state, " at {}", at.in_zone(zone));
    }
    if view.lost_contact {
        state.push_str(", contact with its alerts is lost");
    }
    row("state", state);
    row("severity", plain(&view.severity));
    row("rule", plain(&view.rule));
    if let Some(service) = &view.service {
        row("service", plain(service));
    }
    if let Some(runbook) = &view.runbook {
        row("runbook", plain(runbook));
    }
    if let Some(parent) = view.parent {
        row("belongs to", format!("incident {parent}"));
    }
    if !view.children.is_empty() {
        let more = if view.more_children > 0 { format!(" and {} more", view.more_children) } else { String::new() };
        let children: Vec<String> =
            view.children.iter().map(|child| format!("{} ({})", child.id, plain(&child.state))).collect();
        row("has", format!("incidents {}{more}", children.join(", ")));
    }
    row("opened", view.opened_at.in_zone(zone));
    if let Some(by) = &view.acknowledged_by {
        let at = view.acknowledged_at.map(|at| format!(" at {}", at.in_zone(zone))).unwrap_or_default();
        row("acknowledged", format!("by {}{at}", plain(by)));
    }
    for call in &view.calls {
        row("called", format!("{} at {}", called(call), call.at.in_zone(zone)));
    }
    for page in &view.pagerduty_pages {
        let (service, says) = (plain(&page.service), plain(&page.says));
        row("PagerDuty", format!("{service}, paged at {}: {says}", page.at.in_zone(zone)));
    }
    if let Some(next) = &view.next_call {
        row("next", format!("{} at {}, unless somebody has it", called(next), next.at.in_zone(zone)));
    }
    if let Some(until) = view.page_held_until {
        row("page", format!("held until {}", until.in_zone(zone)));
    }
    let lost = if view.lost > 0 { format!(", {} lost", view.lost) } else { String::new() };
    row("alerts", format!("{} firing, {} resolved{lost}", view.firing, view.resolved));
    row("nightshift", plain(&view.ladder));
    if let Some(public) = &view.public {
        row("status page", status_page(public));
        if public.waits {
            row("would say", plain(&format!("{}: {}", public.title, public.sentence)));
        }
    }
    rows
}

fn called(call: &CallView) -> String {
    let level = if call.levels > 1 { format!(" (level {} of {})", call.level, call.levels) } else { String::new() };
    let to = call.to.as_ref().map_or_else(|| "people by a page".to_owned(), |to| plain(to));
    format!("{to}{level}, {}", plain(&call.by))
}

fn status_page(public: &PublicView) -> String {
    let (component, status, shows) = (plain(&public.component), public.status.word(), public.shows.says());
    let by = public.published_by.as_ref().map(|by| format!(", let out by {}", plain(by))).unwrap_or_default();
    match (public.waits, public.told) {
        (true, _) => format!("{component} would show: {status}, {shows}; it waits to be published"),
        (false, Some(told)) if told == public.status => format!("{component} shows: {status}, {shows}{by}"),
        (false, Some(told)) => format!("{component} shows: {}; {status} is on its way{by}", told.word()),
        (false, None) => format!("{component}: {status}, {shows}, is on its way{by}"),
    }
}

/// One step: what it is, how it stands, what blocked it, and when that lets through again.
#[must_use]
pub fn step(step: &StepView, zone: &TimeZone, with_guards: bool) -> String {
    let mut text = String::new();
    let purpose = if step.purpose == "fix" { String::new() } else { format!(" ({})", plain(&step.purpose)) };
    let _ = writeln!(text, "step {}  {} on {}{purpose}", step.id, plain(&step.action), plain(&step.target));
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    row("is", format!("{}: {}", plain(&step.phase).replace('_', " "), plain(&step.says)));
    row("mode", plain(&step.mode));
    if let (Some(wants), None) = (&step.wants, &step.summary) {
        row("wants", plain(wants));
    }
    if let Some(summary) = &step.summary {
        let undo = step.undo_summary.as_ref().map(|undo| format!(" (undo: {})", plain(undo))).unwrap_or_default();
        row("plan", format!("{}{undo}", plain(summary)));
    }
    if let Some(by) = &step.approved_by {
        row("approved", format!("by {}", plain(by)));
    }
    let mut time = |name: &str, at: Option<Micros>| {
        if let Some(at) = at {
            row(name, at.in_zone(zone));
        }
    };
    time("planned", Some(step.planned_at));
    time("started", step.started_at);
    time("verified by", step.verify_by);
    time("ended", step.ended_at);
    time("lease until", step.lease_until);
    time("undo until", step.undo_until);
    // What blocks is only of interest while it does, or because it ended the step.
    let is_it = |line: &&GuardLine| blocks(&line.verdict) && line.verdict.reason() == step.reason.as_ref();
    if let Some(line) = step.trace.iter().find(is_it).filter(|_| step.started_at.is_none()) {
        row("blocked by", blocked_by(line, step, zone));
    }
    text.push_str(&indented(&table(&rows), 2));
    if with_guards && !step.trace.is_empty() {
        text.push_str("  guards\n");
        text.push_str(&indented(&guards(&step.trace, zone), 4));
    }
    text
}

fn blocks(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Hold { .. } | Verdict::Deny { .. } => true,
        Verdict::Allow | Verdict::WouldHave | Verdict::Ask { .. } => false,
    }
}

fn blocked_by(line: &GuardLine, step: &StepView, zone: &TimeZone) -> String {
    let word = line.guard.word().replace('_', " ");
    match &line.verdict {
        Verdict::Deny { reason } => match reason.until() {
            Some(until) => format!("{word}, for good: another step may start after {}", until.in_zone(zone)),
            None => format!("{word}, for good"),
        },
        Verdict::Hold { until, reason } => match step.held_until.or(*until).or(reason.until()) {
            Some(until) => format!("{word}, looked at again at {}", until.in_zone(zone)),
            None => format!("{word}, until that is free"),
        },
        Verdict::Allow | Verdict::WouldHave | Verdict::Ask { .. } => word,
    }
}

/// Every guard in the order in which they are asked: verdict, value, limit, and the reason where it blocks.
#[must_use]
pub fn guards(trace: &[GuardLine], zone: &TimeZone) -> String {
    let heading = ["GUARD", "VERDICT", "VALUE", "LIMIT", "WHY"].map(str::to_owned).to_vec();
    let row = |line: &GuardLine| {
        let why = line.verdict.reason().map(|reason| plain(&reason.says(zone))).unwrap_or_default();
        let verdict = line.verdict.word().replace('_', " ");
        vec![line.guard.word().replace('_', " "), verdict, plain(&line.value), plain(&line.limit), why]
    };
    let rows: Vec<Vec<String>> = std::iter::once(heading).chain(trace.iter().map(row)).collect();
    table(&rows)
}

fn next_commands(view: &IncidentView) -> String {
    let mut commands: Vec<&str> = view.steps.iter().flat_map(|step| &step.commands).map(String::as_str).collect();
    let (acknowledge, resolve) = (format!("nightshift ack {}", view.id), format!("nightshift resolve {}", view.id));
    let publish = format!("nightshift publish {}", view.id);
    if view.public.as_ref().is_some_and(|public| public.waits) {
        commands.push(&publish);
    }
    if view.state != "resolved" {
        if view.acknowledged_by.is_none() {
            commands.push(&acknowledge);
        }
        commands.push(&resolve);
    }
    if commands.is_empty() {
        return String::new();
    }
    let lines: String = commands.iter().map(|command| format!("  {}\n", plain(command))).collect();
    format!("\nto type\n{lines}")
}

/// One alert: how it was classified, and its incident's trace.
#[must_use]
pub fn alert(why: &AlertWhy, zone: &TimeZone) -> String {
    let mut text = String::new();
    let alert = &why.alert;
    let _ = writeln!(text, "alert {}  {}", alert.fingerprint, state_of(alert, zone));
    let _ = writeln!(text, "  {}\n", labels_of(alert));
    text.push_str(&classification(&why.tried, why.not_listed));
    let now = why.tried.last().filter(|tried| tried.failed.is_none()).map(|tried| tried.rule.as_str());
    if alert.rule.as_deref() != now {
        let then = alert.rule.as_deref().map_or("no rule".to_owned(), |rule| format!("rule {}", plain(rule)));
        let _ = writeln!(text, "\nwhen it fired, {then} took it: the rules have changed since");
    }
    match &why.incident {
        Some(view) => {
            if let Some(note) = still_firing(1).filter(|_| view.state == "resolved" && alert.state == "firing") {
                let _ = writeln!(text, "\nits incident is resolved; {note}");
            }
            text.push('\n');
            text.push_str(&incident(view, zone, true));
        }
        None if now.is_none() => {
            text.push_str("\nno rule matches: it is journalled, and nobody is told\n");
            text.push_str("hint: add a rule whose `match` fits these labels, or a last one with `match: []` for all\n");
        }
        None => text.push_str("\nit belongs to no incident\n"),
    }
    text
}

/// Each rule up to the one that matched, with the matcher that failed.
#[must_use]
pub fn classification(tried: &[RuleTried], not_listed: usize) -> String {
    let row = |one: &RuleTried| match &one.failed {
        None => vec![plain(&one.rule), "matches".to_owned(), String::new()],
        Some(matcher) => {
            let value = match &one.value {
                Some(value) => format!("it is {:?}", shortened(value, LONGEST_VALUE_CHARS)),
                None => "the alert has no such label".to_owned(),
            };
            vec![plain(&one.rule), format!("not {}", plain(matcher)), value]
        }
    };
    let rows: Vec<Vec<String>> = tried.iter().map(row).collect();
    let mut text = "rules, in their order\n".to_owned();
    text.push_str(&indented(&table(&rows), 2));
    if not_listed > 0 {
        let _ = writeln!(text, "  and {not_listed} more that do not match");
    }
    text
}

/// What becomes of alerts that still fire when a person resolves their incident: see `State::alert_fired`.
#[must_use]
pub fn still_firing(alerts: u32) -> Option<String> {
    match alerts {
        0 => None,
        1 => Some("1 alert still fires: it opens no incident until it has resolved and fires anew".to_owned()),
        more => Some(format!("{more} alerts still fire: they open no incident until they have resolved and fire anew")),
    }
}

fn state_of(alert: &AlertView, zone: &TimeZone) -> String {
    let doubtful = if alert.doubtful { ", doubtful: it fired again with the same start" } else { "" };
    format!("{} since {}{doubtful}", plain(&alert.state), alert.starts_at.in_zone(zone))
}

/// `alertname` first, then by name.
fn labels_of(alert: &AlertView) -> String {
    let first = alert.labels.get_key_value("alertname");
    let others = alert.labels.iter().filter(|(name, _)| *name != "alertname");
    let mut shown: Vec<String> = first
        .into_iter()
        .chain(others)
        .take(LABELS_SHOWN)
        .map(|(name, value)| format!("{}={:?}", plain(name), shortened(value, LONGEST_VALUE_CHARS)))
        .collect();
    if alert.labels.len() > LABELS_SHOWN {
        let more = alert.labels.len() - LABELS_SHOWN;
        shown.push(format!("and {more} more {}", if more == 1 { "label" } else { "labels" }));
    }
    shown.join(" ")
}

fn indented(text: &str, by: usize) -> String {
    text.lines().map(|line| format!("{:by$}{line}\n", "")).collect()
}
