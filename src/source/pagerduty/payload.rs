//! A V3 webhook's body: one event, as news. Pure: bytes in, news or a reason out.
//!
//! PagerDuty signed it, so what can't be read is a form that is not known here: it is answered 2xx and left out. Refusing
//! three in a row would make PagerDuty stop sending for a day. Text is kept as it came: display is what strips it.

use crate::{
    model::{
        alert::{Alert, Labels, Source, Status},
        id::Fingerprint,
        peer::{PeerEvent, PeerIncident, PeerNews},
        time::Micros,
    },
    telemetry::text::shortened,
};
use serde_json::Value;

/// Characters of an id; real ones have a few dozen.
const ID: usize = 128;
/// ... of a label's value, and of a person's name.
const LABEL: usize = 1000;
const NAME: usize = 80;
/// ... of what somebody noted.
const NOTED: usize = 1000;
/// Names of those whom an incident goes to.
const NAMED: usize = 5;

/// What a body says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    News(Box<PeerNews>),
    /// `pagey.ping`, and events that change nothing here.
    Nothing,
}

/// A body of a form that is not known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotRead {
    #[error("it is no JSON")]
    Json,
    #[error("it lacks `{0}`, or has it in a form that is not known here")]
    Lacks(&'static str),
}

/// Reads a body. `webhook_id`: the header's; `sender`: for the journal.
pub fn read(body: &[u8], webhook_id: Option<&str>, sender: &str, received_at: Micros) -> Result<Read, NotRead> {
    let body: Value = serde_json::from_slice(body).map_err(|_| NotRead::Json)?;
    let event = body.get("event").filter(|event| event.is_object()).ok_or(NotRead::Lacks("event"))?;
    let kind = text(event, "event_type").ok_or(NotRead::Lacks("event.event_type"))?;
    let Some(word) = kind.strip_prefix("incident.") else { return Ok(Read::Nothing) };
    let data = event.get("data").filter(|data| data.is_object());
    let Some(what) = what_happened(word, data.unwrap_or(&Value::Null)) else { return Ok(Read::Nothing) };
    let data = data.ok_or(NotRead::Lacks("event.data"))?;
    let id = id(event, "id").ok_or(NotRead::Lacks("event.id"))?;
    let occurred_at = time(event, "occurred_at").ok_or(NotRead::Lacks("event.occurred_at"))?.min(received_at);
    let is_incident = text(data, "type") == Some("incident");
    // Of a note, a status update or a responder, the id is the thing's own.
    let of = if is_incident { Some(data) } else { data.get("incident") };
    let of = of.filter(|of| of.is_object()).ok_or(NotRead::Lacks("event.data.incident"))?;
    let peer = self::id(of, "id").ok_or(NotRead::Lacks("the incident's id"))?;
    let mut ids = vec![format!("event {id}")];
    ids.extend(webhook_id.filter(|id| is_id(id)).map(|id| format!("webhook {id}")));
    let alert = if is_incident { alert(data, peer, &what, occurred_at, sender) } else { None };
    Ok(Read::News(Box::new(PeerNews {
        ids,
        event: what,
        occurred_at,
        received_at,
        by: event.get("agent").and_then(person),
        incident: PeerIncident {
            id: peer.to_owned(),
            number: of.get("number").and_then(Value::as_u64),
            url: text(of, "html_url").map(|url| bounded(url, LABEL)).unwrap_or_default(),
            keys: text(of, "incident_key").filter(|key| key.len() <= 255).map(str::to_owned).into_iter().collect(),
            acknowledged: is_incident && text(data, "status") == Some("acknowledged"),
        },
        alert: alert.map(Box::new),
        asked: None,
    })))
}

/// None: it changes nothing here.
fn what_happened(word: &str, data: &Value) -> Option<PeerEvent> {
    let to = || {
        let assignees = data.get("assignees").and_then(Value::as_array).into_iter().flatten();
        let names: Vec<String> = assignees.filter_map(summary).take(NAMED).collect();
        match names.is_empty() {
            true => data.get("escalation_policy").and_then(summary).unwrap_or_default(),
            false => names.join(", "),
        }
    };
    Some(match word {
        "triggered" => PeerEvent::Triggered,
        "acknowledged" => PeerEvent::Acknowledged,
        "unacknowledged" => PeerEvent::Unacknowledged,
        "resolved" => PeerEvent::Resolved,
        "reopened" => PeerEvent::Reopened,
        "reassigned" => PeerEvent::Reassigned { to: to() },
        "escalated" => PeerEvent::Escalated { to: to() },
        "delegated" => {
            let policy = data.get("escalation_policy").and_then(summary);
            PeerEvent::Delegated { to: policy.unwrap_or_else(to) }
        }
        "annotated" => PeerEvent::Annotated { text: bounded(text(data, "content").unwrap_or_default(), NOTED) },
        "priority_updated" => {
            PeerEvent::PriorityUpdated { to: data.get("priority").and_then(summary).unwrap_or_default() }
        }
        _ => return None,
    })
}

/// The incident as an alert. None: the event is not about it as it stands, or it does not say enough.
fn alert(data: &Value, peer: &str, event: &PeerEvent, occurred_at: Micros, sender: &str) -> Option<Alert> {
    let fires = match (event, text(data, "status")) {
        (PeerEvent::Resolved, _) => false,
        (_, Some("triggered" | "acknowledged") | None) => true,
        _ => return None,
    };
    let created_at = time(data, "created_at").unwrap_or(occurred_at);
    // Open again, it is another firing.
    let starts_at = if *event == PeerEvent::Reopened { occurred_at } else { created_at.min(occurred_at) };
    let part = |name: &str| data.get(name).filter(|part| part.is_object());
    let title = text(data, "title").or_else(|| text(data, "summary")).unwrap_or_default();
    let mut labels = Labels::from([("source".to_owned(), Source::PagerDuty.word().to_owned())]);
    let mut label = |name: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            labels.insert(name.to_owned(), bounded(value, LABEL));
        }
    };
    label("service", part("service").and_then(|service| text(service, "summary")));
    label("service_id", part("service").and_then(|service| text(service, "id")));
    label("urgency", text(data, "urgency"));
    label("priority", part("priority").and_then(|priority| text(priority, "summary")));
    label("title", Some(title));
    let annotations =
        if title.is_empty() { Labels::new() } else { [("summary".to_owned(), bounded(title, LABEL))].into() };
    Some(Alert {
        source: Source::PagerDuty,
        sender: sender.to_owned(),
        fingerprint: Fingerprint::new(peer),
        status: if fires { Status::Firing } else { Status::Resolved },
        starts_at,
        // A resolve that is no later than the start would be one of an older firing.
        ends_at: (!fires).then(|| occurred_at.max(Micros(starts_at.0.saturating_add(1)))),
        labels,
        annotations,
        url: text(data, "html_url").map(|url| bounded(url, LABEL)).unwrap_or_default(),
        group_key: String::new(),
        // Its last confirmation, however long the webhook was under way.
        received_at: occurred_at,
    })
}

/// A user's name. None: a service did it.
fn person(agent: &Value) -> Option<String> {
    let is_user = text(agent, "type").is_some_and(|kind| kind == "user" || kind == "user_reference");
    let name = text(agent, "summary").or_else(|| text(agent, "id")).filter(|_| is_user)?;
    Some(shortened(name, NAME))
}

fn summary(of: &Value) -> Option<String> {
    text(of, "summary").or_else(|| text(of, "name")).or_else(|| text(of, "id")).map(|name| shortened(name, NAME))
}

fn text<'a>(from: &'a Value, name: &str) -> Option<&'a str> {
    from.get(name)?.as_str()
}

fn id<'a>(from: &'a Value, name: &str) -> Option<&'a str> {
    text(from, name).filter(|id| is_id(id))
}

/// It goes into paths and logs.
fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= ID
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn time(from: &Value, name: &str) -> Option<Micros> {
    text(from, name).filter(|text| text.len() <= 64).and_then(|text| Micros::parse(text).ok())
}

fn bounded(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

#[cfg(test)]
#[path = "payload_tests.rs"]
mod tests;
