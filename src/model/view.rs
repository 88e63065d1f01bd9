//! What people see of an incident: one shape for API, CLI and Slack, made from the state by `decide::view`.

use super::{
    id::{Fingerprint, IncidentId, StepId},
    letter::{Note, Posted},
    page::DedupKey,
    public::PublicView,
    reason::Reason,
    step::GuardLine,
    time::{Micros, Span},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Alerts listed in one view; the rest are counted.
pub const ALERTS_SHOWN: usize = 20;
/// Children listed in one view.
pub const CHILDREN_SHOWN: usize = 10;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentView {
    pub id: IncidentId,
    pub rule: String,
    pub title: String,
    pub severity: String,
    pub rank: u32,
    /// How many severities there are.
    #[serde(default)]
    pub ranks: u32,
    pub service: Option<String>,
    pub runbook: Option<String>,
    /// `open`, `monitoring`, `resolved`.
    pub state: String,
    pub opened_at: Micros,
    pub resolved_at: Option<Micros>,
    /// While monitoring: when it will be resolved.
    pub quiet_until: Option<Micros>,
    pub acknowledged_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<Micros>,
    pub lost_contact: bool,
    pub firing: u32,
    pub resolved: u32,
    pub lost: u32,
    /// The first [`ALERTS_SHOWN`].
    pub alerts: Vec<AlertView>,
    /// How the ladder stands, one sentence.
    pub ladder: String,
    pub steps: Vec<StepView>,
    pub evidence: Vec<EvidenceView>,
    pub pages: u32,
    /// Who was called for it and for what belongs to it, the last of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<CallView>,
    /// Who is called next, unless somebody takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_call: Option<CallView>,
    /// Its pages in PagerDuty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pagerduty_pages: Vec<PageView>,
    /// Until when nobody is woken, unless nightshift gives up before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_held_until: Option<Micros>,
    /// PagerDuty's incidents that belong to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pagerduty: Vec<PagerDutyView>,
    /// The keys under which PagerDuty may have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub page_keys: Vec<DedupKey>,
    /// Where its message is in Slack: a child's is its parent's.
    pub posted: Option<Posted>,
    /// The incident of the same service in whose thread it speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<IncidentId>,
    /// Incidents that speak in its thread, the newest [`CHILDREN_SHOWN`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<ChildView>,
    /// Children that are not among them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_children: u32,
    /// What it means to those who use the service, in the owner's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impact: Option<String>,
    /// The name under `people` that its page calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Its own channel: where its card is there, once it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Posted>,
    /// While there is one: how often its channel is told how it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_every: Option<Span>,
    /// What customers are told of it, if it concerns them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<PublicView>,
    /// A post that is being sent, for the notifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Note>,
}

/// An incident that speaks in another one's thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildView {
    pub id: IncidentId,
    pub title: String,
    pub severity: String,
    /// `open`, `monitoring`, `resolved`.
    pub state: String,
    pub firing: u32,
    pub lost_contact: bool,
    /// How its ladder stands, one sentence.
    pub ladder: String,
    pub steps: Vec<StepView>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// People are called: by a page, or as a level of the escalation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallView {
    pub at: Micros,
    /// The name under `people`. None: a page, where no escalation says whom it calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Counted from 1, which is called by the page.
    pub level: u32,
    pub levels: u32,
    /// `in Slack, #incidents`.
    pub by: String,
}

/// One page in PagerDuty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageView {
    pub at: Micros,
    /// `default`, or whose it is.
    pub service: String,
    /// How it stands there, without a full stop.
    pub says: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PagerDutyView {
    /// `PGR0VU2`.
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Its page there. Untrusted.
    pub url: String,
    /// It has the key of a group: a page, of ours or of Alertmanager's. Else PagerDuty opened it by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_key: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertView {
    pub fingerprint: Fingerprint,
    /// `firing`, `resolved`, `lost`.
    pub state: String,
    pub doubtful: bool,
    pub starts_at: Micros,
    pub rule: Option<String>,
    pub incident: Option<IncidentId>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub url: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepView {
    pub id: StepId,
    /// `fix`, `undo of 1042.1`, `end of the lease of 1042.1`.
    pub purpose: String,
    pub action: String,
    pub target: String,
    pub mode: String,
    pub phase: String,
    /// What its rule asks for, where a plan may come of it: `replicas +2, lease 2h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wants: Option<String>,
    /// `replicas 4 → 6`.
    pub summary: Option<String>,
    pub undo_summary: Option<String>,
    pub plan_hash: Option<String>,
    /// While asking: until when an approval holds.
    pub approval_until: Option<Micros>,
    pub approved_by: Option<String>,
    /// While holding: until when, if it is a time.
    pub held_until: Option<Micros>,
    pub planned_at: Micros,
    pub started_at: Option<Micros>,
    pub ended_at: Option<Micros>,
    /// Until when a person may undo it, if one still may.
    pub undo_until: Option<Micros>,
    pub lease_until: Option<Micros>,
    pub verify_by: Option<Micros>,
    pub reason: Option<Reason>,
    /// [`Reason::says`] of it, or the verdict's words.
    pub says: String,
    /// Verification's last words.
    pub verdict: Option<String>,
    pub trace: Vec<GuardLine>,
    /// What to type next, if anything: `nightshift approve 1042.1`.
    pub commands: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceView {
    pub collector: String,
    pub target: String,
    pub at: Micros,
    pub digest: Option<String>,
    pub summary: String,
}
