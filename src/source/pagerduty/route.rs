//! `POST /webhooks/pagerduty`: 202 once the news are durable, 503 while they cannot be.
//!
//! PagerDuty sends a 5xx again for two days. Three answers of 4xx in a row make it stop for one, so only who did not sign
//! is answered so; what it signed and nobody here can read is taken, counted, and left out.

use super::{
    payload::{self, NotRead, Read},
    signature::{self, NotSigned},
};
use crate::{
    engine::{self, EngineHandle},
    http::{
        identity::Peer,
        intake::{Intake, Refused, only_post},
        limits::BodyRefused,
        reloadable::Reloadable,
        signature::SigningKeys,
    },
    model::input::Input,
    telemetry::{
        labels::{Answer, Source as SourceLabel},
        metrics::Metrics,
    },
};
use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, post},
};
use std::sync::Arc;

pub const PATH: &str = "/webhooks/pagerduty";
const WEBHOOK_ID: &str = "x-webhook-id";
const RETRY_AFTER_SECONDS: &str = "1";

/// What the route needs.
#[derive(Clone)]
pub struct PagerDutyRoute {
    pub intake: Intake,
    pub keys: Arc<Reloadable<SigningKeys>>,
    pub engine: EngineHandle,
    pub metrics: Metrics,
}

/// The webhooks listener's routes for this source.
pub fn routes(route: PagerDutyRoute) -> Vec<(&'static str, MethodRouter)> {
    vec![(PATH, post(receive).fallback(only_post).with_state(Arc::new(route)))]
}

/// Why a webhook was not taken.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error(transparent)]
    Door(#[from] Refused),
    #[error(transparent)]
    Signature(#[from] NotSigned),
    #[error("PagerDuty signed it, and it is left out: {0}")]
    Payload(#[from] NotRead),
    #[error("{0}; send it again")]
    Engine(#[from] engine::Refused),
}

impl NotTaken {
    fn label(&self) -> Answer {
        match self {
            NotTaken::Signature(_) | NotTaken::Door(Refused::Auth(_)) => Answer::Unauthorized,
            NotTaken::Door(Refused::TooOften(_)) => Answer::Overloaded,
            NotTaken::Door(Refused::Body(refused)) => match refused {
                BodyRefused::TooLarge { .. } => Answer::TooLarge,
                BodyRefused::Busy | BodyRefused::Slow => Answer::Overloaded,
                BodyRefused::Broken => Answer::Invalid,
            },
            NotTaken::Payload(_) => Answer::Invalid,
            NotTaken::Engine(engine::Refused::Full) => Answer::Overloaded,
            NotTaken::Engine(engine::Refused::JournalDown | engine::Refused::Stopping) => Answer::Error,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            NotTaken::Door(refused) => refused.reason(),
            NotTaken::Signature(refused) => refused.reason(),
            NotTaken::Payload(_) => "unreadable",
            NotTaken::Engine(refused) => refused.word(),
        }
    }
}

impl IntoResponse for NotTaken {
    fn into_response(self) -> Response {
        let text = format!("{self}\n");
        match self {
            NotTaken::Door(refused) => refused.into_response(),
            NotTaken::Signature(_) => (StatusCode::UNAUTHORIZED, text).into_response(),
            NotTaken::Payload(_) => (StatusCode::ACCEPTED, text).into_response(),
            NotTaken::Engine(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, RETRY_AFTER_SECONDS)], text).into_response()
            }
        }
    }
}

async fn receive(
    State(route): State<Arc<PagerDutyRoute>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let taken = route.take(&peer, &headers, body).await;
    let label = taken.as_ref().map_or_else(NotTaken::label, |()| Answer::Accepted);
    route.metrics.webhook_answered(SourceLabel::Pagerduty, label);
    match taken {
        Ok(()) => (StatusCode::ACCEPTED, "ok\n").into_response(),
        Err(not_taken) => {
            let reason = not_taken.reason();
            tracing::warn!(peer = %peer.address.ip(), reason, says = %not_taken, "a webhook of PagerDuty was not taken");
            not_taken.into_response()
        }
    }
}

impl PagerDutyRoute {
    async fn take(&self, peer: &Peer, headers: &HeaderMap, body: Body) -> Result<(), NotTaken> {
        let held = self.intake.admit(None, peer, headers, body).await?;
        signature::check(&self.keys.current(), headers, &held.bytes)?;
        let webhook_id = headers.get(WEBHOOK_ID).and_then(|id| id.to_str().ok());
        let sender = peer.address.ip().to_canonical().to_string();
        let read = payload::read(&held.bytes, webhook_id, &sender, self.engine.clock().now())?;
        let Read::News(news) = read else { return Ok(()) };
        self.engine.intake(vec![Input::Peer(news)]).await?;
        drop(held);
        Ok(())
    }
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
