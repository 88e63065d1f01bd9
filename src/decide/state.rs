//! The state: a fold over the journal. (Interim: the signatures that others build on.)

use super::{policy::Policy, work::Work};
use crate::model::{
    event::Event,
    id::{Fingerprint, IncidentId},
    input::Input,
    letter::LetterKey,
    time::Micros,
    view::{AlertView, IncidentView},
};
use serde::{Deserialize, Serialize};

/// An event that may not happen here: a damaged journal, or a mistake of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event} may not happen here: {why}")]
pub struct Illegal {
    pub event: String,
    pub why: String,
}

/// Bumped when the shape changes: a snapshot of another version is not read, the journal is folded anew.
pub const STATE_VERSION: u32 = 1;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {}

/// One switch of the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseView {
    pub by: String,
    pub reason: String,
    pub since: Micros,
}

/// A letter that is due, with everything that the courier needs.
#[derive(Debug, Clone, PartialEq)]
pub struct DueLetter {
    pub key: LetterKey,
    /// The wish's number: goes back in `Told { up_to }`.
    pub want: u64,
    /// For a post: what it says. For the card: None (render the view).
    pub note: Option<crate::model::letter::Note>,
    /// Where the incident's card is, once it was sent.
    pub card: Option<crate::model::letter::External>,
}

impl State {
    /// Records one event of one entry. Never reads the rules.
    pub fn apply(&mut self, _at: Micros, _input: &Input, _event: &Event) -> Result<(), Illegal> {
        Ok(())
    }

    /// Deciding it would change nothing: a known alert in a known state.
    #[must_use]
    pub fn knows(&self, _input: &Input) -> bool {
        false
    }

    /// When the earliest timer is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Micros> {
        None
    }

    /// All work, in order of its importance. Bounded by the steps that are not over.
    #[must_use]
    pub fn work(&self) -> Vec<Work> {
        Vec::new()
    }

    /// Changes whenever [`State::work`] may have.
    #[must_use]
    pub fn work_version(&self) -> u64 {
        0
    }

    /// The first `most` letters that are owed, in order: an incident's card before its posts, posts in order.
    #[must_use]
    pub fn letters_due(&self, _most: usize) -> Vec<DueLetter> {
        Vec::new()
    }

    /// Changes whenever [`State::letters_due`] may have.
    #[must_use]
    pub fn letters_version(&self) -> u64 {
        0
    }

    #[must_use]
    pub fn paused(&self) -> Option<PauseView> {
        None
    }

    /// Until when nothing acts after a start.
    #[must_use]
    pub fn settling_until(&self) -> Option<Micros> {
        None
    }

    /// One incident for people.
    #[must_use]
    pub fn incident_view(&self, _policy: &Policy, _id: IncidentId) -> Option<IncidentView> {
        None
    }

    /// Ids of incidents that are not forgotten, newest first.
    #[must_use]
    pub fn incident_ids(&self) -> Vec<IncidentId> {
        Vec::new()
    }

    #[must_use]
    pub fn alert_view(&self, _fingerprint: &Fingerprint) -> Option<AlertView> {
        None
    }

    /// Fingerprints after `after`, in order, at most `most`: pages of the API.
    #[must_use]
    pub fn alert_fingerprints(&self, _after: Option<&Fingerprint>, _most: usize) -> Vec<Fingerprint> {
        Vec::new()
    }

    /// Counts for metrics and status.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts::default()
    }

    /// SHA-256 of the canonical JSON: two folds of one journal have one digest.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        [0; 32]
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// (rank, state word) → incidents.
    pub incidents: std::collections::BTreeMap<(u32, &'static str), u64>,
    pub alerts_firing: u64,
    pub alerts_known: u64,
    pub acting: u64,
    pub asking: u64,
    pub holding: u64,
    pub leases: u64,
    pub letters_owed: u64,
    /// When the oldest owed letter was wanted.
    pub oldest_letter: Option<Micros>,
}
