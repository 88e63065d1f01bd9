//! Requests as Slack sends them, against the engine on the memory journal and a Slack that knows three people.

use super::*;
use crate::{
    engine::testing::{Bench, MORNING, firing, policy, rule},
    http::{
        client::{Client, ClientSettings},
        limits::InFlight,
        senders::SenderLimiter,
    },
    model::{
        button::Button,
        id::IncidentId,
        input::Input,
        letter::{External, Posted, Told},
        mode::Mode,
        plan::hex,
        time::Span,
    },
    peer::{
        slack::{client::SlackClient, directory::Directory, seal::Seal},
        stub::{Asked, Stub},
    },
    source::slack::answers::Answers,
    telemetry::metrics::Words,
};
use axum::http::Request;
use http_body_util::BodyExt;
use secrecy::SecretString;
use serde_json::json;
use std::{num::NonZeroU32, time::Duration};
use tokio::task::JoinSet;
use tower::ServiceExt;

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
const CARD: (&str, &str) = ("C0INCIDENTS", "1772330000.000001");

pub(crate) struct Room {
    pub bench: Bench,
    pub slack: Stub,
    pub route: SlackRoute,
    seal: Seal,
    _desk: JoinSet<()>,
}

fn answers_at(bench: &Bench, url: &str, seal: Seal) -> Answers {
    let http = Client::build(&ClientSettings::default()).unwrap();
    let client = Arc::new(SlackClient::new(http, url, SecretString::from("xoxb-1")));
    let directory = Arc::new(Directory::new(Arc::clone(&client)));
    Answers { engine: bench.handle.clone(), directory, client, seal, pause_file: None }
}

fn desk_at(bench: &Bench, url: &str, seal: Seal) -> (Desk, JoinSet<()>) {
    let (desk, work) = Desk::open(answers_at(bench, url, seal));
    let mut running = JoinSet::new();
    running.spawn(work.run(std::future::pending(), || panic!("a panic at the desk")));
    (desk, running)
}

/// Ana is a member, Gil a guest, Bo a bot; everybody else is unknown.
pub(crate) fn directory(asked: &Asked) -> (u16, String) {
    let user = |more: Value| {
        let mut user =
            json!({"id": "U0ANA0001", "team_id": "T1", "name": "ana", "profile": {"display_name": "Ana <!here>"}});
        user.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"ok": true, "user": user})
    };
    let answer = match (asked.path.as_str(), asked.query.as_str()) {
        ("/auth.test", _) => json!({"ok": true, "team_id": "T1", "bot_id": "B1", "user_id": "U0BOT"}),
        ("/bots.info", _) => json!({"ok": true, "bot": {"id": "B1", "app_id": "A1"}}),
        ("/users.info", "user=U0ANA0001") => user(json!({})),
        ("/users.info", "user=U0GIL0001") => user(json!({"id": "U0GIL0001", "is_restricted": true})),
        ("/users.info", "user=U0BO00001") => user(json!({"id": "U0BO00001", "is_bot": true})),
        ("/users.info", _) => json!({"ok": false, "error": "user_not_found"}),
        ("/chat.postEphemeral", _) => json!({"ok": true}),
        _ => json!({"ok": false, "error": "unknown_method"}),
    };
    (200, answer.to_string())
}

impl Room {
    /// With an incident whose message stands in Slack.
    pub async fn set() -> Room {
        Room::with(Stub::start(directory).await).await
    }

    pub async fn with(slack: Stub) -> Room {
        let bench = Bench::with(policy(vec![rule("everything", Mode::Shadow, None)])).await;
        bench.handle.intake(vec![firing("Slow", MORNING)]).await.unwrap();
        let due = bench.handle.read(|seen| seen.state.letters_due(1)).await.unwrap();
        let external = External::Posted(Posted { channel: CARD.0.to_owned(), ts: CARD.1.to_owned() });
        let result = Told::Sent { external: Some(external) };
        let letter = due[0].key.clone();
        bench.handle.result(Input::Told { letter, up_to: due[0].want, result }).await.unwrap();

        let keys = SigningKeys::new(&[SecretString::from(SECRET)]);
        let seal = Seal::new(keys.clone());
        let (desk, running) = desk_at(&bench, &slack.url, seal.clone());
        let many = NonZeroU32::new(1000).unwrap();
        let intake = Intake {
            senders: Arc::new(SenderLimiter::new(many, many, 10)),
            in_flight: InFlight::new(1 << 20),
            max_body: 64 * 1024,
        };
        let route = SlackRoute {
            intake,
            keys: Arc::new(Reloadable::new(keys)),
            desk,
            clock: Arc::clone(bench.handle.clock()),
            metrics: Metrics::new("0", MORNING, Words::default()),
        };
        Room { bench, slack, route, seal, _desk: running }
    }

    /// Slack's API is elsewhere from now on.
    pub fn answer_from(&mut self, url: &str) {
        (self.route.desk, self._desk) = desk_at(&self.bench, url, self.seal.clone());
    }

    async fn send(&self, path: &str, body: &str, signature: Option<&str>) -> (StatusCode, String) {
        let time = self.route.clock.now().0 / 1_000_000;
        let right = || {
            let keys = SigningKeys::new(&[SecretString::from(SECRET)]);
            format!("v0={}", hex(&keys.sign(&[format!("v0:{time}:{body}").as_bytes()]).unwrap()))
        };
        let mut request = Request::post(path).body(Body::from(body.to_owned())).unwrap();
        let address = "192.0.2.1:5000".parse().unwrap();
        request.extensions_mut().insert(Peer { address, certificate: None });
        let signature = signature.map_or_else(right, str::to_owned);
        request.headers_mut().insert("x-slack-request-timestamp", time.to_string().parse().unwrap());
        request.headers_mut().insert("x-slack-signature", signature.parse().unwrap());
        let answer = crate::source::listener(routes(self.route.clone())).oneshot(request).await.unwrap();
        let status = answer.status();
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(text.to_vec()).unwrap())
    }

    async fn types(&self, user: &str, text: &str) -> String {
        let text: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        let body = format!("team_id=T1&user_id={user}&api_app_id=A1&command=%2Fnightshift&text={text}");
        let (status, answer) = self.send(COMMANDS, &body, None).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["response_type"], "ephemeral");
        answer.pointer("/blocks/0/elements/0/elements/0/text").unwrap().as_str().unwrap().to_owned()
    }

    pub fn click(&self, button: &Button) -> Value {
        json!({
            "type": "block_actions", "api_app_id": "A1", "team": {"id": "T1"},
            "user": {"id": "U0ANA0001", "team_id": "T1"},
            "container": {"type": "message", "message_ts": CARD.1, "channel_id": CARD.0, "is_ephemeral": false},
            "actions": [{"type": "button", "value": self.seal.close(button).unwrap()}],
        })
    }

    pub async fn clicks(&self, payload: &Value) -> StatusCode {
        let text: String = form_urlencoded::byte_serialize(payload.to_string().as_bytes()).collect();
        self.send(INTERACTIONS, &format!("payload={text}"), None).await.0
    }

    pub async fn acknowledged_by(&self) -> Option<String> {
        let view = self.bench.handle.read(|seen| seen.state.incident_view(seen.policy, IncidentId(1), seen.now));
        view.await.unwrap().unwrap().acknowledged_by
    }

    /// What whoever clicked was told, once it is so many things: Slack is answered before they are.
    pub async fn told(&self, count: usize) -> Vec<String> {
        let told = || -> Vec<String> {
            let asked = self.slack.asked();
            let told = asked.iter().filter(|asked| asked.path == "/chat.postEphemeral");
            told.map(|asked| {
                let body: Value = serde_json::from_str(&asked.body).unwrap();
                assert_eq!((&body["channel"], &body["thread_ts"]), (&json!(CARD.0), &json!(CARD.1)));
                body.pointer("/blocks/0/elements/0/elements/0/text").unwrap().as_str().unwrap().to_owned()
            })
            .collect()
        };
        for _ in 0..500 {
            if told().len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let told = told();
        assert_eq!(told.len(), count, "{told:?}");
        told
    }
}

pub(crate) fn acknowledge() -> Button {
    Button::Acknowledge { incident: IncidentId(1) }
}

#[tokio::test]
async fn a_click_takes_the_incident_once() {
    let room = Room::set().await;
    let click = room.click(&acknowledge());
    assert_eq!(room.clicks(&click).await, StatusCode::OK);
    assert_eq!(room.acknowledged_by().await.unwrap(), "Ana <!here> (U0ANA0001)", "a name is somebody's own words");
    room.told(0).await;
    // The very same request again, and another click on the same button.
    assert_eq!(room.clicks(&click).await, StatusCode::OK);
    room.bench.clock.advance(Span::seconds(2));
    assert_eq!(room.clicks(&click).await, StatusCode::OK);
    let told = room.told(2).await;
    assert_eq!(told[0], "this was taken already: it is done once");
    assert!(told[1].contains("has acknowledged it already"), "{told:?}");
}

#[tokio::test]
async fn why_is_told_to_whoever_asks_and_changes_nothing() {
    let room = Room::set().await;
    let before = room.bench.rows().await.len();
    room.clicks(&room.click(&Button::Why { incident: IncidentId(1) })).await;
    let told = room.told(1).await;
    assert!(told[0].starts_with("incident 1  "), "{told:?}");
    assert_eq!(room.bench.rows().await.len(), before);
}

/// Clicks that differ in one thing from the right one, by its place.
pub(crate) fn mutations(room: &Room, right: &Value) -> Vec<(&'static str, Value)> {
    let value = right["actions"][0]["value"].as_str().unwrap().to_owned();
    let other = room.seal.close(&Button::Acknowledge { incident: IncidentId(9) }).unwrap();
    let mut mutations: Vec<(&'static str, Value)> = Vec::new();
    for (place, values) in [
        ("/type", vec![json!("view_submission"), json!("message_action"), json!(""), Value::Null]),
        ("/api_app_id", vec![json!("A2"), json!(""), json!("a1")]),
        ("/team/id", vec![json!("T2"), json!(""), json!("t1")]),
        ("/team", vec![json!({"id": "T1 "})]),
        ("/user/id", vec![json!("U0GIL0001"), json!("U0BO00001"), json!("U0NOBODY1"), json!(""), json!("u0ana0001")]),
        ("/user", vec![Value::Null, json!([])]),
        ("/container/message_ts", vec![json!("1772330000.000002"), json!(""), json!("1772330000"), Value::Null]),
        ("/container/channel_id", vec![json!("C0OTHERS1"), json!("#incidents"), json!(""), Value::Null]),
        ("/container/is_ephemeral", vec![json!(true)]),
        ("/container", vec![Value::Null]),
        ("/actions/0/type", vec![json!("static_select"), json!("")]),
        (
            "/actions/0/value",
            vec![
                json!(other),
                json!(value.to_uppercase()),
                json!(format!("{value} ")),
                json!(value.replace("acknowledge 1", "acknowledge 2")),
                json!(value.replace("acknowledge", "undo")),
                json!(value[..value.len() - 1]),
                json!("acknowledge 1"),
                json!(""),
                Value::Null,
            ],
        ),
        ("/actions", vec![json!([]), json!({}), Value::Null]),
    ] {
        mutations.extend(values.into_iter().map(|value| (place, value)));
    }
    mutations
}

/// Each is signed by Slack, as another app of the same workspace's could be made to look.
#[tokio::test]
async fn no_changed_payload_is_taken() {
    let room = Room::set().await;
    let right = room.click(&acknowledge());
    let mutations = mutations(&room, &right);
    assert!(mutations.len() >= 40, "{}", mutations.len());
    for (place, value) in mutations {
        let mut payload = right.clone();
        *payload.pointer_mut(place).unwrap() = value.clone();
        room.bench.clock.advance(Span::seconds(1));
        let status = room.clicks(&payload).await;
        assert!(status == StatusCode::OK || status == StatusCode::BAD_REQUEST, "{place} {value}: {status}");
        assert_eq!(room.acknowledged_by().await, None, "{place} {value}");
    }
    room.bench.clock.advance(Span::seconds(1));
    room.clicks(&right).await;
    assert!(room.acknowledged_by().await.is_some(), "the unchanged one is taken");
}

#[tokio::test]
async fn guests_bots_and_strangers_are_told_no_and_it_is_journalled() {
    let room = Room::set().await;
    for (user, why) in [
        ("U0GIL0001", "they are a guest of the workspace"),
        ("U0BO00001", "it is a bot"),
        ("U0NOBODY1", "Slack knows no such person"),
    ] {
        assert_eq!(room.types(user, "ack 1").await, why);
        let rows = room.bench.rows().await;
        let last = rows.last().unwrap();
        assert!(last.body.contains(user) && last.body.contains("command_refused"), "{}", last.body);
    }
    assert_eq!(room.acknowledged_by().await, None);
}

#[tokio::test]
async fn commands_answer_whoever_typed_them() {
    let room = Room::set().await;
    assert!(room.types("U0ANA0001", "help").await.contains("/nightshift why ID"));
    assert!(room.types("U0ANA0001", "").await.contains("/nightshift why ID"));
    assert!(room.types("U0ANA0001", "drop tables").await.starts_with("There is no such command."));
    assert!(room.types("U0ANA0001", "incidents").await.starts_with("1 P1 open: Slow"));
    assert!(room.types("U0ANA0001", "why 1").await.starts_with("incident 1  "));
    assert_eq!(room.types("U0ANA0001", "why 7").await, "there is no incident 7");
    assert!(room.types("U0ANA0001", "ack one").await.contains("takes an incident's number"));
    assert_eq!(room.types("U0ANA0001", "ack 1").await, "You have incident 1.");
    assert!(room.types("U0ANA0001", "status").await.contains("Open incidents: 1"));
    assert!(room.types("U0ANA0001", "pause it is odd").await.starts_with("Paused"));
    assert!(room.bench.handle.pause_flag().is_set());
    assert!(room.types("U0ANA0001", "status").await.starts_with("Paused by Ana"));
    assert_eq!(room.types("U0ANA0001", "resume").await, "nobody is listed under `approvers` for P1");
}

#[tokio::test]
async fn a_pause_does_not_wait_for_slacks_directory() {
    let room = Room::with(Stub::start(|_| (500, String::new())).await).await;
    assert!(room.types("U0ANA0001", "pause").await.starts_with("Paused"));
    assert!(room.bench.handle.pause_flag().is_set());
    assert!(room.types("U0ANA0001", "ack 1").await.starts_with("Slack could not be asked who you are"));
}

/// Somebody takes the connection and never answers.
#[tokio::test]
async fn a_pause_is_in_force_though_slack_hangs() {
    let mut room = Room::set().await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    room.answer_from(&format!("http://{}", silent.local_addr().unwrap()));
    let body = "team_id=T1&user_id=U0ANA0001&api_app_id=A1&command=%2Fnightshift&text=pause";
    assert_eq!(room.send(COMMANDS, body, None).await.0, StatusCode::OK);
    // Long before the 10 s that anything else may take.
    for _ in 0..50 {
        if room.bench.handle.pause_flag().is_set() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nothing was paused");
}

#[tokio::test]
async fn a_pause_waits_for_no_clicks_that_hang() {
    let mut room = Room::set().await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    room.answer_from(&format!("http://{}", silent.local_addr().unwrap()));
    let click = payload::interactive(room.click(&acknowledge()).to_string().as_bytes()).unwrap().unwrap();
    let _waiting: Vec<_> =
        (0..40).map(|number| room.route.desk.click(click.clone(), format!("click-{number}")).unwrap()).collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let began = tokio::time::Instant::now();
    let body = "team_id=T1&user_id=U0ANA0001&api_app_id=A1&command=%2Fnightshift&text=+Pause+now";
    assert_eq!(room.send(COMMANDS, body, None).await.0, StatusCode::OK);
    // Each of them hangs for 10 s.
    while !room.bench.handle.pause_flag().is_set() {
        assert!(began.elapsed() < Duration::from_secs(5), "not in force after {:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_pause_that_comes_again_after_a_resume_is_not_in_force() {
    let room = Room::set().await;
    let body = "team_id=T1&user_id=U0ANA0001&api_app_id=A1&command=%2Fnightshift&text=pause";
    room.send(COMMANDS, body, None).await;
    assert!(room.bench.handle.pause_flag().is_set());
    let resume = crate::engine::testing::command(crate::model::input::Command::Resume { pause_file_present: false });
    room.bench.handle.command(resume).await.unwrap();
    let (_, answer) = room.send(COMMANDS, body, None).await;
    assert!(answer.contains("this was taken already"), "{answer}");
    assert!(!room.bench.handle.pause_flag().is_set(), "nobody would know of it");
}

#[tokio::test]
async fn what_is_typed_reaches_the_journal_in_bounds() {
    let room = Room::set().await;
    let long = "x".repeat(20_000);
    room.types("U0GIL0001", &long).await;
    assert!(room.bench.rows().await.iter().all(|row| row.body.len() < 5_000));
}

/// It stops with clicks at the desk that nobody has begun with.
#[tokio::test]
async fn a_click_that_nobody_will_deal_with_is_not_answered_as_taken() {
    let mut room = Room::set().await;
    let (desk, work) = Desk::open(answers_at(&room.bench, &room.slack.url, room.seal.clone()));
    room.route.desk = desk;
    let click = room.click(&acknowledge());
    let stops = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(work);
    };
    let (status, ()) = tokio::join!(room.clicks(&click), stops);
    assert_eq!((status, room.acknowledged_by().await), (StatusCode::SERVICE_UNAVAILABLE, None));
}

#[tokio::test]
async fn what_slack_did_not_sign_is_not_read() {
    let room = Room::set().await;
    let wrong = format!("v0={}", "0".repeat(64));
    for (signature, body) in [(Some(wrong.as_str()), "text=status"), (Some("v0="), "text=status"), (Some(""), "")] {
        let (status, _) = room.send(COMMANDS, body, signature).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(room.send(COMMANDS, &"x".repeat(65 * 1024), None).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(room.send(INTERACTIONS, "payload=%7B", None).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(room.send(COMMANDS, "ssl_check=1", None).await, (StatusCode::OK, String::new()));
    let metrics = room.route.metrics.encode();
    assert!(metrics.contains(r#"nightshift_webhooks_total{source="slack",answer="unauthorized"} 3"#), "{metrics}");
}
