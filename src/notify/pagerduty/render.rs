//! What a page says: what fires, why people are woken, what was done, and where to look. The same view gives the same.
//!
//! Labels and annotations are data: one line each, bounded, without what steers or hides. Links are checked addresses.

use crate::{
    decide::pages::PageWish,
    model::{id::IncidentId, view::IncidentView},
    notify::{message::safe_url, plain::line},
};
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

/// PagerDuty's limit, in characters.
const SUMMARY: usize = 1024;
const SENTENCE: usize = 500;
const NAME: usize = 100;
const LABEL: usize = 200;
/// Alerts, labels of each, steps and pieces of evidence that are listed.
const ALERTS: usize = 10;
const LABELS: usize = 30;
const STEPS: usize = 10;
const EVIDENCE: usize = 10;
/// PagerDuty's severities, most severe first.
const SEVERITIES: [&str; 4] = ["critical", "error", "warning", "info"];

/// The event that wakes people; without the service's key.
pub fn trigger(page: &PageWish, view: &IncidentView, zone: &TimeZone) -> Value {
    let itself = view.id == IncidentId::ITSELF;
    let summary = if itself {
        format!("nightshift itself: {}", page.why)
    } else {
        match &view.service {
            Some(service) => format!("{} {service}: {}", view.severity, view.title),
            None => format!("{}: {}", view.severity, view.title),
        }
    };
    let mut payload = json!({
        "summary": line(&summary, SUMMARY),
        "source": source(view),
        "severity": severity(view),
        "timestamp": page.at.rfc3339_seconds(),
        "class": if itself { "nightshift".to_owned() } else { line(&view.rule, NAME) },
        "custom_details": if itself { details_of_itself(page) } else { details(page, view, zone) },
    });
    if let (Some(service), Some(fields)) = (&view.service, payload.as_object_mut()) {
        fields.insert("component".to_owned(), line(service, NAME).into());
    }
    json!({
        "event_action": "trigger",
        "dedup_key": page.dedup_key,
        "client": "nightshift",
        "payload": payload,
        "links": links(view),
    })
}

/// By rank: as many names as the rules have are spread over PagerDuty's four.
fn severity(view: &IncidentView) -> &'static str {
    // nightshift's own trouble has no severity of its own.
    let rank = if view.id == IncidentId::ITSELF { 0 } else { u64::from(view.rank) };
    let place = rank * 4 / u64::from(view.ranks.max(1));
    let place = usize::try_from(place).unwrap_or(usize::MAX);
    SEVERITIES.get(place).copied().unwrap_or("info")
}

/// Where it is: the object, as far as it is known. Never empty, or PagerDuty would not take the page.
fn source(view: &IncidentView) -> String {
    let target = view.steps.last().map(|step| &step.target);
    let named = |label: &&str| view.alerts.iter().find_map(|alert| alert.labels.get(*label));
    let labels = ["instance", "deployment", "pod", "cluster", "namespace"];
    let known = target.into_iter().chain(labels.iter().filter_map(named)).chain(&view.service);
    let shown = known.map(|source| line(source, NAME)).find(|source| !source.is_empty());
    shown.unwrap_or_else(|| "nightshift".to_owned())
}

fn details(page: &PageWish, view: &IncidentView, zone: &TimeZone) -> Value {
    let mut alerts: Vec<_> = view.alerts.iter().collect();
    alerts.sort_by_key(|alert| alert.state != "firing");
    let fires: Vec<Value> = alerts
        .iter()
        .take(ALERTS)
        .map(|alert| {
            let shown = alert.labels.iter().take(LABELS);
            let labels: Map<String, Value> =
                shown.map(|(name, value)| (line(name, NAME), line(value, LABEL).into())).collect();
            let words = alert.annotations.get("description").or_else(|| alert.annotations.get("summary"));
            json!({
                "state": line(&alert.state, NAME),
                "since": alert.starts_at.in_zone(zone),
                "labels": labels,
                "says": line(words.map_or("", String::as_str), SENTENCE),
            })
        })
        .collect();
    let done: Vec<String> = view
        .steps
        .iter()
        .rev()
        .take(STEPS)
        .rev()
        .map(|step| {
            let plan = step.summary.as_deref().or(step.wants.as_deref()).unwrap_or_default();
            let text = format!("{} {} on {} {plan} ({}): {}", step.id, step.action, step.target, step.mode, step.says);
            line(&text, SENTENCE)
        })
        .collect();
    let evidence: Vec<String> = view
        .evidence
        .iter()
        .take(EVIDENCE)
        .map(|found| line(&format!("{} {}: {}", found.collector, found.target, found.summary), SENTENCE))
        .collect();
    json!({
        "why": line(&page.why, SENTENCE),
        "incident": view.id.to_string(),
        "rule": line(&view.rule, NAME),
        "since": view.opened_at.in_zone(zone),
        "firing": view.firing,
        "fires": fires,
        "remediation": line(&view.ladder, SENTENCE),
        "done": done,
        "evidence": evidence,
        "to take it": format!("acknowledge here, or: nightshift ack {}", view.id),
        "the whole story": format!("nightshift why {}", view.id),
    })
}

fn details_of_itself(page: &PageWish) -> Value {
    json!({
        "why": line(&page.why, SENTENCE),
        "what now": "nightshift does not close this by itself: resolve it here once it is looked after.",
    })
}

/// The runbook, the alert's own page, the incident's message in Slack.
fn links(view: &IncidentView) -> Vec<Value> {
    let runbook = view.runbook.as_deref().and_then(safe_url);
    let source = view.alerts.iter().find_map(|alert| safe_url(&alert.url));
    let slack = view.posted.as_ref().and_then(|posted| {
        let is_word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let time: String = posted.ts.chars().filter(|letter| *letter != '.').collect();
        let is_known = is_word(&posted.channel) && is_word(&time);
        is_known.then(|| format!("https://slack.com/archives/{}/p{time}", posted.channel))
    });
    let named = [("Runbook", runbook), ("Source", source), ("Slack", slack)];
    named.into_iter().filter_map(|(text, href)| Some(json!({"href": href?, "text": text}))).collect()
}
