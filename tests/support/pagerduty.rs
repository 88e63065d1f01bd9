//! A stand-in for PagerDuty: Events API v2, the part of REST that is used, and V3 webhooks. As strict as PagerDuty, with
//! its deduplication, it keeps every call in order and fails in PagerDuty's ways when told to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::background::Background;
use super::pagerduty_rules::check_event;
use super::proxy::{Mode, Proxy};

/// The integration keys that it knows.
pub const ROUTING_KEY: &str = "0123456789abcdef0123456789abcdef";
pub const API_TOKEN: &str = "u+of-the-tests";
/// The user in whose name notes may be written.
pub const FROM: &str = "nightshift@example.com";
/// With what it signs webhooks.
pub const SIGNING_SECRET: &str = "Wqd3TxYvl8nIPzZyVN2qkLgz0mGC1ZlkkVsVyxrjbFb2oV7ZHxYyPzJrPaZb9HcX";
const MOST_A_MINUTE: usize = 120;
/// Deliveries of one webhook; PagerDuty tries for two days.
const TRIES: u32 = 40;
const TRY_AGAIN: Duration = Duration::from_millis(250);

#[derive(Clone, Debug)]
pub enum Behaviour {
    Ok,
    /// 429 with `ratelimit-reset`, in seconds.
    RateLimited(u64),
    /// That status, with a body as PagerDuty has it.
    Status(u16),
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
    pub at: Instant,
    /// `POST /v2/enqueue`, with the query.
    pub what: String,
    pub body: Value,
    pub done: bool,
}

/// One of its incidents, with the one alert that opened it.
#[derive(Clone, Debug)]
pub struct Incident {
    pub id: String,
    pub number: u64,
    /// The alert's: the incident itself shows none.
    pub key: String,
    pub status: &'static str,
    pub title: String,
    pub severity: String,
    pub created_at: String,
    pub details: Value,
    pub notes: Vec<String>,
    /// How often it was triggered.
    pub triggers: usize,
}

#[derive(Default)]
struct Kept {
    events_next: VecDeque<Behaviour>,
    rest_next: VecDeque<Behaviour>,
    calls: Vec<Call>,
    incidents: Vec<Incident>,
    broken: Vec<String>,
    events_at: BTreeMap<String, VecDeque<Instant>>,
    /// Where its webhooks go.
    door: Option<String>,
    delivered: Vec<(String, u16)>,
    webhooks: u64,
}

struct State {
    events: watch::Sender<Behaviour>,
    rest: watch::Sender<Behaviour>,
    kept: Mutex<Kept>,
    /// What is to be delivered, in order.
    outbox: tokio::sync::mpsc::UnboundedSender<(Value, String)>,
}

pub struct PagerDuty {
    state: Arc<State>,
    proxy: Proxy,
    _background: Background,
}

impl PagerDuty {
    pub fn start() -> Self {
        let background = Background::start("pagerduty");
        let (outbox, inbox) = tokio::sync::mpsc::unbounded_channel();
        let state = Arc::new(State {
            events: watch::channel(Behaviour::Ok).0,
            rest: watch::channel(Behaviour::Ok).0,
            kept: Mutex::default(),
            outbox,
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
        background.spawn(deliver(state.clone(), inbox));
        Self { state, proxy: Proxy::start(address), _background: background }
    }

    /// `http://127.0.0.1:PORT`: for events and for REST.
    pub fn url(&self) -> String {
        format!("http://{}", self.proxy.address())
    }

    /// From now on its webhooks go to `http://HOST:PORT` of nightshift.
    pub fn tells(&self, door: &str) {
        self.kept().door = Some(format!("{door}/webhooks/pagerduty"));
    }

    /// How the Events API behaves from now on.
    pub fn events(&self, behaviour: Behaviour) {
        self.state.events.send_replace(behaviour);
    }

    pub fn rest(&self, behaviour: Behaviour) {
        self.state.rest.send_replace(behaviour);
    }

    /// For the next event only; several are taken in order.
    pub fn next_event(&self, behaviour: Behaviour) {
        self.kept().events_next.push_back(behaviour);
    }

    pub fn next_rest(&self, behaviour: Behaviour) {
        self.kept().rest_next.push_back(behaviour);
    }

    /// Nobody listens, until [`Self::listen_again`].
    pub fn refuse(&self) {
        self.proxy.set(Mode::Refuse);
    }

    pub fn listen_again(&self) {
        self.proxy.set(Mode::Pass);
    }

    pub fn calls(&self) -> Vec<Call> {
        self.kept().calls.clone()
    }

    /// The events that were taken: action and key.
    pub fn events_taken(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let calls = self.calls().into_iter().filter(|call| call.done && call.what.starts_with("POST /v2/"));
        calls.map(|call| (text(&call.body["event_action"]), text(&call.body["dedup_key"]))).collect()
    }

    pub fn incidents(&self) -> Vec<Incident> {
        self.kept().incidents.clone()
    }

    /// Event type and the answer's status of every webhook's last delivery.
    pub fn delivered(&self) -> Vec<(String, u16)> {
        self.kept().delivered.clone()
    }

    /// Rules that calls broke. A correct client leaves this empty, whatever the behaviour.
    pub fn assert_nothing_broken(&self) {
        let broken = self.kept().broken.clone();
        assert!(broken.is_empty(), "PagerDuty would have refused: {broken:#?}");
    }

    /// Somebody opens one in PagerDuty by hand.
    pub fn opens(&self, title: &str) -> String {
        let id = open(&mut self.kept(), "", title, "error", json!({}));
        self.tell("triggered", &id, user("Eve"));
        id
    }

    /// Somebody takes it in PagerDuty.
    pub fn acknowledges(&self, who: &str, id: &str) {
        self.set(id, "acknowledged");
        self.tell("acknowledged", id, user(who));
    }

    pub fn resolves(&self, who: &str, id: &str) {
        self.set(id, "resolved");
        self.tell("resolved", id, user(who));
    }

    /// Anything else that happens to an incident there.
    pub fn tell(&self, word: &str, id: &str, agent: Value) {
        self.state.tell(word, id, agent);
    }

    /// A webhook of the test's own making, signed.
    pub fn tell_raw(&self, event: Value) {
        let number = {
            let mut kept = self.kept();
            kept.webhooks += 1;
            kept.webhooks
        };
        let _ = self.state.outbox.send((event, format!("W{number}")));
    }

    fn set(&self, id: &str, status: &'static str) {
        let mut kept = self.kept();
        let found = kept.incidents.iter_mut().find(|incident| incident.id == id);
        found.expect("an incident").status = status;
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.state.kept.lock().unwrap()
    }
}

/// Who did something, as webhooks name a user.
pub fn user(name: &str) -> Value {
    json!({"id": "PUSER01", "type": "user_reference", "summary": name, "html_url": "https://acme.pagerduty.com/users/PUSER01"})
}

fn integration() -> Value {
    json!({"id": "PINT001", "type": "events_api_v2_inbound_integration_reference", "summary": "Events API V2"})
}

fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

fn open(kept: &mut Kept, key: &str, title: &str, severity: &str, details: Value) -> String {
    let number = kept.incidents.len() as u64 + 1;
    let id = format!("P{number:06}");
    kept.incidents.push(Incident {
        id: id.clone(),
        number,
        key: key.to_owned(),
        status: "triggered",
        title: title.to_owned(),
        severity: severity.to_owned(),
        created_at: now(),
        details,
        notes: Vec::new(),
        triggers: 1,
    });
    id
}

/// `data` of its webhooks about an incident.
pub fn webhook_data(incident: &Incident) -> Value {
    json!({
        "id": incident.id, "type": "incident", "self": format!("https://api.pagerduty.com/incidents/{}", incident.id),
        "html_url": format!("https://acme.pagerduty.com/incidents/{}", incident.id), "number": incident.number,
        "status": incident.status, "incident_key": null, "created_at": incident.created_at, "title": incident.title,
        "service": {"id": "PSERV01", "type": "service_reference", "summary": "claims"},
        "assignees": [user("Ana")], "escalation_policy": {"id": "PESC001", "type": "escalation_policy_reference", "summary": "Default"},
        "teams": [], "priority": null, "urgency": "high", "conference_bridge": null, "resolve_reason": null,
    })
}

impl State {
    fn tell(&self, word: &str, id: &str, agent: Value) {
        let mut kept = self.kept.lock().unwrap();
        kept.webhooks += 1;
        let number = kept.webhooks;
        let Some(incident) = kept.incidents.iter().find(|incident| incident.id == id) else { return };
        let event = json!({"event": {
            "id": format!("E{number:06}"), "event_type": format!("incident.{word}"), "resource_type": "incident",
            "occurred_at": now(), "agent": agent, "client": null, "data": webhook_data(incident),
        }});
        let _ = self.outbox.send((event, format!("W{number}")));
    }

    fn event(&self, event: &Value, size: usize) -> Result<Value, (u16, Value)> {
        let invalid = |errors: Vec<String>| {
            (400, json!({"status": "invalid event", "message": "Event object is invalid", "errors": errors}))
        };
        let mut kept = self.kept.lock().unwrap();
        let wrong = check_event(event, size);
        if !wrong.is_empty() {
            kept.broken.extend(wrong.clone());
            return Err(invalid(wrong));
        }
        let routing_key = event["routing_key"].as_str().unwrap_or_default().to_owned();
        if routing_key != ROUTING_KEY {
            return Err(invalid(vec!["'routing_key' is no integration's".to_owned()]));
        }
        let sent = kept.events_at.entry(routing_key).or_default();
        let at = Instant::now();
        sent.retain(|earlier| at - *earlier < Duration::from_secs(60));
        if sent.len() >= MOST_A_MINUTE {
            kept.broken.push("more than 120 events in a minute".to_owned());
            return Err((429, json!({"status": "throttle exceeded"})));
        }
        sent.push_back(at);
        let key = event["dedup_key"].as_str().unwrap_or_default().to_owned();
        let open_one = kept.incidents.iter_mut().rev().find(|it| it.key == key && it.status != "resolved");
        // What is not open is dropped without a word.
        let told = match (event["event_action"].as_str().unwrap_or_default(), open_one) {
            ("trigger", Some(incident)) => {
                incident.triggers += 1;
                None
            }
            ("trigger", None) => {
                let payload = &event["payload"];
                let text = |name: &str| payload[name].as_str().unwrap_or_default();
                let details = payload["custom_details"].clone();
                let id = open(&mut kept, &key, text("summary"), text("severity"), details);
                Some(("triggered", id))
            }
            ("acknowledge", Some(incident)) if incident.status == "triggered" => {
                incident.status = "acknowledged";
                Some(("acknowledged", incident.id.clone()))
            }
            ("resolve", Some(incident)) => {
                incident.status = "resolved";
                Some(("resolved", incident.id.clone()))
            }
            _ => None,
        };
        drop(kept);
        if let Some((word, id)) = told {
            self.tell(word, &id, integration());
        }
        Ok(json!({"status": "success", "message": "Event processed", "dedup_key": key}))
    }

    fn rest(&self, what: &str, query: &str, headers: &HeaderMap, body: &Value) -> (u16, Value) {
        let mut kept = self.kept.lock().unwrap();
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let error = |code: u16, message: &str| json!({"error": {"message": message, "code": code}});
        if header("accept") != "application/vnd.pagerduty+json;version=2" {
            kept.broken.push(format!("{what}: Accept {:?}", header("accept")));
        }
        if header("authorization") != format!("Token token={API_TOKEN}") {
            return (401, error(2006, "Invalid Authentication"));
        }
        let parts: Vec<&str> = what.split(['/', ' ']).collect();
        let shown = |it: &Incident| {
            json!({"id": it.id, "type": "incident", "incident_number": it.number, "status": it.status,
                   "incident_key": null, "title": it.title, "html_url": "https://acme.pagerduty.com/incidents/x"})
        };
        let index = |kept: &Kept, id: &str| kept.incidents.iter().position(|incident| incident.id == id);
        match parts.as_slice() {
            ["GET", "", "incidents"] => {
                let pairs: BTreeMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
                let known = ["incident_key", "limit", "sort_by"];
                let odd = pairs.keys().find(|name| !known.contains(&name.as_str())).cloned();
                kept.broken.extend(odd.map(|name| format!("{what}: unknown `{name}`")));
                let is_asked = |it: &&Incident| pairs.get("incident_key").is_none_or(|key| it.key == *key);
                let limit = pairs.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(25);
                let found: Vec<Value> = kept.incidents.iter().rev().filter(is_asked).take(limit).map(shown).collect();
                (200, json!({"incidents": found, "limit": 25, "offset": 0, "more": false}))
            }
            ["GET", "", "incidents", id] => match index(&kept, id) {
                Some(at) => (200, json!({"incident": shown(&kept.incidents[at])})),
                None => (404, error(2100, "Not Found")),
            },
            ["GET", "", "incidents", id, "alerts"] => match index(&kept, id) {
                Some(at) => {
                    let incident = &kept.incidents[at];
                    let alerts = if incident.key.is_empty() { json!([]) } else { json!([{"alert_key": incident.key}]) };
                    (200, json!({"alerts": alerts}))
                }
                None => (404, error(2100, "Not Found")),
            },
            ["GET", "", "incidents", id, "notes"] => match index(&kept, id) {
                Some(at) => {
                    let notes: Vec<Value> =
                        kept.incidents[at].notes.iter().map(|content| json!({"content": content})).collect();
                    (200, json!({"notes": notes}))
                }
                None => (404, error(2100, "Not Found")),
            },
            ["POST", "", "incidents", id, "notes"] => {
                if header("from") != FROM {
                    kept.broken.push(format!("a note from {:?}", header("from")));
                    return (400, error(1008, "Requester User Not Found"));
                }
                let content = body["note"]["content"].as_str().unwrap_or_default().to_owned();
                match index(&kept, id) {
                    Some(_) if content.is_empty() => (400, error(2001, "Invalid Input Provided")),
                    Some(at) => {
                        kept.incidents[at].notes.push(content.clone());
                        (200, json!({"note": {"id": "PNOTE01", "content": content}}))
                    }
                    None => (404, error(2100, "Not Found")),
                }
            }
            ["PUT", "", "incidents", id] => {
                if header("from") != FROM {
                    kept.broken.push(format!("a status from {:?}", header("from")));
                    return (400, error(1008, "Requester User Not Found"));
                }
                if *body != json!({"incident": {"type": "incident_reference", "status": "acknowledged"}}) {
                    kept.broken.push(format!("{what}: {body}"));
                    return (400, error(2001, "Invalid Input Provided"));
                }
                let Some(at) = index(&kept, id) else { return (404, error(2100, "Not Found")) };
                if kept.incidents[at].status == "resolved" {
                    kept.broken.push(format!("{what} would reopen what is resolved"));
                }
                kept.incidents[at].status = "acknowledged";
                let said = json!({"incident": shown(&kept.incidents[at])});
                drop(kept);
                self.tell("acknowledged", id, user("nightshift"));
                (200, said)
            }
            _ => {
                kept.broken.push(format!("nothing of ours asks {what}"));
                (405, error(2100, "Not Found"))
            }
        }
    }
}

/// The answer was to be lost: an error ends the connection.
#[derive(Debug, thiserror::Error)]
#[error("no answer, on purpose")]
struct Lost;

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Lost> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Lost)?.to_bytes();
    let parsed: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let what = format!("{} {}", parts.method, parts.uri.path());
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let is_event = what == "POST /v2/enqueue";
    let number = {
        let mut kept = state.kept.lock().unwrap();
        let what = if query.is_empty() { what.clone() } else { format!("{what}?{query}") };
        kept.calls.push(Call { at: Instant::now(), what, body: parsed.clone(), done: false });
        kept.calls.len() - 1
    };
    let (once, always) = {
        let mut kept = state.kept.lock().unwrap();
        if is_event { (kept.events_next.pop_front(), &state.events) } else { (kept.rest_next.pop_front(), &state.rest) }
    };
    let mut behaviour = once.unwrap_or_else(|| always.borrow().clone());
    if matches!(behaviour, Behaviour::Hang) {
        let mut changes = always.subscribe();
        let _ = changes.changed().await;
        behaviour = Behaviour::Reset;
    }
    let (status, said) = match behaviour {
        Behaviour::Reset | Behaviour::Hang => return Err(Lost),
        Behaviour::Status(status) => (status, json!({"status": "error", "message": format!("told to say {status}")})),
        Behaviour::RateLimited(seconds) => {
            let mut limited = json_answer(429, &json!({"error": {"message": "Rate Limit Exceeded", "code": 2020}}));
            limited.headers_mut().insert("ratelimit-reset", seconds.into());
            return Ok(limited);
        }
        Behaviour::Ok | Behaviour::Slow(_) | Behaviour::LoseAnswer if is_event => {
            match state.event(&parsed, body.len()) {
                Ok(said) => (202, said),
                Err(refused) => refused,
            }
        }
        Behaviour::Ok | Behaviour::Slow(_) | Behaviour::LoseAnswer => {
            let path = what.clone();
            state.rest(&path, &query, &parts.headers, &parsed)
        }
    };
    state.kept.lock().unwrap().calls[number].done = (200..300).contains(&status);
    if let Behaviour::Slow(delay) = behaviour {
        tokio::time::sleep(delay).await;
    }
    if matches!(behaviour, Behaviour::LoseAnswer) { Err(Lost) } else { Ok(json_answer(status, &said)) }
}

fn json_answer(status: u16, value: &Value) -> Response<Full<Bytes>> {
    let body = Full::new(Bytes::from(value.to_string()));
    Response::builder().status(status).header("content-type", "application/json").body(body).expect("valid")
}

/// In order, each until it is taken: PagerDuty tries again after a 5xx, a 429 and where nobody answers.
async fn deliver(state: Arc<State>, mut inbox: tokio::sync::mpsc::UnboundedReceiver<(Value, String)>) {
    nightshift::http::client::install_crypto();
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().expect("a client");
    while let Some((event, id)) = inbox.recv().await {
        let Some(door) = state.kept.lock().unwrap().door.clone() else { continue };
        let body = event.to_string();
        let keys = nightshift::http::signature::SigningKeys::new(&[SIGNING_SECRET.into()]);
        let signature = nightshift::model::plan::hex(&keys.sign(&[body.as_bytes()]).expect("a secret"));
        let mut last = 0;
        for _ in 0..TRIES {
            let sent = client
                .post(&door)
                .header("content-type", "application/json")
                .header("x-webhook-id", &id)
                .header("x-pagerduty-signature", format!("v1={},v1={signature}", "0".repeat(64)))
                .body(body.clone())
                .send()
                .await;
            last = sent.map_or(0, |answer| answer.status().as_u16());
            if last != 0 && last != 429 && last < 500 {
                break;
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
        let kind = event["event"]["event_type"].as_str().unwrap_or_default().to_owned();
        state.kept.lock().unwrap().delivered.push((kind, last));
    }
}
