//! The calls, their pace, and the two ways in which Statuspage says no.
//!
//! One request a second and key, whatever it asks: calls wait for each other, and for a second after the answer before. So
//! the pace holds however long a request is under way. A call is never repeated here.

use super::shapes::{self, Seen};
use crate::{
    http::client::{Answer, Client, ClientErrorKind},
    model::public::ComponentStatus,
};
use reqwest::{Method, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    sync::{PoisonError, RwLock},
    time::Duration,
};
use tokio::{
    sync::{Mutex, Notify},
    time::{Instant, sleep_until, timeout_at},
};

/// Statuspage counts sixty a minute.
const EVERY: Duration = Duration::from_secs(1);
/// 420 or 429 without `Retry-After`.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// A call that begins with less time than this would only be cut off.
const LEAST: Duration = Duration::from_millis(500);
/// A hundred incidents with every update of theirs.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// Unresolved incidents on one page of the list, and pages looked at: nobody has a thousand open at once.
const PER_PAGE: usize = 100;
const PAGES: usize = 10;

/// A call that did not succeed, as far as its caller's next step depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// May work later; it may have been carried out all the same.
    Transient { reason: &'static str, retry_after: Option<Duration> },
    /// Will not work as it is. `said`: Statuspage's own words, if it had any.
    Permanent { reason: &'static str, said: Option<String> },
}

impl Failure {
    fn transient(reason: &'static str) -> Failure {
        Failure::Transient { reason, retry_after: None }
    }

    fn permanent(reason: &'static str) -> Failure {
        Failure::Permanent { reason, said: None }
    }
}

pub struct StatuspageClient {
    http: Client,
    /// `https://api.statuspage.io/v1/pages/PAGE`
    base: String,
    key: RwLock<SecretString>,
    replaced: Notify,
    /// When the next request may begin; held while one is under way.
    turn: Mutex<Instant>,
}

impl StatuspageClient {
    /// `api_url`: `https://api.statuspage.io/v1`. `page`: the page's id.
    #[must_use]
    pub fn new(http: Client, api_url: &str, page: &str, key: SecretString) -> StatuspageClient {
        let base = format!("{}/pages/{page}", api_url.trim_end_matches('/'));
        // A process before this one may just have asked.
        let (key, turn) = (RwLock::new(key), Mutex::new(Instant::now() + EVERY));
        StatuspageClient { http, base, key, replaced: Notify::new(), turn }
    }

    /// The key was replaced.
    pub fn replace_key(&self, key: SecretString) {
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = key;
        self.replaced.notify_one();
    }

    /// Ends once the key was replaced.
    pub async fn key_replaced(&self) {
        self.replaced.notified().await;
    }

    /// The ids of the page's components. None: there are more than one answer has.
    pub async fn components(&self, deadline: Instant) -> Result<Option<BTreeSet<String>>, Failure> {
        let answer = self.exchange(Method::GET, &format!("components?per_page={PER_PAGE}"), None, deadline).await?;
        let Some(listed) = answer.as_array() else { return Err(Failure::transient("bad_answer")) };
        let ids = listed.iter().filter_map(|component| component.get("id")?.as_str().map(str::to_owned));
        Ok((listed.len() < PER_PAGE).then(|| ids.collect()))
    }

    /// One incident.
    pub async fn incident(&self, id: &str, deadline: Instant) -> Result<Seen, Failure> {
        let answer = self.exchange(Method::GET, &format!("incidents/{id}"), None, deadline).await?;
        shapes::seen(&answer).ok_or(Failure::transient("bad_answer"))
    }

    /// The first unresolved incident that `is_it` takes.
    pub async fn find_unresolved(
        &self,
        is_it: impl Fn(&Seen) -> bool,
        deadline: Instant,
    ) -> Result<Option<Seen>, Failure> {
        for page in 1..=PAGES {
            let path = format!("incidents/unresolved?page={page}&per_page={PER_PAGE}");
            let answer = self.exchange(Method::GET, &path, None, deadline).await?;
            let Some(listed) = answer.as_array() else { return Err(Failure::transient("bad_answer")) };
            if let Some(found) = listed.iter().filter_map(shapes::seen).find(|seen| is_it(seen)) {
                return Ok(Some(found));
            }
            if listed.len() < PER_PAGE {
                return Ok(None);
            }
        }
        Err(Failure::permanent("too_many_unresolved"))
    }

    /// How a component is. None: a word that is not known here.
    pub async fn component(&self, id: &str, deadline: Instant) -> Result<Option<ComponentStatus>, Failure> {
        let answer = self.exchange(Method::GET, &format!("components/{id}"), None, deadline).await?;
        let word = answer.get("status").and_then(Value::as_str).ok_or(Failure::transient("bad_answer"))?;
        Ok(ComponentStatus::parse(word))
    }

    /// Opens an incident; its id.
    pub async fn open(&self, body: &Value, deadline: Instant) -> Result<String, Failure> {
        let answer = self.exchange(Method::POST, "incidents", Some(body), deadline).await?;
        // It is there now, and will be found by its metadata.
        shapes::seen(&answer).map(|seen| seen.id).ok_or(Failure::transient("bad_answer"))
    }

    pub async fn update(&self, id: &str, body: &Value, deadline: Instant) -> Result<(), Failure> {
        self.exchange(Method::PATCH, &format!("incidents/{id}"), Some(body), deadline).await.map(|_| ())
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        deadline: Instant,
    ) -> Result<Value, Failure> {
        let latest = deadline.checked_sub(LEAST).unwrap_or(deadline);
        // Nothing is under way yet: only the wait for it is given up.
        let Ok(mut turn) = timeout_at(latest, self.turn.lock()).await else {
            return Err(Failure::transient("paced"));
        };
        if *turn > latest {
            let wait = turn.saturating_duration_since(Instant::now());
            return Err(Failure::Transient { reason: "paced", retry_after: Some(wait) });
        }
        sleep_until(*turn).await;
        let mut request = self
            .http
            .request(method, &format!("{}/{path}", self.base))
            .header(header::AUTHORIZATION, self.authorization())
            .header(header::ACCEPT, "application/json")
            .timeout(deadline.saturating_duration_since(Instant::now()));
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body.to_string());
        }
        *turn = Instant::now() + EVERY;
        let answer = self.http.exchange(request, MAX_ANSWER).await;
        *turn = Instant::now() + EVERY;
        match answer {
            Ok(answer) => judge(&answer).inspect_err(|failure| {
                if let Failure::Transient { retry_after: Some(wait), .. } = failure {
                    *turn = Instant::now() + *wait;
                }
            }),
            Err(error) if error.kind == ClientErrorKind::Request => Err(Failure::permanent(error.reason)),
            Err(error) => Err(Failure::transient(error.reason)),
        }
    }
}

impl StatuspageClient {
    fn authorization(&self) -> String {
        let key = self.key.read().unwrap_or_else(PoisonError::into_inner);
        format!("OAuth {}", key.expose_secret())
    }
}

fn judge(answer: &Answer) -> Result<Value, Failure> {
    let permanent = |reason| Failure::Permanent { reason, said: shapes::error_of(&answer.body) };
    match answer.status.as_u16() {
        200..=299 => serde_json::from_slice(&answer.body).map_err(|_| Failure::transient("bad_answer")),
        300..=399 => Err(Failure::permanent("redirect")),
        420 | 429 => {
            let wait = answer.retry_after().unwrap_or(RETRY_AFTER);
            Err(Failure::Transient { reason: "rate_limited", retry_after: Some(wait) })
        }
        500..=599 => Err(Failure::transient("status_5xx")),
        _ if answer.status == StatusCode::REQUEST_TIMEOUT => Err(Failure::transient("status_4xx")),
        401 | 403 => Err(permanent("not_authorized")),
        404 => Err(permanent("not_found")),
        _ => Err(permanent("refused")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use reqwest::header::HeaderMap;

    fn answer(status: u16, body: &'static str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers: HeaderMap::new(), body: Bytes::from_static(body.as_bytes()) }
    }

    #[test]
    fn what_helps_to_try_again_is_told_apart_from_what_does_not() {
        let limited = |status| judge(&answer(status, ""));
        for status in [420, 429] {
            let wait = Failure::Transient { reason: "rate_limited", retry_after: Some(RETRY_AFTER) };
            assert_eq!(limited(status), Err(wait));
        }
        let mut asked = answer(420, "");
        asked.headers.insert(header::RETRY_AFTER, "7".parse().unwrap());
        let wait = Some(Duration::from_secs(7));
        assert_eq!(judge(&asked), Err(Failure::Transient { reason: "rate_limited", retry_after: wait }));
        for status in [408, 500, 502, 503, 504] {
            assert!(matches!(judge(&answer(status, "<html>")), Err(Failure::Transient { .. })), "{status}");
        }
        assert!(matches!(judge(&answer(200, "<html>")), Err(Failure::Transient { .. })), "it may have been done");
        for (status, reason) in [(301, "redirect"), (400, "refused"), (401, "not_authorized"), (403, "not_authorized")]
        {
            assert_eq!(judge(&answer(status, "")), Err(Failure::permanent(reason)));
        }
        let said = |status, reason, body, said: &str| {
            assert_eq!(judge(&answer(status, body)), Err(Failure::Permanent { reason, said: Some(said.to_owned()) }));
        };
        said(404, "not_found", r#"{"error": "Not found"}"#, "Not found");
        said(422, "refused", r#"{"error": ["name is too long", "status is odd"]}"#, "name is too long, status is odd");
        said(422, "refused", r#"{"message": "no such component"}"#, "no such component");
        assert_eq!(judge(&answer(201, r#"{"id": "a"}"#)).unwrap()["id"], "a");
    }
}
