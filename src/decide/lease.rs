//! Leases: a change that is put back by itself, unless somebody changed it since. One per (target, field).

use super::{Decided, Decider, state::Lease, step::lease_keys};
use crate::model::{
    event::{Event, LeaseEnd},
    id::{IncidentId, StepId},
    mode::Mode,
    plan::Plan,
    reason::Reason,
    rung::Rung,
    step::{LeaseKey, Purpose},
    time::Span,
};

/// While an alert on the target still fires, a lease is extended by this.
pub const EXTENDED_BY: Span = Span::minutes(30);
/// ... at most this often; then people are asked.
pub const EXTENDED_AT_MOST: u32 = 4;
/// A person may extend a lease to at most this far from now.
pub const LONGEST_LEASE: Span = Span::hours(24 * 7);

impl Decider<'_> {
    /// A fix with a lease was applied. A renewal keeps the first pre-image; one without a lease ends ours.
    pub(super) fn begin_lease(&mut self, step: StepId, plan: &Plan) -> Decided {
        for lease in lease_keys(plan) {
            let old = self.state.leases.get(&lease).cloned();
            if old.is_some() {
                self.drop_lease_ends(&lease)?;
                self.emit(Event::LeaseEnded { lease: lease.clone(), how: LeaseEnd::Superseded })?;
            }
            // Ours to give back is what we lent: what somebody set since is theirs.
            let ours = old.as_ref().is_some_and(|old| old.value == plan.proposal.from);
            let Some(lasts) = plan.lease else {
                if let Some(old) = old {
                    let text =
                        format!("Step {step} lends nothing: what step {} lent is not put back any more.", old.step);
                    self.post(step.incident, text)?;
                }
                continue;
            };
            if let Some(old) = old.as_ref().filter(|_| !ours) {
                let target = &lease.target;
                let text = format!(
                    "Somebody changed {target} after step {} had lent it: what they set is what step {step} puts back.",
                    old.step
                );
                self.post(step.incident, text)?;
            }
            let baseline = old.filter(|_| ours).map_or_else(|| plan.proposal.undo.clone(), |old| old.baseline);
            let until = self.now + lasts;
            self.emit(Event::LeaseBegan { lease, step, baseline, value: plan.proposal.to.clone(), until })?;
            let until = self.time(until);
            self.post(step.incident, format!("Step {step} holds until {until}, then it is put back."))?;
        }
        Ok(())
    }

    /// A lease's time is over.
    pub(super) fn lease_due(&mut self, key: &LeaseKey) -> Decided {
        let Some(lease) = self.state.leases.get(key).cloned() else { return Ok(()) };
        let incident = lease.step.incident;
        self.touched.insert(incident);
        // So soon after a start nobody has said yet whether something fires again.
        if let Some(until) = self.state.settling_until.filter(|until| *until > self.now) {
            let times = lease.extended;
            return self.emit(Event::LeaseExtended { lease: key.clone(), until, times, by: None });
        }
        if !self.state.may_fire_on(&key.target) {
            return self.end_lease(key, &lease, None, Mode::Auto);
        }
        if lease.extended < EXTENDED_AT_MOST {
            let until = self.now + EXTENDED_BY;
            let times = lease.extended + 1;
            self.emit(Event::LeaseExtended { lease: key.clone(), until, times, by: None })?;
            let until = self.time(until);
            let text = format!(
                "An alert on {} still fires, or nobody knows whether it does: the lease of step {} is extended until {until} ({times} of {EXTENDED_AT_MOST}).",
                key.target, lease.step
            );
            return self.post(incident, text);
        }
        self.end_lease(key, &lease, None, Mode::Ask)
    }

    /// Plans the step that puts back what the lease held.
    pub(super) fn end_lease(&mut self, key: &LeaseKey, lease: &Lease, by: Option<String>, mode: Mode) -> Decided {
        let id = lease.step.incident;
        let Some(held) = self.state.steps.get(&lease.step) else {
            return self.emit(Event::LeaseEnded { lease: key.clone(), how: LeaseEnd::Superseded });
        };
        let rung = Box::new(rung_of_undo(&held.rung, mode));
        let rung_number = held.rung_number;
        let step = self.next_step(id);
        self.emit(Event::LeaseEnding { lease: key.clone() })?;
        let purpose = Purpose::LeaseEnd { lease: key.clone(), by };
        self.touched.insert(id);
        self.emit(Event::StepPlanned { step, purpose, rung_number, rung, try_number: 1 })
    }

    /// A step that waits to put back what a lease held, when something else took the lease's place.
    pub(super) fn drop_lease_ends(&mut self, key: &LeaseKey) -> Decided {
        let waits: Vec<StepId> = self.state.live_steps().filter(|step| self.waits_to_end(*step, key)).collect();
        for step in waits {
            self.void_approval(step, &Reason::Superseded)?;
            self.emit(Event::StepDropped { step, reason: Reason::Superseded })?;
            self.touched.insert(step.incident);
        }
        Ok(())
    }

    fn waits_to_end(&self, step: StepId, key: &LeaseKey) -> bool {
        self.state.steps.get(&step).is_some_and(|step| {
            matches!(&step.purpose, Purpose::LeaseEnd { lease, .. } if lease == key) && !step.phase.is_started()
        })
    }

    /// An undo put back what `undone` did. Where that had renewed a lease, what the first one lent is still lent.
    pub(super) fn undo_lease(&mut self, undo: StepId, undone: StepId, plan: &Plan) -> Decided {
        for lease in lease_keys(plan) {
            let Some(held) = self.state.leases.get(&lease).filter(|held| held.step == undone).cloned() else {
                continue;
            };
            self.drop_lease_ends(&lease)?;
            self.emit(Event::LeaseEnded { lease: lease.clone(), how: LeaseEnd::Undone })?;
            let value = plan.proposal.to.clone();
            if held.baseline != value {
                let Lease { baseline, until, .. } = held;
                self.emit(Event::LeaseBegan { lease, step: undo, baseline, value, until })?;
            }
        }
        Ok(())
    }

    pub(super) fn lease_over(&mut self, id: IncidentId, key: &LeaseKey, how: LeaseEnd) -> Decided {
        if !self.state.leases.contains_key(key) {
            return Ok(());
        }
        self.touched.insert(id);
        self.emit(Event::LeaseEnded { lease: key.clone(), how: how.clone() })?;
        let target = &key.target;
        match how {
            LeaseEnd::PutBack => self.post(id, format!("The lease on {target} ended: put back.")),
            LeaseEnd::LeftAlone { difference } => self.post(
                id,
                format!("The lease on {target} ended and was left alone, because somebody changed it: {difference}."),
            ),
            LeaseEnd::GivenUp { reason } => {
                let says = reason.says(&self.policy.zone);
                self.post(
                    id,
                    format!("The lease on {target} ended, and it could not be put back: {says}. It is yours now."),
                )?;
                match reason {
                    // Whoever rejected it knows.
                    Reason::Rejected { .. } => Ok(()),
                    other => self.page(id, other),
                }
            }
            LeaseEnd::Superseded | LeaseEnd::Undone => Ok(()),
        }
    }

    pub(super) fn lease_of_step(&self, step: StepId) -> Option<(LeaseKey, Lease)> {
        let found = self.state.leases.iter().find(|(_, lease)| lease.step == step);
        found.map(|(key, lease)| (key.clone(), lease.clone()))
    }

    pub(super) fn extend_lease(&mut self, by: &str, step: StepId, longer: Span) -> Decided {
        let Some((key, lease)) = self.lease_of_step(step) else {
            return self.refuse(format!("step {step} holds no lease"));
        };
        if lease.ending {
            return self.refuse(format!("the lease of step {step} is being put back already"));
        }
        let until = lease.until.max(self.now) + longer;
        if longer <= Span::ZERO || until > self.now + LONGEST_LEASE {
            return self.refuse(format!("a lease lasts at most {LONGEST_LEASE} from now"));
        }
        self.touched.insert(step.incident);
        let times = lease.extended;
        self.emit(Event::LeaseExtended { lease: key, until, times, by: Some(by.to_owned()) })?;
        let until = self.time(until);
        self.post(step.incident, format!("{by} extended the lease of step {step} until {until}."))
    }

    pub(super) fn end_lease_now(&mut self, by: &str, step: StepId) -> Decided {
        match self.lease_of_step(step) {
            Some((key, lease)) => {
                let waits = self.state.live_steps().any(|step| self.waits_to_end(step, &key));
                if lease.ending && !waits {
                    return self.refuse(format!("the lease of step {step} is being put back already"));
                }
                // What waits to do it by itself need not wait for this person.
                self.drop_lease_ends(&key)?;
                self.end_lease(&key, &lease, Some(by.to_owned()), Mode::Auto)
            }
            None => self.refuse(format!("step {step} holds no lease")),
        }
    }
}

/// The rung of a step that puts something back: the same action and target, measured by the target alone.
pub(super) fn rung_of_undo(rung: &Rung, mode: Mode) -> Rung {
    let mut undo = rung.clone();
    undo.mode = mode;
    undo.verify.query = None;
    undo
}
