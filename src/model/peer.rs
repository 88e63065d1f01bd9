//! News of PagerDuty: what happened to one of its incidents, as it told us.

use super::{alert::Alert, time::Micros};
use serde::{Deserialize, Serialize};

/// One event of a V3 webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerNews {
    /// The event's id, and the webhook's where it had one: the same over all tries to deliver it.
    pub ids: Vec<String>,
    pub event: PeerEvent,
    pub occurred_at: Micros,
    pub received_at: Micros,
    /// The user whose doing it was. None: a service's, Alertmanager's or our own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    pub incident: PeerIncident,
    /// The incident as an alert, where the event told enough of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<Box<Alert>>,
    /// It was asked by REST for the keys that the webhook did not have: why it could not, if it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Result<(), String>>,
}

/// PagerDuty's incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerIncident {
    /// `PGR0VU2`.
    pub id: String,
    /// For people: `#1234`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Its page. Untrusted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// Its `incident_key`, and its alerts' `alert_key`s: what triggered it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Somebody had it when this happened.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acknowledged: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerEvent {
    Triggered,
    Acknowledged,
    Unacknowledged,
    Resolved,
    Reopened,
    /// Names, as PagerDuty shows them. Untrusted, as everything else that is written there.
    Reassigned {
        to: String,
    },
    Escalated {
        to: String,
    },
    Delegated {
        to: String,
    },
    Annotated {
        text: String,
    },
    PriorityUpdated {
        to: String,
    },
}

impl PeerEvent {
    /// PagerDuty's word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            PeerEvent::Triggered => "triggered",
            PeerEvent::Acknowledged => "acknowledged",
            PeerEvent::Unacknowledged => "unacknowledged",
            PeerEvent::Resolved => "resolved",
            PeerEvent::Reopened => "reopened",
            PeerEvent::Reassigned { .. } => "reassigned",
            PeerEvent::Escalated { .. } => "escalated",
            PeerEvent::Delegated { .. } => "delegated",
            PeerEvent::Annotated { .. } => "annotated",
            PeerEvent::PriorityUpdated { .. } => "priority_updated",
        }
    }
}

/// What a note of ours begins with: it is known again by it.
pub const NOTE_MARK: &str = "[nightshift ";
