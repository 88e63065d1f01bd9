//! The API's bodies. The CLI reads the same types. Fields are only added.
//!
//! A time ([`Micros`]: `at`, `now`, `since`, `…_at`, `…_until`) is a number: microseconds since 1970-01-01 UTC. `text` is
//! the whole for people, with times in the zone of `timezone`; the CLI's `--json` leaves it out.

use super::Facts;
use crate::model::{
    id::{Fingerprint, IncidentId},
    time::Micros,
    view::{AlertView, IncidentView},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `GET /api/v1/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub facts: Facts,
    pub now: Micros,
    /// A webhook can be stored.
    pub ready: bool,
    pub journal_up: bool,
    pub head_seq: u64,
    /// Why nothing may act now; empty: it may. Words of a closed list.
    pub restraints: Vec<String>,
    /// None: Socket Mode is not set up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack_socket: Option<SlackSocket>,
    /// What somebody must look after, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attention: Vec<String>,
    /// None: the engine did not answer in time.
    pub state: Option<StateStatus>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// How Slack's Socket Mode is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlackSocket {
    /// Words of a closed list, both.
    pub state: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    pub since: Micros,
}

/// What the engine knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateStatus {
    pub mode: String,
    pub policy: String,
    pub rules: usize,
    pub timezone: String,
    pub starts: u64,
    pub paused: Option<Paused>,
    pub settling_until: Option<Micros>,
    pub incidents: Vec<IncidentCount>,
    pub alerts_known: u64,
    pub acting: u64,
    pub asking: u64,
    pub holding: u64,
    pub leases: u64,
    /// Rules, and rules for one target, that wait for `rearm`.
    #[serde(default)]
    pub disarmed: u64,
    /// Sets by name on which the brake is on; `null`: everything.
    #[serde(default)]
    pub braked: Vec<Option<String>>,
    pub letters_owed: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    pub by: String,
    pub reason: String,
    pub since: Micros,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentCount {
    pub severity: String,
    pub state: String,
    pub count: u64,
}

/// `GET /api/v1/incidents?state=open|monitoring|resolved|all&before=ID&limit=N`, newest first. Without `state`: those
/// that are not resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incidents {
    /// IANA name: the zone of the text's times.
    pub timezone: String,
    pub incidents: Vec<IncidentLine>,
    /// `before` of the next page.
    pub next: Option<IncidentId>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentLine {
    pub id: IncidentId,
    pub severity: String,
    pub state: String,
    pub acknowledged_by: Option<String>,
    pub opened_at: Micros,
    pub rule: String,
    pub title: String,
    pub firing: u32,
    pub ladder: String,
    /// The incident of the same service in whose thread it speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<IncidentId>,
    /// Incidents that speak in its thread.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<IncidentId>,
}

/// `GET /api/v1/incidents/{id}` and `…/why`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    pub view: IncidentView,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// `GET /api/v1/alerts?after=FINGERPRINT&limit=N`, in the order of fingerprints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alerts {
    pub alerts: Vec<AlertView>,
    pub next: Option<Fingerprint>,
}

/// `GET /api/v1/alerts/{fingerprint}/why`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertWhy {
    pub alert: AlertView,
    /// By the rules in force now, up to the one that matches, at most [`RULES_TRIED`].
    pub tried: Vec<RuleTried>,
    /// Rules that were tried and are not listed.
    pub not_listed: usize,
    pub incident: Option<IncidentView>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// Rules listed in one explanation.
pub const RULES_TRIED: usize = 200;

/// One rule against one alert's labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleTried {
    pub rule: String,
    /// The first matcher that failed; None: the rule matches.
    pub failed: Option<String>,
    /// The value of that matcher's label; None: the alert does not have it.
    pub value: Option<String>,
}

/// `GET /api/v1/rules?from=N&limit=N`, in the order in which they are tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    pub policy: String,
    /// The most any rule may do.
    pub mode: String,
    pub total: usize,
    pub rules: Vec<RuleLine>,
    pub next: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleLine {
    pub name: String,
    pub matchers: Vec<String>,
    pub severity: Option<String>,
    pub service: Option<String>,
    /// The mode in effect.
    pub mode: String,
    pub group_by: Vec<String>,
    pub cooldown: String,
    pub limits: Vec<String>,
    /// `kubernetes/scale on web`.
    pub remediate: Vec<String>,
}

/// `GET /api/v1/journal?from=SEQ&limit=N&incident=ID`, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    pub entries: Vec<EntryLine>,
    /// `from` of the next page.
    pub next: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryLine {
    pub seq: u64,
    pub at: Micros,
    pub epoch: u64,
    pub incident: Option<u64>,
    pub cause: String,
    /// Input and events. For checking hashes use `nightshift journal export`, which keeps the bytes.
    pub body: Value,
    pub hash: String,
}

/// The answer to a command that was done, after its commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The journal's entry.
    pub seq: Option<u64>,
    /// Who it is in the journal.
    pub by: String,
    /// What is good to know about what was done, a sentence without a full stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// `POST …/approve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// Of the plan that the person saw.
    pub plan_hash: String,
}

/// `POST …/lease/extend`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtendLease {
    /// `1h`, `90m`.
    pub by: String,
}

/// `POST /api/v1/pause`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    pub reason: String,
}

/// `POST /api/v1/rearm`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rearm {
    pub rule: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}
