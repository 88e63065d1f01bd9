//! What a message says, in neutral parts: made from the view alone, the same view gives the same message.
//!
//! A part keeps our own words ([`Piece::Word`]) apart from everybody else's ([`Piece::Value`], [`Part::Sentence`]), so
//! that a receiver can show the latter as mere text. Lengths are for people; a receiver's own limits are its affair.

mod children;
mod following;

pub use children::CHILDREN_LISTED;
pub use following::following;

use super::plain::line;
use crate::model::{
    button::Button,
    id::IncidentId,
    letter::Note,
    reason::Reason,
    time::Micros,
    view::{AlertView, IncidentView, StepView},
};
use jiff::tz::TimeZone;
use std::collections::BTreeMap;

/// Alerts, steps and pieces of evidence that are listed; the rest are counted.
pub const ALERTS_LISTED: usize = 5;
pub const STEPS_LISTED: usize = 3;
pub const EVIDENCE_LISTED: usize = 3;
/// Labels of one alert.
const LABELS_LISTED: usize = 4;
/// People and groups of one page; a policy has a handful.
pub const MENTIONS_LISTED: usize = 40;

/// Characters: a headline, a name, a label with its value, one sentence.
const HEADLINE: usize = 140;
const NAME: usize = 80;
const LABEL: usize = 72;
const SUMMARY: usize = 160;
const SENTENCE: usize = 400;
/// A post may be a whole sentence with a difference in it.
const NOTE: usize = 2000;
/// Longer addresses are left out rather than cut.
const URL: usize = 1000;

/// The labels that say most, in this order; then by name.
const TELLING: [&str; 12] = [
    "cluster",
    "env",
    "namespace",
    "service",
    "deployment",
    "statefulset",
    "daemonset",
    "pod",
    "container",
    "instance",
    "node",
    "job",
];
/// Said already by the headline, or by the rule.
const SAID_ALREADY: [&str; 3] = ["alertname", "severity", "nightshift_hold"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// One line in large letters; empty for what needs none.
    pub headline: String,
    /// The whole in one line, for a lock screen.
    pub summary: Vec<Piece>,
    /// The most important first: a receiver leaves out from the end.
    pub parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Lines(Vec<Vec<Piece>>),
    /// Anybody's words, with no markup at all.
    Sentence(String),
    /// Something to type, a line each.
    Commands(Vec<String>),
    /// Small print.
    Small(Vec<Piece>),
    /// What can be asked for, where a receiver can be asked.
    Buttons(Vec<Button>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Our own words, numbers and times.
    Word(String),
    /// Our own words, for the eye.
    Strong(&'static str),
    /// A name or value from elsewhere.
    Value(String),
    /// A checked address under our own words.
    Link {
        words: &'static str,
        url: String,
    },
    Mention(Mention),
}

/// Someone to be woken: made from configured ids only, never from a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mention {
    User(String),
    Group(String),
    /// A channel is named, nobody in it is woken.
    Channel(String),
}

impl Mention {
    /// Slack's ids: `U…` and `W…` are users, `S…` groups, `C…` and `G…` channels. None: anything else, `@here` too.
    #[must_use]
    pub fn parse(id: &str) -> Option<Mention> {
        let rest = id.get(1..)?;
        let is_id = (6..=30).contains(&rest.len())
            && rest.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        match id.bytes().next().filter(|_| is_id)? {
            b'U' | b'W' => Some(Mention::User(id.to_owned())),
            b'S' => Some(Mention::Group(id.to_owned())),
            b'C' | b'G' => Some(Mention::Channel(id.to_owned())),
            _ => None,
        }
    }
}

fn word(text: impl Into<String>) -> Piece {
    Piece::Word(text.into())
}

fn value(text: &str) -> Piece {
    Piece::Value(line(text, NAME))
}

/// The one message per incident.
#[must_use]
pub fn card(view: &IncidentView, zone: &TimeZone) -> Message {
    let headline = line(&format!("{} {} {}: {}", mark(view), view.severity, standing(view), view.title), HEADLINE);
    let mut parts = vec![Part::Lines(facts(view, zone)), Part::Lines(alerts(view, zone))];
    parts.extend(annotation(view).map(Part::Sentence));
    let latest = view.steps.iter().rev().take(STEPS_LISTED);
    parts.extend(status_page(view));
    parts.push(Part::Sentence(capital(&line(&view.ladder, SENTENCE))));
    for step in latest {
        parts.extend(step_parts(step, zone));
    }
    let earlier = view.steps.len().saturating_sub(STEPS_LISTED);
    if earlier > 0 {
        parts.push(Part::Small(vec![
            word(format!("… and {earlier} earlier {}: ", plural(earlier, "step", "steps"))),
            value(&format!("nightshift incident {}", view.id)),
        ]));
    }
    parts.push(Part::Buttons(buttons(view)));
    parts.extend(children::children(view, zone));
    parts.extend(evidence(view));
    parts.push(Part::Small(small_print(view)));
    Message { summary: card_summary(view), headline, parts }
}

/// It is a page, and still one: what could not be told before somebody took it, or before it was over, wakes nobody. What
/// went wrong after that does.
#[must_use]
pub fn wakes(view: &IncidentView, note: &Note) -> bool {
    let is_late = |over: Option<Micros>| over.is_some_and(|over| note.at < over);
    let resolved_at = view.resolved_at.filter(|_| view.state == "resolved");
    note.page && !is_late(view.acknowledged_at) && !is_late(resolved_at)
}

/// One line in the incident's thread; a page stands for itself in the channel, too.
#[must_use]
pub fn post(view: &IncidentView, note: &Note, zone: &TimeZone) -> Message {
    let text = line(&note.text, NOTE);
    let mut mentions: Vec<Piece> = Vec::new();
    let called = if note.page && !wakes(view, note) { &[] } else { note.mentions.as_slice() };
    for id in called.iter().take(MENTIONS_LISTED) {
        mentions.push(Mention::parse(id).map_or_else(|| value(id), Piece::Mention));
        mentions.push(word(" "));
    }
    let more = called.len().saturating_sub(MENTIONS_LISTED);
    if more > 0 {
        mentions.push(word(format!("and {more} more ")));
    }
    let mut summary = mentions.clone();
    let mut parts = Vec::new();
    let at = note.at.time_of_day(zone);
    let mut small = vec![word(format!("{at} · "))];
    if view.id == IncidentId::ITSELF {
        small.push(word("nightshift itself"));
    } else {
        small.push(word(format!("incident {}", view.id)));
    }
    let mut headline = String::new();
    if note.page {
        let title = line(&format!("📟 {} {}: {}", view.severity, standing(view), view.title), HEADLINE);
        summary.push(Piece::Value(title.clone()));
        summary.push(word(" – "));
        headline = title;
        if !mentions.is_empty() {
            parts.push(Part::Lines(vec![mentions]));
        }
        if wakes(view, note) && is_free(view) && view.id != IncidentId::ITSELF {
            small.extend([word(" · to take it: "), value(&format!("nightshift ack {}", view.id))]);
        }
        if view.id != IncidentId::ITSELF {
            small.extend([word(" · the whole story: "), value(&format!("nightshift why {}", view.id))]);
        }
    }
    summary.push(Piece::Value(text.clone()));
    parts.push(Part::Sentence(text));
    parts.push(Part::Small(small));
    Message { headline, summary, parts }
}

/// Somebody is wanted who takes it.
fn is_free(view: &IncidentView) -> bool {
    view.state != "resolved" && view.acknowledged_by.is_none()
}

/// Only those that apply now: to take it, to answer what waits, to undo what was done last, and to ask why.
fn buttons(view: &IncidentView) -> Vec<Button> {
    let mut buttons = Vec::new();
    if is_free(view) {
        buttons.push(Button::Acknowledge { incident: view.id });
    }
    buttons.extend(step_buttons(&view.steps));
    if view.public.as_ref().is_some_and(|public| public.waits) {
        buttons.push(Button::Publish { incident: view.id });
    }
    buttons.push(Button::Why { incident: view.id });
    buttons
}

fn step_buttons(steps: &[StepView]) -> Vec<Button> {
    let mut buttons = Vec::new();
    let waits = |step: &&StepView| step.approval_until.is_some();
    if let Some(step) = steps.iter().rev().find(waits) {
        let plan_hash = step.plan_hash.clone();
        buttons.extend(plan_hash.map(|plan_hash| Button::Approve { step: step.id, plan_hash }));
        buttons.push(Button::Reject { step: step.id });
    }
    let undoable = steps.iter().rev().find(|step| step.undo_until.is_some());
    buttons.extend(undoable.map(|step| Button::Undo { step: step.id }));
    buttons
}

fn has_open_children(view: &IncidentView) -> bool {
    view.children.iter().any(|child| child.state != "resolved")
}

/// A child of it fires, whatever it does itself.
fn a_child_fires(view: &IncidentView) -> bool {
    view.children.iter().any(|child| child.state != "resolved" && child.firing > 0)
}

fn mark(view: &IncidentView) -> &'static str {
    match view.state.as_str() {
        "resolved" => "🟢",
        _ if a_child_fires(view) => "🔴",
        _ if view.lost_contact => "⚪",
        "monitoring" => "🟡",
        _ => "🔴",
    }
}

fn standing(view: &IncidentView) -> &'static str {
    match view.state.as_str() {
        "resolved" => "resolved",
        _ if a_child_fires(view) => "firing",
        _ if view.lost_contact => "lost contact",
        "monitoring" => "monitoring",
        _ => "firing",
    }
}

fn facts(view: &IncidentView, zone: &TimeZone) -> Vec<Vec<Piece>> {
    let mut what = vec![Piece::Strong("Incident"), word(format!(" {}", view.id))];
    if let Some(service) = &view.service {
        what.extend([word(" · "), Piece::Strong("service"), word(" "), value(service)]);
    }
    what.extend([word(" · "), Piece::Strong("rule"), word(" "), value(&view.rule)]);
    let mut lines = vec![what, vec![Piece::Strong("Since"), word(format!(" {}", view.opened_at.in_zone(zone)))]];
    if view.state == "resolved" {
        if let Some(at) = view.resolved_at {
            let after = seconds(view.opened_at, at);
            let resolved = format!(" {}, after {after}", at.in_zone(zone));
            lines.push(vec![Piece::Strong("Resolved"), word(resolved)]);
        }
    } else if view.lost_contact {
        lines.push(vec![
            Piece::Strong("Lost contact"),
            word(": nobody confirms its alerts any more. That is not the same as resolved."),
        ]);
    } else if let Some(until) = view.quiet_until.filter(|_| view.state == "monitoring" && !has_open_children(view)) {
        let until = until.time_of_day(zone);
        lines.push(vec![Piece::Strong("Quiet"), word(format!(": resolved at {until} if nothing of it fires again"))]);
    } else if view.state == "monitoring" {
        lines.push(vec![Piece::Strong("Quiet"), word(": resolved when the incidents that belong to it are")]);
    }
    match &view.acknowledged_by {
        Some(by) => lines.push(vec![Piece::Strong("With"), word(" "), value(by)]),
        None if view.state == "resolved" => {}
        None => {
            let command = value(&format!("nightshift ack {}", view.id));
            lines.push(vec![Piece::Strong("Nobody has it"), word(" · to take it: "), command]);
        }
    }
    if view.pages > 0 {
        let paged = format!(" {} {}", view.pages, plural(view.pages as usize, "time", "times"));
        let mut says = vec![Piece::Strong("Paged"), word(paged)];
        // Whom the page itself calls, its own post says.
        if let Some((last, to)) =
            view.calls.last().filter(|call| call.level > 1).and_then(|it| Some((it, it.to.as_ref()?)))
        {
            says.extend([word(" · then called: "), value(to)]);
            says.push(word(format!(" (level {} of {})", last.level, last.levels)));
        }
        lines.push(says);
    }
    if let Some(until) = view.page_held_until {
        let until = until.time_of_day(zone);
        lines.push(vec![
            Piece::Strong("Page held"),
            word(format!(" until {until}: nobody is woken while nightshift acts")),
        ]);
    }
    if let Some(channel) = view.channel.as_ref().and_then(|channel| Mention::parse(&channel.channel)) {
        lines.push(vec![Piece::Strong("Followed"), word(" in "), Piece::Mention(channel)]);
    }
    lines
}

/// What customers read, or would read if somebody said so: then the owner's whole sentence.
fn status_page(view: &IncidentView) -> Vec<Part> {
    let Some(public) = &view.public else { return Vec::new() };
    let mut says = vec![Piece::Strong("Status page"), word(" "), value(&public.component)];
    let (status, shows) = (public.status.word(), public.shows.says());
    if public.waits {
        says.push(word(format!(" · waits to be published as {status}, {shows}: ")));
        says.push(value(&format!("nightshift publish {}", view.id)));
        let title = line(&public.title, HEADLINE);
        return vec![
            Part::Lines(vec![says]),
            Part::Sentence(format!("“{title}: {}”", line(&public.sentence, SENTENCE))),
        ];
    }
    says.push(word(match public.told {
        Some(told) => format!(" · customers read: {}", told.word()),
        None => format!(" · {status}, on its way"),
    }));
    if public.incident != view.id {
        says.push(word(format!(" (with incident {})", public.incident)));
    }
    vec![Part::Lines(vec![says])]
}

/// How many there are, what they have in common, and the first few with what tells them apart.
fn alerts(view: &IncidentView, zone: &TimeZone) -> Vec<Vec<Piece>> {
    let mut counts = vec![Piece::Strong("Firing"), word(format!(" {}", view.firing))];
    for (count, state) in [(view.resolved, "resolved"), (view.lost, "lost")] {
        if count > 0 {
            counts.push(word(format!(" · {state} {count}")));
        }
    }
    let common = common_labels(&view.alerts);
    for label in telling(&common) {
        counts.extend([word(" "), label]);
    }
    let mut lines = vec![counts];
    let mut listed: Vec<&AlertView> = view.alerts.iter().collect();
    listed.sort_by_key(|alert| match alert.state.as_str() {
        "firing" => 0,
        "lost" => 1,
        _ => 2,
    });
    for alert in listed.iter().take(ALERTS_LISTED) {
        let own: BTreeMap<&str, &str> = alert
            .labels
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, value)| common.get(name) != Some(value))
            .collect();
        let state = match alert.state.as_str() {
            "firing" => "firing",
            "lost" => "lost",
            _ => "resolved",
        };
        let mut bullet = vec![word(format!("• {state} since {}", alert.starts_at.time_of_day(zone)))];
        if alert.state != "firing" {
            bullet = vec![word(format!("• {state}"))];
        }
        if alert.doubtful {
            bullet.push(word(" (fired again with the same start)"));
        }
        for label in telling(&own) {
            bullet.extend([word(" "), label]);
        }
        lines.push(bullet);
    }
    let all = u64::from(view.firing) + u64::from(view.resolved) + u64::from(view.lost);
    let more = all.saturating_sub(listed.len().min(ALERTS_LISTED) as u64);
    if more > 0 {
        lines.push(vec![word(format!("… and {more} more"))]);
    }
    lines
}

fn common_labels(alerts: &[AlertView]) -> BTreeMap<&str, &str> {
    let Some((first, others)) = alerts.split_first() else { return BTreeMap::new() };
    first
        .labels
        .iter()
        .filter(|(name, value)| others.iter().all(|other| other.labels.get(*name) == Some(value)))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

fn telling(labels: &BTreeMap<&str, &str>) -> Vec<Piece> {
    let rank = |name: &str| TELLING.iter().position(|telling| *telling == name).unwrap_or(TELLING.len());
    let mut names: Vec<(&str, &str)> =
        labels.iter().map(|(name, value)| (*name, *value)).filter(|(name, _)| !SAID_ALREADY.contains(name)).collect();
    names.sort_by_key(|(name, _)| (rank(name), *name));
    let shown = names.iter().take(LABELS_LISTED).map(|(name, value)| {
        let name = line(name, LABEL / 2);
        Piece::Value(line(&format!("{name}={}", line(value, LABEL)), LABEL))
    });
    shown.collect()
}

/// What the alert's author wrote, where the headline does not say it already.
fn annotation(view: &IncidentView) -> Option<String> {
    let annotations = view.alerts.iter().find(|alert| alert.state == "firing").or(view.alerts.first())?;
    ["description", "summary"]
        .iter()
        .filter_map(|name| annotations.annotations.get(*name))
        .map(|text| line(text, SENTENCE))
        .find(|text| !text.is_empty() && *text != line(&view.title, SENTENCE))
}

fn step_parts(step: &StepView, zone: &TimeZone) -> Vec<Part> {
    let mut what = vec![Piece::Strong("Step"), word(format!(" {} ", step.id)), value(&step.action)];
    let mode = if is_shadow(step) { "shadow" } else { &step.mode };
    what.extend([word(" on "), value(&step.target), word(" · mode "), value(mode)]);
    if step.purpose != "fix" {
        what.extend([word(" · "), value(&step.purpose)]);
    }
    let mut lines = vec![what];
    if let Some(summary) = &step.summary {
        let mut plan = vec![Piece::Strong(tense(step)), word(" "), Piece::Value(line(summary, SUMMARY))];
        if let Some(until) = step.lease_until {
            plan.push(word(format!(" until {}, then it is put back", until.time_of_day(zone))));
        }
        lines.push(plan);
    }
    if let Some(by) = &step.approved_by {
        lines.push(vec![word("Approved by "), value(by)]);
    }
    if let Some(until) = step.undo_until {
        let mut undo = vec![word(format!("Can be undone until {}", until.time_of_day(zone)))];
        if let Some(summary) = &step.undo_summary {
            undo.extend([word(": "), Piece::Value(line(summary, SUMMARY))]);
        }
        lines.push(undo);
    }
    let mut parts = vec![Part::Lines(lines)];
    let says = match step.phase.as_str() {
        // "Helped" is for fixes: an undo is verified when what it undid is gone.
        "verified" if step.purpose != "fix" => "put back, verified".to_owned(),
        _ => line(&step.says, SENTENCE),
    };
    if !says.is_empty() {
        let mark = match step.phase.as_str() {
            "verified" => "✅ ",
            "ineffective" | "failed" | "unknown" => "❌ ",
            "inconclusive" => "❔ ",
            "asking" => "✋ ",
            _ => "",
        };
        parts.push(Part::Sentence(format!("{mark}{}", capital(&says))));
    }
    if !step.commands.is_empty() {
        parts.push(Part::Commands(step.commands.iter().map(|command| line(command, NAME)).collect()));
    }
    parts
}

/// The mode in effect, which may be less than the step's own.
fn is_shadow(step: &StepView) -> bool {
    step.mode == "shadow" || step.reason == Some(Reason::Shadow)
}

fn tense(step: &StepView) -> &'static str {
    match step.phase.as_str() {
        _ if is_shadow(step) => "Would do",
        "acting" | "read_back" => "Doing",
        "failed" | "unknown" => "Tried",
        "verifying" | "verified" | "ineffective" | "inconclusive" => "Did",
        "dropped" => "Wanted",
        _ => "Wants",
    }
}

fn evidence(view: &IncidentView) -> Option<Part> {
    if view.evidence.is_empty() {
        return None;
    }
    let mut lines = vec![vec![Piece::Strong("Evidence")]];
    for found in view.evidence.iter().take(EVIDENCE_LISTED) {
        let summary = Piece::Value(line(&found.summary, SUMMARY));
        lines.push(vec![word("• "), value(&found.collector), word(" "), value(&found.target), word(" "), summary]);
    }
    let more = view.evidence.len().saturating_sub(EVIDENCE_LISTED);
    if more > 0 {
        lines.push(vec![word(format!("… and {more} more"))]);
    }
    Some(Part::Lines(lines))
}

fn small_print(view: &IncidentView) -> Vec<Piece> {
    let mut small = vec![word("Why: "), value(&format!("nightshift why {}", view.id))];
    let runbook = view.runbook.as_deref().and_then(safe_url);
    let source = view.alerts.iter().find_map(|alert| safe_url(&alert.url));
    let pagerduty = view.pagerduty.iter().find_map(|known| safe_url(&known.url));
    for (words, url) in [("Runbook", runbook), ("Dashboard", source), ("PagerDuty", pagerduty)] {
        if let Some(url) = url {
            small.extend([word(" · "), Piece::Link { words, url }]);
        }
    }
    small
}

fn card_summary(view: &IncidentView) -> Vec<Piece> {
    let mut summary =
        vec![Piece::Value(line(&format!("{} {}: {}", view.severity, standing(view), view.title), HEADLINE))];
    if let Some(step) = view.steps.last() {
        let says = match &step.summary {
            Some(plan) => format!("{}: {}", line(plan, SUMMARY), step.says),
            None => step.says.clone(),
        };
        summary.extend([word(" – "), Piece::Value(line(&says, SENTENCE))]);
    }
    summary
}

/// An address that may be clicked: http or https, a host, nobody's name in it, nothing that ends a link.
#[must_use]
pub fn safe_url(text: &str) -> Option<String> {
    if text.len() > URL || text.chars().any(char::is_control) {
        return None;
    }
    let url = reqwest::Url::parse(text).ok()?;
    let is_plain = matches!(url.scheme(), "http" | "https")
        && url.host_str().is_some_and(|host| !host.is_empty())
        && url.username().is_empty()
        && url.password().is_none();
    let encoded = url.as_str().replace('|', "%7C").replace('<', "%3C").replace('>', "%3E").replace('`', "%60");
    (is_plain && encoded.len() <= URL && encoded.bytes().all(|byte| byte.is_ascii_graphic())).then_some(encoded)
}

fn seconds(from: Micros, to: Micros) -> crate::model::time::Span {
    crate::model::time::Span::seconds((to - from).0.max(0) / 1_000_000)
}

fn plural(count: usize, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}

/// A sentence's first letter; our own name stays small.
fn capital(text: &str) -> String {
    if text.starts_with("nightshift") {
        return text.to_owned();
    }
    let mut rest = text.chars();
    rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
