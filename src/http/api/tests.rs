use super::{
    routes::{ROUTES, Verb, router},
    shapes,
    testing::{admin, asking, it_is_observed, slow_fires, tokens},
    *,
};
use crate::{
    engine::testing::{Bench, firing},
    http::{api_auth::Right, identity::Peer},
};
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

struct Api {
    bench: Bench,
    state: AdminState,
}

impl Api {
    async fn open() -> Api {
        Api::with(ApiAuth::loopback()).await
    }

    async fn with(auth: ApiAuth) -> Api {
        let bench = Bench::with(asking()).await;
        let state = admin(&bench, auth);
        Api { bench, state }
    }

    async fn send(&self, verb: Verb, path: &str, body: Option<Value>, token: Option<&str>) -> (StatusCode, Value) {
        let builder = match verb {
            Verb::Get => Request::get(path),
            Verb::Post => Request::post(path),
        };
        let mut builder = builder.header("host", "127.0.0.1:9394").header("x-nightshift-user", "ana");
        if let Some(token) = token {
            builder = builder.header("authorization", format!("Bearer secret-of-{token}"));
        }
        let body = match body {
            Some(body) => {
                builder = builder.header("content-type", "application/json");
                let text = body.to_string();
                builder = builder.header("content-length", text.len());
                Body::from(text)
            }
            None => Body::empty(),
        };
        let mut request = builder.body(body).unwrap();
        request.extensions_mut().insert(Peer { address: "127.0.0.1:5000".parse().unwrap(), certificate: None });
        let answer = router(self.state.clone()).oneshot(request).await.unwrap();
        let status = answer.status();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(Verb::Get, path, None, None).await
    }

    async fn post(&self, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        self.send(Verb::Post, path, body, None).await
    }
}

fn path_of(route: &routes::Route) -> String {
    let id = if route.path.contains("/steps/") { "1.1" } else { "1" };
    route.path.replace("{id}", id).replace("{fingerprint}", "00000000000000aa")
}

#[tokio::test]
async fn every_route_wants_its_own_right_and_no_other() {
    let names = ["read", "ack", "approve", "undo", "pause", "admin"];
    let each: Vec<(&str, [Right; 1])> = names.into_iter().zip(Right::ALL.map(|right| [right])).collect();
    let list: Vec<(&str, &[Right])> = each.iter().map(|(name, right)| (*name, right.as_slice())).collect();
    let api = Api::with(tokens(&list)).await;
    for route in &ROUTES {
        let path = path_of(route);
        let (status, _) = api.send(route.verb, &path, None, None).await;
        let Some(needed) = route.right else {
            assert_eq!(status, StatusCode::OK, "{path} is open");
            continue;
        };
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path} without a token");
        let (status, _) = api.send(route.verb, &path, None, Some("nobody")).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path} with a wrong token");
        for (name, right) in names.iter().zip(Right::ALL) {
            let (status, body) = api.send(route.verb, &path, None, Some(name)).await;
            if right == needed {
                assert!(![401, 403].contains(&status.as_u16()), "{path} with {name}: {status}");
            } else {
                assert_eq!(status, StatusCode::FORBIDDEN, "{path} with {name}");
                assert_eq!(body["error"], format!("this token may not {}", needed.word()), "{path} with {name}");
            }
        }
    }
    let rows = api.bench.causes().await;
    assert!(rows.iter().filter(|cause| *cause == "command").count() <= 3, "only pause, resume and rearm got that far");
}

#[tokio::test]
async fn what_is_not_there_is_json_too() {
    let api = Api::open().await;
    for (path, status) in [
        ("/api/v1/nothing", StatusCode::NOT_FOUND),
        ("/api/v1/pause", StatusCode::METHOD_NOT_ALLOWED),
        ("/api/v1/incidents/7", StatusCode::NOT_FOUND),
        ("/api/v1/incidents/seven", StatusCode::BAD_REQUEST),
        ("/api/v1/alerts/00000000000000ff/why", StatusCode::NOT_FOUND),
        ("/api/v1/incidents?sate=open", StatusCode::BAD_REQUEST),
        ("/api/v1/incidents?state=closed", StatusCode::BAD_REQUEST),
        ("/api/v1/journal?from=x", StatusCode::BAD_REQUEST),
        ("/api/v1/journal?from=1&from=2", StatusCode::BAD_REQUEST),
    ] {
        let (got, body) = api.get(path).await;
        assert_eq!(got, status, "{path}");
        assert!(body["error"].is_string(), "{path}: {body}");
    }
    for path in ["/api/v1/incidents/7/acknowledge", "/api/v1/steps/7.1/reject", "/api/v1/steps/7.1/lease/end"] {
        assert_eq!(api.post(path, None).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    assert!(!api.bench.causes().await.contains(&"command".to_owned()), "what is not there is not journalled");
}

#[tokio::test]
async fn a_step_is_approved_by_the_hash_of_the_plan_that_was_seen() {
    let api = Api::open().await;
    let step = slow_fires(&api.bench).await;
    it_is_observed(&api.bench, step, 4).await;
    let (_, incident) = api.get("/api/v1/incidents/1").await;
    let hash = incident["view"]["steps"][0]["plan_hash"].as_str().unwrap().to_owned();
    let (status, refused) = api.post("/api/v1/steps/1.1/approve", Some(json!({"plan_hash": "00"}))).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(refused["error"], "step 1.1 has another plan than the one you saw: look again");
    let (status, done) = api.post("/api/v1/steps/1.1/approve", Some(json!({"plan_hash": hash}))).await;
    assert_eq!((status, &done["by"]), (StatusCode::OK, &json!("local:ana")));
    let (status, _) = api.post("/api/v1/steps/1.1/approve", Some(json!({"plan_hash": hash}))).await;
    assert_eq!(status, StatusCode::CONFLICT, "it is approved already");
    let (status, _) = api.post("/api/v1/steps/1.1/approve", Some(json!({"plan": hash}))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_name_that_is_none_of_ours_gets_the_one_that_was_meant() {
    let api = Api::open().await;
    for (rule, hint) in [
        ("slwo", "there is no rule `slwo`: did you mean `slow`?"),
        ("banana", "there is no rule `banana`: known here: `quiet`, `slow`"),
    ] {
        let (status, body) = api.post("/api/v1/rearm", Some(json!({"rule": rule}))).await;
        assert_eq!((status, &body["hint"]), (StatusCode::CONFLICT, &json!(hint)), "{body}");
    }
    let (status, body) = api.post("/api/v1/rearm", Some(json!({"rule": "slow"}))).await;
    assert_eq!((status, &body["hint"]), (StatusCode::CONFLICT, &Value::Null), "{body}");
    slow_fires(&api.bench).await;
    let (status, body) = api.post("/api/v1/steps/1.1/lease/end", None).await;
    assert_eq!((status, &body["hint"]), (StatusCode::CONFLICT, &json!("no step holds a lease now")), "{body}");
    let (status, body) = api.post("/api/v1/steps/1.7/lease/end", None).await;
    assert_eq!((status, &body["hint"]), (StatusCode::NOT_FOUND, &json!("`nightshift incident 1` lists its steps")));
}

#[tokio::test]
async fn a_person_acknowledges_once_and_resolves_once() {
    let api = Api::open().await;
    slow_fires(&api.bench).await;
    for verb in ["acknowledge", "resolve"] {
        let path = format!("/api/v1/incidents/1/{verb}");
        assert_eq!(api.post(&path, None).await.0, StatusCode::OK, "{verb}");
        let (status, refused) = api.post(&path, None).await;
        assert_eq!(status, StatusCode::CONFLICT, "{verb}");
        assert!(refused["error"].as_str().unwrap().contains("already"), "{refused}");
    }
    let (_, list) = api.get("/api/v1/incidents").await;
    assert_eq!(list["text"], "no incidents\n");
    let (_, list) = api.get("/api/v1/incidents?state=all").await;
    assert_eq!(list["incidents"][0]["acknowledged_by"], "local:ana");
}

#[tokio::test]
async fn a_pause_is_in_effect_even_when_the_journal_is_down() {
    let api = Api::open().await;
    let (status, _) = api.post("/api/v1/pause", Some(json!({"reason": "odd\u{1b}[2J graphs"}))).await;
    assert_eq!(status, StatusCode::OK);
    let (_, status) = api.get("/api/v1/status").await;
    assert_eq!(status["state"]["paused"]["reason"], "odd[2J graphs");
    assert_eq!(status["restraints"], json!(["paused"]));
    assert_eq!(api.get("/-/ready").await.0, StatusCode::OK, "a paused one still takes webhooks");
    assert_eq!(api.post("/api/v1/resume", None).await.0, StatusCode::OK);
    assert!(!api.state.engine.pause_flag().is_set());

    api.bench.handle.stop();
    crate::engine::testing::settle().await;
    let (status, body) = api.post("/api/v1/pause", Some(json!({"reason": "stop"}))).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body["error"].as_str().unwrap().starts_with("nothing acts from now on"), "{body}");
    assert!(api.state.engine.pause_flag().is_set());
    assert_eq!(api.get("/-/ready").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(api.get("/-/healthy").await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn pages_are_bounded_and_lead_on() {
    let api = Api::open().await;
    let many = (0..7).map(|number| firing(&format!("Other{number}"), crate::engine::testing::MORNING)).collect();
    api.bench.handle.intake(many).await.unwrap();
    let (_, first) = api.get("/api/v1/alerts?limit=4").await;
    let next = first["next"].as_str().unwrap();
    let (_, second) = api.get(&format!("/api/v1/alerts?limit=4&after={next}")).await;
    assert_eq!((first["alerts"].as_array().unwrap().len(), second["alerts"].as_array().unwrap().len()), (4, 3));
    assert_eq!(second["next"], Value::Null);
    let (_, journal) = api.get("/api/v1/journal?limit=2").await;
    assert_eq!((&journal["entries"][0]["cause"], &journal["next"]), (&json!("started"), &json!(3)));
    assert!(journal["entries"][1]["body"]["input"].is_object());
    let (_, rules) = api.get("/api/v1/rules?limit=1").await;
    assert_eq!((&rules["total"], &rules["next"], &rules["rules"][0]["name"]), (&json!(2), &json!(1), &json!("quiet")));
}

#[tokio::test]
async fn a_refused_reload_says_every_problem() {
    let api = Api::with(tokens(&[("clumsy", &[Right::Admin]), ("neat", &[Right::Admin])])).await;
    let (status, body) = api.send(Verb::Post, "/-/reload", None, Some("clumsy")).await;
    assert_eq!((status, &body["problems"][0]["line"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(3)));
    let (status, body) = api.send(Verb::Post, "/-/reload", None, Some("neat")).await;
    assert_eq!((status, &body["rules"]), (StatusCode::OK, &json!(2)));
}

#[tokio::test]
async fn why_shows_every_rule_that_was_tried_and_every_guard() {
    let api = Api::open().await;
    let step = slow_fires(&api.bench).await;
    it_is_observed(&api.bench, step, 4).await;
    let (status, why) = api.get("/api/v1/alerts/00000000000000aa/why").await;
    assert_eq!(status, StatusCode::OK);
    let why: shapes::AlertWhy = serde_json::from_value(why).unwrap();
    let tried: Vec<(&str, bool)> = why.tried.iter().map(|one| (one.rule.as_str(), one.failed.is_none())).collect();
    assert_eq!(tried, [("quiet", false), ("slow", true)]);
    assert!(!why.text.contains('\u{1b}'), "{}", why.text);
    let guards = why.incident.unwrap().steps[0].trace.len();
    assert_eq!(guards, crate::model::step::Guard::ALL.len());
}
