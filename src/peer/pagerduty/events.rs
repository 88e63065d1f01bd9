//! Events API v2: one call for one event. It is never repeated here: that is the courier's affair.

use super::{Failure, judge, pace::Pace};
use crate::http::client::Client;
use reqwest::{Method, StatusCode, header::CONTENT_TYPE};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// The reason of a refusal that is about the key, and not about the event.
pub const BAD_KEY: &str = "bad_routing_key";
const MAX_ANSWER: usize = 64 * 1024;
/// A call that begins with less time than this would only be cut off.
const LEAST: Duration = Duration::from_millis(500);

pub struct EventsClient {
    http: Client,
    base: String,
    pace: Mutex<Pace>,
}

impl EventsClient {
    /// `events_url`: `https://events.pagerduty.com`.
    #[must_use]
    pub fn new(http: Client, events_url: &str) -> EventsClient {
        EventsClient { http, base: events_url.trim_end_matches('/').to_owned(), pace: Mutex::default() }
    }

    /// Sends one event with a service's key. `event`: everything but the key.
    pub async fn enqueue(
        &self,
        service: &str,
        key: &SecretString,
        mut event: Value,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let now = Instant::now();
        if deadline.saturating_duration_since(now) < LEAST {
            return Err(Failure::transient("no_time_left"));
        }
        if let Err(wait) = self.pace().reserve(service, now) {
            return Err(Failure::Transient { reason: "paced", retry_after: Some(wait) });
        }
        if let Some(fields) = event.as_object_mut() {
            fields.insert("routing_key".to_owned(), key.expose_secret().into());
        }
        let request = self
            .http
            .request(Method::POST, &format!("{}/v2/enqueue", self.base))
            .header(CONTENT_TYPE, "application/json")
            .timeout(deadline.saturating_duration_since(now))
            .body(event.to_string());
        let judged = judge(&self.http.exchange(request, MAX_ANSWER).await?, &[StatusCode::ACCEPTED]);
        if let Err(Failure::Transient { reason: "rate_limited", retry_after: Some(wait) }) = &judged {
            self.pace().stop(service, Instant::now() + *wait);
        }
        judged.map(|_| ()).map_err(of_the_key)
    }

    fn pace(&self) -> std::sync::MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `'routing_key' …` or `Invalid routing key`: PagerDuty knows no integration by it.
fn of_the_key(failure: Failure) -> Failure {
    match failure {
        Failure::Permanent { reason: "rejected", says: Some(says) } if speaks_of_the_key(&says) => {
            Failure::Permanent { reason: BAD_KEY, says: Some(says) }
        }
        other => other,
    }
}

fn speaks_of_the_key(says: &str) -> bool {
    let says = says.to_ascii_lowercase();
    ["routing_key", "routing key", "integration key"].iter().any(|words| says.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_key_is_told_from_a_refused_event() {
        let refused = |says: &str| {
            let says = Some(says.to_owned());
            of_the_key(Failure::Permanent { reason: "rejected", says }).words()
        };
        let key = "Event object is invalid, Length of 'routing_key' is incorrect (should be 32 characters)";
        assert_eq!(refused(key), format!("bad_routing_key: {key}"));
        assert!(refused("Invalid Routing Key").starts_with(BAD_KEY));
        assert!(refused("Event object is invalid, 'payload.summary' is missing").starts_with("rejected"));
    }
}
