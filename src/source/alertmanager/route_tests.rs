use super::*;
use crate::{
    engine::{
        FakeClock,
        testing::{Bench, Gated, MORNING, options, settle, telling},
    },
    http::{limits::InFlight, senders::SenderLimiter},
    journal::{Journal, memory::Memory},
    telemetry::metrics::Words,
};
use axum::http::Request;
use http_body_util::BodyExt;
use std::num::NonZeroU32;
use tower::ServiceExt;

const FIRING: &[u8] = include_bytes!("../../../fixtures/alertmanager/v0.34-firing-one.json");
const TRUNCATED: &[u8] = include_bytes!("../../../fixtures/alertmanager/v0.34-truncated.json");

fn route(engine: EngineHandle, auth: WebhookAuth) -> AlertmanagerRoute {
    let many = NonZeroU32::new(1000).unwrap();
    let intake = Intake {
        senders: Arc::new(SenderLimiter::new(many, many, 10)),
        in_flight: InFlight::new(1 << 20),
        max_body: 64 * 1024,
    };
    let metrics = Metrics::new("0", MORNING, Words::default());
    AlertmanagerRoute { intake, auth: Arc::new(Reloadable::new(auth)), engine, metrics }
}

async fn post_to(route: &AlertmanagerRoute, body: &'static [u8], token: Option<&str>) -> (StatusCode, String) {
    let mut request = Request::post(PATH).body(Body::from(body)).unwrap();
    let address = "127.0.0.1:5000".parse().unwrap();
    request.extensions_mut().insert(Peer { address, certificate: None });
    if let Some(token) = token {
        request.headers_mut().insert("authorization", token.parse().unwrap());
    }
    let listener = crate::source::listener(routes(route.clone()));
    let answer = listener.oneshot(request).await.unwrap();
    let status = answer.status();
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(text.to_vec()).unwrap())
}

fn counted(route: &AlertmanagerRoute, series: &str) -> bool {
    route.metrics.encode().lines().any(|line| line == series)
}

#[tokio::test]
async fn an_accepted_webhook_is_in_the_journal_with_its_sender() {
    let bench = Bench::with(telling()).await;
    let route = route(bench.handle.clone(), WebhookAuth::None);
    assert_eq!(post_to(&route, FIRING, None).await, (StatusCode::OK, "ok\n".to_owned()));
    let rows = bench.rows().await;
    let row = rows.iter().find(|row| row.cause == "alert").unwrap();
    assert!(row.body.contains("3b13522bb046f9aa") && row.body.contains(r#""sender":"127.0.0.1""#), "{}", row.body);
    assert!(counted(&route, r#"nightshift_webhooks_total{source="alertmanager",answer="accepted"} 1"#));
}

#[tokio::test]
async fn whoever_asks_for_something_else_is_told_what_there_is() {
    let bench = Bench::with(telling()).await;
    let route = route(bench.handle.clone(), WebhookAuth::None);
    for (request, expected) in [
        (Request::get(PATH), StatusCode::METHOD_NOT_ALLOWED),
        (Request::get("/"), StatusCode::NOT_FOUND),
        (Request::post("/alertmanager"), StatusCode::NOT_FOUND),
    ] {
        let answer =
            crate::source::listener(routes(route.clone())).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), expected);
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        let path = if expected == StatusCode::NOT_FOUND { " /webhooks/alertmanager" } else { "" };
        assert_eq!(text, format!("there is only POST{path} here\n"));
    }
}

#[tokio::test]
async fn the_same_webhook_again_is_taken_without_a_write() {
    let bench = Bench::with(telling()).await;
    let route = route(bench.handle.clone(), WebhookAuth::None);
    post_to(&route, FIRING, None).await;
    let before = bench.rows().await.len();
    assert_eq!(post_to(&route, FIRING, None).await.0, StatusCode::OK);
    assert_eq!(bench.rows().await.len(), before);
}

#[tokio::test]
async fn what_a_truncated_webhook_left_out_is_counted_and_not_resolved() {
    let bench = Bench::with(telling()).await;
    let route = route(bench.handle.clone(), WebhookAuth::None);
    let left_out = payload::parse(TRUNCATED).unwrap().truncated_alerts;
    assert!(left_out > 0);
    post_to(&route, FIRING, None).await;
    assert_eq!(post_to(&route, TRUNCATED, None).await.0, StatusCode::OK);
    assert!(counted(&route, &format!("nightshift_alerts_truncated_total {left_out}")));
    let known = Fingerprint::new("3b13522bb046f9aa");
    let state = bench.handle.read(move |seen| seen.state.alert_view(&known).unwrap().state).await.unwrap();
    assert_eq!(state, "firing");
}

#[tokio::test]
async fn a_wrong_token_is_told_before_the_body_is_looked_at() {
    let bench = Bench::with(telling()).await;
    let auth = WebhookAuth::AnyOf(vec![
        WebhookAuth::bearer(&["one".into(), "two".into()]).unwrap(),
        WebhookAuth::basic("am", &["secret".into()]).unwrap(),
    ]);
    let route = route(bench.handle.clone(), auth);
    for good in ["Bearer one", "Bearer two", "Basic YW06c2VjcmV0"] {
        assert_eq!(post_to(&route, FIRING, Some(good)).await.0, StatusCode::OK, "{good}");
    }
    for bad in [Some("Bearer three"), Some("Basic YW06"), None] {
        assert_eq!(post_to(&route, b"not json", bad).await.0, StatusCode::UNAUTHORIZED, "{bad:?}");
    }
    assert!(counted(&route, r#"nightshift_webhooks_total{source="alertmanager",answer="unauthorized"} 3"#));
}

#[tokio::test]
async fn a_body_that_is_not_alertmanagers_is_400_with_the_reason() {
    let bench = Bench::with(telling()).await;
    let route = route(bench.handle.clone(), WebhookAuth::None);
    let (status, text) = post_to(&route, br#"{"version":"5","alerts":[]}"#, None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("version") && text.contains("`5`"), "{text}");
    assert_eq!(post_to(&route, b"", None).await.0, StatusCode::BAD_REQUEST);
    assert!(counted(&route, r#"nightshift_webhooks_total{source="alertmanager",answer="invalid"} 2"#));
}

#[tokio::test]
async fn a_journal_that_hangs_is_503_within_a_second_and_what_it_took_is_known_later() {
    let clock = FakeClock::at(MORNING);
    let gated = Gated::new(Memory::new());
    let (engine, handle) = engine::start(options(Arc::new(gated.clone()), &clock, telling())).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(engine.run());
    gated.open.send_replace(false);
    let asked = route(handle.clone(), WebhookAuth::None);
    let mut posts = tokio::task::JoinSet::new();
    let copy = asked.clone();
    posts.spawn(async move { post_to(&copy, FIRING, None).await });
    settle().await;
    // The hanging commit is noticed before its sender's own deadline, which would say less.
    for part in [750, 249] {
        clock.advance(crate::model::time::Span::millis(part));
        settle().await;
    }
    let (status, text) = posts.join_next().await.unwrap().unwrap();
    assert_eq!(
        (status, text.as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "the journal does not answer; send it again\n")
    );
    gated.open.send_replace(true);
    settle().await;
    assert_eq!(post_to(&asked, FIRING, None).await.0, StatusCode::OK);
    let alerts = gated.inner.rows(1, 100).await.unwrap().into_iter().filter(|row| row.cause == "alert").count();
    assert_eq!(alerts, 1);
}

#[tokio::test]
async fn a_stopping_engine_is_503() {
    let mut bench = Bench::with(telling()).await;
    bench.stop().await.unwrap();
    let route = route(bench.handle.clone(), WebhookAuth::None);
    let (status, text) = post_to(&route, FIRING, None).await;
    assert_eq!((status, text.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "nightshift is stopping; send it again\n"));
}
