//! Everything that can happen to the state from outside: one closed enum. Bulk lives here; events refer to it.

use super::{
    alert::Alert,
    firing::FiringAnswer,
    id::{Fingerprint, IncidentId, StepId},
    letter::{LetterKey, Told},
    observation::{Moment, Observation, Outcome, Reading},
    peer::PeerNews,
    person::SlackPerson,
    problem::Problem,
    time::{Micros, Span},
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// The first entry of each leadership.
    Started {
        replica: String,
        version: String,
        policy: String,
        /// The process before this one said goodbye.
        clean: bool,
        /// What is wrong with the journal, if something is: then nothing acts until a person resumes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        damage: Option<String>,
    },
    /// A graceful stop.
    Stopped,
    PolicyLoaded {
        policy: String,
        by: String,
    },
    PolicyRefused {
        problems: Vec<Problem>,
        by: String,
    },
    /// One per alert, not per webhook.
    Alert(Box<Alert>),
    /// News of PagerDuty, one per webhook; once more where it had to be asked for its keys.
    Peer(Box<PeerNews>),
    Command {
        by: String,
        via: Via,
        command: Command,
    },
    Observed {
        step: StepId,
        moment: Moment,
        result: Result<Box<Observation>, String>,
    },
    Performed {
        step: StepId,
        op: Op,
        outcome: Outcome,
    },
    Measured {
        step: StepId,
        reading: Reading,
    },
    /// Evidence was collected: only its digest is in the chain.
    Gathered {
        incident: IncidentId,
        collector: String,
        target: String,
        result: Result<Gathered, String>,
    },
    /// Asked before an alert is called lost. `delivered`: its last webhook that this process remembers.
    Confirmed {
        fingerprint: Fingerprint,
        delivered: Option<Micros>,
        answer: FiringAnswer,
    },
    Told {
        letter: LetterKey,
        up_to: u64,
        result: Told,
    },
    /// The earliest due timer, handled alone.
    Wake,
    /// The wall clock was off by more than the tolerance.
    ClockStepped {
        by: Span,
    },
    /// Deciding an input failed: recorded, told, never retried for ever.
    Poisoned {
        digest: String,
        cause: String,
        message: String,
        /// The input's text, or its beginning: for a person to look at, and to send again.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        text: String,
    },
}

impl Input {
    /// The input's tag: the journal's `cause`, the metric's label.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Input::Started { .. } => "started",
            Input::Stopped => "stopped",
            Input::PolicyLoaded { .. } => "policy_loaded",
            Input::PolicyRefused { .. } => "policy_refused",
            Input::Alert(_) => "alert",
            Input::Peer(_) => "peer",
            Input::Command { .. } => "command",
            Input::Observed { .. } => "observed",
            Input::Performed { .. } => "performed",
            Input::Measured { .. } => "measured",
            Input::Gathered { .. } => "gathered",
            Input::Confirmed { .. } => "confirmed",
            Input::Told { .. } => "told",
            Input::Wake => "wake",
            Input::ClockStepped { .. } => "clock_stepped",
            Input::Poisoned { .. } => "poisoned",
        }
    }

    /// All of [`Input::cause`]'s words.
    pub const CAUSES: [&'static str; 16] = [
        "started",
        "stopped",
        "policy_loaded",
        "policy_refused",
        "alert",
        "peer",
        "command",
        "observed",
        "performed",
        "measured",
        "gathered",
        "confirmed",
        "told",
        "wake",
        "clock_stepped",
        "poisoned",
    ];
}

/// How a command came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    Api,
    /// A button or a command in Slack.
    Slack(Box<SlackPerson>),
    /// `pause_file` appeared.
    File,
    /// SIGUSR1.
    Signal,
}

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    Acknowledge {
        incident: IncidentId,
    },
    Resolve {
        incident: IncidentId,
    },
    /// What waits to be published of it goes out to customers.
    Publish {
        incident: IncidentId,
    },
    /// `plan_hash` names the plan that the person saw.
    Approve {
        step: StepId,
        plan_hash: String,
    },
    Reject {
        step: StepId,
    },
    Undo {
        step: StepId,
    },
    /// Lifts a veto, and frees a target whose step's outcome stayed unknown. None: every target of the rule.
    Rearm {
        rule: String,
        target: Option<String>,
    },
    ExtendLease {
        step: StepId,
        by: Span,
    },
    EndLease {
        step: StepId,
    },
    Pause {
        reason: String,
    },
    /// Somebody asked for something, and was turned away before it was looked at.
    NotHeard {
        asked: String,
        why: String,
    },
    /// `pause_file_present`: a fact; while the file is there a resume is refused.
    Resume {
        pause_file_present: bool,
    },
}

/// What the driver did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    Apply,
    ReadBack,
}

/// Evidence lies outside the chain, under its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gathered {
    /// SHA-256 of the body, lower-case hex.
    pub digest: String,
    pub bytes: u64,
    /// For people, one line: `3 pods, 1 not ready`.
    pub summary: String,
}
