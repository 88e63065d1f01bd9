//! Why something did not (yet) happen: a closed list, shown to people with its numbers.
//!
//! [`Reason::word`] is the metric label and the journal's word; [`Reason::says`] the sentence in Slack, CLI and API.

use super::{
    id::IncidentId,
    target::TargetKey,
    time::{Micros, Span},
};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The kill switch is on.
    Paused {
        by: String,
        why: String,
    },
    /// Nothing acts so soon after a start or a clock step.
    Settling {
        until: Micros,
    },
    /// So many targets alert at once that acting on each would make it worse.
    Braked {
        /// The incident that tells of it.
        by: IncidentId,
        /// The set's name; None: everything.
        set: Option<String>,
        targets: u32,
    },
    /// It was less severe when people were woken for it.
    MoreSevere {
        /// The incident that makes it so: itself, or one that belongs to it.
        by: IncidentId,
        severity: String,
    },
    Frozen {
        name: String,
        until: Micros,
    },
    /// The rule's `for` has not passed.
    TooYoung {
        until: Micros,
    },
    /// It came and went too often.
    Flapping {
        times: u32,
        limit: u32,
        within: Span,
    },
    /// The rule failed here, or everywhere (`target` is None), too often.
    Disarmed {
        rule: String,
        target: Option<TargetKey>,
        failures: u32,
        of: u32,
    },
    /// No peer of Alertmanager lists any alert of the incident as active.
    NotListed,
    /// Silenced or inhibited in Alertmanager.
    Silenced {
        by: Vec<String>,
    },
    /// Whether it fires could not be learned.
    FiringUnknown {
        problem: String,
    },
    /// The last confirmation is too old to act on.
    Stale {
        age: Option<Span>,
        limit: Span,
    },
    /// Fired again with the same start; Alertmanager has not confirmed it.
    Doubtful,
    CoolingDown {
        until: Micros,
    },
    LimitReached {
        scope: String,
        used: u32,
        limit: u32,
        within: Span,
        frees_at: Option<Micros>,
    },
    /// Another incident is working on the target.
    TargetLocked {
        by: IncidentId,
    },
    /// Another incident is working on the target, and waits for one that this incident works on.
    WaitInCircle {
        by: IncidentId,
    },
    /// `max_concurrent` steps are acting.
    NoSlot {
        acting: u32,
        limit: u32,
    },
    /// A person undid or rejected this rule on this target.
    Barred {
        by: String,
    },
    /// A person has the incident: what is new needs an approval.
    Acknowledged {
        by: String,
    },
    /// Whoever approved it may not, or not any more.
    NotAnApprover {
        why: String,
    },
    /// A rule that is new or was changed asks for its first runs.
    Canary {
        run: u32,
        of: u32,
    },
    /// The mode is `ask`.
    ModeAsks,
    /// The mode is `shadow`.
    Shadow,
    /// The target could not be observed.
    NotObserved {
        problem: String,
    },
    /// The observation is too old to act on.
    ObservationOld {
        age: Span,
        limit: Span,
    },
    /// Scaled to zero by somebody: switched off on purpose.
    SwitchedOff,
    /// The workload's rollout is paused.
    RolloutPaused,
    /// Somebody's rollout of the target is running.
    RolloutRunning {
        says: String,
    },
    OutOfBounds {
        want: u32,
        min: u32,
        max: u32,
    },
    /// It would end every pod, to isolate the target.
    ToZero,
    /// Only an incident of the most severe isolates a target.
    ZeroOnlyForWorst {
        severity: String,
        worst: String,
    },
    /// It would leave no pod ready, if only for a moment.
    NoneReady {
        now: u32,
    },
    /// Another controller owns the field.
    Owned {
        by: String,
    },
    /// A PodDisruptionBudget lets no pod be taken away now.
    DisruptionNotAllowed {
        says: String,
    },
    /// A person edited the target a moment ago.
    EditedByPerson {
        by: String,
        at: Micros,
        limit: Span,
    },
    /// What would be rolled back was deployed too long ago to be the cause.
    DeployedLongAgo {
        revision: i64,
        age: Span,
        limit: Span,
    },
    /// What would be rolled back came after the alert had begun: it is not the cause.
    DeployedSince {
        revision: i64,
        at: Micros,
        fired_at: Option<Micros>,
    },
    /// A template that would be left behind says that it must not be rolled back.
    NoRollback {
        revision: i64,
        why: String,
    },
    /// nightshift's own workload.
    Itself,
    /// The action will not.
    Refused {
        why: String,
    },
    /// The label that picks the target names no listed member.
    NoTarget {
        why: String,
    },
    /// Somebody changed the target since it was observed or approved.
    ChangedSince {
        difference: String,
    },
    /// ... and again and again.
    ChangedTooOften {
        tries: u32,
    },
    /// The alerts resolved before anything was done.
    AlertResolved,
    /// Nobody refreshed the alerts: contact with their source is lost.
    LostContact,
    Rejected {
        by: String,
    },
    ApprovalExpired,
    /// The rule or its target changed by a reload.
    RulesChanged,
    /// The mode was lowered by a reload.
    ModeLowered,
    /// The call failed; certainly nothing was changed.
    CallFailed {
        why: String,
    },
    /// The call's outcome could not be learned.
    OutcomeUnknown {
        why: String,
    },
    /// Done, and it could not be told whether it helped.
    Inconclusive {
        why: String,
    },
    CouldNotMeasure {
        why: String,
    },
    /// Done, and it did not help.
    DidNotHelp,
    /// Done, and what it put in place fails by itself.
    Broke {
        why: String,
    },
    /// Every rung was tried.
    Exhausted,
    /// The incident was closed by a person.
    Closed {
        by: String,
    },
    /// A person put it back.
    Undone {
        by: String,
    },
    /// Its time to be undone has passed, or there is nothing to undo.
    NotUndoable {
        why: String,
    },
    /// A lease was extended as often as it may be.
    LeaseExtendedOut {
        times: u32,
    },
    /// Another step took its place.
    Superseded,
    /// A page can't be held.
    NotHeld {
        why: String,
    },
    /// A page was held until then.
    HoldOver {
        until: Micros,
    },
}

impl Reason {
    /// A closed list of words.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Reason::Paused { .. } => "paused",
            Reason::Settling { .. } => "settling",
            Reason::Braked { .. } => "brake",
            Reason::MoreSevere { .. } => "more_severe",
            Reason::Frozen { .. } => "freeze",
            Reason::TooYoung { .. } => "for",
            Reason::Flapping { .. } => "flapping",
            Reason::Disarmed { .. } => "disarmed",
            Reason::NotListed => "not_listed",
            Reason::Silenced { .. } => "silenced",
            Reason::FiringUnknown { .. } => "firing_unknown",
            Reason::Stale { .. } => "stale",
            Reason::Doubtful => "doubtful",
            Reason::CoolingDown { .. } => "cooldown",
            Reason::LimitReached { .. } => "limit",
            Reason::TargetLocked { .. } => "target_lock",
            Reason::WaitInCircle { .. } => "wait_in_circle",
            Reason::NoSlot { .. } => "concurrency",
            Reason::Barred { .. } => "barred",
            Reason::Acknowledged { .. } => "acknowledged",
            Reason::NotAnApprover { .. } => "approver",
            Reason::Canary { .. } => "canary",
            Reason::ModeAsks => "ask",
            Reason::Shadow => "shadow",
            Reason::NotObserved { .. } => "not_observed",
            Reason::ObservationOld { .. } => "observation_old",
            Reason::SwitchedOff => "switched_off",
            Reason::RolloutPaused => "rollout_paused",
            Reason::RolloutRunning { .. } => "rollout_running",
            Reason::OutOfBounds { .. } => "bounds",
            Reason::ToZero => "to_zero",
            Reason::ZeroOnlyForWorst { .. } => "zero_only_for_worst",
            Reason::NoneReady { .. } => "none_ready",
            Reason::Owned { .. } => "owned",
            Reason::DisruptionNotAllowed { .. } => "disruption",
            Reason::EditedByPerson { .. } => "edited",
            Reason::DeployedLongAgo { .. } => "deployed_within",
            Reason::DeployedSince { .. } => "deployed_since",
            Reason::NoRollback { .. } => "no_rollback",
            Reason::Itself => "itself",
            Reason::Refused { .. } => "refused",
            Reason::NoTarget { .. } => "no_target",
            Reason::ChangedSince { .. } => "changed_since",
            Reason::ChangedTooOften { .. } => "changed_too_often",
            Reason::AlertResolved => "alert_resolved",
            Reason::LostContact => "lost_contact",
            Reason::Rejected { .. } => "rejected",
            Reason::ApprovalExpired => "approval_expired",
            Reason::RulesChanged => "rules_changed",
            Reason::ModeLowered => "mode_lowered",
            Reason::CallFailed { .. } => "call_failed",
            Reason::OutcomeUnknown { .. } => "outcome_unknown",
            Reason::Inconclusive { .. } => "inconclusive",
            Reason::CouldNotMeasure { .. } => "could_not_measure",
            Reason::DidNotHelp => "did_not_help",
            Reason::Broke { .. } => "broke",
            Reason::Exhausted => "exhausted",
            Reason::Closed { .. } => "closed",
            Reason::Undone { .. } => "undone",
            Reason::NotUndoable { .. } => "not_undoable",
            Reason::LeaseExtendedOut { .. } => "lease_extended_out",
            Reason::Superseded => "superseded",
            Reason::NotHeld { .. } => "not_held",
            Reason::HoldOver { .. } => "hold_over",
        }
    }

    /// The sentence for people, without a full stop; times in their zone.
    #[must_use]
    pub fn says(&self, zone: &TimeZone) -> String {
        let time = |at: &Micros| at.in_zone(zone);
        match self {
            Reason::Paused { by, why } if why.is_empty() => format!("paused by {by}"),
            Reason::Paused { by, why } => format!("paused by {by}: {why}"),
            Reason::Settling { until } => format!("settling after a start until {}", time(until)),
            Reason::MoreSevere { by, severity } => format!("it is {severity} now, by incident {by}"),
            Reason::Braked { by, set: Some(set), targets } => {
                format!("the brake is on for {set}: {targets} of its targets alert at once (incident {by})")
            }
            Reason::Braked { by, set: None, targets } => {
                format!("the brake is on: {targets} targets alert at once (incident {by})")
            }
            Reason::Frozen { name, until } => format!("the freeze {name} lasts until {}", time(until)),
            Reason::TooYoung { until } => format!("must still fire at {}", time(until)),
            Reason::Flapping { times, limit, within } => {
                format!("it began to fire {times} times within {within}, and {limit} are flapping")
            }
            Reason::Disarmed { rule, target: Some(target), failures, .. } => format!(
                "rule {rule} failed {failures} times in a row on {target}: it stays away until `nightshift rearm {rule}`"
            ),
            Reason::Disarmed { rule, target: None, failures, of } => format!(
                "{failures} of the last {of} steps of rule {rule} failed: it stays away until `nightshift rearm {rule}`"
            ),
            Reason::NotListed => {
                "Alertmanager does not list the alert as active (which is not the same as resolved)".into()
            }
            Reason::Silenced { by } if by.is_empty() => "silenced or inhibited in Alertmanager".into(),
            Reason::Silenced { by } => format!("silenced or inhibited in Alertmanager by {}", by.join(", ")),
            Reason::FiringUnknown { problem } => format!("cannot tell whether it still fires: {problem}"),
            Reason::Stale { age: Some(age), limit } => {
                format!("last confirmed {} ago, more than {limit}", age.rounded())
            }
            Reason::Stale { age: None, limit } => format!("not confirmed by anybody within {limit}"),
            Reason::Doubtful => "it fired again with the same start, and Alertmanager has not confirmed it".into(),
            Reason::CoolingDown { until } => format!("cooling down until {}", time(until)),
            Reason::LimitReached { scope, used, limit, within, frees_at } => {
                let frees = frees_at.map(|at| format!(", one is free again at {}", time(&at))).unwrap_or_default();
                format!("{used} of {limit} within {within} for {scope} are used{frees}")
            }
            Reason::TargetLocked { by } => format!("incident {by} is working on the target"),
            Reason::WaitInCircle { by } => {
                format!("incident {by} is working on the target, and waits for one that this incident works on")
            }
            Reason::NoSlot { limit: 1, .. } => "another step is acting, and one may at a time".into(),
            Reason::NoSlot { acting, limit } => format!("{acting} of {limit} steps are acting"),
            Reason::Barred { by } => {
                format!("{by} undid or rejected this rule here; it stays away until the incident is resolved")
            }
            Reason::Acknowledged { by } => format!("{by} took the incident: a new step needs an approval"),
            Reason::NotAnApprover { why } => format!("its approval does not hold: {why}"),
            Reason::Canary { run, of } => {
                format!("run {run} of a rule whose first {of} need an approval, since it was last changed")
            }
            Reason::ModeAsks => "the mode is ask: it needs an approval".into(),
            Reason::Shadow => "the mode is shadow: it only says what it would do".into(),
            Reason::NotObserved { problem } => format!("the target could not be observed: {problem}"),
            Reason::ObservationOld { age, limit } => {
                format!("the observation is {} old, more than {limit}", age.rounded())
            }
            Reason::SwitchedOff => "it has 0 replicas that nightshift did not set: switched off on purpose".into(),
            Reason::RolloutPaused => "its rollout is paused".into(),
            Reason::RolloutRunning { says } => format!("a rollout is running: {says}"),
            Reason::OutOfBounds { want, min, max } => format!("{want} replicas are outside {min}..{max}"),
            Reason::ToZero => "it would end every pod: it needs an approval".into(),
            Reason::ZeroOnlyForWorst { severity, worst } => {
                format!("only {worst} may scale to zero, and this is {severity}")
            }
            Reason::NoneReady { now } => {
                format!("it could leave none of {now} ready pods, if only for a moment: it needs an approval")
            }
            Reason::Owned { by } => format!("the field is owned by {by}"),
            Reason::DisruptionNotAllowed { says } => says.clone(),
            Reason::EditedByPerson { by, at, limit } => {
                format!("a person edited it with {by} at {}, less than {limit} ago: it needs an approval", time(at))
            }
            Reason::DeployedLongAgo { revision, age, limit } => {
                format!("revision {revision} was deployed {age} ago, more than {limit}: it is not taken for the cause")
            }
            Reason::DeployedSince { revision, at, fired_at: Some(fired_at) } => {
                let (at, fired_at) = (time(at), time(fired_at));
                format!("revision {revision} was deployed at {at}, and the alert fired at {fired_at} already")
            }
            Reason::DeployedSince { revision, at, fired_at: None } => {
                format!("revision {revision} was deployed at {}, and nothing of the incident fires", time(at))
            }
            Reason::NoRollback { revision, why } if why.is_empty() => {
                format!("revision {revision} must not be rolled back; it gives no reason")
            }
            Reason::NoRollback { revision, why } => format!("revision {revision} must not be rolled back: {why}"),
            Reason::Itself => "it is nightshift's own workload".into(),
            Reason::Refused { why } => why.clone(),
            Reason::NoTarget { why } => format!("no target: {why}"),
            Reason::ChangedSince { difference } => format!("somebody changed it since: {difference}"),
            Reason::ChangedTooOften { tries } => format!("it was changed by somebody else each of {tries} times"),
            Reason::AlertResolved => "the alert resolved before anything was done".into(),
            Reason::LostContact => "contact with the alert's source is lost".into(),
            Reason::Rejected { by } => format!("rejected by {by}"),
            Reason::ApprovalExpired => "nobody approved it in time".into(),
            Reason::RulesChanged => "a reload changed its rule or target".into(),
            Reason::ModeLowered => "a reload lowered its mode".into(),
            Reason::CallFailed { why } => format!("the call failed: {why}"),
            Reason::OutcomeUnknown { why } => format!("its outcome is unknown: {why}"),
            Reason::Inconclusive { why } => format!("inconclusive: {why}"),
            Reason::CouldNotMeasure { why } => format!("could not measure: {why}"),
            Reason::DidNotHelp => "it did not help".into(),
            Reason::Broke { why } => format!("what it switched to is not well: {why}"),
            Reason::Exhausted => "every step was tried".into(),
            Reason::Closed { by } => format!("{by} closed the incident"),
            Reason::Undone { by } => format!("undone by {by}"),
            Reason::NotUndoable { why } => format!("it cannot be undone: {why}"),
            Reason::LeaseExtendedOut { times } => format!("its lease was extended {times} times"),
            Reason::Superseded => "another step took its place".into(),
            Reason::NotHeld { why } => why.clone(),
            Reason::HoldOver { until } => {
                format!("the page was held until {}, and whether it helped is not known", time(until))
            }
        }
    }

    /// When it lets through again, where that is a time.
    #[must_use]
    pub fn until(&self) -> Option<Micros> {
        match self {
            Reason::Settling { until }
            | Reason::Frozen { until, .. }
            | Reason::TooYoung { until }
            | Reason::CoolingDown { until } => Some(*until),
            Reason::LimitReached { frees_at, .. } => *frees_at,
            Reason::EditedByPerson { at, limit, .. } => Some(*at + *limit),
            _ => None,
        }
    }
}
