//! An alert: a labelled signal, firing or resolved. One *firing* is (fingerprint, `starts_at`).

use super::{id::Fingerprint, time::Micros};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub type Labels = BTreeMap<String, String>;

/// An alert with this label set to `true` asks to be paged only if what the rule does about it does not help in time.
pub const HOLD_LABEL: &str = "nightshift_hold";

/// Whether its page may wait.
#[must_use]
pub fn asks_to_hold(labels: &Labels) -> bool {
    labels.get(HOLD_LABEL).is_some_and(|value| value == "true")
}

/// Where an alert came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Alertmanager,
    #[serde(rename = "pagerduty")]
    PagerDuty,
}

impl Source {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Source::Alertmanager => "alertmanager",
            Source::PagerDuty => "pagerduty",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Firing,
    Resolved,
}

/// One alert of one delivery, as its source parsed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    pub source: Source,
    /// The authenticated sender (a token's name, a certificate's subject, an address).
    pub sender: String,
    pub fingerprint: Fingerprint,
    pub status: Status,
    pub starts_at: Micros,
    /// None while it fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Micros>,
    pub labels: Labels,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Labels,
    /// The generator's page; may be empty. Untrusted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// Alertmanager's group key, verbatim.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group_key: String,
    pub received_at: Micros,
}
