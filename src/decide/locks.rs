//! Who holds which target, and who waits for whom.

use super::state::{Lock, State, Step};
use crate::model::{
    id::{IncidentId, StepId},
    reason::Reason,
    step::Phase,
    target::Target,
    time::Micros,
};
use std::collections::BTreeSet;

impl State {
    /// What holds a target, or a part of it: another incident's lock before this one's own.
    pub(super) fn lock_on(&self, target: &Target, incident: IncidentId) -> Option<&Lock> {
        let locks = target.locks();
        let mut locks = locks.iter().filter_map(|key| self.locks.get(key));
        let first = locks.next()?;
        let others = std::iter::once(first).chain(locks).find(|lock| lock.incident != incident);
        Some(others.unwrap_or(first))
    }

    /// The step other than `except` that has started on the target, or on a part of it, and has no verdict yet; and when
    /// it is due.
    pub(super) fn working_on(&self, target: &Target, except: StepId) -> Option<(StepId, Micros)> {
        let keys = target.locks();
        let is_on = |step: &Step| step.rung.target.locks().iter().any(|key| keys.contains(key));
        let started = [Phase::Acting, Phase::ReadBack, Phase::Verifying].into_iter();
        let mut ids = started.flat_map(|phase| self.live.get(&phase).into_iter().flatten()).map(|(_, id)| *id);
        let id = ids.find(|id| *id != except && self.steps.get(id).is_some_and(is_on))?;
        let due = self.steps.get(&id).and_then(|step| step.verify_by.or(step.perform_by));
        Some((id, due.unwrap_or_default()))
    }

    /// `incident` waits for a target that `other` holds, itself or by way of incidents that it waits for.
    pub(super) fn waits_for(&self, incident: IncidentId, other: IncidentId) -> bool {
        let mut seen = BTreeSet::from([incident]);
        let mut next = vec![incident];
        while let Some(one) = next.pop() {
            let range = StepId { incident: one, number: 0 }..=StepId { incident: one, number: u32::MAX };
            let waiting = self.steps.range(range).map(|(_, step)| step).filter(|step| step.phase == Phase::Holding);
            for step in waiting {
                // Whoever holds it now: the lock may have changed hands since the wait began.
                let is_lock = matches!(step.held_for, Some(Reason::TargetLocked { .. }));
                let Some(lock) = self.lock_on(&step.rung.target, one).filter(|_| is_lock) else { continue };
                if lock.incident == other {
                    return true;
                }
                if seen.insert(lock.incident) {
                    next.push(lock.incident);
                }
            }
        }
        false
    }
}
