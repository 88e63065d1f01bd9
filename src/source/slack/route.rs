//! `POST /slack/interactions` and `POST /slack/commands`: signed, answered within a second, done once.
//!
//! Slack shows an error to whoever clicked when it is not answered within 3 s, and sends a click only once. So what takes
//! longer goes on in a task of its own: the message changes when it is done, and whoever clicked is told what went wrong.

use super::{
    desk::{ANSWER_WITHIN, Busy, Desk, answer_in_time, said},
    payload::{self, NotRead},
    signature::{self, NotSigned},
};
use crate::{
    engine::Clock,
    http::{
        identity::Peer,
        intake::{Intake, Refused, only_post},
        limits::BodyRefused,
        reloadable::Reloadable,
        signature::SigningKeys,
    },
    telemetry::{
        labels::{Answer, Source as SourceLabel},
        metrics::Metrics,
    },
};
use axum::{
    Extension, Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{MethodRouter, post},
};
use serde_json::Value;
use std::sync::Arc;

pub const INTERACTIONS: &str = "/slack/interactions";
pub const COMMANDS: &str = "/slack/commands";
/// What the routes need.
#[derive(Clone)]
pub struct SlackRoute {
    pub intake: Intake,
    pub keys: Arc<Reloadable<SigningKeys>>,
    pub desk: Desk,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
}

/// The webhooks listener's routes for this source.
pub fn routes(route: SlackRoute) -> Vec<(&'static str, MethodRouter)> {
    let route = Arc::new(route);
    vec![
        (INTERACTIONS, post(interactions).fallback(only_post).with_state(Arc::clone(&route))),
        (COMMANDS, post(commands).fallback(only_post).with_state(route)),
    ]
}

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error(transparent)]
    Door(#[from] Refused),
    #[error(transparent)]
    Signature(#[from] NotSigned),
    #[error(transparent)]
    Payload(#[from] NotRead),
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error("it was not done, nor will be: try again")]
    Undone,
}

impl NotTaken {
    fn label(&self) -> Answer {
        match self {
            NotTaken::Signature(_) | NotTaken::Door(Refused::Auth(_)) => Answer::Unauthorized,
            NotTaken::Door(Refused::TooOften(_)) | NotTaken::Busy(_) => Answer::Overloaded,
            NotTaken::Door(Refused::Body(refused)) => match refused {
                BodyRefused::TooLarge { .. } => Answer::TooLarge,
                BodyRefused::Busy | BodyRefused::Slow => Answer::Overloaded,
                BodyRefused::Broken => Answer::Invalid,
            },
            NotTaken::Payload(_) => Answer::Invalid,
            NotTaken::Undone => Answer::Error,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            NotTaken::Door(refused) => refused.reason(),
            NotTaken::Signature(refused) => refused.reason(),
            NotTaken::Payload(_) => "unreadable",
            NotTaken::Busy(_) => "busy",
            NotTaken::Undone => "undone",
        }
    }
}

impl IntoResponse for NotTaken {
    fn into_response(self) -> Response {
        let text = format!("{self}\n");
        match self {
            NotTaken::Door(refused) => refused.into_response(),
            NotTaken::Signature(_) => (StatusCode::UNAUTHORIZED, text).into_response(),
            NotTaken::Payload(_) => (StatusCode::BAD_REQUEST, text).into_response(),
            NotTaken::Busy(_) | NotTaken::Undone => (StatusCode::SERVICE_UNAVAILABLE, text).into_response(),
        }
    }
}

async fn interactions(
    State(route): State<Arc<SlackRoute>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let taken = route.interaction(&peer, &headers, body).await;
    route.answered(&peer, taken.map(IntoResponse::into_response))
}

async fn commands(
    State(route): State<Arc<SlackRoute>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let taken = route.command(&peer, &headers, body).await;
    route.answered(
        &peer,
        taken.map(|answer| answer.map_or_else(|| StatusCode::OK.into_response(), |it| Json(it).into_response())),
    )
}

impl SlackRoute {
    fn answered(&self, peer: &Peer, taken: Result<Response, NotTaken>) -> Response {
        let label = taken.as_ref().map_or_else(NotTaken::label, |_| Answer::Accepted);
        self.metrics.webhook_answered(SourceLabel::Slack, label);
        taken.unwrap_or_else(|not_taken| {
            let reason = not_taken.reason();
            tracing::warn!(peer = %peer.address.ip(), reason, says = %not_taken, "a request of Slack was not taken");
            not_taken.into_response()
        })
    }

    /// The body that Slack signed, and the signature's text.
    async fn signed(&self, peer: &Peer, headers: &HeaderMap, body: Body) -> Result<(bytes::Bytes, String), NotTaken> {
        let held = self.intake.admit(None, peer, headers, body).await?;
        let signed = signature::check(&self.keys.current(), headers, &held.bytes, self.clock.now())?;
        Ok((held.bytes.clone(), signed.once))
    }

    async fn interaction(&self, peer: &Peer, headers: &HeaderMap, body: Body) -> Result<StatusCode, NotTaken> {
        let (body, once) = self.signed(peer, headers, body).await?;
        let Some(click) = payload::click(&body)? else { return Ok(StatusCode::OK) };
        let once = payload::once(click.trigger.as_ref(), &once);
        let done = self.desk.click(click, once)?;
        match tokio::time::timeout(ANSWER_WITHIN, done).await {
            // Nobody does it any more. Slack shows whoever clicked that it failed.
            Ok(Err(_)) => Err(NotTaken::Undone),
            // Nothing is said to it either way: the message changes, or whoever clicked is told.
            Ok(Ok(())) | Err(_) => Ok(StatusCode::OK),
        }
    }

    async fn command(&self, peer: &Peer, headers: &HeaderMap, body: Body) -> Result<Option<Value>, NotTaken> {
        let (body, once) = self.signed(peer, headers, body).await?;
        let Some(typed) = payload::typed(&body)? else { return Ok(None) };
        let once = payload::once(typed.trigger.as_ref(), &once);
        let answer = answer_in_time(self.desk.typed(typed, once)?).await;
        Ok(Some(answer.unwrap_or_else(|| said("Something went wrong in nightshift: its log says what."))))
    }
}

#[cfg(test)]
#[path = "route_tests.rs"]
pub(super) mod tests;
