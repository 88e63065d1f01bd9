use super::*;
use crate::model::time::Span;
use proptest::prelude::*;
use serde_json::{Value, json};

fn at(text: &str) -> Micros {
    Micros::parse(text).unwrap()
}

fn received() -> Micros {
    at("2020-10-02T18:45:25Z")
}

fn reference(id: &str, kind: &str, summary: &str) -> Value {
    let path = format!("{kind}s/{id}");
    json!({"html_url": format!("https://acme.pagerduty.com/{path}"), "id": id,
           "self": format!("https://api.pagerduty.com/{path}"), "summary": summary, "type": format!("{kind}_reference")})
}

/// `data` of an event about an incident, as PagerDuty's documentation shows it.
fn incident(status: &str) -> Value {
    json!({
        "id": "PGR0VU2", "type": "incident", "self": "https://api.pagerduty.com/incidents/PGR0VU2",
        "html_url": "https://acme.pagerduty.com/incidents/PGR0VU2", "number": 2, "status": status,
        "incident_key": "d3640fbd41094207a1c11e58e46b1662", "created_at": "2020-10-02T18:45:20Z",
        "title": "A little bump in the road", "service": reference("PF9KMXH", "service", "API Service"),
        "assignees": [reference("PTUXL6G", "user", "User 123"), reference("PTUXL6H", "user", "User 124")],
        "escalation_policy": reference("PUS0KTE", "escalation_policy", "Default"),
        "teams": [reference("PFCVPS0", "team", "Engineering")],
        "priority": reference("PSO75BM", "priority", "P1"), "urgency": "high",
        "conference_bridge": {"conference_number": 1_234_123_412_i64, "conference_url": "https://example.com"},
        "resolve_reason": null
    })
}

fn event(kind: &str, agent: Value, data: Value) -> Value {
    json!({"event": {"id": "01BYZ6M2JLA44C7E1Z2KYQ9HW8", "event_type": kind, "resource_type": "incident",
                     "occurred_at": "2020-10-02T18:45:22.169Z", "agent": agent, "client": {"name": "PagerDuty"},
                     "data": data}})
}

fn ana() -> Value {
    reference("PLH1HKV", "user", "Ana Example")
}

fn read_of(body: &Value) -> Result<Read, NotRead> {
    read(body.to_string().as_bytes(), Some("cc7dc2f8-2bb6"), "192.0.2.1", received())
}

fn news(body: &Value) -> PeerNews {
    match read_of(body) {
        Ok(Read::News(news)) => *news,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_triggered_incident_is_an_alert_with_what_rules_look_at() {
    let integration = reference("PXPGF42", "service_integration", "Events API V2");
    let news = news(&event("incident.triggered", integration, incident("triggered")));
    assert_eq!(news.ids, ["event 01BYZ6M2JLA44C7E1Z2KYQ9HW8", "webhook cc7dc2f8-2bb6"]);
    assert_eq!((news.event, news.by), (PeerEvent::Triggered, None));
    assert_eq!(news.incident.keys, ["d3640fbd41094207a1c11e58e46b1662"]);
    assert_eq!((news.incident.id.as_str(), news.incident.number), ("PGR0VU2", Some(2)));
    let alert = news.alert.unwrap();
    let labels: Vec<(&str, &str)> = alert.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        labels,
        [
            ("priority", "P1"),
            ("service", "API Service"),
            ("service_id", "PF9KMXH"),
            ("source", "pagerduty"),
            ("title", "A little bump in the road"),
            ("urgency", "high"),
        ]
    );
    assert_eq!((alert.fingerprint.to_string().as_str(), alert.status), ("PGR0VU2", Status::Firing));
    assert_eq!(alert.starts_at, at("2020-10-02T18:45:20Z"));
    assert_eq!(alert.received_at, at("2020-10-02T18:45:22.169Z"), "confirmed when it happened, not when it came");
}

#[test]
fn every_event_of_an_incident_is_what_it_says() {
    let named = |to: &str| to.to_owned();
    for (kind, status, what, fires) in [
        ("acknowledged", "acknowledged", PeerEvent::Acknowledged, Some(true)),
        ("unacknowledged", "triggered", PeerEvent::Unacknowledged, Some(true)),
        ("resolved", "resolved", PeerEvent::Resolved, Some(false)),
        ("reopened", "triggered", PeerEvent::Reopened, Some(true)),
        ("reassigned", "triggered", PeerEvent::Reassigned { to: named("User 123, User 124") }, Some(true)),
        ("escalated", "triggered", PeerEvent::Escalated { to: named("User 123, User 124") }, Some(true)),
        ("delegated", "triggered", PeerEvent::Delegated { to: named("Default") }, Some(true)),
        ("priority_updated", "triggered", PeerEvent::PriorityUpdated { to: named("P1") }, Some(true)),
        ("priority_updated", "resolved", PeerEvent::PriorityUpdated { to: named("P1") }, None),
    ] {
        let news = news(&event(&format!("incident.{kind}"), ana(), incident(status)));
        assert_eq!((news.event.word(), &news.event), (kind, &what));
        assert_eq!(news.by.as_deref(), Some("Ana Example"));
        assert_eq!(news.alert.map(|alert| alert.status == Status::Firing), fires, "{kind} {status}");
    }
}

#[test]
fn a_notes_id_is_not_its_incidents() {
    let note = json!({"incident": reference("PGR0VU2", "incident", "A little bump"), "id": "P1LA55H",
                      "content": "looking at it", "trimmed": false, "type": "incident_note"});
    let news = news(&event("incident.annotated", ana(), note));
    assert_eq!((news.incident.id.as_str(), news.alert), ("PGR0VU2", None));
    assert_eq!(news.event, PeerEvent::Annotated { text: "looking at it".to_owned() });
}

#[test]
fn what_changes_nothing_here_is_taken_and_left_out() {
    let other = |kind: &str, data: Value| read_of(&event(kind, Value::Null, data));
    for kind in [
        "incident.conference_bridge.updated",
        "incident.custom_field_values.updated",
        "incident.incident_type.changed",
        "incident.responder.added",
        "incident.responder.replied",
        "incident.role.assigned",
        "incident.service_updated",
        "incident.status_update_published",
        "incident.task.created",
        "incident.action_invocation.created",
        "incident.workflow.started",
        "incident.something_new",
        "service.created",
        "service.custom_field_values.updated",
        "satellite.fell",
        "",
    ] {
        for data in [incident("triggered"), json!({"type": "workflow_instance"}), Value::Null, json!([1])] {
            assert_eq!(other(kind, data), Ok(Read::Nothing), "{kind}");
        }
    }
    let ping = json!({"event": {"id": "01", "event_type": "pagey.ping", "resource_type": "pagey",
        "occurred_at": "2020-10-02T18:45:22.169Z", "agent": null, "client": null,
        "data": {"message": "Hello from your friend Pagey!", "type": "ping"}}});
    assert_eq!(read_of(&ping), Ok(Read::Nothing));
}

#[test]
fn what_is_missing_or_odd_is_said() {
    assert_eq!(read(b"{", None, "s", received()), Err(NotRead::Json));
    assert_eq!(read(b"\xff\xfe", None, "s", received()), Err(NotRead::Json));
    assert_eq!(read_of(&json!({})), Err(NotRead::Lacks("event")));
    assert_eq!(read_of(&json!({"event": {}})), Err(NotRead::Lacks("event.event_type")));
    let whole = event("incident.triggered", Value::Null, incident("triggered"));
    for (path, value) in [
        ("/event/id", json!(7)),
        ("/event/id", json!("")),
        ("/event/id", json!("../../etc")),
        ("/event/id", json!("x".repeat(200))),
        ("/event/occurred_at", json!("yesterday")),
        ("/event/data", json!("P1")),
        ("/event/data/id", json!("a/b")),
        ("/event/data/id", Value::Null),
        ("/event/data/type", json!("incident_note")),
    ] {
        let mut odd = whole.clone();
        *odd.pointer_mut(path).unwrap() = value.clone();
        assert!(matches!(read_of(&odd), Err(NotRead::Lacks(_))), "{path} {value}");
    }
}

#[test]
fn what_may_be_missing_may_be_missing() {
    for part in
        ["service", "priority", "urgency", "title", "status", "number", "incident_key", "created_at", "html_url"]
    {
        for value in [None, Some(Value::Null), Some(json!(7)), Some(json!([]))] {
            let mut data = incident("triggered");
            match value {
                None => drop(data.as_object_mut().unwrap().remove(part)),
                Some(value) => data[part] = value,
            }
            let news = news(&event("incident.triggered", Value::Null, data));
            assert!(news.alert.is_some(), "{part}");
        }
    }
    let news = read(
        event("incident.triggered", Value::Null, incident("triggered")).to_string().as_bytes(),
        None,
        "s",
        received(),
    );
    let Ok(Read::News(news)) = news else { panic!() };
    assert_eq!(news.ids.len(), 1);
}

#[test]
fn a_resolve_is_later_than_what_it_resolves_and_a_reopened_one_is_another_firing() {
    let mut data = incident("resolved");
    data["created_at"] = json!("2020-10-02T18:45:22.169Z");
    let resolved = news(&event("incident.resolved", ana(), data)).alert.unwrap();
    assert!(resolved.ends_at.unwrap() > resolved.starts_at);
    let reopened = news(&event("incident.reopened", ana(), incident("triggered"))).alert.unwrap();
    assert_eq!(reopened.starts_at, at("2020-10-02T18:45:22.169Z"));
    // Their clock may be ahead of ours.
    let body = event("incident.triggered", Value::Null, incident("triggered")).to_string();
    let early = received() - Span::minutes(5);
    let Ok(Read::News(ahead)) = read(body.as_bytes(), None, "s", early) else { panic!() };
    assert_eq!((ahead.occurred_at, ahead.alert.unwrap().starts_at), (early, early));
}

/// A copy with one value replaced, or one member taken out, somewhere.
fn mutated(value: &Value, mut place: usize, with: &Value) -> Value {
    fn change(value: &mut Value, place: &mut usize, with: &Value) -> bool {
        if *place == 0 {
            *value = with.clone();
            return true;
        }
        *place -= 1;
        match value {
            Value::Array(list) => list.iter_mut().any(|one| change(one, place, with)),
            Value::Object(map) => map.values_mut().any(|one| change(one, place, with)),
            _ => false,
        }
    }
    let mut copy = value.clone();
    change(&mut copy, &mut place, with);
    copy
}

proptest! {
    #[test]
    fn no_body_is_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes, None, "s", received());
    }

    #[test]
    fn no_mutation_of_a_body_is_too_odd_and_what_is_read_is_bounded(
        kind in prop::sample::select(vec!["triggered", "resolved", "annotated", "escalated", "priority_updated", "reopened"]),
        place in 0_usize..90,
        with in prop::sample::select(vec![
            json!(null), json!(true), json!(-1), json!(1e300), json!(""), json!("x".repeat(5000)), json!([]), json!({}),
            json!("\u{202e}\u{1b}[31m<!channel>"), json!("9999-12-31T23:59:59Z"), json!("-009999-01-01T00:00:00Z"),
        ]),
    ) {
        let body = event(&format!("incident.{kind}"), ana(), incident("triggered"));
        if let Ok(Read::News(news)) = read_of(&mutated(&body, place, &with)) {
            prop_assert!(news.occurred_at <= received());
            prop_assert!(news.incident.id.len() <= 128 && news.by.is_none_or(|by| by.chars().count() <= 80));
            if let Some(alert) = news.alert {
                prop_assert!(alert.labels.values().all(|value| value.chars().count() <= 1000));
                prop_assert!(alert.ends_at.is_none_or(|end| end > alert.starts_at));
            }
        }
    }
}

#[test]
fn that_somebody_has_it_already_is_read_of_whatever_happened() {
    let told = |status| news(&event("incident.priority_updated", ana(), incident(status))).incident.acknowledged;
    assert_eq!((told("triggered"), told("acknowledged"), told("resolved")), (false, true, false));
}
