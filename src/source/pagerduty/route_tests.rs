use super::*;
use crate::{
    engine::testing::{Bench, MORNING, policy, rule, telling},
    http::{limits::InFlight, senders::SenderLimiter},
    model::{id::IncidentId, mode::Mode, plan::hex, time::Span},
    telemetry::metrics::Words,
};
use axum::http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::num::NonZeroU32;
use tower::ServiceExt;

const SECRET: &str = "of-the-subscription";

fn keys(secret: &str) -> SigningKeys {
    SigningKeys::new(&[secret.into()])
}

fn route(engine: EngineHandle) -> PagerDutyRoute {
    let many = NonZeroU32::new(1000).unwrap();
    let intake = Intake {
        senders: Arc::new(SenderLimiter::new(many, many, 10)),
        in_flight: InFlight::new(1 << 20),
        max_body: 64 * 1024,
    };
    let metrics = Metrics::new("0", MORNING, Words::default());
    PagerDutyRoute { intake, keys: Arc::new(Reloadable::new(keys(SECRET))), engine, metrics }
}

fn triggered(event: &str) -> Value {
    json!({"event": {"id": event, "event_type": "incident.triggered", "resource_type": "incident",
        "occurred_at": MORNING.rfc3339_seconds(), "agent": null, "client": null,
        "data": {"id": "PGR0VU2", "type": "incident", "number": 2, "status": "triggered", "title": "Slow",
                 "created_at": MORNING.rfc3339_seconds(), "urgency": "high"}}})
}

async fn post_signed(route: &PagerDutyRoute, body: String, secret: &str, webhook: &str) -> (StatusCode, String) {
    let signature = hex(&keys(secret).sign(&[body.as_bytes()]).unwrap());
    let mut request = Request::post(PATH)
        .header("x-pagerduty-signature", format!("v1={signature}"))
        .header("x-webhook-id", webhook)
        .body(Body::from(body))
        .unwrap();
    request.extensions_mut().insert(Peer { address: "127.0.0.1:5000".parse().unwrap(), certificate: None });
    let answer = crate::source::listener(routes(route.clone())).oneshot(request).await.unwrap();
    let status = answer.status();
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(text.to_vec()).unwrap())
}

fn counted(route: &PagerDutyRoute, answer: &str, count: u32) -> bool {
    let series = format!(r#"nightshift_webhooks_total{{source="pagerduty",answer="{answer}"}} {count}"#);
    route.metrics.encode().lines().any(|line| line == series)
}

#[tokio::test]
async fn news_are_taken_once_by_either_id() {
    let bench = Bench::with(telling()).await;
    let route = route(bench.handle.clone());
    for (event, webhook) in [("E1", "W1"), ("E1", "W1"), ("E1", "W2"), ("E2", "W1")] {
        let answer = post_signed(&route, triggered(event).to_string(), SECRET, webhook).await;
        assert_eq!(answer, (StatusCode::ACCEPTED, "ok\n".to_owned()));
    }
    let rows = bench.rows().await;
    assert_eq!(rows.iter().filter(|row| row.cause == "peer").count(), 1);
    assert!(counted(&route, "accepted", 4));
}

#[tokio::test]
async fn a_wrong_signature_is_401_and_changes_nothing() {
    let bench = Bench::with(telling()).await;
    let route = route(bench.handle.clone());
    let (status, text) = post_signed(&route, triggered("E1").to_string(), "another", "W1").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(text.contains("sources.pagerduty.signing_secret_file"), "{text}");
    assert!(counted(&route, "unauthorized", 1));
    assert!(bench.rows().await.iter().all(|row| row.cause != "peer"));
}

#[tokio::test]
async fn what_is_signed_is_never_refused_for_good() {
    let bench = Bench::with(telling()).await;
    let route = route(bench.handle.clone());
    for body in ["{", "[]", "{}", r#"{"event":{"event_type":"pagey.ping"}}"#, r#"{"event":{"event_type":"new.thing"}}"#]
    {
        assert_eq!(post_signed(&route, body.to_owned(), SECRET, "W1").await.0, StatusCode::ACCEPTED, "{body}");
    }
    assert!(counted(&route, "invalid", 3) && counted(&route, "accepted", 2));
}

#[tokio::test]
async fn a_body_over_the_cap_is_not_read() {
    let bench = Bench::with(telling()).await;
    let route = route(bench.handle.clone());
    let (status, _) = post_signed(&route, "x".repeat(65 * 1024), SECRET, "W1").await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

/// Somebody takes the incident in PagerDuty.
fn acknowledged(event: &str) -> Value {
    let mut body = triggered(event);
    body["event"]["event_type"] = json!("incident.acknowledged");
    body["event"]["agent"] = json!({"id": "PLH1HKV", "type": "user_reference", "summary": "Ana Example"});
    body["event"]["data"]["status"] = json!("acknowledged");
    body
}

/// What differs in one thing from an acknowledge of incident PGR0VU2 that happens now, by its place.
fn mutations() -> Vec<(&'static str, Value)> {
    let long_ago = (MORNING - Span::hours(2)).rfc3339_seconds();
    let mut mutations = Vec::new();
    for (place, values) in [
        ("/event", vec![Value::Null, json!([]), json!("incident.acknowledged"), json!({})]),
        (
            "/event/event_type",
            vec![
                json!("incident.Acknowledged"),
                json!("INCIDENT.ACKNOWLEDGED"),
                json!("incident.acknowledged "),
                json!(" incident.acknowledged"),
                json!("incident.acknowledged\0"),
                json!("incident.acknowledge"),
                json!("incident..acknowledged"),
                json!("acknowledged"),
                json!("service.acknowledged"),
                json!("incident.resolved.acknowledged"),
                json!(""),
                json!(7),
                json!(["incident.acknowledged"]),
                Value::Null,
            ],
        ),
        ("/event/id", vec![Value::Null, json!(""), json!(7), json!("a b"), json!("x".repeat(129)), json!("../../etc")]),
        (
            "/event/occurred_at",
            vec![
                Value::Null,
                json!(""),
                json!("yesterday"),
                json!(1_772_334_000),
                json!(long_ago),
                json!("1".repeat(65)),
            ],
        ),
        ("/event/data", vec![Value::Null, json!([]), json!("PGR0VU2"), json!({"id": "PGR0VU2"})]),
        (
            "/event/data/id",
            vec![
                json!("PGR0VU3"),
                json!("pgr0vu2"),
                json!("PGR0VU2 "),
                json!("PGR0VU2/"),
                json!("PGR0VU2\0"),
                json!("PGR0VU\u{ff12}"),
                json!(""),
                json!(2),
                json!(["PGR0VU2"]),
                Value::Null,
            ],
        ),
        (
            "/event/data/type",
            vec![
                json!("incident_note"),
                json!("incident_reference"),
                json!("Incident"),
                json!(""),
                json!(7),
                Value::Null,
            ],
        ),
    ] {
        mutations.extend(values.into_iter().map(|value| (place, value)));
    }
    mutations
}

/// Each is signed with the subscription's secret: PagerDuty will have changed, or another sender has that secret.
#[tokio::test]
async fn no_changed_body_acknowledges_and_none_is_refused_for_good() {
    let mut by_title = rule("everything", Mode::Shadow, None);
    by_title.group_by = vec!["title".to_owned()];
    let bench = Bench::with(policy(vec![by_title])).await;
    let route = route(bench.handle.clone());
    let had_by = async || {
        let view = bench.handle.read(|seen| seen.state.incident_view(seen.policy, IncidentId(1), seen.now)).await;
        view.unwrap().expect("the incident").acknowledged_by
    };
    post_signed(&route, triggered("E0").to_string(), SECRET, "W0").await;
    assert_eq!(had_by().await, None);
    let mutations = mutations();
    assert!(mutations.len() >= 40, "{}", mutations.len());
    for (number, (place, value)) in mutations.into_iter().enumerate() {
        let mut body = acknowledged(&format!("M{number}"));
        if place == "/event/data/id" {
            body["event"]["data"]["title"] = json!("Another one");
        }
        *body.pointer_mut(place).unwrap() = value.clone();
        let (status, text) = post_signed(&route, body.to_string(), SECRET, &format!("WM{number}")).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{place} {value}: {text}");
        assert_eq!(had_by().await, None, "{place} {value}");
    }
    // Nor does one that is cut short, or has something before or behind it.
    let whole = acknowledged("C").to_string();
    for (number, body) in [
        &whole[..whole.len() - 1],
        &whole[1..],
        &format!("{whole}{whole}"),
        &format!("\u{feff}{whole}"),
        &whole.to_uppercase(),
    ]
    .into_iter()
    .enumerate()
    {
        let (status, _) = post_signed(&route, body.to_owned(), SECRET, &format!("WC{number}")).await;
        assert_eq!((status, had_by().await), (StatusCode::ACCEPTED, None), "{body}");
    }
    post_signed(&route, acknowledged("E1").to_string(), SECRET, "W1").await;
    assert_eq!(had_by().await.as_deref(), Some("pagerduty:Ana Example"), "the unchanged one is taken");
    assert!(bench.causes().await.iter().all(|cause| cause != "poisoned"));
}

/// The ids of what was taken are in the journal: whoever leads next knows them.
#[tokio::test]
async fn what_one_instance_has_taken_the_next_does_not_take_again() {
    let mut bench = Bench::with(telling()).await;
    let body = triggered("E1").to_string();
    post_signed(&route(bench.handle.clone()), body.clone(), SECRET, "W1").await;
    bench.stop().await.unwrap();
    let next = Bench::on(bench.journal.clone(), bench.clock.clone(), telling()).await;
    let route = route(next.handle.clone());
    for webhook in ["W1", "W2"] {
        assert_eq!(post_signed(&route, body.clone(), SECRET, webhook).await.0, StatusCode::ACCEPTED);
    }
    post_signed(&route, triggered("E2").to_string(), SECRET, "W1").await;
    let peers = next.causes().await.into_iter().filter(|cause| cause == "peer").count();
    assert_eq!(peers, 1);
}
