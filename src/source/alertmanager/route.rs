//! `POST /webhooks/alertmanager`: 200 once every alert of the body is durable, 503 while that cannot be.
//!
//! Alertmanager sends a 5xx again at once and a 4xx not before its next group_interval. So only what would be as wrong
//! the next time is a 4xx. A sender is answered within a second of its last byte, also when the journal hangs: what is
//! committed after a 503 is delivered again and then known.

use super::payload::{self, PayloadError, Webhook};
use crate::{
    config::settings::AlertmanagerSource,
    engine::{self, EngineHandle},
    http::{
        auth::{AuthProblem, WebhookAuth},
        identity::Peer,
        intake::{Intake, Refused, only_post},
        limits::BodyRefused,
        reloadable::Reloadable,
    },
    model::{
        alert::{Alert, Source, Status},
        id::Fingerprint,
        input::Input,
        time::Micros,
    },
    telemetry::{
        labels::{Answer, Source as SourceLabel},
        metrics::Metrics,
        text::shortened,
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
use bytes::Bytes;
use std::sync::Arc;

pub const PATH: &str = "/webhooks/alertmanager";
/// A sender's name in the journal: a certificate's may be long.
const LONGEST_SENDER_CHARS: usize = 100;
/// Parsing more than this takes milliseconds, which a runtime's thread does not have.
const PARSED_ASIDE_BYTES: usize = 512 * 1024;
/// Asked of a sender that meets a full lane or a journal that is down.
const RETRY_AFTER_SECONDS: &str = "1";

/// What the route needs.
#[derive(Clone)]
pub struct AlertmanagerRoute {
    pub intake: Intake,
    pub auth: Arc<Reloadable<WebhookAuth>>,
    pub engine: EngineHandle,
    pub metrics: Metrics,
}

/// The webhooks listener's routes for this source.
pub fn routes(route: AlertmanagerRoute) -> Vec<(&'static str, MethodRouter)> {
    vec![(PATH, post(receive).fallback(only_post).with_state(Arc::new(route)))]
}

/// How senders prove who they are, by the settings: any one of the ways that are set suffices.
pub fn auth_of(settings: &AlertmanagerSource) -> Result<WebhookAuth, AuthProblem> {
    let mut ways = Vec::new();
    if !settings.bearer_tokens.is_empty() {
        ways.push(WebhookAuth::bearer(&settings.bearer_tokens)?);
    }
    if let Some(basic) = &settings.basic_auth {
        ways.push(WebhookAuth::basic(&basic.username, std::slice::from_ref(&basic.password))?);
    }
    if !settings.client_certificates.is_empty() {
        ways.push(WebhookAuth::client_certificate(settings.client_certificates.clone())?);
    }
    Ok(match (ways.pop(), ways.is_empty()) {
        (None, _) => WebhookAuth::None,
        (Some(only), true) => only,
        (Some(last), false) => {
            ways.push(last);
            WebhookAuth::AnyOf(ways)
        }
    })
}

/// Why a delivery was not taken.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error(transparent)]
    Door(#[from] Refused),
    #[error(transparent)]
    Payload(#[from] PayloadError),
    #[error("{0}; send it again")]
    Engine(#[from] engine::Refused),
    #[error("the payload could not be read")]
    Lost,
}

impl NotTaken {
    fn label(&self) -> Answer {
        match self {
            NotTaken::Door(Refused::Auth(_)) => Answer::Unauthorized,
            NotTaken::Door(Refused::TooOften(_)) => Answer::Overloaded,
            NotTaken::Door(Refused::Body(refused)) => match refused {
                BodyRefused::TooLarge { .. } => Answer::TooLarge,
                BodyRefused::Busy | BodyRefused::Slow => Answer::Overloaded,
                BodyRefused::Broken => Answer::Invalid,
            },
            NotTaken::Payload(_) => Answer::Invalid,
            NotTaken::Engine(engine::Refused::Full) => Answer::Overloaded,
            NotTaken::Engine(engine::Refused::JournalDown | engine::Refused::Stopping) | NotTaken::Lost => {
                Answer::Error
            }
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            NotTaken::Door(refused) => refused.reason(),
            NotTaken::Payload(error) => error.reason(),
            NotTaken::Engine(refused) => refused.word(),
            NotTaken::Lost => "lost",
        }
    }
}

impl IntoResponse for NotTaken {
    fn into_response(self) -> Response {
        let text = format!("{self}\n");
        match self {
            NotTaken::Door(refused) => refused.into_response(),
            NotTaken::Payload(_) => (StatusCode::BAD_REQUEST, text).into_response(),
            NotTaken::Engine(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, RETRY_AFTER_SECONDS)], text).into_response()
            }
            NotTaken::Lost => (StatusCode::INTERNAL_SERVER_ERROR, text).into_response(),
        }
    }
}

async fn receive(
    State(route): State<Arc<AlertmanagerRoute>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let taken = route.take(&peer, &headers, body).await;
    let label = taken.as_ref().map_or_else(NotTaken::label, |()| Answer::Accepted);
    route.metrics.webhook_answered(SourceLabel::Alertmanager, label);
    match taken {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(not_taken) => {
            let reason = not_taken.reason();
            tracing::warn!(peer = %peer.address.ip(), reason, says = %not_taken, "a webhook was not taken");
            not_taken.into_response()
        }
    }
}

impl AlertmanagerRoute {
    async fn take(&self, peer: &Peer, headers: &HeaderMap, body: Body) -> Result<(), NotTaken> {
        let auth = self.auth.current();
        let held = self.intake.admit(Some(&auth), peer, headers, body).await?;
        let webhook = parsed(held.bytes.clone()).await?;
        let sender = sender_of(peer);
        if webhook.truncated_alerts > 0 {
            let left_out = webhook.truncated_alerts;
            self.metrics.alerts_truncated(left_out);
            tracing::warn!(
                sender,
                left_out,
                group = shortened(&webhook.group_key, LONGEST_SENDER_CHARS),
                "a webhook left out alerts: nothing is known about them, and none of them counts as resolved"
            );
        }
        let inputs = inputs_of(webhook, &sender, self.engine.clock().now());
        if inputs.is_empty() {
            return Ok(());
        }
        // From its first poll on the request lies with the engine, which commits it whether the client still waits or
        // not: a task of its own would add nothing.
        self.engine.intake(inputs).await?;
        drop(held);
        Ok(())
    }
}

async fn parsed(body: Bytes) -> Result<Webhook, NotTaken> {
    if body.len() <= PARSED_ASIDE_BYTES {
        return Ok(payload::parse(&body)?);
    }
    match tokio::task::spawn_blocking(move || payload::parse(&body)).await {
        Ok(webhook) => Ok(webhook?),
        Err(_) => Err(NotTaken::Lost),
    }
}

/// The proven name, else the address.
fn sender_of(peer: &Peer) -> String {
    match peer.certificate.as_ref().and_then(|certificate| certificate.name()) {
        Some(name) => shortened(name, LONGEST_SENDER_CHARS),
        None => peer.address.ip().to_canonical().to_string(),
    }
}

/// One input per alert, in the body's order.
fn inputs_of(webhook: Webhook, sender: &str, received_at: Micros) -> Vec<Input> {
    let Webhook { group_key, alerts, .. } = webhook;
    let input = |alert: payload::WebhookAlert| {
        Input::Alert(Box::new(Alert {
            source: Source::Alertmanager,
            sender: sender.to_owned(),
            fingerprint: Fingerprint::new(&alert.fingerprint),
            status: if alert.firing { Status::Firing } else { Status::Resolved },
            starts_at: alert.starts_at,
            ends_at: alert.ends_at,
            labels: alert.labels,
            annotations: alert.annotations,
            url: alert.generator_url,
            group_key: group_key.clone(),
            received_at,
        }))
    };
    alerts.into_iter().map(input).collect()
}

/// The inputs that a body would give, for `nightshift explain`.
pub fn inputs(body: &[u8], sender: &str, received_at: Micros) -> Result<Vec<Input>, PayloadError> {
    Ok(inputs_of(payload::parse(body)?, sender, received_at))
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
