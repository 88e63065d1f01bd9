//! A stand-in for Statuspage's API that is as strict as Statuspage, and stricter where a mistake would mail customers. It
//! keeps every request, and fails in Statuspage's ways when told to.

use std::collections::{BTreeMap, VecDeque};
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

/// The one key it takes, and the one page it has.
pub const KEY: &str = "sp-key-of-the-tests-1234567890";
pub const PAGE: &str = "8kbf7d35c070";
/// A look at what there is, without an incident.
const ASK: &str = "components?per_page=100";
const STATUSES: [&str; 4] = ["investigating", "identified", "monitoring", "resolved"];
const IMPACTS: [&str; 5] = ["none", "maintenance", "minor", "major", "critical"];
const COMPONENTS: [&str; 5] =
    ["operational", "under_maintenance", "degraded_performance", "partial_outage", "major_outage"];
const FIELDS: [&str; 9] = [
    "name",
    "status",
    "impact_override",
    "body",
    "components",
    "component_ids",
    "deliver_notifications",
    "metadata",
    "reminder_intervals",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Ok,
    /// 420 or 429 with this `Retry-After`, in seconds.
    Limited(u16, u64),
    /// That status and a body that isn't JSON, as a gateway before it answers.
    Status(u16),
    /// That status and its own words: `{"error": …}`.
    Error(u16, &'static str),
    /// That status and the other shape: `{"message": …}`.
    Message(u16, &'static str),
    /// Does it, and answers so much later.
    Slow(Duration),
    /// Takes the request and never answers, until the behaviour is changed.
    Hang,
    /// Ends the connection and does nothing.
    Reset,
    /// Does it, and ends the connection instead of answering.
    LoseAnswer,
}

/// One request, in the order of arrival.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: String,
    /// Path and query below the page.
    pub path: String,
    pub at: Instant,
    pub body: Value,
    /// Whether something was opened or changed.
    pub done: bool,
}

/// An incident as it stands now.
#[derive(Clone, Debug)]
pub struct Incident {
    pub id: String,
    pub name: String,
    pub status: String,
    pub impact_override: Option<String>,
    pub metadata: Value,
    pub component_ids: Vec<String>,
    /// What customers read, oldest first: status and sentence, and whether subscribers were mailed.
    pub updates: Vec<(String, String, bool)>,
}

struct State {
    behaviour: watch::Sender<Behaviour>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    next: VecDeque<Behaviour>,
    next_asks: VecDeque<Behaviour>,
    calls: Vec<Call>,
    incidents: Vec<Incident>,
    components: BTreeMap<String, String>,
    broken: Vec<String>,
}

pub struct Statuspage {
    state: Arc<State>,
    address: SocketAddr,
    _background: Background,
}

impl Statuspage {
    /// With these components, all of them operational.
    pub fn start(components: &[&str]) -> Self {
        let kept = Kept {
            components: components.iter().map(|id| ((*id).to_owned(), "operational".to_owned())).collect(),
            ..Kept::default()
        };
        let state = Arc::new(State { behaviour: watch::channel(Behaviour::Ok).0, kept: Mutex::new(kept) });
        let background = Background::start("statuspage");
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
        Self { state, address, _background: background }
    }

    /// `http://127.0.0.1:PORT/v1`
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// From now on, until told otherwise.
    pub fn behave(&self, behaviour: Behaviour) {
        self.state.behaviour.send_replace(behaviour);
    }

    /// For the next request only; several are taken in order.
    pub fn next(&self, behaviour: Behaviour) {
        self.kept().next.push_back(behaviour);
    }

    /// For the next look whether all is set up right only: nothing else is kept waiting by one.
    pub fn next_ask(&self, behaviour: Behaviour) {
        self.kept().next_asks.push_back(behaviour);
    }

    /// Requests for the sake of an incident.
    pub fn about_incidents(&self) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.path != ASK).collect()
    }

    pub fn calls(&self) -> Vec<Call> {
        self.kept().calls.clone()
    }

    /// Requests that were to change something.
    pub fn writes(&self) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.method != "GET").collect()
    }

    /// Every incident as it stands now, oldest first.
    pub fn incidents(&self) -> Vec<Incident> {
        self.kept().incidents.clone()
    }

    pub fn component(&self, id: &str) -> String {
        self.kept().components[id].clone()
    }

    /// A person sets a component by hand.
    pub fn sets_component(&self, id: &str, status: &str) {
        self.kept().components.insert(id.to_owned(), status.to_owned());
    }

    /// A person moves an incident by hand.
    pub fn sets_status(&self, id: &str, status: &str) {
        let mut kept = self.kept();
        kept.incidents.iter_mut().find(|incident| incident.id == id).expect("it is there").status = status.to_owned();
    }

    /// Somebody deletes an incident.
    pub fn deletes(&self, id: &str) {
        self.kept().incidents.retain(|incident| incident.id != id);
    }

    /// A person opens an incident of their own, which has nothing to do with anybody's metadata.
    pub fn opens_by_hand(&self, name: &str) -> String {
        let mut kept = self.kept();
        let id = format!("byhand{}", kept.incidents.len());
        let updates = vec![("investigating".to_owned(), "We are looking into it.".to_owned(), true)];
        kept.incidents.push(Incident {
            id: id.clone(),
            name: name.to_owned(),
            status: "investigating".to_owned(),
            impact_override: None,
            metadata: json!({}),
            component_ids: Vec::new(),
            updates,
        });
        id
    }

    /// What a correct client never does, whatever the behaviour.
    pub fn assert_nothing_broken(&self) {
        let broken = self.kept().broken.clone();
        assert!(broken.is_empty(), "Statuspage would have refused, or mailed customers: {broken:#?}");
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.state.kept.lock().unwrap()
    }
}

/// The answer was to be lost: an error ends the connection.
#[derive(Debug, thiserror::Error)]
#[error("no answer, on purpose")]
struct Lost;

type Refused = (u16, String);

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Lost> {
    let at = Instant::now();
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Lost)?.to_bytes();
    let all = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let method = parts.method.as_str().to_owned();
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let path = all.strip_prefix(&format!("/v1/pages/{PAGE}/")).map(str::to_owned);
    let parsed = if body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice::<Value>(&body) };
    let number = {
        let mut kept = state.kept.lock().unwrap();
        let refused = if header("authorization") != format!("OAuth {KEY}") {
            Some((401, "Could not authenticate".to_owned()))
        } else if path.is_none() {
            Some((404, "there is no such page".to_owned()))
        } else if method != "GET" && !header("content-type").starts_with("application/json") {
            Some((415, format!("content-type {:?}", header("content-type"))))
        } else {
            parsed.as_ref().err().map(|error| (400, error.to_string()))
        };
        let too_fast = kept.is_too_fast(at);
        let (path, body) = (path.unwrap_or(all), parsed.unwrap_or(Value::Null));
        kept.calls.push(Call { method, path, at, body, done: false });
        if let Some((status, what)) = refused {
            kept.broken.push(format!("{status}: {what}"));
            return Ok(error(status, &json!({"error": what})));
        }
        if too_fast {
            kept.broken.push("420: more than one request a second".to_owned());
            return Ok(error(420, &json!({"error": "slow down"})));
        }
        kept.calls.len() - 1
    };
    let once = {
        let mut kept = state.kept.lock().unwrap();
        let asks = kept.calls[number].path == ASK;
        if asks { kept.next_asks.pop_front() } else { kept.next.pop_front() }
    };
    let mut behaviour = once.unwrap_or_else(|| *state.behaviour.borrow());
    if behaviour == Behaviour::Hang {
        let mut changes = state.behaviour.subscribe();
        // Changed to whatever: who hung doesn't come back to life with an answer.
        let _ = changes.changed().await;
        behaviour = Behaviour::Reset;
    }
    match behaviour {
        Behaviour::Ok => Ok(state.carry_out(number)),
        Behaviour::Slow(delay) => {
            let said = state.carry_out(number);
            tokio::time::sleep(delay).await;
            Ok(said)
        }
        Behaviour::LoseAnswer => {
            state.carry_out(number);
            Err(Lost)
        }
        Behaviour::Reset | Behaviour::Hang => Err(Lost),
        Behaviour::Error(status, what) => Ok(error(status, &json!({"error": what}))),
        Behaviour::Message(status, what) => Ok(error(status, &json!({"message": what}))),
        Behaviour::Status(status) => {
            let page = Full::new(Bytes::from_static(b"<html>an error page</html>"));
            Ok(Response::builder().status(status).header("content-type", "text/html").body(page).expect("valid"))
        }
        Behaviour::Limited(status, seconds) => {
            let mut answer = error(status, &json!({"error": "rate limited"}));
            answer.headers_mut().insert("retry-after", seconds.into());
            Ok(answer)
        }
    }
}

fn error(status: u16, body: &Value) -> Response<Full<Bytes>> {
    let body = Full::new(Bytes::from(body.to_string()));
    Response::builder().status(status).header("content-type", "application/json").body(body).expect("valid")
}

impl Kept {
    /// One request a second, by the clock of whoever gets them.
    fn is_too_fast(&self, at: Instant) -> bool {
        self.calls.last().is_some_and(|last| at - last.at < Duration::from_secs(1))
    }

    fn wrong(&mut self, status: u16, what: impl Into<String>) -> Refused {
        let what = what.into();
        self.broken.push(format!("{status}: {what}"));
        (status, what)
    }

    fn index(&self, id: &str) -> Option<usize> {
        self.incidents.iter().position(|incident| incident.id == id)
    }

    fn shown(&self, incident: &Incident) -> Value {
        let components: Vec<Value> =
            incident.component_ids.iter().map(|id| json!({"id": id, "status": self.components.get(id)})).collect();
        let updates: Vec<Value> =
            incident.updates.iter().rev().map(|(status, body, _)| json!({"status": status, "body": body})).collect();
        json!({
            "id": incident.id, "name": incident.name, "status": incident.status, "page_id": PAGE,
            "impact_override": incident.impact_override, "metadata": incident.metadata,
            "components": components, "incident_updates": updates,
        })
    }
}

impl State {
    fn carry_out(&self, number: usize) -> Response<Full<Bytes>> {
        let mut kept = self.kept.lock().unwrap();
        let Call { method, path, body, .. } = kept.calls[number].clone();
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        let parts: Vec<&str> = path.split('/').collect();
        let result = match (method.as_str(), parts.as_slice()) {
            ("GET", ["incidents", "unresolved"]) => Ok((200, unresolved(&kept, query))),
            ("GET", ["incidents", id]) => match kept.index(id) {
                Some(at) => Ok((200, kept.shown(&kept.incidents[at]))),
                None => Err((404, "no such incident".to_owned())),
            },
            ("GET", ["components"]) if ASK.ends_with(query) => {
                let known = kept.components.iter().map(|(id, status)| json!({"id": id, "status": status}));
                Ok((200, known.collect()))
            }
            ("GET", ["components", id]) => match kept.components.get(*id) {
                Some(status) => Ok((200, json!({"id": id, "status": status}))),
                None => Err((404, "no such component".to_owned())),
            },
            ("POST", ["incidents"]) => opens(&mut kept, &body).map(|shown| (201, shown)),
            ("PATCH", ["incidents", id]) => changes(&mut kept, id, &body).map(|shown| (200, shown)),
            _ => Err(kept.wrong(404, format!("{method} {path}"))),
        };
        match result {
            Ok((status, shown)) => {
                kept.calls[number].done = method != "GET";
                error(status, &shown)
            }
            Err((status, what)) => error(status, &json!({"error": what})),
        }
    }
}

fn unresolved(kept: &Kept, query: &str) -> Value {
    let asked = |name: &str| {
        form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).and_then(|(_, value)| value.parse().ok())
    };
    let (page, per_page): (usize, usize) = (asked("page").unwrap_or(1), asked("per_page").unwrap_or(100));
    let per_page = per_page.min(100);
    // The newest first.
    let open = kept.incidents.iter().rev().filter(|incident| incident.status != "resolved");
    open.skip((page - 1) * per_page).take(per_page).map(|incident| kept.shown(incident)).collect()
}

/// What every write must be.
fn checked(kept: &mut Kept, body: &Value) -> Result<Value, Refused> {
    let (Some(incident), Some(1)) = (body["incident"].as_object(), body.as_object().map(|body| body.len())) else {
        return Err(kept.wrong(400, "the body is not wrapped in `incident`"));
    };
    if let Some(name) = incident.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Err(kept.wrong(400, format!("unknown field {name}")));
    }
    if !incident.get("deliver_notifications").is_some_and(Value::is_boolean) {
        // Statuspage takes it, and mails every subscriber.
        return Err(kept.wrong(422, "deliver_notifications is missing"));
    }
    let one_of = |value: Option<&Value>, words: &[&str]| {
        value.is_none_or(|it| it.as_str().is_some_and(|it| words.contains(&it)))
    };
    if !one_of(incident.get("status"), &STATUSES) || !one_of(incident.get("impact_override"), &IMPACTS) {
        return Err(kept.wrong(422, format!("status or impact of {body}")));
    }
    let length = |name: &str| incident.get(name).and_then(Value::as_str).map_or(0, |text| text.chars().count());
    if length("name") > 255 || length("body") > 25_000 {
        return Err(kept.wrong(422, "too long"));
    }
    let metadata = incident.get("metadata").and_then(Value::as_object);
    if metadata.is_some_and(|metadata| metadata.values().any(|value| !value.is_object())) {
        return Err(kept.wrong(422, "top-level values of metadata must be objects"));
    }
    let sets = incident.get("components").and_then(Value::as_object).cloned().unwrap_or_default();
    let ids = incident.get("component_ids").and_then(Value::as_array).cloned().unwrap_or_default();
    for (id, status) in &sets {
        if !kept.components.contains_key(id) || !one_of(Some(status), &COMPONENTS) || !ids.iter().any(|it| it == id) {
            return Err(kept.wrong(422, format!("component {id}: {status}")));
        }
    }
    Ok(Value::Object(incident.clone()))
}

fn opens(kept: &mut Kept, body: &Value) -> Result<Value, Refused> {
    let incident = checked(kept, body)?;
    let text = |name: &str| incident[name].as_str().unwrap_or_default().to_owned();
    if text("name").is_empty() {
        return Err(kept.wrong(422, "name is missing"));
    }
    let id = format!("inc{:09}", kept.incidents.len() + 1);
    kept.incidents.push(Incident {
        id: id.clone(),
        name: text("name"),
        status: text("status"),
        impact_override: None,
        metadata: json!({}),
        component_ids: Vec::new(),
        updates: Vec::new(),
    });
    Ok(apply(kept, kept.incidents.len() - 1, &incident))
}

fn changes(kept: &mut Kept, id: &str, body: &Value) -> Result<Value, Refused> {
    let incident = checked(kept, body)?;
    let Some(at) = kept.index(id) else { return Err((404, "no such incident".to_owned())) };
    Ok(apply(kept, at, &incident))
}

fn apply(kept: &mut Kept, at: usize, with: &Value) -> Value {
    for (id, status) in with["components"].as_object().cloned().unwrap_or_default() {
        kept.components.insert(id, status.as_str().unwrap_or_default().to_owned());
    }
    let incident = &mut kept.incidents[at];
    if let Some(status) = with["status"].as_str() {
        incident.status = status.to_owned();
    }
    if let Some(impact) = with["impact_override"].as_str() {
        incident.impact_override = Some(impact.to_owned());
    }
    if with["metadata"].is_object() {
        incident.metadata = with["metadata"].clone();
    }
    if let Some(ids) = with["component_ids"].as_array() {
        incident.component_ids = ids.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect();
    }
    if let Some(body) = with["body"].as_str() {
        let mailed = with["deliver_notifications"] == true;
        incident.updates.push((incident.status.clone(), body.to_owned(), mailed));
    }
    let incident = kept.incidents[at].clone();
    kept.shown(&incident)
}
