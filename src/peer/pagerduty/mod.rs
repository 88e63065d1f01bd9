//! PagerDuty: the Events API takes pages, the REST API is asked and takes notes.
//!
//! - [`events`] triggers, acknowledges and resolves by key, at its `pace`; the same call again is the same page.
//! - [`rest`] asks how incidents stand, notes on them what was done, and acknowledges one that PagerDuty opened by itself:
//!   never without having looked, for a status set on what is resolved would reopen it.

pub mod events;
mod pace;
pub mod rest;

use crate::http::client::{Answer, ClientError, ClientErrorKind};
use reqwest::StatusCode;
use serde_json::Value;
use std::time::Duration;

/// 429 that says nothing about when.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// The sentence of a refusal that is kept.
const SAYS_CHARS: usize = 200;

/// A call that did not succeed, as far as its caller's next step depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// May work later.
    Transient { reason: &'static str, retry_after: Option<Duration> },
    /// Will not work as it is: somebody must look. What PagerDuty says about it, where it does.
    Permanent { reason: &'static str, says: Option<String> },
}

impl Failure {
    fn transient(reason: &'static str) -> Failure {
        Failure::Transient { reason, retry_after: None }
    }

    /// The word, with what PagerDuty says.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Failure::Transient { reason, .. } | Failure::Permanent { reason, says: None } => (*reason).to_owned(),
            Failure::Permanent { reason, says: Some(says) } => format!("{reason}: {says}"),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        match error.kind {
            ClientErrorKind::Request => Failure::Permanent { reason: error.reason, says: None },
            _ => Failure::transient(error.reason),
        }
    }
}

/// The body of an answer that `accepted` says yes to, or what became of it.
fn judge(answer: &Answer, accepted: &[StatusCode]) -> Result<Value, Failure> {
    let body = serde_json::from_slice::<Value>(&answer.body).ok();
    let says = body.as_ref().and_then(sentence);
    match answer.status {
        status if accepted.contains(&status) => body.ok_or_else(|| Failure::transient("bad_answer")),
        StatusCode::TOO_MANY_REQUESTS => {
            let reset =
                answer.headers.get("ratelimit-reset").and_then(|value| value.to_str().ok()?.trim().parse().ok());
            let wait = answer.retry_after().or(reset.map(Duration::from_secs)).unwrap_or(RETRY_AFTER);
            Err(Failure::Transient { reason: "rate_limited", retry_after: Some(wait) })
        }
        StatusCode::REQUEST_TIMEOUT => Err(Failure::transient("status_408")),
        status if status.is_server_error() => Err(Failure::transient("status_5xx")),
        // PagerDuty answers in JSON: this is somebody between it and us, who may go away.
        _ if body.is_none() => Err(Failure::transient("not_pagerduty")),
        StatusCode::UNAUTHORIZED => Err(Failure::Permanent { reason: "not_authorized", says }),
        StatusCode::FORBIDDEN => Err(Failure::Permanent { reason: "forbidden", says }),
        StatusCode::NOT_FOUND => Err(Failure::Permanent { reason: "not_found", says }),
        StatusCode::PAYLOAD_TOO_LARGE => Err(Failure::Permanent { reason: "too_large", says }),
        status if status.is_client_error() => Err(Failure::Permanent { reason: "rejected", says }),
        status if status.is_redirection() => Err(Failure::Permanent { reason: "redirect", says }),
        _ => Err(Failure::transient("bad_answer")),
    }
}

/// `{"message": …, "errors": […]}`, on top or under `error`.
fn sentence(body: &Value) -> Option<String> {
    let body = body.get("error").filter(|error| error.is_object()).unwrap_or(body);
    let message = body.get("message").and_then(Value::as_str);
    let errors = body.get("errors").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let all: Vec<&str> = message.into_iter().chain(errors).collect();
    let text: String = all.join(", ").chars().filter(|letter| !letter.is_control()).take(SAYS_CHARS).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str, headers: &[(&'static str, &'static str)]) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect(),
            body: body.to_owned().into(),
        }
    }

    fn judged(status: u16, body: &str) -> Result<Value, Failure> {
        judge(&answer(status, body, &[]), &[StatusCode::ACCEPTED])
    }

    #[test]
    fn what_may_work_later_is_told_from_what_never_will() {
        assert!(judged(202, r#"{"status":"success"}"#).is_ok());
        for status in [408, 429, 500, 503] {
            assert!(matches!(judged(status, "{}"), Err(Failure::Transient { .. })), "{status}");
        }
        for status in [400, 401, 403, 404, 413, 422, 302] {
            assert!(matches!(judged(status, "{}"), Err(Failure::Permanent { .. })), "{status}");
            assert_eq!(judged(status, "<html>"), Err(Failure::transient("not_pagerduty")), "{status}");
        }
        assert_eq!(judged(200, "{}"), Err(Failure::transient("bad_answer")), "200 is not 202");
        assert_eq!(judged(202, "<html>"), Err(Failure::transient("bad_answer")));
    }

    #[test]
    fn it_says_why_in_its_own_words() {
        let refused =
            r#"{"status":"invalid event","message":"Event object is invalid","errors":["'severity' is\n missing"]}"#;
        assert_eq!(
            judged(400, refused).unwrap_err().words(),
            "rejected: Event object is invalid, 'severity' is missing"
        );
        let refused = r#"{"error":{"message":"Not Found","code":2100}}"#;
        assert_eq!(judged(404, refused).unwrap_err().words(), "not_found: Not Found");
    }

    #[test]
    fn a_limit_says_when_in_either_of_two_ways_or_not_at_all() {
        let wait = |headers: &[(&'static str, &'static str)]| match judge(&answer(429, "{}", headers), &[]) {
            Err(Failure::Transient { retry_after: Some(wait), .. }) => wait.as_secs(),
            other => panic!("{other:?}"),
        };
        assert_eq!((wait(&[("ratelimit-reset", "7")]), wait(&[("retry-after", "9")]), wait(&[])), (7, 9, 30));
    }
}
