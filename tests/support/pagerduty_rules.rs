//! What PagerDuty's Events API v2 refuses, as its schema and documentation have it, and what it takes but would be a
//! mistake of ours. The stand-in answers 400 and notes why.

use serde_json::Value;

const FIELDS: &[&str] =
    &["routing_key", "event_action", "dedup_key", "payload", "images", "links", "client", "client_url"];
const PAYLOAD: &[&str] =
    &["summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details"];

/// What is wrong with an event; nothing, where it is right.
pub fn check_event(event: &Value, size: usize) -> Vec<String> {
    let mut wrong = Vec::new();
    let Some(fields) = event.as_object() else { return vec!["Event object is invalid: not an object".to_owned()] };
    wrong.extend(fields.keys().filter(|name| !FIELDS.contains(&name.as_str())).map(|name| format!("unknown `{name}`")));
    if size > 512 * 1024 {
        wrong.push("the event is larger than 512 KB".to_owned());
    }
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let key = text("routing_key");
    if key.len() != 32 || !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        wrong.push("'routing_key' has 32 letters and digits".to_owned());
    }
    let dedup_key = text("dedup_key");
    if dedup_key.chars().count() > 255 {
        wrong.push("'dedup_key' has at most 255 characters".to_owned());
    }
    match text("event_action") {
        "trigger" => check_payload(&event["payload"], &mut wrong),
        "acknowledge" | "resolve" if dedup_key.is_empty() => wrong.push("'dedup_key' is missing".to_owned()),
        "acknowledge" | "resolve" => {}
        other => wrong.push(format!("'event_action' may not be {other:?}")),
    }
    // Without one every trigger is another incident: PagerDuty would take it.
    if dedup_key.is_empty() {
        wrong.push("a trigger of ours has a 'dedup_key'".to_owned());
    }
    for link in list(&event["links"]) {
        let href = link["href"].as_str().unwrap_or_default();
        if !href.starts_with("https://") && !href.starts_with("http://") {
            wrong.push(format!("a link to {href:?}"));
        }
        if link["text"].as_str().is_none_or(str::is_empty) {
            wrong.push("a link without 'text'".to_owned());
        }
    }
    for image in list(&event["images"]) {
        if !image["src"].as_str().is_some_and(|src| src.starts_with("https://")) {
            wrong.push("an image's 'src' is https".to_owned());
        }
    }
    wrong
}

fn check_payload(payload: &Value, wrong: &mut Vec<String>) {
    let Some(fields) = payload.as_object() else { return wrong.push("'payload' is missing".to_owned()) };
    wrong
        .extend(fields.keys().filter(|name| !PAYLOAD.contains(&name.as_str())).map(|name| format!("unknown `{name}`")));
    let text = |name: &str| payload[name].as_str().unwrap_or_default();
    for name in ["summary", "source"] {
        if text(name).is_empty() || text(name).chars().count() > 1024 {
            wrong.push(format!("'payload.{name}' has 1 to 1024 characters"));
        }
    }
    if !["critical", "error", "warning", "info"].contains(&text("severity")) {
        wrong.push(format!("'payload.severity' may not be {}", payload["severity"]));
    }
    if !payload["timestamp"].is_null() && text("timestamp").parse::<jiff::Timestamp>().is_err() {
        wrong.push(format!("'payload.timestamp' may not be {}", payload["timestamp"]));
    }
    if !payload["custom_details"].is_null() && !payload["custom_details"].is_object() {
        wrong.push("'payload.custom_details' is an object".to_owned());
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[test]
fn the_rules_know_right_from_wrong() {
    use serde_json::json;
    let right = json!({
        "routing_key": "0123456789abcdef0123456789abcdef", "event_action": "trigger", "dedup_key": "a",
        "payload": {"summary": "s", "source": "h", "severity": "error", "timestamp": "2026-03-01T02:14:00Z"},
        "links": [{"href": "https://a.example", "text": "a"}],
    });
    assert_eq!(check_event(&right, 100), Vec::<String>::new());
    for (path, value) in [
        ("/routing_key", json!("short")),
        ("/event_action", json!("warn")),
        ("/event_action", json!("resolved")),
        ("/dedup_key", json!("")),
        ("/dedup_key", json!("x".repeat(256))),
        ("/payload", json!(null)),
        ("/payload/summary", json!("")),
        ("/payload/summary", json!("x".repeat(1025))),
        ("/payload/source", json!(null)),
        ("/payload/severity", json!("fatal")),
        ("/payload/timestamp", json!("yesterday")),
        ("/links/0/href", json!("javascript:alert(1)")),
        ("/links/0/text", json!("")),
    ] {
        let mut wrong = right.clone();
        *wrong.pointer_mut(path).unwrap() = value;
        assert!(!check_event(&wrong, 100).is_empty(), "{path}");
    }
    let mut acknowledge = json!({"routing_key": right["routing_key"], "event_action": "acknowledge", "dedup_key": "a"});
    assert!(check_event(&acknowledge, 100).is_empty());
    acknowledge["dedup_key"] = json!(null);
    assert!(!check_event(&acknowledge, 100).is_empty());
    assert!(!check_event(&right, 513 * 1024).is_empty());
}
