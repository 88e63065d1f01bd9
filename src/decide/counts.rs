//! What the state holds, counted.

use super::{State, state::IncidentPhase};
use crate::model::{letter::Receiver, step::Phase, time::Micros};
use std::collections::{BTreeMap, BTreeSet};

/// Counts for metrics and status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// (severity, state word) → incidents. One that is open and acknowledged counts as `acknowledged`.
    pub incidents: BTreeMap<(String, &'static str), u64>,
    pub alerts_known: u64,
    pub acting: u64,
    pub asking: u64,
    pub holding: u64,
    pub leases: u64,
    /// Targets that a step holds. One whose outcome nobody knows stays locked, and is not counted.
    pub locks: u64,
    /// Rules, and rules for one target, that wait for `rearm`.
    pub disarmed: u64,
    /// Where the brake is on: sets by name; None: everything.
    pub braked: Vec<Option<String>>,
    /// Pages that wait for a verdict.
    pub pages_held: u64,
    pub letters_owed: u64,
    /// ... by the word of their receiver.
    pub letters_owed_to: BTreeMap<&'static str, u64>,
    /// For each receiver how many letters are owed, and when the oldest of them was wanted.
    pub waiting: BTreeMap<Receiver, (u64, Micros)>,
    /// When the oldest owed letter was wanted.
    pub oldest_letter: Option<Micros>,
}

impl State {
    #[must_use]
    pub fn counts(&self) -> Counts {
        let phase = |phase: Phase| self.live.get(&phase).map_or(0, BTreeSet::len) as u64;
        let mut counts = Counts {
            alerts_known: self.alerts.len() as u64,
            acting: phase(Phase::Acting) + phase(Phase::ReadBack),
            asking: phase(Phase::Asking),
            holding: phase(Phase::Holding),
            leases: self.leases.len() as u64,
            locks: self.locks.values().filter(|lock| !lock.unknown).count() as u64,
            letters_owed: self.owed.len() as u64,
            disarmed: self.records.disarmed_count(),
            pages_held: self.held_pages().len() as u64,
            braked: self.fleet.scopes().map(|set| set.map(str::to_owned)).collect(),
            ..Counts::default()
        };
        for key in &self.owed {
            *counts.letters_owed_to.entry(key.receiver.word()).or_default() += 1;
            let Some(wanted) = self.letters.get(key).map(|letter| letter.wanted_at) else { continue };
            match counts.waiting.get_mut(&key.receiver) {
                Some((letters, oldest)) => (*letters, *oldest) = (*letters + 1, wanted.min(*oldest)),
                None => drop(counts.waiting.insert(key.receiver.clone(), (1, wanted))),
            }
        }
        counts.oldest_letter = counts.waiting.values().map(|(_, oldest)| *oldest).min();
        let mut incidents: BTreeMap<(&str, &'static str), u64> = BTreeMap::new();
        for incident in self.incidents.values() {
            let word = match (incident.phase, &incident.acknowledged_by) {
                (IncidentPhase::Open, Some(_)) => "acknowledged",
                (phase, _) => phase.word(),
            };
            *incidents.entry((&incident.severity, word)).or_default() += 1;
        }
        let owned = incidents.into_iter().map(|((severity, word), count)| ((severity.to_owned(), word), count));
        counts.incidents = owned.collect();
        counts
    }
}
