//! Bodies, bounded before they are buffered: each by its source's cap, all together by what memory holds.
//!
//! 413 says "never send this again"; 503 says "later", and Alertmanager retries it.

use crate::http::connection::BodyTooSlow;
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::BytesMut;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Alertmanager puts a whole group into one body: 8 MiB are about eight thousand alerts with their annotations.
pub const ALERTMANAGER_MAX_BODY: usize = 8 * 1024 * 1024;
/// PagerDuty guarantees 55 KB and tries up to 256 KB.
pub const PAGERDUTY_MAX_BODY: usize = 512 * 1024;
/// Slack's interactions carry the message they belong to, far below this.
pub const SLACK_MAX_BODY: usize = 256 * 1024;
/// A command of the API is a few lines.
pub const API_MAX_BODY: usize = 64 * 1024;
/// Bytes of bodies held at a time over all requests. Parsed they take two to five times as much: with the rest of the
/// daemon that stays below 256 MiB.
pub const IN_FLIGHT_BYTES: usize = 32 * 1024 * 1024;
/// What is set aside for a body before its bytes come, however large it says it is.
const FIRST_BUFFER: usize = 64 * 1024;

/// The bytes that all requests of the process may hold at a time. Clones share one count.
#[derive(Debug, Clone)]
pub struct InFlight {
    used: Arc<AtomicUsize>,
    cap: usize,
}

impl InFlight {
    #[must_use]
    pub fn new(cap: usize) -> InFlight {
        InFlight { used: Arc::new(AtomicUsize::new(0)), cap }
    }

    /// Bytes held now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let add = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.cap);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Relaxed, add).is_ok()
    }
}

/// A part of [`InFlight`], given back when dropped.
#[derive(Debug)]
struct Share {
    of: InFlight,
    bytes: usize,
}

impl Share {
    fn grow(&mut self, bytes: usize) -> bool {
        let granted = self.of.take(bytes);
        if granted {
            self.bytes += bytes;
        }
        granted
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// A body in memory. Keep it until the request is decided: what it holds counts as in flight that long.
#[derive(Debug)]
pub struct HeldBody {
    pub bytes: Bytes,
    _share: Share,
}

/// Why a body was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyRefused {
    #[error("the body is larger than {max} bytes; for Alertmanager lower `max_alerts` or group by more labels")]
    TooLarge { max: usize },
    #[error("too many bodies are under way; try again")]
    Busy,
    #[error("the body did not arrive in time; try again")]
    Slow,
    #[error("the body broke off")]
    Broken,
}

impl BodyRefused {
    /// The metric's label.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            BodyRefused::TooLarge { .. } => "too_large",
            BodyRefused::Busy => "busy",
            BodyRefused::Slow => "slow",
            BodyRefused::Broken => "broken",
        }
    }

    /// 408 would fit a slow body better, but Alertmanager retries only 5xx, and the cause may be our own overload.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            BodyRefused::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            BodyRefused::Busy | BodyRefused::Slow => StatusCode::SERVICE_UNAVAILABLE,
            BodyRefused::Broken => StatusCode::BAD_REQUEST,
        }
    }
}

impl IntoResponse for BodyRefused {
    fn into_response(self) -> Response {
        // The rest of the body is not read: the connection has no further use.
        (self.status(), [(header::CONNECTION, "close")], format!("{self}\n")).into_response()
    }
}

/// Reads a body of at most `max` bytes. A declared length over a bound is refused before a byte is read.
pub async fn read_body(
    headers: &HeaderMap,
    mut body: Body,
    max: usize,
    in_flight: &InFlight,
) -> Result<HeldBody, BodyRefused> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let declared = declared.unwrap_or(0);
    if declared > max {
        return Err(BodyRefused::TooLarge { max });
    }
    if in_flight.used().saturating_add(declared) > in_flight.cap {
        return Err(BodyRefused::Busy);
    }
    // Counted as it arrives, not as it is announced: an announcement costs its sender nothing.
    let mut share = Share { of: in_flight.clone(), bytes: 0 };
    let mut first: Option<Bytes> = None;
    let mut joined: Option<BytesMut> = None;
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.map_err(|error| why_broken(&error))?.into_data() else {
            continue; // trailers
        };
        if share.bytes + chunk.len() > max {
            return Err(BodyRefused::TooLarge { max });
        }
        if !share.grow(chunk.len()) {
            return Err(BodyRefused::Busy);
        }
        match (&mut joined, first.take()) {
            (Some(joined), _) => joined.extend_from_slice(&chunk),
            // Most bodies come in one piece and are never copied.
            (None, None) => first = Some(chunk),
            (None, Some(earlier)) => {
                let room = declared.min(FIRST_BUFFER).max(earlier.len() + chunk.len());
                let mut buffer = BytesMut::with_capacity(room);
                buffer.extend_from_slice(&earlier);
                buffer.extend_from_slice(&chunk);
                joined = Some(buffer);
            }
        }
    }
    let bytes = joined.map(BytesMut::freeze).or(first).unwrap_or_default();
    Ok(HeldBody { bytes, _share: share })
}

fn why_broken(error: &axum::Error) -> BodyRefused {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<BodyTooSlow>() {
            return BodyRefused::Slow;
        }
        cause = error.source();
    }
    BodyRefused::Broken
}

/// A JSON text that is not what was asked for: 400, with the place.
#[derive(Debug, thiserror::Error)]
#[error("not the JSON that is expected here: {0}")]
pub struct JsonRefused(#[from] serde_json::Error);

impl IntoResponse for JsonRefused {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, format!("{self}\n")).into_response()
    }
}

/// Parses a body. Nesting is bounded by serde_json (128 levels); what it skips it skips without recursion.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonRefused> {
    serde_json::from_slice(bytes).map_err(JsonRefused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    async fn read(body: Body, max: usize, in_flight: &InFlight) -> Result<HeldBody, BodyRefused> {
        read_body(&HeaderMap::new(), body, max, in_flight).await
    }

    #[tokio::test]
    async fn a_body_up_to_the_cap_is_taken_and_counted_until_dropped() {
        let in_flight = InFlight::new(100);
        let held = read(Body::from("0123456789"), 10, &in_flight).await.unwrap();
        assert_eq!((held.bytes.as_ref(), in_flight.used()), (&b"0123456789"[..], 10));
        drop(held);
        assert_eq!(in_flight.used(), 0);
    }

    #[tokio::test]
    async fn one_byte_over_the_cap_is_413() {
        let in_flight = InFlight::new(100);
        let refused = read(Body::from("0123456789"), 9, &in_flight).await.unwrap_err();
        assert_eq!((refused.status(), in_flight.used()), (StatusCode::PAYLOAD_TOO_LARGE, 0));
    }

    #[tokio::test]
    async fn a_declared_length_is_refused_without_reading() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("11"));
        // A body that would panic when touched.
        let body = Body::new(Untouchable);
        let refused = read_body(&headers, body, 10, &InFlight::new(100)).await.unwrap_err();
        assert_eq!(refused, BodyRefused::TooLarge { max: 10 });
        let refused = read_body(&headers, Body::new(Untouchable), 20, &InFlight::new(10)).await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    struct Untouchable;
    impl hyper::body::Body for Untouchable {
        type Data = Bytes;
        type Error = std::io::Error;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, std::io::Error>>> {
            panic!("the body was read")
        }
    }

    #[tokio::test]
    async fn all_bodies_together_are_bounded() {
        let in_flight = InFlight::new(15);
        let held = read(Body::from("0123456789"), 10, &in_flight).await.unwrap();
        assert_eq!(read(Body::from("0123456789"), 10, &in_flight).await.unwrap_err(), BodyRefused::Busy);
        assert_eq!(in_flight.used(), 10);
        drop(held);
        assert!(read(Body::from("0123456789"), 10, &in_flight).await.is_ok());
        assert_eq!(in_flight.used(), 0);
    }

    #[test]
    fn deep_json_is_refused_not_fatal() {
        let deep = "[".repeat(200_000);
        let refused = parse_json::<serde_json::Value>(deep.as_bytes()).unwrap_err();
        assert!(refused.to_string().contains("recursion limit"), "{refused}");
        let skipped = format!("{}{}", deep, "]".repeat(200_000));
        assert!(parse_json::<serde::de::IgnoredAny>(skipped.as_bytes()).is_ok());
    }
}
