//! A webhook's way in, in the one right order: the sender's rate, who it is, and only then its body.

use crate::http::{
    auth::{AuthRefused, WebhookAuth},
    identity::Peer,
    limits::{BodyRefused, HeldBody, InFlight, read_body},
    senders::{SenderLimiter, TooOften},
};
use axum::{
    body::Body,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use std::sync::Arc;

/// For whatever is asked of a webhook's path otherwise than by POST.
pub async fn only_post() -> (StatusCode, &'static str) {
    (StatusCode::METHOD_NOT_ALLOWED, "there is only POST here\n")
}

/// The bounds that one source's webhooks pass. Sources of one listener share `senders` and `in_flight`.
#[derive(Debug, Clone)]
pub struct Intake {
    pub senders: Arc<SenderLimiter>,
    pub in_flight: InFlight,
    /// Bytes; one of the constants of [`crate::http::limits`].
    pub max_body: usize,
}

/// Why a webhook was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    TooOften(#[from] TooOften),
    #[error(transparent)]
    Auth(#[from] AuthRefused),
    #[error(transparent)]
    Body(#[from] BodyRefused),
}

impl Refused {
    /// The metric's label.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Refused::TooOften(_) => "too_often",
            Refused::Auth(refused) => refused.reason(),
            Refused::Body(refused) => refused.reason(),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Refused::TooOften(refused) => refused.into_response(),
            Refused::Auth(refused) => refused.into_response(),
            Refused::Body(refused) => refused.into_response(),
        }
    }
}

impl Intake {
    /// Admits a webhook and reads its body. `auth` is `None` for a source that signs its bodies and so can only be
    /// checked afterwards.
    pub async fn admit(
        &self,
        auth: Option<&WebhookAuth>,
        peer: &Peer,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<HeldBody, Refused> {
        self.senders.check(peer)?;
        if let Some(auth) = auth {
            auth.check(headers, peer)?;
        }
        Ok(read_body(headers, body, self.max_body, &self.in_flight).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderValue, header};
    use std::num::NonZeroU32;

    fn intake(burst: u32) -> Intake {
        let senders = SenderLimiter::new(NonZeroU32::MIN, NonZeroU32::new(burst).unwrap(), 10);
        Intake { senders: Arc::new(senders), in_flight: InFlight::new(100), max_body: 10 }
    }

    fn bearer() -> WebhookAuth {
        WebhookAuth::bearer(&["token".into()]).unwrap()
    }

    fn headers(token: &'static str) -> HeaderMap {
        [(header::AUTHORIZATION, HeaderValue::from_static(token))].into_iter().collect()
    }

    fn remote() -> Peer {
        Peer { address: "192.0.2.1:1".parse().unwrap(), certificate: None }
    }

    #[tokio::test]
    async fn whoever_is_unknown_does_not_get_a_body_read() {
        let (intake, auth) = (intake(10), bearer());
        // Too large as well: the answer tells which was looked at first.
        let body = || Body::from("01234567890");
        let refused = intake.admit(Some(&auth), &remote(), &headers("Bearer wrong"), body()).await.unwrap_err();
        assert_eq!(
            (refused.reason(), refused.into_response().status()),
            ("wrong_credentials", StatusCode::UNAUTHORIZED)
        );
        let refused = intake.admit(Some(&auth), &remote(), &headers("Bearer token"), body()).await.unwrap_err();
        assert_eq!((refused.reason(), refused.into_response().status()), ("too_large", StatusCode::PAYLOAD_TOO_LARGE));
    }

    #[tokio::test]
    async fn a_sender_over_its_rate_is_told_503() {
        let (intake, auth) = (intake(1), bearer());
        let held = intake.admit(Some(&auth), &remote(), &headers("Bearer token"), Body::from("{}")).await.unwrap();
        assert_eq!(held.bytes.as_ref(), b"{}");
        let refused = intake.admit(Some(&auth), &remote(), &headers("Bearer token"), Body::from("{}")).await;
        let answer = refused.unwrap_err().into_response();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()[header::RETRY_AFTER], "1");
    }

    #[tokio::test]
    async fn a_source_that_signs_its_bodies_is_checked_afterwards() {
        assert!(intake(1).admit(None, &remote(), &HeaderMap::new(), Body::from("{}")).await.is_ok());
    }
}
