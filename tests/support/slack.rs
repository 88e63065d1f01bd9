//! A stand-in for Slack's Web API (messages, people, groups) that is as strict as Slack, keeps every
//! call in order, and fails in Slack's ways when told to.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::background::Background;
use super::proxy::{Mode, Proxy};
use super::slack_rules::{Broken, check_message};
use super::slack_socket::{APP_TOKEN, Sockets};

/// The one token it takes.
pub const TOKEN: &str = "xoxb-of-the-tests-1234567890";
/// With what it signs what it sends.
pub const SIGNING_SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
/// Its workspace, and the app that it shows.
pub const TEAM: &str = "T0TESTS";
pub const APP: &str = "A0TESTS";

const READ: [&str; 7] = [
    "users.info",
    "bots.info",
    "usergroups.users.list",
    "conversations.history",
    "conversations.replies",
    "conversations.list",
    "conversations.info",
];

#[derive(Clone, Debug)]
pub enum Behaviour {
    Ok,
    /// 429 with this `Retry-After`, in seconds.
    RateLimited(u64),
    /// That status and a body that isn't JSON, as a gateway in front of Slack answers.
    Status(u16),
    /// 200 with `ok: false` and this error.
    Error(&'static str),
    /// Does it, and answers so much later.
    Slow(Duration),
    /// Takes the request and never answers, until the behaviour is changed.
    Hang,
    /// Ends the connection and does nothing.
    Reset,
    /// Does it, and ends the connection instead of answering.
    LoseAnswer,
}

/// One call, in the order of arrival.
#[derive(Clone, Debug)]
pub struct Call {
    /// `chat.postMessage`
    pub method: String,
    pub at: Instant,
    pub body: Value,
    /// Whether it was done: a message was posted or changed.
    pub done: bool,
    /// Slack's error word, where it said `ok: false`.
    pub error: Option<String>,
}

/// A message as it stands now.
#[derive(Clone, Debug)]
pub struct Message {
    /// The channel's id.
    pub channel: String,
    pub ts: String,
    pub thread_ts: Option<String>,
    pub text: String,
    pub blocks: Vec<Value>,
    /// `{event_type, event_payload}`, or null.
    pub metadata: Value,
    pub updates: usize,
}

impl Message {
    /// Everything that can be read in it: the text, then the texts of its blocks, one a line.
    pub fn readable(&self) -> String {
        let mut texts = vec![self.text.clone()];
        self.blocks.iter().for_each(|block| collect_texts(block, &mut texts));
        texts.join("\n")
    }

    /// The button with this label, if there is one.
    pub fn button(&self, label: &str) -> Option<Value> {
        let rows = self.blocks.iter().filter(|block| block["type"] == "actions");
        let mut buttons = rows.flat_map(|row| row["elements"].as_array().cloned().unwrap_or_default());
        buttons.find(|button| button["text"]["text"] == label)
    }

    pub fn buttons(&self) -> Vec<String> {
        let rows = self.blocks.iter().filter(|block| block["type"] == "actions");
        let buttons = rows.flat_map(|row| row["elements"].as_array().cloned().unwrap_or_default());
        buttons.map(|button| button["text"]["text"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

struct State {
    channels: Mutex<Vec<Channel>>,
    behaviour: watch::Sender<Behaviour>,
    sockets: Sockets,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    next: VecDeque<Behaviour>,
    next_opens: VecDeque<Behaviour>,
    calls: Vec<Call>,
    messages: Vec<Message>,
    broken: Vec<Broken>,
    /// As users.info shows them.
    people: Vec<Value>,
    groups: Vec<(String, Vec<String>)>,
    whispers: Vec<Whisper>,
}

/// Public, and nobody is in it but who made it, or who stands in the settings of a test.
#[derive(Clone, Debug)]
pub struct Channel {
    pub name: String,
    pub id: String,
    pub creator: String,
}

/// A message that one person sees.
#[derive(Clone, Debug)]
pub struct Whisper {
    pub user: String,
    pub text: String,
}

pub struct Slack {
    state: Arc<State>,
    proxy: Proxy,
    _background: Background,
}

impl Slack {
    /// With these channels: (name without `#`, id).
    pub fn start(channels: &[(&str, &str)]) -> Self {
        let background = Background::start("slack");
        let state = Arc::new(State {
            channels: Mutex::new(channels.iter().map(|(name, id)| channel_of(name, id, "U0ADMIN")).collect()),
            behaviour: watch::channel(Behaviour::Ok).0,
            sockets: Sockets::start(&background),
            kept: Mutex::default(),
        });
        let listener = background.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let serving = state.clone();
        background.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = serving.clone();
                tokio::task::spawn(async move {
                    let serve = service_fn(move |request| answer(state.clone(), request));
                    // It ends with an error where an answer was to be lost.
                    let _ =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve).await;
                });
            }
        });
        Self { state, proxy: Proxy::start(address), _background: background }
    }

    /// `http://127.0.0.1:PORT/api`, without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}/api", self.proxy.address())
    }

    pub fn address(&self) -> SocketAddr {
        self.proxy.address()
    }

    /// From now on, until told otherwise.
    pub fn behave(&self, behaviour: Behaviour) {
        self.state.behaviour.send_replace(behaviour);
    }

    /// For the next call only; several are taken in order.
    pub fn next(&self, behaviour: Behaviour) {
        self.state.kept.lock().unwrap().next.push_back(behaviour);
    }

    /// For the next opening of a web socket only; several are taken in order.
    pub fn next_open(&self, behaviour: Behaviour) {
        self.state.kept.lock().unwrap().next_opens.push_back(behaviour);
    }

    /// Its end of Socket Mode.
    pub fn sockets(&self) -> &Sockets {
        &self.state.sockets
    }

    /// Nobody listens, until [`Self::listen_again`].
    pub fn refuse(&self) {
        self.proxy.set(Mode::Refuse);
    }

    pub fn listen_again(&self) {
        self.proxy.set(Mode::Pass);
    }

    /// A person of its workspace; `more` overrides what users.info says of them.
    pub fn knows(&self, id: &str, name: &str, more: Value) {
        let mut person = json!({"id": id, "team_id": TEAM, "name": name, "profile": {"display_name": name}});
        person.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        self.state.kept.lock().unwrap().people.push(person);
    }

    pub fn has_group(&self, id: &str, members: &[&str]) {
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        let mut kept = self.state.kept.lock().unwrap();
        kept.groups.retain(|(known, _)| known != id);
        kept.groups.push((id.to_owned(), members));
    }

    /// What single people were told, oldest first.
    pub fn whispers(&self) -> Vec<Whisper> {
        self.state.kept.lock().unwrap().whispers.clone()
    }

    /// Somebody presses the message's button with this label. The answer's status.
    pub async fn press(&self, nightshift: &str, user: &str, message: &Message, label: &str) -> u16 {
        let button = message.button(label).unwrap_or_else(|| panic!("no button {label}: {message:#?}"));
        self.press_with(nightshift, user, message, &button).await
    }

    /// The same with a button that may be gone by now.
    pub async fn press_with(&self, nightshift: &str, user: &str, message: &Message, button: &Value) -> u16 {
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("payload", &pressed(user, message, button).to_string())
            .finish();
        send_signed(&format!("{nightshift}/slack/interactions"), body).await.0
    }

    /// The same by a web socket: the envelope's id.
    pub fn press_by_socket(&self, user: &str, message: &Message, label: &str) -> String {
        let button = message.button(label).unwrap_or_else(|| panic!("no button {label}: {message:#?}"));
        self.sockets().send("interactive", pressed(user, message, &button), true)
    }

    /// Somebody types `/nightshift TEXT`, by a web socket: what they are told.
    pub async fn type_by_socket(&self, user: &str, text: &str) -> String {
        let id = self.sockets().send("slash_commands", typed(user, text), true);
        let mut texts = Vec::new();
        collect_texts(&self.sockets().until_acknowledged(&id).await, &mut texts);
        texts.join("\n")
    }

    /// Somebody types `/nightshift TEXT`: what they are told.
    pub async fn type_command(&self, nightshift: &str, user: &str, text: &str) -> String {
        let typed = typed(user, text);
        let fields = typed.as_object().expect("an object").iter();
        let fields = fields.map(|(name, value)| (name, value.as_str().expect("a text")));
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let (status, answer) = send_signed(&format!("{nightshift}/slack/commands"), body).await;
        assert_eq!(status, 200, "{answer}");
        let mut texts = Vec::new();
        collect_texts(&serde_json::from_str(&answer).expect("JSON"), &mut texts);
        texts.join("\n")
    }

    /// Every channel, in the order in which they were made.
    pub fn channels(&self) -> Vec<Channel> {
        self.state.channels.lock().unwrap().clone()
    }

    /// Somebody else makes a channel.
    pub fn has_channel(&self, name: &str, id: &str) {
        self.state.channels.lock().unwrap().push(channel_of(name, id, "U0SOMEBODY"));
    }

    /// Every call so far, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.state.kept.lock().unwrap().calls.clone()
    }

    /// Every message as it stands now, in the order of posting; replies in threads have `thread_ts`.
    pub fn messages(&self) -> Vec<Message> {
        self.state.kept.lock().unwrap().messages.clone()
    }

    /// Rules that calls broke. A correct client leaves this empty, whatever the behaviour.
    pub fn broken(&self) -> Vec<Broken> {
        let calls = self.state.kept.lock().unwrap().broken.clone();
        calls.into_iter().chain(self.state.sockets.broken()).collect()
    }

    pub fn assert_nothing_broken(&self) {
        let broken = self.broken();
        assert!(broken.is_empty(), "Slack would have refused: {broken:#?}");
    }
}

fn channel_of(name: &str, id: &str, creator: &str) -> Channel {
    Channel { name: name.to_owned(), id: id.to_owned(), creator: creator.to_owned() }
}

/// The bot is in every channel that a test gives it.
fn shown(it: &Channel) -> Value {
    json!({"id": it.id, "name": it.name, "creator": it.creator, "is_archived": false, "is_member": true})
}

/// What Slack sends for a button that was pressed.
pub fn pressed(user: &str, message: &Message, button: &Value) -> Value {
    json!({
        "type": "block_actions", "api_app_id": APP, "team": {"id": TEAM, "domain": "tests"},
        "user": {"id": user, "username": "whoever", "team_id": TEAM}, "trigger_id": trigger_id(), "token": "old",
        "container": {
            "type": "message", "message_ts": message.ts, "channel_id": message.channel, "is_ephemeral": false,
        },
        "channel": {"id": message.channel, "name": "incidents"},
        "actions": [{
            "type": "button", "action_id": button["action_id"], "block_id": "b", "value": button["value"],
            "text": button["text"], "action_ts": "1790000001.000001",
        }],
    })
}

/// What Slack sends for `/nightshift TEXT`.
pub fn typed(user: &str, text: &str) -> Value {
    json!({
        "team_id": TEAM, "user_id": user, "api_app_id": APP, "command": "/nightshift", "text": text,
        "channel_id": "C0INCIDENTS", "trigger_id": trigger_id(),
    })
}

/// No two requests of Slack are equal.
fn trigger_id() -> String {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    format!("{}.1.a", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}

/// As Slack sends it: a form, with its time and signature.
async fn send_signed(url: &str, body: String) -> (u16, String) {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let keys = nightshift::http::signature::SigningKeys::new(&[SIGNING_SECRET.into()]);
    let signature = keys.sign(&[format!("v0:{seconds}:{body}").as_bytes()]).expect("a secret");
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let answer = client
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("x-slack-request-timestamp", seconds.to_string())
        .header("x-slack-signature", format!("v0={}", nightshift::model::plan::hex(&signature)))
        .body(body)
        .send()
        .await
        .expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a body"))
}

/// Every text in it, one after the other.
fn collect_texts(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "text" => into.push(text.clone()),
                    other => collect_texts(other, into),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_texts(item, into)),
        _ => {}
    }
}

/// The answer was to be lost: an error ends the connection.
#[derive(Debug, thiserror::Error)]
#[error("no answer, on purpose")]
struct Lost;

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Lost> {
    let at = Instant::now();
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Lost)?.to_bytes();
    let method = parts.uri.path().strip_prefix("/api/").unwrap_or(parts.uri.path()).to_owned();
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let opens = method == "apps.connections.open";
    let refusal = match (parts.method.as_str(), header("authorization").strip_prefix("Bearer ")) {
        ("POST", Some(APP_TOKEN)) if opens => None,
        (_, Some(TOKEN)) if opens => Some(("not_allowed_token_type", "the bot's token".to_owned())),
        ("POST", Some(TOKEN)) => None,
        // What is read is asked by GET: these methods take no JSON.
        ("GET", Some(TOKEN)) if READ.contains(&method.as_str()) => None,
        ("POST", Some(_)) => Some(("invalid_auth", "another token".to_owned())),
        ("POST", None) => Some(("not_authed", "no bearer token".to_owned())),
        (other, _) => Some(("invalid_post_type", format!("HTTP method {other}"))),
    };
    let kind = header("content-type").to_ascii_lowercase();
    let is_read = parts.method == "GET";
    let query = || {
        let pairs = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        pairs.map(|(name, value)| (name.into_owned(), Value::from(value.into_owned()))).collect::<Value>()
    };
    let parsed = if is_read {
        Ok(query())
    } else if body.is_empty() {
        Ok(Value::Null)
    } else {
        serde_json::from_slice::<Value>(&body)
    };
    let refusal = refusal.or_else(|| match (&parsed, kind.starts_with("application/json")) {
        (Ok(Value::Null), _) if method == "auth.test" => None,
        (Ok(_), _) if is_read => None,
        (_, false) => Some(("invalid_post_type", format!("content-type {kind:?}"))),
        (Err(error), _) => Some(("invalid_json", error.to_string())),
        _ => None,
    });
    let body = parsed.unwrap_or(Value::Null);

    let number = {
        let mut kept = state.kept.lock().unwrap();
        kept.calls.push(Call { method: method.clone(), at, body: body.clone(), done: false, error: None });
        if let Some((error, what)) = refusal {
            kept.broken.push(Broken { error, what });
            if let Some(call) = kept.calls.last_mut() {
                call.error = Some(error.to_owned());
            }
            return Ok(json_answer(&json!({"ok": false, "error": error})));
        }
        kept.calls.len() - 1
    };

    let once = {
        let mut kept = state.kept.lock().unwrap();
        let of_opens = if opens { kept.next_opens.pop_front() } else { None };
        of_opens.or_else(|| kept.next.pop_front())
    };
    let mut behaviour = once.unwrap_or_else(|| state.behaviour.borrow().clone());
    if matches!(behaviour, Behaviour::Hang) {
        let mut changes = state.behaviour.subscribe();
        // Changed to whatever: who hung doesn't come back to life with an answer.
        let _ = changes.changed().await;
        behaviour = Behaviour::Reset;
    }
    match behaviour {
        Behaviour::Ok => Ok(json_answer(&state.carry_out(number, &method, &body))),
        Behaviour::Slow(delay) => {
            let said = state.carry_out(number, &method, &body);
            tokio::time::sleep(delay).await;
            Ok(json_answer(&said))
        }
        Behaviour::LoseAnswer => {
            state.carry_out(number, &method, &body);
            Err(Lost)
        }
        Behaviour::Reset | Behaviour::Hang => Err(Lost),
        Behaviour::Error(error) => {
            state.kept.lock().unwrap().calls[number].error = Some(error.to_owned());
            Ok(json_answer(&json!({"ok": false, "error": error})))
        }
        Behaviour::Status(status) => {
            let page = Full::new(Bytes::from_static(b"<html>an error page</html>"));
            Ok(Response::builder().status(status).header("content-type", "text/html").body(page).expect("valid"))
        }
        Behaviour::RateLimited(seconds) => {
            state.kept.lock().unwrap().calls[number].error = Some("ratelimited".to_owned());
            let mut answer = json_answer(&json!({"ok": false, "error": "ratelimited"}));
            *answer.status_mut() = hyper::StatusCode::TOO_MANY_REQUESTS;
            answer.headers_mut().insert("retry-after", seconds.into());
            Ok(answer)
        }
    }
}

fn json_answer(value: &Value) -> Response<Full<Bytes>> {
    let body = Full::new(Bytes::from(value.to_string()));
    Response::builder().header("content-type", "application/json; charset=utf-8").body(body).expect("valid")
}

impl State {
    fn carry_out(&self, number: usize, method: &str, body: &Value) -> Value {
        let mut kept = self.kept.lock().unwrap();
        let result = match method {
            "auth.test" => Ok(json!({
                "ok": true, "url": "https://tests.slack.com/", "team": "tests", "user": "nightshift",
                "team_id": TEAM, "user_id": "U0BOT", "bot_id": "B0BOT",
            })),
            "bots.info" if body["bot"] == "B0BOT" => Ok(json!({"ok": true, "bot": {"id": "B0BOT", "app_id": APP}})),
            "users.info" => match kept.people.iter().rev().find(|person| person["id"] == body["user"]) {
                Some(person) => Ok(json!({"ok": true, "user": person})),
                None => return json!({"ok": false, "error": "user_not_found"}),
            },
            "usergroups.users.list" => match kept.groups.iter().find(|(id, _)| body["usergroup"] == *id) {
                Some((_, members)) => Ok(json!({"ok": true, "users": members})),
                None => return json!({"ok": false, "error": "no_such_subteam"}),
            },
            "chat.postEphemeral" => {
                let mut texts = Vec::new();
                collect_texts(&body["blocks"], &mut texts);
                let user = body["user"].as_str().unwrap_or_default().to_owned();
                kept.whispers.push(Whisper { user, text: texts.join("\n") });
                Ok(json!({"ok": true, "message_ts": "1790000002.000001"}))
            }
            "conversations.create" => match self.create(body) {
                Ok(answer) => Ok(answer),
                // Nobody can know beforehand that a name is taken.
                Err("name_taken") => return json!({"ok": false, "error": "name_taken"}),
                Err(error) => one(error, body["name"].as_str().unwrap_or_default()),
            },
            "conversations.list" => Ok(self.list(body)),
            "conversations.info" => {
                let channels = self.channels.lock().unwrap();
                match channels.iter().find(|it| body["channel"] == it.id) {
                    Some(it) => Ok(json!({"ok": true, "channel": shown(it)})),
                    // Nobody can know beforehand.
                    None => return json!({"ok": false, "error": "channel_not_found"}),
                }
            }
            "apps.connections.open" => Ok(json!({"ok": true, "url": self.sockets.address()})),
            "conversations.history" if !self.has(body) => return json!({"ok": false, "error": "channel_not_found"}),
            "conversations.history" | "conversations.replies" => Ok(history(&kept, body)),
            "chat.postMessage" => self.post(&mut kept, body),
            "chat.update" => self.update(&mut kept, body),
            _ => Err(vec![Broken { error: "unknown_method", what: method.to_owned() }]),
        };
        match result {
            Ok(answer) => {
                kept.calls[number].done = true;
                answer
            }
            Err(broken) => {
                let error = broken.first().map_or("invalid_arguments", |first| first.error);
                kept.calls[number].error = Some(error.to_owned());
                kept.broken.extend(broken);
                json!({"ok": false, "error": error})
            }
        }
    }

    fn create(&self, body: &Value) -> Result<Value, &'static str> {
        let name = body["name"].as_str().unwrap_or_default();
        let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        match name.len() {
            0 => return Err("invalid_name_required"),
            1..=80 => {}
            _ => return Err("invalid_name_maxlength"),
        }
        if !name.bytes().all(is_fine) {
            return Err("invalid_name_specials");
        }
        let mut channels = self.channels.lock().unwrap();
        if channels.iter().any(|it| it.name == name) {
            return Err("name_taken");
        }
        let made = channel_of(name, &format!("C0MADE{:04}", channels.len()), "U0BOT");
        channels.push(made.clone());
        Ok(json!({"ok": true, "channel": {"id": made.id, "name": made.name, "creator": made.creator}}))
    }

    fn has(&self, asked: &Value) -> bool {
        self.channels.lock().unwrap().iter().any(|it| asked["channel"] == it.id)
    }

    /// Two on a page.
    fn list(&self, body: &Value) -> Value {
        let channels = self.channels.lock().unwrap();
        let from: usize = body["cursor"].as_str().unwrap_or_default().parse().unwrap_or(0);
        let page: Vec<Value> = channels.iter().skip(from).take(2).map(shown).collect();
        let next = if from + 2 < channels.len() { (from + 2).to_string() } else { String::new() };
        json!({"ok": true, "channels": page, "response_metadata": {"next_cursor": next}})
    }

    fn post(&self, kept: &mut Kept, body: &Value) -> Result<Value, Vec<Broken>> {
        let broken = check_message(body, false);
        if !broken.is_empty() {
            return Err(broken);
        }
        let asked = body["channel"].as_str().unwrap_or_default();
        let channels = self.channels.lock().unwrap();
        let channel = channels.iter().find(|it| asked == it.id || asked.trim_start_matches('#') == it.name);
        let Some(channel) = channel.map(|it| it.id.clone()) else { return one("channel_not_found", asked) };
        let thread_ts = body.get("thread_ts").and_then(Value::as_str).map(str::to_owned);
        if let Some(thread) = &thread_ts
            && !kept.messages.iter().any(|message| &message.ts == thread && message.channel == channel)
        {
            return one("thread_not_found", thread);
        }
        let ts = format!("1790000000.{:06}", kept.messages.len() + 1);
        kept.messages.push(Message {
            channel: channel.clone(),
            ts: ts.clone(),
            thread_ts,
            text: body["text"].as_str().unwrap_or_default().to_owned(),
            blocks: body["blocks"].as_array().cloned().unwrap_or_default(),
            metadata: body["metadata"].clone(),
            updates: 0,
        });
        Ok(
            json!({"ok": true, "channel": channel, "ts": ts, "message": {"type": "message", "text": body["text"], "ts": ts}}),
        )
    }

    fn update(&self, kept: &mut Kept, body: &Value) -> Result<Value, Vec<Broken>> {
        let broken = check_message(body, true);
        if !broken.is_empty() {
            return Err(broken);
        }
        let channel = body["channel"].as_str().unwrap_or_default();
        if !self.channels.lock().unwrap().iter().any(|it| it.id == channel) {
            // Names are taken for posting only.
            return one("channel_not_found", channel);
        }
        let ts = body["ts"].as_str().unwrap_or_default();
        let found = kept.messages.iter_mut().find(|message| message.ts == ts && message.channel == channel);
        let Some(message) = found else { return one("message_not_found", ts) };
        message.text = body["text"].as_str().unwrap_or_default().to_owned();
        // Text without blocks takes the blocks away.
        message.blocks = body["blocks"].as_array().cloned().unwrap_or_default();
        message.updates += 1;
        Ok(json!({"ok": true, "channel": channel, "ts": ts, "text": body["text"]}))
    }
}

/// The messages of a channel, or of one thread of it (`ts`).
fn history(kept: &Kept, asked: &Value) -> Value {
    let thread = asked["ts"].as_str();
    let fits = |message: &&Message| {
        asked["channel"] == message.channel && (message.thread_ts.as_deref() == thread || thread == Some(&message.ts))
    };
    let show = |message: &Message| json!({"type": "message", "ts": message.ts, "metadata": message.metadata});
    let messages: Vec<Value> = kept.messages.iter().filter(fits).map(show).collect();
    json!({"ok": true, "messages": messages, "has_more": false})
}

fn one<T>(error: &'static str, what: &str) -> Result<T, Vec<Broken>> {
    Err(vec![Broken { error, what: what.to_owned() }])
}
