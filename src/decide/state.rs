//! The state: a fold over the journal. Its shape, and what others may ask of it.
//!
//! It changes only in [`super::apply`]. Everything is ordered, so two folds of one journal are equal to the byte.

use super::{
    Policy,
    escalation::{Call, Escalation},
    fleet::Fleet,
    packed::Packed,
    pages::Page,
    peer::Peers,
    records::Records,
    work::{ALERTS_ASKED, AskedAlert},
};
use crate::model::{
    alert::{Alert, Source, Status},
    event::LadderEnd,
    id::{Fingerprint, IncidentId, StepId},
    input::Input,
    letter::{External, LetterKey, Note, PublicStatus, Receiver},
    observation::{Ended, Facts},
    page::DedupKey,
    pairs,
    person::SlackPerson,
    plan::Plan,
    public::ComponentStatus,
    reason::Reason,
    rung::{Collector, Rung},
    step::{Answer, GuardLine, LeaseKey, Phase, Purpose},
    target::TargetKey,
    time::{Micros, Span},
    view::EvidenceView,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// An event that may not happen here: a damaged journal, or a mistake of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event} may not happen here: {why}")]
pub struct Illegal {
    pub event: String,
    pub why: String,
}

/// Bumped when the shape changes: a snapshot of another version is not read, the journal is folded anew.
pub const STATE_VERSION: u32 = 10;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The leaderships so far; 0: nothing has happened yet.
    pub(super) epoch: u64,
    /// When this leadership began.
    pub(super) leads_since: Micros,
    pub(super) policy: String,
    pub(super) last_incident: u64,
    pub(super) last_post: u64,
    pub(super) last_wish: u64,
    pub(super) last_page: u32,
    /// Tells this journal from every other: its first start.
    pub(super) identity: String,
    pub(super) alerts: BTreeMap<Fingerprint, AlertState>,
    pub(super) confirming: BTreeSet<Fingerprint>,
    pub(super) incidents: BTreeMap<IncidentId, Incident>,
    /// The open incident of (rule, key).
    #[serde(with = "pairs")]
    pub(super) open: BTreeMap<(String, String), IncidentId>,
    /// The last incident of a service that is nobody's child.
    pub(super) roots: BTreeMap<String, IncidentId>,
    /// Freezes of the policy in force: whether each holds, as people were told.
    pub(super) freezes: BTreeMap<String, WatchedFreeze>,
    pub(super) steps: BTreeMap<StepId, Step>,
    /// The steps that are not over, by phase, most severe first.
    pub(super) live: BTreeMap<Phase, BTreeSet<(u32, StepId)>>,
    /// The steps that wait for a slot, a lock or a resume, not for a time; most severe first.
    pub(super) waiting: BTreeSet<(u32, StepId)>,
    pub(super) evidence_wanted: VecDeque<(IncidentId, Collector)>,
    #[serde(with = "pairs")]
    pub(super) leases: BTreeMap<LeaseKey, Lease>,
    #[serde(with = "pairs")]
    pub(super) letters: BTreeMap<LetterKey, Letter>,
    pub(super) owed: BTreeSet<LetterKey>,
    /// Those of them that wake people.
    pub(super) pages_owed: BTreeSet<LetterKey>,
    /// What customers are told, by component of the status page.
    pub(super) publications: BTreeMap<String, Publication>,
    /// What PagerDuty was told of an incident, or has of it: a page by its number.
    #[serde(with = "pairs")]
    pub(super) pages: BTreeMap<(IncidentId, u32), Page>,
    pub(super) peers: Peers,
    /// Started steps by scope of a limit, oldest first.
    pub(super) starts: BTreeMap<String, VecDeque<Micros>>,
    #[serde(with = "pairs")]
    pub(super) cooldowns: BTreeMap<CoolDownKey, Micros>,
    #[serde(with = "pairs")]
    pub(super) locks: BTreeMap<TargetKey, Lock>,
    #[serde(with = "pairs")]
    pub(super) barred: BTreeMap<(String, TargetKey), Vec<Bar>>,
    pub(super) records: Records,
    /// Clicks and commands in Slack that were taken, until when each is remembered.
    pub(super) clicks: BTreeMap<String, Micros>,
    pub(super) fleet: Fleet,
    /// Starts without a clean stop, and without a steady time between them.
    pub(super) unclean_starts: u32,
    pub(super) paused: Option<PauseView>,
    pub(super) settling_until: Option<Micros>,
    pub(super) timers: BTreeSet<(Micros, Timer)>,
    #[serde(with = "pairs")]
    pub(super) due: BTreeMap<Timer, Micros>,
    #[serde(skip)]
    pub(super) work_version: u64,
    #[serde(skip)]
    pub(super) letters_version: u64,
}

/// (rule, target, shadow).
pub(super) type CoolDownKey = (String, TargetKey, bool);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Held {
    Firing,
    Resolved,
    Lost,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct AlertState {
    pub held: Held,
    pub doubtful: bool,
    pub source: Source,
    /// Of the group that Alertmanager sent it in.
    pub group: Option<DedupKey>,
    pub starts_at: Micros,
    pub ends_at: Option<Micros>,
    /// When this firing was first seen: `for` counts from here.
    pub seen_at: Micros,
    /// Alertmanager said so when it was asked last.
    pub silenced: bool,
    pub labels: Packed,
    pub annotations: Packed,
    pub url: Box<str>,
    pub rule: Option<String>,
    pub incident: Option<IncidentId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum IncidentPhase {
    Open,
    Monitoring,
    Resolved,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Incident {
    pub rule: String,
    pub key: String,
    pub severity: String,
    pub rank: u32,
    pub title: String,
    pub service: Option<String>,
    pub runbook: Option<String>,
    pub quiet: Span,
    pub receiver: Option<Receiver>,
    pub mentions: Vec<String>,
    pub phase: IncidentPhase,
    pub opened_at: Micros,
    pub quiet_until: Option<Micros>,
    pub resolved_at: Option<Micros>,
    pub resolved_by: Option<String>,
    pub acknowledged_by: Option<String>,
    pub acknowledged_at: Option<Micros>,
    /// Whoever acknowledged it last, that acknowledge void or not: they may be at work on it.
    pub handed_to: Option<String>,
    pub lost_contact: bool,
    pub alerts: BTreeSet<Fingerprint>,
    pub firing: u32,
    pub resolved: u32,
    pub lost: u32,
    /// The storm's incident that tells of it, for as long as the brake is on.
    pub folded_into: Option<IncidentId>,
    /// An alert of it fired anew after it was resolved: that is another incident's.
    pub fires_elsewhere: bool,
    /// The latest end of an alert of it: a rule must be evaluated after it.
    pub last_end: Option<Micros>,
    pub ladder: Option<Ladder>,
    /// The rung that a reopening goes on at: one past the last that started.
    pub next_rung: u32,
    pub steps: u32,
    pub evidence: Vec<EvidenceView>,
    pub pages: u32,
    /// Who was called, the last of them.
    pub calls: VecDeque<Call>,
    pub woken: Woken,
    /// An alert that joined it asks to hold its page.
    pub asks_to_hold: bool,
    pub impact: Option<String>,
    pub security: Option<Receiver>,
    pub parent: Option<IncidentId>,
    pub children: BTreeSet<IncidentId>,
    /// Whoever acknowledged it, if they are known in Slack.
    pub holder: Option<String>,
    /// When people were first woken for it, or for a child of it.
    pub paged_at: Option<Micros>,
    pub escalation: Option<Escalation>,
    /// Its own Slack channel, by the name that it is made with.
    pub channel: Option<String>,
    /// Slack would not make it.
    pub channel_refused: bool,
    pub postmortem_due: Option<Micros>,
}

/// Whether people were woken since it began to fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Woken {
    No,
    /// Not before then, unless nightshift has to give it up.
    Held {
        until: Micros,
    },
    Yes,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WatchedFreeze {
    pub on: bool,
    pub look_at: Option<Micros>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Ladder {
    pub rungs: Vec<Rung>,
    pub rule_hash: String,
    pub fires_for: Span,
    pub cooldown: Span,
    pub undo_within: Span,
    /// The targets that a step of it started on.
    pub started: BTreeSet<TargetKey>,
    pub ended: Option<LadderEnd>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Step {
    pub purpose: Purpose,
    pub rank: u32,
    pub rung_number: u32,
    pub rung: Rung,
    pub try_number: u32,
    pub phase: Phase,
    pub planned_at: Micros,
    pub plan: Option<Plan>,
    pub trace: Vec<GuardLine>,
    /// While holding; kept while it is observed again, so that one admitted from a queue is known.
    pub held_for: Option<Reason>,
    pub held_until: Option<Micros>,
    /// It was held for what may last: whoever is told of that was told.
    pub held_long: bool,
    /// How often it was held because something could not be learned.
    pub doubts: u32,
    pub approval_until: Option<Micros>,
    pub approved_by: Option<String>,
    /// Whoever that is in Slack, if it came from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approver: Option<Box<SlackPerson>>,
    pub perform_by: Option<Micros>,
    /// The leadership that started it.
    pub epoch: u64,
    pub outcome_lost: bool,
    pub before: Option<Facts>,
    pub started_at: Option<Micros>,
    pub applied_at: Option<Micros>,
    /// What became of the sessions or queries that its plan lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Box<Ended>>,
    pub measure_from: Option<Micros>,
    pub verify_by: Option<Micros>,
    pub last_measurement: bool,
    pub ended_at: Option<Micros>,
    pub reason: Option<Reason>,
    pub answer: Option<Answer>,
    /// The step that puts it back, once there is one.
    pub undone_by: Option<StepId>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Lease {
    /// The step that began or renewed it, whose plan says what we left.
    pub step: StepId,
    pub baseline: Value,
    pub value: Value,
    pub until: Micros,
    pub extended: u32,
    /// A step is putting it back.
    pub ending: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Letter {
    pub want: u64,
    pub wanted_at: Micros,
    pub told: u64,
    pub note: Option<Note>,
    pub external: Option<External>,
    /// Why its receiver does not take it before somebody sets that right.
    pub refused: Option<String>,
}

/// One incident on the status page, of one component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Publication {
    /// Its letter is what is published.
    pub incident: IncidentId,
    /// Those that it is about; it is over with the last of them.
    pub members: BTreeSet<IncidentId>,
    pub status: PublicStatus,
    pub shows: ComponentStatus,
    /// Nobody has let it out yet.
    pub waits: bool,
    pub published_by: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lock {
    pub incident: IncidentId,
    /// A step of it ended in Unknown: only a person frees it.
    pub unknown: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bar {
    pub incident: IncidentId,
    pub by: String,
}

/// What happens by itself at a time. Set and cleared by `apply` only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timer {
    SettleOver,
    Resume(StepId),
    ApprovalEnds(StepId),
    PerformBy(StepId),
    VerifyBy(StepId),
    LeaseEnds(LeaseKey),
    Quiet(IncidentId),
    Confirm(Fingerprint),
    ForgetAlert(Fingerprint),
    ForgetIncident(IncidentId),
    /// Is it calm again? None: the brake for everything.
    Brake(Option<String>),
    Steady,
    /// Its page is held no longer.
    HoldEnds(IncidentId),
    /// The next level of an incident's escalation.
    Escalate(IncidentId),
    /// Say how an incident stands.
    Update(IncidentId),
    Postmortem(IncidentId),
    /// It begins or ends.
    Freeze(String),
}

/// Who switched acting off, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseView {
    pub by: String,
    pub reason: String,
    pub since: Micros,
}

pub use super::letters::DueLetter;

impl State {
    /// Deciding it would change nothing: a known alert in a known state, or the end of one never heard of.
    #[must_use]
    pub fn knows(&self, policy: &Policy, input: &Input) -> bool {
        let alert = match input {
            Input::Alert(alert) => alert,
            Input::Peer(news) => return self.knows_news(news),
            _ => return false,
        };
        match (self.alerts.get(&alert.fingerprint), alert.status) {
            (Some(held), Status::Firing) => {
                let is_same = held.held == Held::Firing && same_start(held, alert);
                is_same && !self.is_taken_now(policy, held, alert) && !self.waits_for_a_silence(held) && !held.silenced
            }
            (Some(held), Status::Resolved) => held.held == Held::Resolved,
            (None, Status::Resolved) => true,
            (None, Status::Firing) => false,
        }
    }

    /// When the earliest timer is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Micros> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Changes whenever [`State::work`] may have.
    #[must_use]
    pub fn work_version(&self) -> u64 {
        self.work_version
    }

    /// Changes whenever [`State::letters_due`] may have.
    #[must_use]
    pub fn letters_version(&self) -> u64 {
        self.letters_version
    }

    #[must_use]
    pub fn paused(&self) -> Option<&PauseView> {
        self.paused.as_ref()
    }

    /// Until when nothing acts after a start.
    #[must_use]
    pub fn settling_until(&self) -> Option<Micros> {
        self.settling_until
    }

    /// The hash of the policy that decides.
    #[must_use]
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// The leaderships so far.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Ids of incidents that are not forgotten, newest first.
    #[must_use]
    pub fn incident_ids(&self) -> Vec<IncidentId> {
        self.incidents.keys().rev().copied().collect()
    }

    /// Fingerprints after `after`, in order, at most `most`: pages of the API.
    #[must_use]
    pub fn alert_fingerprints(&self, after: Option<&Fingerprint>, most: usize) -> Vec<Fingerprint> {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.alerts
            .range::<Fingerprint, _>((from, Bound::Unbounded))
            .take(most)
            .map(|(print, _)| print.clone())
            .collect()
    }

    /// The incident that tells of a brake that is on, and nobody has closed it.
    pub(super) fn tells_of_a_storm(&self, id: IncidentId) -> bool {
        let is_open = self.incidents.get(&id).is_some_and(|incident| incident.phase != IncidentPhase::Resolved);
        is_open && self.fleet.tells(id)
    }

    /// It has messages of its own: no storm's incident tells of it instead, or people were woken for it.
    pub(super) fn speaks_for_itself(&self, incident: &Incident) -> bool {
        incident.pages > 0 || !incident.folded_into.is_some_and(|into| self.tells_of_a_storm(into))
    }

    /// The brake is on for everything.
    #[must_use]
    pub fn brakes_all(&self) -> bool {
        self.fleet.scopes().any(|set| set.is_none())
    }

    /// SHA-256 of the canonical JSON: two folds of one journal have one digest.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let text = serde_json::to_vec(self).unwrap_or_default();
        Sha256::digest(text).into()
    }

    /// The steps that are acting: written, or perhaps written, and not yet read back.
    pub(super) fn acting(&self) -> u32 {
        let count = |phase| self.live.get(&phase).map_or(0, BTreeSet::len);
        u32::try_from(count(Phase::Acting) + count(Phase::ReadBack)).unwrap_or(u32::MAX)
    }

    pub(super) fn live_steps(&self) -> impl Iterator<Item = StepId> + '_ {
        self.live.values().flatten().map(|(_, step)| *step)
    }

    pub(super) fn live_steps_of(&self, incident: IncidentId) -> Vec<StepId> {
        let range = StepId { incident, number: 0 }..=StepId { incident, number: u32::MAX };
        self.steps.range(range).filter(|(_, step)| !step.phase.is_terminal()).map(|(id, _)| *id).collect()
    }

    /// The incident's firing alerts, at most [`ALERTS_ASKED`].
    pub(super) fn asked_alerts(&self, incident: IncidentId) -> Vec<AskedAlert> {
        let Some(incident) = self.incidents.get(&incident) else { return Vec::new() };
        let firing = incident.alerts.iter().filter_map(|print| self.alerts.get(print).map(|alert| (print, alert)));
        firing
            .filter(|(_, alert)| alert.held == Held::Firing)
            .take(ALERTS_ASKED)
            .map(|(print, alert)| AskedAlert {
                fingerprint: print.clone(),
                source: alert.source,
                starts_at: alert.starts_at,
                labels: alert.labels.to_labels(),
            })
            .collect()
    }

    /// Why a step is put back whose own change failed.
    pub(super) fn why_it_broke(&self, undone: StepId) -> Option<String> {
        match self.steps.get(&undone)?.answer.as_ref()? {
            Answer::Broke { why } => Some(why.clone()),
            Answer::Helped | Answer::DidNot | Answer::Inconclusive { .. } | Answer::CouldNotMeasure { .. } => None,
        }
    }

    /// Some alert of an incident whose ladder works on the target fires, or nobody knows whether it does: also where a
    /// person closed the incident, which ends no alert.
    pub(super) fn may_fire_on(&self, target: &TargetKey) -> bool {
        self.incidents.values().any(|incident| {
            incident.firing + incident.lost > 0
                && incident
                    .ladder
                    .as_ref()
                    .is_some_and(|ladder| ladder.rungs.iter().any(|rung| rung.target.key() == *target))
        })
    }
}

/// The same firing: instants are compared in milliseconds, the precision that Alertmanager keeps everywhere.
pub(super) fn same_start(held: &AlertState, alert: &Alert) -> bool {
    held.starts_at.millis() == alert.starts_at.millis()
}

impl IncidentPhase {
    pub(super) fn word(self) -> &'static str {
        match self {
            IncidentPhase::Open => "open",
            IncidentPhase::Monitoring => "monitoring",
            IncidentPhase::Resolved => "resolved",
        }
    }
}

impl Ladder {
    pub(super) fn is_live(&self) -> bool {
        self.ended.is_none()
    }
}

impl Incident {
    pub(super) fn has_live_ladder(&self) -> bool {
        self.ladder.as_ref().is_some_and(Ladder::is_live)
    }
}
