use super::*;
use crate::{
    engine::testing::{Bench, MORNING, telling},
    http::{limits::InFlight, senders::SenderLimiter},
    model::plan::hex,
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
