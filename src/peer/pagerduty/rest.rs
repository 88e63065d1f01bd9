//! REST API v2: how incidents stand, which keys they have, notes on them, and that somebody has one.

use super::{Failure, judge};
use crate::{
    decide::work::AskedAlert,
    http::client::Client,
    model::{
        firing::{Firing, FiringAnswer},
        id::Fingerprint,
        time::Micros,
    },
    peer::url,
};
use reqwest::{
    Method, RequestBuilder, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinSet,
    time::Instant,
};

const MAX_ANSWER: usize = 4 * 1024 * 1024;
const VERSION: &str = "application/vnd.pagerduty+json;version=2";
/// Questions at a time: 960 calls a minute are everybody's.
const AT_ONCE: usize = 8;
/// Keys of one incident; more alerts than that are asked about by nobody.
const KEYS_MOST: usize = 100;

/// Clones share everything.
#[derive(Clone)]
pub struct PagerDutyApi(Arc<Api>);

struct Api {
    http: Client,
    base: String,
    token: RwLock<SecretString>,
    replaced: Notify,
    from: Option<String>,
    turns: Arc<Semaphore>,
}

/// How an incident stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerState {
    pub id: String,
    pub is_open: bool,
    /// Open, and nobody has it.
    pub is_triggered: bool,
    pub key: Option<String>,
}

impl PagerDutyApi {
    /// `api_url`: `https://api.pagerduty.com`. `from`: a user's address, in whose name notes are written.
    #[must_use]
    pub fn new(http: Client, api_url: &str, token: SecretString, from: Option<String>) -> PagerDutyApi {
        let base = api_url.trim_end_matches('/').to_owned();
        let (token, replaced, turns) = (RwLock::new(token), Notify::new(), Arc::new(Semaphore::new(AT_ONCE)));
        PagerDutyApi(Arc::new(Api { http, base, token, replaced, from, turns }))
    }

    /// The token, read anew. Calls that have begun keep the one that they have.
    pub fn replace_token(&self, token: SecretString) {
        *self.0.token.write().unwrap_or_else(PoisonError::into_inner) = token;
        self.0.replaced.notify_one();
    }

    /// Ends once the token was replaced.
    pub async fn token_replaced(&self) {
        self.0.replaced.notified().await;
    }

    /// Whether PagerDuty takes the token, by a question that changes nothing.
    pub async fn may_ask(&self, deadline: Instant) -> Result<(), Failure> {
        self.get("/incidents?limit=1", deadline).await.map(|_| ())
    }

    /// Whether incidents fire: triggered or acknowledged there. One that could not be asked about is not known.
    pub async fn ask(&self, alerts: &[AskedAlert], now: Micros, within: Duration) -> FiringAnswer {
        let deadline = Instant::now() + within;
        let mut asked = JoinSet::new();
        for alert in alerts {
            let (api, alert) = (self.clone(), alert.clone());
            asked.spawn(async move {
                let answer = api.incident(&alert.fingerprint.to_string(), deadline).await;
                (alert, answer)
            });
        }
        let mut known: BTreeMap<Fingerprint, Firing> = BTreeMap::new();
        let mut problems = BTreeSet::new();
        let mut answered = false;
        while let Some(one) = asked.join_next().await {
            let Ok((alert, answer)) = one else { continue };
            let firing = match answer {
                Ok(Some(state)) if state.is_open => Firing::Active { starts_at: alert.starts_at },
                Ok(_) => Firing::Absent,
                Err(failure) => {
                    problems.insert(failure.words());
                    known.insert(alert.fingerprint, Firing::Unprocessed);
                    continue;
                }
            };
            answered = true;
            known.insert(alert.fingerprint, firing);
        }
        if !answered && !alerts.is_empty() {
            let problems = problems.into_iter().collect::<Vec<_>>().join("; ");
            return FiringAnswer::Unreachable { problem: format!("PagerDuty could not be asked: {problems}") };
        }
        FiringAnswer::Answered { at: now, alerts: known }
    }

    /// An incident's key and those of its alerts. An incident with alerts has no key of its own.
    pub async fn keys(&self, incident: &str, within: Duration) -> Result<Vec<String>, String> {
        let deadline = Instant::now() + within;
        let failed = |failure: Failure| failure.words();
        let state = self.incident(incident, deadline).await.map_err(failed)?;
        let path = format!("/incidents/{}/alerts?limit={KEYS_MOST}", url::encode(incident));
        let answer = self.get(&path, deadline).await.map_err(failed)?;
        let alerts = answer.get("alerts").and_then(Value::as_array).into_iter().flatten();
        let keys = alerts.filter_map(|alert| text(alert, "alert_key"));
        Ok(state.and_then(|state| state.key).into_iter().chain(keys).take(KEYS_MOST).collect())
    }

    /// The open incident with this key; else the latest that had it.
    pub async fn find(&self, key: &str, deadline: Instant) -> Result<Option<PeerState>, Failure> {
        let query = url::query(&[("incident_key", key), ("limit", "25"), ("sort_by", "created_at:desc")]);
        let answer = self.get(&format!("/incidents{query}"), deadline).await?;
        let incidents = answer.get("incidents").and_then(Value::as_array).into_iter().flatten();
        let states: Vec<PeerState> = incidents.filter_map(state).collect();
        let open = states.iter().find(|state| state.is_open);
        Ok(open.or(states.first()).cloned())
    }

    /// The notes on an incident.
    pub async fn notes(&self, incident: &str, deadline: Instant) -> Result<Vec<String>, Failure> {
        let answer = self.get(&format!("/incidents/{}/notes", url::encode(incident)), deadline).await?;
        let notes = answer.get("notes").and_then(Value::as_array).into_iter().flatten();
        Ok(notes.filter_map(|note| text(note, "content")).collect())
    }

    /// Writes a note. Not idempotent: look at [`PagerDutyApi::notes`] before writing one again.
    pub async fn add_note(&self, incident: &str, content: &str, deadline: Instant) -> Result<(), Failure> {
        let from = self.from()?;
        let path = format!("{}/incidents/{}/notes", self.0.base, url::encode(incident));
        let request = self
            .0
            .http
            .request(Method::POST, &path)
            .header("From", from)
            .header(CONTENT_TYPE, "application/json")
            .body(json!({"note": {"content": content}}).to_string());
        self.exchange(request, &[StatusCode::OK, StatusCode::CREATED], deadline).await.map(|_| ())
    }

    /// Somebody has it. Only of one that nobody has: a status set on what is resolved would reopen it.
    pub async fn acknowledge(&self, incident: &str, deadline: Instant) -> Result<(), Failure> {
        if !self.is_triggered(incident, deadline).await? {
            return Ok(());
        }
        let path = format!("{}/incidents/{}", self.0.base, url::encode(incident));
        let body = json!({"incident": {"type": "incident_reference", "status": "acknowledged"}});
        let request = self.0.http.request(Method::PUT, &path);
        let request =
            request.header("From", self.from()?).header(CONTENT_TYPE, "application/json").body(body.to_string());
        match self.exchange(request, &[StatusCode::OK], deadline).await {
            // Somebody took it, or closed it, just now.
            Err(Failure::Permanent { reason: "rejected", .. }) if !self.is_triggered(incident, deadline).await? => {
                Ok(())
            }
            done => done.map(|_| ()),
        }
    }

    async fn is_triggered(&self, incident: &str, deadline: Instant) -> Result<bool, Failure> {
        Ok(self.incident(incident, deadline).await?.is_some_and(|state| state.is_triggered))
    }

    fn from(&self) -> Result<&str, Failure> {
        let says = || Some("pagerduty.from is not set".to_owned());
        self.0.from.as_deref().ok_or_else(|| Failure::Permanent { reason: "no_from", says: says() })
    }

    async fn incident(&self, id: &str, deadline: Instant) -> Result<Option<PeerState>, Failure> {
        match self.get(&format!("/incidents/{}", url::encode(id)), deadline).await {
            Ok(answer) => {
                let found = answer.get("incident").and_then(state);
                found.map(Some).ok_or_else(|| Failure::transient("bad_answer"))
            }
            Err(Failure::Permanent { reason: "not_found", .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn get(&self, path: &str, deadline: Instant) -> Result<Value, Failure> {
        let request = self.0.http.request(Method::GET, &format!("{}{path}", self.0.base));
        self.exchange(request, &[StatusCode::OK], deadline).await
    }

    async fn exchange(
        &self,
        request: RequestBuilder,
        accepted: &[StatusCode],
        deadline: Instant,
    ) -> Result<Value, Failure> {
        let late = |_| Failure::transient("timeout");
        let turn = tokio::time::timeout_at(deadline, self.0.turns.acquire()).await.map_err(late)?;
        let Ok(_turn) = turn else { return Err(Failure::transient("stopping")) };
        let request = request
            .header(AUTHORIZATION, self.authorization())
            .header(ACCEPT, VERSION)
            .timeout(deadline.saturating_duration_since(Instant::now()));
        judge(&self.0.http.exchange(request, MAX_ANSWER).await?, accepted)
    }

    fn authorization(&self) -> String {
        let token = self.0.token.read().unwrap_or_else(PoisonError::into_inner);
        format!("Token token={}", token.expose_secret())
    }
}

fn state(incident: &Value) -> Option<PeerState> {
    let status = text(incident, "status")?;
    Some(PeerState {
        id: text(incident, "id")?,
        is_open: matches!(status.as_str(), "triggered" | "acknowledged"),
        is_triggered: status == "triggered",
        key: text(incident, "incident_key"),
    })
}

fn text(from: &Value, name: &str) -> Option<String> {
    from.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
#[path = "rest_tests.rs"]
mod tests;
