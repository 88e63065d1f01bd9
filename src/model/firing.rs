//! What Alertmanager answers when it is asked whether alerts still fire. *Absent is not resolved.*

use super::{id::Fingerprint, time::Micros};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One alert, over all reachable peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Firing {
    /// At least one peer lists it `active`, and none suppresses it. `starts_at` as the peer has it.
    Active { starts_at: Micros },
    /// Silenced or inhibited on some peer: the ids of silences and inhibiting alerts.
    Suppressed { by: Vec<String> },
    /// Only `unprocessed`: not known yet.
    Unprocessed,
    /// No reachable peer lists it: resolved, or the peer restarted. Not the same as resolved.
    Absent,
}

/// The peers' word on the alerts of one incident, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FiringAnswer {
    /// No `alertmanager.urls` are configured.
    NotAsked,
    /// No peer could be reached.
    Unreachable {
        problem: String,
    },
    Answered {
        at: Micros,
        alerts: BTreeMap<Fingerprint, Firing>,
    },
}
