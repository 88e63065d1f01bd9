//! The table of routes: each once, with the right it needs. One function checks that right for all of them, so a route
//! cannot forget it.

use super::{AdminState, answer::NotDone, read, write};
use crate::http::{
    api_auth::{ApiRefused, Right},
    identity::Peer,
    limits::{API_MAX_BODY, read_body},
};
use axum::{
    Router,
    body::Bytes,
    extract::{RawPathParams, Request},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use std::collections::BTreeMap;

/// One route.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    pub verb: Verb,
    /// axum's notation: `{id}` is a parameter.
    pub path: &'static str,
    /// None: open to whoever reaches the listener.
    pub right: Option<Right>,
    pub(super) call: Call,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Get,
    Post,
}

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Front,
    Metrics,
    Healthy,
    Ready,
    Reload,
    Status,
    Incidents,
    Incident,
    IncidentWhy,
    Alerts,
    AlertWhy,
    Rules,
    Journal,
    Acknowledge,
    Resolve,
    Publish,
    Approve,
    Reject,
    Undo,
    ExtendLease,
    EndLease,
    Pause,
    Resume,
    Rearm,
}

const fn open(path: &'static str, call: Call) -> Route {
    Route { verb: Verb::Get, path, right: None, call }
}

const fn get(path: &'static str, call: Call) -> Route {
    Route { verb: Verb::Get, path, right: Some(Right::Read), call }
}

const fn post(path: &'static str, right: Right, call: Call) -> Route {
    Route { verb: Verb::Post, path, right: Some(right), call }
}

/// Everything that the admin listener answers.
pub const ROUTES: [Route; 24] = [
    open("/metrics", Call::Metrics),
    open("/-/healthy", Call::Healthy),
    open("/-/ready", Call::Ready),
    get("/", Call::Front),
    get("/api/v1/status", Call::Status),
    get("/api/v1/incidents", Call::Incidents),
    get("/api/v1/incidents/{id}", Call::Incident),
    get("/api/v1/incidents/{id}/why", Call::IncidentWhy),
    get("/api/v1/alerts", Call::Alerts),
    get("/api/v1/alerts/{fingerprint}/why", Call::AlertWhy),
    get("/api/v1/rules", Call::Rules),
    get("/api/v1/journal", Call::Journal),
    post("/-/reload", Right::Admin, Call::Reload),
    post("/api/v1/incidents/{id}/acknowledge", Right::Ack, Call::Acknowledge),
    post("/api/v1/incidents/{id}/resolve", Right::Ack, Call::Resolve),
    post("/api/v1/incidents/{id}/publish", Right::Ack, Call::Publish),
    post("/api/v1/steps/{id}/approve", Right::Approve, Call::Approve),
    post("/api/v1/steps/{id}/reject", Right::Approve, Call::Reject),
    post("/api/v1/steps/{id}/undo", Right::Undo, Call::Undo),
    post("/api/v1/steps/{id}/lease/extend", Right::Undo, Call::ExtendLease),
    post("/api/v1/steps/{id}/lease/end", Right::Undo, Call::EndLease),
    post("/api/v1/pause", Right::Pause, Call::Pause),
    post("/api/v1/resume", Right::Pause, Call::Resume),
    post("/api/v1/rearm", Right::Pause, Call::Rearm),
];

/// The admin listener's routes.
pub fn router(state: AdminState) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let state = state.clone();
        let filter = match route.verb {
            Verb::Get => MethodFilter::GET,
            Verb::Post => MethodFilter::POST,
        };
        let handler = move |params: Result<RawPathParams, _>, request: Request| async move {
            let params: Result<RawPathParams, axum::extract::rejection::RawPathParamsRejection> = params;
            match handle(&state, route, params.ok(), request).await {
                Ok(answer) => answer,
                Err(not_done) => not_done.into_response(),
            }
        };
        router = router.route(route.path, on(filter, handler));
    }
    router
        .fallback(|| async { NotDone::unknown("there is no such page").hint("the API begins at /api/v1/status") })
        .method_not_allowed_fallback(|| async {
            NotDone::new(StatusCode::METHOD_NOT_ALLOWED, "this is not asked in that way")
                .hint("what changes something is a POST, everything else a GET")
        })
}

/// One request past the door.
pub(super) struct Asked {
    /// The journal's name of whoever asks; empty where nobody has to say.
    pub by: String,
    /// From the path.
    pub params: BTreeMap<String, String>,
    /// From the query; each at most once.
    pub query: BTreeMap<String, String>,
    pub body: Bytes,
}

/// Who, with which right, and only then the body.
async fn handle(
    state: &AdminState,
    route: Route,
    params: Option<RawPathParams>,
    request: Request,
) -> Result<Response, NotDone> {
    let (head, body) = request.into_parts();
    let mut by = String::new();
    if let Some(right) = route.right {
        // A request that did not come through our server has no peer, and is nobody's.
        let peer = head.extensions.get::<Peer>().ok_or(ApiRefused::NotLoopback)?;
        let who = state.auth.current().identify(&head.method, &head.headers, peer)?;
        who.require(right)?;
        by = who.name;
    }
    let mut body_bytes = Bytes::new();
    let mut held = None;
    if head.method == Method::POST {
        let read = read_body(&head.headers, body, API_MAX_BODY, &state.in_flight).await?;
        body_bytes = read.bytes.clone();
        held = Some(read);
    }
    let params = params.iter().flat_map(RawPathParams::iter);
    let params = params.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let asked = Asked { by, params, query: query_of(head.uri.query())?, body: body_bytes };
    let answer = dispatch(state, route.call, asked).await;
    drop(held);
    answer
}

async fn dispatch(state: &AdminState, call: Call, asked: Asked) -> Result<Response, NotDone> {
    match call {
        Call::Front => Ok(read::front()),
        Call::Metrics => Ok(read::metrics(state)),
        Call::Healthy => Ok(read::healthy(state)),
        Call::Ready => Ok(read::ready(state)),
        Call::Status => read::status(state).await,
        Call::Incidents => read::incidents(state, &asked).await,
        Call::Incident => read::incident(state, &asked, false).await,
        Call::IncidentWhy => read::incident(state, &asked, true).await,
        Call::Alerts => read::alerts(state, &asked).await,
        Call::AlertWhy => read::alert_why(state, &asked).await,
        Call::Rules => read::rules(state, &asked).await,
        Call::Journal => read::journal(state, &asked).await,
        Call::Reload => write::reload(state, asked).await,
        Call::Acknowledge
        | Call::Resolve
        | Call::Publish
        | Call::Approve
        | Call::Reject
        | Call::Undo
        | Call::ExtendLease
        | Call::EndLease
        | Call::Pause
        | Call::Resume
        | Call::Rearm => write::command(state, call, asked).await,
    }
}

/// `name=value` pairs, percent-decoded.
fn query_of(query: Option<&str>) -> Result<BTreeMap<String, String>, NotDone> {
    let pairs: Vec<(String, String)> = match query {
        None => Vec::new(),
        Some(text) => {
            axum::extract::Query::try_from_uri(
                &format!("/?{text}").parse().map_err(|_| NotDone::bad("the query cannot be read"))?,
            )
            .map_err(|_| NotDone::bad("the query cannot be read"))?
            .0
        }
    };
    let mut query = BTreeMap::new();
    for (name, value) in pairs {
        if query.insert(name.clone(), value).is_some() {
            return Err(NotDone::bad(format!("`{name}` is given twice")));
        }
    }
    Ok(query)
}

impl Asked {
    /// A parameter of the path, read as `T`.
    pub(super) fn param<T: std::str::FromStr<Err = String>>(&self, name: &str) -> Result<T, NotDone> {
        self.params.get(name).map_or("", String::as_str).parse().map_err(NotDone::bad)
    }

    /// A whole number of the query, if it is there.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, NotDone> {
        let wrong = |text: &String| NotDone::bad(format!("`{name}` is a whole number, not {text:?}"));
        self.query.get(name).map(|text| text.parse().map_err(|_| wrong(text))).transpose()
    }

    /// `limit`: `usual` where it is not given, at most `most`.
    pub(super) fn limit(&self, usual: usize, most: usize) -> Result<usize, NotDone> {
        let limit = self.number("limit")?.map_or(usual, |limit| usize::try_from(limit).unwrap_or(most));
        Ok(limit.clamp(1, most))
    }

    /// Refuses what this route does not know, so that a misspelt filter is not taken for none.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), NotDone> {
        match self.query.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(NotDone::bad(format!("nothing is known of `{name}` here"))
                .hint(format!("there are: {}", known.join(", ")))),
        }
    }
}
