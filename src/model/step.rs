//! The step's life: one table of legal transitions, used by decide, apply and the simulator.
//!
//! Anything that [`next`] does not know means a damaged journal or a mistake of ours; it is never guessed around.

use super::{event::Event, id::StepId, reason::Reason, time::Micros};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The driver observes.
    Observing,
    /// Waits for a time, a slot or a lock.
    Holding,
    /// Waits for a person.
    Asking,
    /// May be performed, once.
    Acting,
    /// Its outcome is read back.
    ReadBack,
    Verifying,
    Dropped,
    Failed,
    Unknown,
    Verified,
    Ineffective,
    Inconclusive,
}

impl Phase {
    #[must_use]
    pub fn is_terminal(self) -> bool {
        match self {
            Phase::Observing | Phase::Holding | Phase::Asking | Phase::Acting | Phase::ReadBack | Phase::Verifying => {
                false
            }
            Phase::Dropped
            | Phase::Failed
            | Phase::Unknown
            | Phase::Verified
            | Phase::Ineffective
            | Phase::Inconclusive => true,
        }
    }

    /// It may have touched the world, and is not over.
    #[must_use]
    pub fn is_started(self) -> bool {
        matches!(self, Phase::Acting | Phase::ReadBack | Phase::Verifying)
    }

    /// Counts against `max_concurrent`.
    #[must_use]
    pub fn is_acting(self) -> bool {
        matches!(self, Phase::Acting | Phase::ReadBack)
    }

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Phase::Observing => "observing",
            Phase::Holding => "holding",
            Phase::Asking => "asking",
            Phase::Acting => "acting",
            Phase::ReadBack => "read_back",
            Phase::Verifying => "verifying",
            Phase::Dropped => "dropped",
            Phase::Failed => "failed",
            Phase::Unknown => "unknown",
            Phase::Verified => "verified",
            Phase::Ineffective => "ineffective",
            Phase::Inconclusive => "inconclusive",
        }
    }
}

/// What a step is for. A fix, an undo and a lease's end are the same machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    Fix,
    /// Puts back what that step did. `by`: the person who asked for it; None: `if_ineffective: undo`.
    Undo {
        step: StepId,
        by: Option<String>,
    },
    /// Puts back what a lease held.
    LeaseEnd {
        lease: LeaseKey,
        by: Option<String>,
    },
}

impl Purpose {
    #[must_use]
    pub fn is_fix(&self) -> bool {
        matches!(self, Purpose::Fix)
    }

    /// A named person's undo goes on even while paused.
    #[must_use]
    pub fn is_by_person(&self) -> bool {
        matches!(self, Purpose::Undo { by: Some(_), .. } | Purpose::LeaseEnd { by: Some(_), .. })
    }
}

/// One lease per (target, field).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseKey {
    pub target: super::target::TargetKey,
    pub field: String,
}

/// The table. `None`: this event may not happen in this phase.
#[must_use]
pub fn next(phase: Phase, event: &Event) -> Option<Phase> {
    use Phase::*;
    match (phase, event) {
        (Observing, Event::StepJudged { .. } | Event::ApprovalVoided { .. }) => Some(phase),
        (Observing, Event::StepHeld { .. }) => Some(Holding),
        (Observing, Event::ApprovalAsked { .. }) => Some(Asking),
        (Observing, Event::StepStarted { .. }) => Some(Acting),
        (Observing | Holding | Asking, Event::StepDropped { .. }) => Some(Dropped),
        (Holding, Event::StepResumed { .. }) => Some(Observing),
        (Asking, Event::Approved { .. }) => Some(Observing),
        (Asking, Event::ApprovalVoided { .. }) => Some(phase),
        (Acting, Event::ReadBackBegan { .. }) => Some(ReadBack),
        (Acting, Event::StepOutcomeLost { .. }) => Some(phase),
        (Acting | ReadBack, Event::StepApplied { .. }) => Some(Verifying),
        (Acting | ReadBack, Event::StepFailed { .. }) => Some(Failed),
        (ReadBack, Event::StepUnknown { .. }) => Some(Unknown),
        (Verifying, Event::MeasureAsked { .. }) => Some(phase),
        (Verifying, Event::StepVerified { answer, .. }) => Some(match answer {
            Answer::Helped => Verified,
            Answer::DidNot | Answer::Broke { .. } => Ineffective,
            Answer::Inconclusive { .. } | Answer::CouldNotMeasure { .. } => Inconclusive,
        }),
        _ => None,
    }
}

/// What verification answers. Only the first ends a ladder well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Helped,
    DidNot,
    /// What it put in place fails by itself, whatever the alerts do.
    Broke {
        why: String,
    },
    Inconclusive {
        why: String,
    },
    CouldNotMeasure {
        why: String,
    },
}

/// A guard's name: the closed list behind the metric and the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    Pause,
    Settle,
    Brake,
    Freeze,
    For,
    Flapping,
    Disarmed,
    Veto,
    Lock,
    Firing,
    Silence,
    Staleness,
    Cooldown,
    Limits,
    Observed,
    Fresh,
    Itself,
    SwitchedOff,
    Rollout,
    Ownership,
    Edited,
    DeployedWithin,
    NoRollback,
    Disruption,
    Plan,
    Bounds,
    ChangedSince,
    Approver,
    Concurrency,
    Acknowledged,
    Canary,
    Mode,
}

impl Guard {
    /// In the order in which they are asked: the first that blocks decides.
    pub const ALL: [Guard; 32] = [
        Guard::Pause,
        Guard::Settle,
        Guard::Brake,
        Guard::Freeze,
        Guard::For,
        Guard::Flapping,
        Guard::Disarmed,
        Guard::Veto,
        Guard::Lock,
        Guard::Firing,
        Guard::Silence,
        Guard::Staleness,
        Guard::Cooldown,
        Guard::Limits,
        Guard::Observed,
        Guard::Fresh,
        Guard::Itself,
        Guard::SwitchedOff,
        Guard::Rollout,
        Guard::Ownership,
        Guard::Edited,
        Guard::DeployedWithin,
        Guard::NoRollback,
        Guard::Disruption,
        Guard::Plan,
        Guard::Bounds,
        Guard::ChangedSince,
        Guard::Approver,
        Guard::Concurrency,
        Guard::Acknowledged,
        Guard::Canary,
        Guard::Mode,
    ];

    /// All of [`Guard::word`]'s words.
    pub const WORDS: [&'static str; 32] = [
        "pause",
        "settle",
        "brake",
        "freeze",
        "for",
        "flapping",
        "disarmed",
        "veto",
        "lock",
        "firing",
        "silence",
        "staleness",
        "cooldown",
        "limits",
        "observed",
        "fresh",
        "itself",
        "switched_off",
        "rollout",
        "ownership",
        "edited",
        "deployed_within",
        "no_rollback",
        "disruption",
        "plan",
        "bounds",
        "changed_since",
        "approver",
        "concurrency",
        "acknowledged",
        "canary",
        "mode",
    ];

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Guard::Pause => "pause",
            Guard::Settle => "settle",
            Guard::Brake => "brake",
            Guard::Freeze => "freeze",
            Guard::Flapping => "flapping",
            Guard::Disarmed => "disarmed",
            Guard::Canary => "canary",
            Guard::For => "for",
            Guard::Observed => "observed",
            Guard::Fresh => "fresh",
            Guard::Firing => "firing",
            Guard::Silence => "silence",
            Guard::Staleness => "staleness",
            Guard::Veto => "veto",
            Guard::Cooldown => "cooldown",
            Guard::Limits => "limits",
            Guard::Itself => "itself",
            Guard::SwitchedOff => "switched_off",
            Guard::Rollout => "rollout",
            Guard::Ownership => "ownership",
            Guard::Edited => "edited",
            Guard::DeployedWithin => "deployed_within",
            Guard::NoRollback => "no_rollback",
            Guard::Disruption => "disruption",
            Guard::Plan => "plan",
            Guard::Bounds => "bounds",
            Guard::ChangedSince => "changed_since",
            Guard::Approver => "approver",
            Guard::Lock => "lock",
            Guard::Concurrency => "concurrency",
            Guard::Acknowledged => "acknowledged",
            Guard::Mode => "mode",
        }
    }
}

/// What one guard, or all of them together, answers; always with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Allow,
    Ask {
        reason: Reason,
    },
    /// Until a time, or (None) until a slot or lock is free.
    Hold {
        until: Option<Micros>,
        reason: Reason,
    },
    Deny {
        reason: Reason,
    },
    /// Shadow: everything else let it through.
    WouldHave,
}

impl Verdict {
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Verdict::Allow => "allow",
            Verdict::Ask { .. } => "ask",
            Verdict::Hold { .. } => "hold",
            Verdict::Deny { .. } => "deny",
            Verdict::WouldHave => "would_have",
        }
    }

    #[must_use]
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Verdict::Allow | Verdict::WouldHave => None,
            Verdict::Ask { reason } | Verdict::Hold { reason, .. } | Verdict::Deny { reason } => Some(reason),
        }
    }
}

/// One line of the decision trace: the guard, its value, its limit, its verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardLine {
    pub guard: Guard,
    /// What it saw, for people: `2 used`.
    pub value: String,
    /// What it compares with, for people: `3 per 1h`.
    pub limit: String,
    pub verdict: Verdict,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guards_words_are_their_words() {
        assert_eq!(Guard::ALL.map(Guard::word), Guard::WORDS);
    }
}
