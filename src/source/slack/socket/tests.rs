//! What comes over a web socket, against the same room as HTTP's requests: whatever HTTP refuses is refused here.

use super::{
    keeper::Keeper,
    line::{Line, Then, Times},
};
use crate::{
    http::{client::ClientSettings, limits::SLACK_MAX_BODY, websocket::Dialer},
    model::{button::Button, id::IncidentId},
    peer::{
        slack::{client::SlackClient, directory::Directory},
        stub::Stub,
    },
    source::slack::route::tests::{Room, acknowledge, directory, mutations},
    telemetry::{labels::SlackSocket, notices::Notices, slack_socket::SocketBoard},
};
use futures_util::{SinkExt, StreamExt};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
use tokio_tungstenite::{accept_async, tungstenite::Message};
use tokio_util::sync::CancellationToken;

fn envelope(id: &str, kind: &str, payload: &Value) -> String {
    json!({"envelope_id": id, "type": kind, "accepts_response_payload": true, "payload": payload}).to_string()
}

/// A line at the room's desk; its Web API is at `url`.
fn line(room: &Room, url: &str, times: Times) -> Line {
    let http = crate::http::client::Client::build(&ClientSettings::default()).unwrap();
    let client = |token: &str| Arc::new(SlackClient::new(http.clone(), url, SecretString::from(token)));
    Line {
        client: client("xapp-1"),
        dialer: Dialer::build(&ClientSettings::default(), SLACK_MAX_BODY).unwrap(),
        desk: room.route.desk.clone(),
        directory: Arc::new(Directory::new(client("xoxb-1"))),
        metrics: room.route.metrics.clone(),
        times,
    }
}

/// One message comes: what is said to it, once everything is done.
async fn sent(line: &Line, text: &str) -> Option<Value> {
    let mut doing = JoinSet::new();
    let said = match line.take(text, &mut doing) {
        Then::Say(text) => Some(text),
        _ => doing.join_next().await.and_then(|done| done.unwrap()),
    };
    said.map(|text| serde_json::from_str(&text).unwrap())
}

async fn clicks(line: &Line, id: &str, payload: &Value) -> Option<Value> {
    sent(line, &envelope(id, "interactive", payload)).await
}

async fn types(line: &Line, user: &str, team: &str, app: &str, text: &str) -> String {
    let payload = json!({"user_id": user, "team_id": team, "api_app_id": app, "command": "/nightshift", "text": text});
    let said = sent(line, &envelope("e1", "slash_commands", &payload)).await.unwrap();
    said.pointer("/payload/blocks/0/elements/0/elements/0/text").unwrap().as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_click_is_acknowledged_once_it_is_decided() {
    let room = Room::set().await;
    let line = line(&room, &room.slack.url, Times::default());
    let said = clicks(&line, "e1", &room.click(&acknowledge())).await;
    assert_eq!(said, Some(json!({"envelope_id": "e1"})), "without an answer: the message changes");
    assert_eq!(room.acknowledged_by().await.unwrap(), "Ana <!here> (U0ANA0001)");
    let metrics = room.route.metrics.encode();
    assert!(metrics.contains(r#"nightshift_webhooks_total{source="slack_socket",answer="accepted"} 1"#), "{metrics}");
}

#[tokio::test]
async fn a_click_that_comes_by_both_ways_or_again_is_taken_once() {
    let room = Room::set().await;
    let line = line(&room, &room.slack.url, Times::default());
    let mut click = room.click(&acknowledge());
    click["trigger_id"] = json!("12321423423.333649436676.d8c1bb837935619ccad0f624c448ffb3");
    clicks(&line, "e1", &click).await.unwrap();
    room.clicks(&click).await;
    // Under another envelope, as one that was sent again may be.
    clicks(&line, "e2", &click).await.unwrap();
    assert_eq!(room.told(2).await, ["this was taken already: it is done once"; 2]);
    let rows = room.bench.rows().await;
    assert_eq!(rows.iter().filter(|row| row.body.contains("\"incident_acknowledged\"")).count(), 1, "{rows:#?}");
}

#[tokio::test]
async fn no_changed_click_is_taken_that_http_would_not_take() {
    let room = Room::set().await;
    let line = line(&room, &room.slack.url, Times::default());
    let right = room.click(&acknowledge());
    let mutations = mutations(&room, &right);
    assert!(mutations.len() >= 40, "{}", mutations.len());
    for (number, (place, value)) in mutations.into_iter().enumerate() {
        let mut payload = right.clone();
        *payload.pointer_mut(place).unwrap() = value.clone();
        let said = clicks(&line, &format!("e{number}"), &payload).await;
        assert_eq!(said, Some(json!({"envelope_id": format!("e{number}")})), "{place} {value}: or it comes for ever");
        assert_eq!(room.acknowledged_by().await, None, "{place} {value}");
    }
    clicks(&line, "right", &right).await;
    assert!(room.acknowledged_by().await.is_some(), "the unchanged one is taken");
}

#[tokio::test]
async fn a_click_is_no_command_and_a_command_no_click() {
    let room = Room::set().await;
    let line = line(&room, &room.slack.url, Times::default());
    let click = room.click(&acknowledge());
    for kind in ["slash_commands", "events_api", "Interactive", ""] {
        assert_eq!(sent(&line, &envelope("e1", kind, &click)).await, Some(json!({"envelope_id": "e1"})), "{kind}");
    }
    let typed = json!({"user_id": "U0ANA0001", "team_id": "T1", "api_app_id": "A1", "text": "ack 1"});
    for kind in ["interactive", "events_api"] {
        assert_eq!(sent(&line, &envelope("e1", kind, &typed)).await, Some(json!({"envelope_id": "e1"})), "{kind}");
    }
    assert_eq!(room.acknowledged_by().await, None);
}

#[tokio::test]
async fn guests_bots_and_strangers_are_told_no() {
    let room = Room::set().await;
    let line = line(&room, &room.slack.url, Times::default());
    for (user, team, app, why) in [
        ("U0GIL0001", "T1", "A1", "they are a guest of the workspace"),
        ("U0BO00001", "T1", "A1", "it is a bot"),
        ("U0NOBODY1", "T1", "A1", "Slack knows no such person"),
        ("U0ANA0001", "T2", "A1", "it came from another workspace"),
        ("U0ANA0001", "T1", "A2", "it came through another app"),
        ("U0ANA0001", "T1", "", "it came through another app"),
    ] {
        assert_eq!(types(&line, user, team, app, "ack 1").await, why);
        let rows = room.bench.rows().await;
        assert!(rows.last().unwrap().body.contains("command_refused"), "{why}");
    }
    assert_eq!(room.acknowledged_by().await, None);
    assert_eq!(types(&line, "U0ANA0001", "T1", "A1", "ack 1").await, "You have incident 1.");
}

#[tokio::test]
async fn a_command_is_answered_in_the_acknowledgement_only_where_that_is_allowed() {
    let room = Room::set().await;
    let line = line(&room, &room.slack.url, Times::default());
    assert!(types(&line, "U0ANA0001", "T1", "A1", "help").await.contains("/nightshift why ID"));
    let payload = json!({"user_id": "U0ANA0001", "team_id": "T1", "api_app_id": "A1", "text": "pause odd"});
    let silent = json!({"envelope_id": "e1", "type": "slash_commands", "payload": payload});
    assert_eq!(sent(&line, &silent.to_string()).await, Some(json!({"envelope_id": "e1"})));
    assert!(room.bench.handle.pause_flag().is_set());
}

/// Telling whoever clicked takes its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_click_is_acknowledged_before_anybody_is_told() {
    let slow = Stub::start(|asked| {
        if asked.path == "/chat.postEphemeral" {
            std::thread::sleep(Duration::from_secs(2));
        }
        directory(asked)
    });
    let room = Room::with(slow.await).await;
    let line = line(&room, &room.slack.url, Times::default());
    clicks(&line, "e1", &room.click(&Button::Why { incident: IncidentId(1) })).await.unwrap();
    room.told(0).await;
    room.told(1).await;
}

/// Somebody takes the connection and never answers.
#[tokio::test]
async fn while_slack_hangs_a_pause_is_in_force_and_an_undecided_click_is_not_acknowledged() {
    let mut room = Room::set().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    room.answer_from(&format!("http://{}", silent.local_addr().unwrap()));
    let line = line(&room, &room.slack.url, Times::default());
    let mut doing = JoinSet::new();
    let then = line.take(&envelope("e1", "interactive", &room.click(&acknowledge())), &mut doing);
    assert_eq!(then, Then::GoOn);
    let payload = json!({"user_id": "U0ANA0001", "team_id": "T1", "api_app_id": "A1", "text": "pause odd"});
    let said = sent(&line, &envelope("e2", "slash_commands", &payload)).await.unwrap();
    assert_eq!(said["envelope_id"], "e2");
    for _ in 0..50 {
        if room.bench.handle.pause_flag().is_set() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(room.bench.handle.pause_flag().is_set());
    assert!(doing.try_join_next().is_none(), "it is not known yet who clicked");
}

#[tokio::test]
async fn what_cannot_be_read_is_counted_and_changes_nothing() {
    let room = Room::set().await;
    let line = line(&room, &room.slack.url, Times::default());
    let before = room.bench.rows().await.len();
    for text in ["", "null", "{\"type\":7}", "hello", &envelope("", "interactive", &room.click(&acknowledge()))] {
        assert_eq!(sent(&line, text).await, None, "{text}");
    }
    assert_eq!(room.bench.rows().await.len(), before);
    let metrics = room.route.metrics.encode();
    assert!(metrics.contains(r#"nightshift_webhooks_total{source="slack_socket",answer="invalid"} 5"#), "{metrics}");
}

/// What Slack's end does with one connection after another: `(number, message of ours)` as they come.
struct Theirs {
    heard: mpsc::UnboundedReceiver<(usize, String)>,
    say: mpsc::UnboundedSender<(usize, Message)>,
    state: SocketBoard,
    stop: CancellationToken,
    running: JoinSet<()>,
    notices: Notices,
    client: Arc<SlackClient>,
    opens: Arc<dyn Fn() -> usize + Send + Sync>,
}

/// A keeper at the room's desk, and a Slack whose web sockets say hello through `app` and do what they are told.
async fn kept(room: &Room, app: &'static str, ping_every: Duration) -> Theirs {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = format!("ws://{}/", listener.local_addr().unwrap());
    let stub = Stub::start(move |asked| {
        let answer = match asked.path.as_str() {
            "/auth.test" => json!({"ok": true, "team_id": "T1", "bot_id": "B1"}),
            "/bots.info" => json!({"ok": true, "bot": {"app_id": "A1"}}),
            "/apps.connections.open" => json!({"ok": true, "url": socket}),
            _ => json!({"ok": false, "error": "unknown_method"}),
        };
        (200, answer.to_string())
    })
    .await;
    let (tell, heard) = mpsc::unbounded_channel();
    let (say, mut said) = mpsc::unbounded_channel::<(usize, Message)>();
    let mut running = JoinSet::new();
    running.spawn(async move {
        let mut open = Vec::new();
        let mut serving = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let mut theirs = accept_async(accepted.unwrap().0).await.unwrap();
                    let hello = json!({"type": "hello", "connection_info": {"app_id": app}, "num_connections": 1});
                    theirs.send(Message::text(hello.to_string())).await.unwrap();
                    let (orders, mut ordered) = mpsc::unbounded_channel::<Message>();
                    let (number, tell) = (open.len(), tell.clone());
                    open.push(orders);
                    serving.spawn(async move {
                        let mut is_dead = false;
                        loop {
                            tokio::select! {
                                Some(order) = ordered.recv() => match order {
                                    // Half-open: nothing is read, so nothing is answered.
                                    Message::Binary(_) => is_dead = true,
                                    other => if theirs.send(other).await.is_err() { break },
                                },
                                heard = theirs.next(), if !is_dead => match heard {
                                    Some(Ok(Message::Text(text))) => { let _ = tell.send((number, text.to_string())); }
                                    Some(Ok(Message::Close(_))) => { let _ = tell.send((number, "farewell".to_owned())); }
                                    Some(Ok(_)) => {}
                                    _ => break,
                                },
                            }
                        }
                    });
                }
                Some((number, message)) = said.recv() => { let _ = open[number].send(message); }
            }
        }
    });
    let times = Times { ping_every, ..Times::default() };
    let line = Arc::new(line(room, &stub.url, times));
    let clock = Arc::clone(room.bench.handle.clock());
    let state = SocketBoard::new(room.route.metrics.clone(), clock.now());
    let (notices, client) = (Notices::default(), Arc::clone(&line.client));
    let keeper = Keeper { line, board: state.clone(), notices: notices.clone(), clock };
    let stop = CancellationToken::new();
    running.spawn({
        let stop = stop.clone();
        async move { keeper.run(stop, || panic!("a panic of a line")).await }
    });
    let opens = Arc::new(move || stub.asked().iter().filter(|asked| asked.path == "/apps.connections.open").count());
    Theirs { heard, say, state, stop, running, notices, client, opens }
}

impl Theirs {
    fn says(&self, connection: usize, message: &str) {
        self.say.send((connection, Message::text(message))).unwrap();
    }

    async fn hears(&mut self) -> (usize, String) {
        tokio::time::timeout(Duration::from_secs(20), self.heard.recv()).await.unwrap().unwrap()
    }

    async fn until(&self, state: SlackSocket, reason: &str) {
        for _ in 0..2000 {
            let shown = self.state.shown();
            if shown.state == state && shown.reason == reason {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?} and not {state:?} {reason}", self.state.shown());
    }

    async fn until_opened(&self, times: usize) {
        for _ in 0..2000 {
            if (self.opens)() >= times {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("opened {} times and not {times}", (self.opens)());
    }
}

const QUIET: Duration = Duration::from_secs(3600);

fn why(room: &Room) -> String {
    envelope("e1", "interactive", &room.click(&Button::Why { incident: IncidentId(1) }))
}

#[tokio::test]
async fn the_next_line_is_open_before_the_last_one_ends_and_both_are_heard() {
    for reason in ["warning", "refresh_requested"] {
        let room = Room::set().await;
        let mut theirs = kept(&room, "A1", QUIET).await;
        theirs.until(SlackSocket::Connected, "").await;
        theirs.says(0, &json!({"type": "disconnect", "reason": reason}).to_string());
        theirs.until_opened(2).await;
        for connection in [0, 1] {
            theirs.says(connection, &why(&room));
            assert_eq!(theirs.hears().await, (connection, r#"{"envelope_id":"e1"}"#.to_owned()), "{reason}");
        }
        theirs.say.send((0, Message::Close(None))).unwrap();
        assert_eq!(theirs.hears().await, (0, "farewell".to_owned()));
        theirs.says(1, &why(&room));
        assert_eq!(theirs.hears().await.0, 1);
        assert_eq!(theirs.state.shown().state, SlackSocket::Connected);
        assert_eq!((theirs.opens)(), 2, "its place was taken already");
    }
}

#[tokio::test]
async fn a_line_that_gives_no_sign_of_life_is_replaced() {
    let room = Room::set().await;
    let mut theirs = kept(&room, "A1", Duration::from_millis(300)).await;
    theirs.until(SlackSocket::Connected, "").await;
    // Several times as long as a sign of life may take.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((theirs.opens)(), 1, "one that lives is left alone");
    theirs.say.send((0, Message::Binary(bytes::Bytes::new()))).unwrap();
    theirs.until_opened(2).await;
    theirs.until(SlackSocket::Connected, "").await;
    theirs.says(1, &why(&room));
    assert_eq!(theirs.hears().await.0, 1);
}

#[tokio::test]
async fn what_is_switched_off_in_slack_is_not_tried_again() {
    let room = Room::set().await;
    let mut theirs = kept(&room, "A1", QUIET).await;
    theirs.until(SlackSocket::Connected, "").await;
    theirs.says(0, r#"{"type":"disconnect","reason":"link_disabled"}"#);
    theirs.until(SlackSocket::Disabled, "link_disabled").await;
    assert_eq!(theirs.hears().await, (0, "farewell".to_owned()));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((theirs.opens)(), 1);
    assert!(theirs.notices.lines()[0].contains("switch it on in the app's settings"), "{:?}", theirs.notices.lines());
    // Somebody has set it right, and reloads.
    theirs.client.replace_token(SecretString::from("xapp-1"));
    theirs.until(SlackSocket::Connected, "").await;
    assert_eq!(theirs.notices.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn too_many_connections_are_not_made_more() {
    let room = Room::set().await;
    let theirs = kept(&room, "A1", QUIET).await;
    theirs.until(SlackSocket::Connected, "").await;
    theirs.says(0, r#"{"type":"disconnect","reason":"too_many_websockets"}"#);
    theirs.until(SlackSocket::Connecting, "too_many_websockets").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((theirs.opens)(), 1);
}

#[tokio::test]
async fn the_token_of_another_app_is_refused() {
    let room = Room::set().await;
    let theirs = kept(&room, "A2", QUIET).await;
    theirs.until(SlackSocket::Refused, "another_app").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((theirs.opens)(), 1);
    assert!(theirs.notices.lines()[0].contains("slack.app_token_file (another_app)"), "{:?}", theirs.notices.lines());
    theirs.client.replace_token(SecretString::from("xapp-2"));
    theirs.until_opened(2).await;
}

#[tokio::test]
async fn a_message_beyond_the_bound_ends_the_line_and_another_is_opened() {
    let room = Room::set().await;
    let theirs = kept(&room, "A1", QUIET).await;
    theirs.until(SlackSocket::Connected, "").await;
    theirs.says(0, &"x".repeat(SLACK_MAX_BODY + 1));
    theirs.until_opened(2).await;
    theirs.until(SlackSocket::Connected, "").await;
}

#[tokio::test]
async fn a_stop_says_farewell() {
    let room = Room::set().await;
    let mut theirs = kept(&room, "A1", QUIET).await;
    theirs.until(SlackSocket::Connected, "").await;
    theirs.stop.cancel();
    assert_eq!(theirs.hears().await, (0, "farewell".to_owned()));
    let ended = tokio::time::timeout(Duration::from_secs(10), theirs.running.join_next()).await;
    ended.unwrap().unwrap().unwrap();
}
