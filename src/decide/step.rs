//! One step before and while it acts: judged on an observation, started, and what its call came to.

use super::{Decided, Decider, guard, records::Disarm};
use crate::model::{
    event::{Event, LeaseEnd},
    id::StepId,
    input::Op,
    observation::{DryRun, Ended, Moment, Observation, Outcome, Proposed},
    plan::Plan,
    reason::Reason,
    step::{LeaseKey, Phase, Purpose, Verdict},
    target::Target,
    time::Span,
};

/// The call must be over this long after it was decided.
pub const PERFORM_WITHIN: Span = Span::seconds(20);
/// How long a person has to approve a plan.
pub const APPROVAL_HOLDS: Span = Span::minutes(30);
/// How long a step that puts something back is measured.
pub const UNDO_MEASURED: Span = Span::minutes(5);

impl Decider<'_> {
    pub(super) fn observed(
        &mut self,
        id: StepId,
        moment: Moment,
        result: &Result<Box<Observation>, String>,
    ) -> Decided {
        let Some(step) = self.state.steps.get(&id) else { return Ok(()) };
        let awaited = if step.approved_by.is_some() { Moment::BeforeStart } else { Moment::ForPlan };
        if step.phase != Phase::Observing || moment != awaited {
            return Ok(());
        }
        let plan = match moment {
            Moment::BeforeStart => step.plan.clone(),
            Moment::ForPlan => result.as_ref().ok().and_then(|observation| self.seal(id, observation)),
        };
        let judged = guard::judge(self.policy, self.state, self.now, id, result, plan.as_ref());
        let scopes = guard::limits::scopes(self.state, id);
        let would_have = judged.verdict == Verdict::WouldHave;
        self.touched.insert(id.incident);
        self.emit(Event::StepJudged {
            step: id,
            verdict: judged.verdict.clone(),
            trace: judged.trace,
            plan: plan.clone().map(Box::new),
            scopes: if would_have { scopes.clone() } else { Vec::new() },
        })?;
        // How many a set has may be known only now: then all of them may be red.
        if let Some(target) = self.counted_target(id, result) {
            self.may_brake(&target)?;
            if self.state.steps.get(&id).is_none_or(|step| step.phase != Phase::Observing) {
                return Ok(());
            }
        }
        match (judged.verdict, plan, result) {
            (Verdict::Allow, Some(plan), Ok(observation)) => self.start(id, plan, observation, scopes),
            (Verdict::Ask { .. }, Some(plan), _) => self.ask(id, plan),
            // An approval outlives the wait: the plan must still hold when it is judged again.
            (Verdict::Hold { until, reason }, ..) => self.emit(Event::StepHeld { step: id, until, reason }),
            (Verdict::WouldHave, plan, result) => self.would_have(id, plan, result),
            (Verdict::Deny { reason }, ..) => self.drop_step(id, reason),
            (Verdict::Allow | Verdict::Ask { .. }, ..) => {
                self.drop_step(id, Reason::NotObserved { problem: "the observation brought no plan".into() })
            }
        }
    }

    /// The target of a fix whose observation counted the members of its set.
    fn counted_target(&self, id: StepId, result: &Result<Box<Observation>, String>) -> Option<Target> {
        result.as_ref().ok()?.facts.members?;
        let step = self.state.steps.get(&id).filter(|step| step.purpose.is_fix())?;
        Some(step.rung.target.clone())
    }

    fn seal(&self, id: StepId, observation: &Observation) -> Option<Plan> {
        let Proposed::Made(proposal) = &observation.proposal else { return None };
        let step = self.state.steps.get(&id)?;
        let incident = self.state.incidents.get(&id.incident)?;
        let rule_hash = incident.ladder.as_ref().map_or("", |ladder| ladder.rule_hash.as_str());
        let lease = if step.purpose.is_fix() { lease_of(&step.rung.with) } else { None };
        let until = self.now + APPROVAL_HOLDS;
        Some(Plan::seal(&step.rung.action, &step.rung.target, (**proposal).clone(), lease, rule_hash, until))
    }

    fn start(&mut self, id: StepId, plan: Plan, observation: &Observation, scopes: Vec<String>) -> Decided {
        let perform_by = self.now + PERFORM_WITHIN;
        let is_fix = self.state.steps.get(&id).is_some_and(|step| step.purpose.is_fix());
        let summary = plan.proposal.summary.clone();
        let target = plan.target.key();
        self.emit(Event::StepStarted {
            step: id,
            plan: Box::new(plan),
            perform_by,
            before: Box::new(observation.facts.clone()),
            scopes: if is_fix { scopes } else { Vec::new() },
        })?;
        self.post(id.incident, format!("Step {id} started on {target}: {summary}."))
    }

    fn ask(&mut self, id: StepId, plan: Plan) -> Decided {
        let until = plan.until;
        let summary = plan.proposal.summary.clone();
        let target = plan.target.key();
        self.emit(Event::ApprovalAsked { step: id, plan: Box::new(plan), until })?;
        let until = self.time(until);
        self.post(
            id.incident,
            format!("Step {id} waits for an approval until {until}: {summary} on {target}. Approve with: nightshift approve {id}"),
        )
    }

    fn would_have(&mut self, id: StepId, plan: Option<Plan>, result: &Result<Box<Observation>, String>) -> Decided {
        let server = plan.as_ref().map_or("", |plan| plan.target.object.server());
        let proof = match result.as_ref().ok().and_then(|observation| observation.dry_run.as_ref()) {
            Some(DryRun::Accepted) => format!("; {server}'s dry run accepts it"),
            Some(DryRun::Rejected { .. }) => format!("; {server}'s dry run rejects it"),
            None => String::new(),
        };
        let summary =
            plan.map(|plan| format!("{} on {}", plan.proposal.summary, plan.target.key())).unwrap_or_default();
        self.post(id.incident, format!("Shadow: would have done {summary}{proof}."))?;
        self.drop_step(id, Reason::Shadow)
    }

    /// Ends a step that has not started, and tells its ladder or lease.
    pub(super) fn drop_step(&mut self, id: StepId, reason: Reason) -> Decided {
        let Some(step) = self.state.steps.get(&id) else { return Ok(()) };
        if step.approval_until.is_some() && step.phase != Phase::Holding {
            self.void_approval(id, &reason)?;
        }
        self.emit(Event::StepDropped { step: id, reason: reason.clone() })?;
        self.touched.insert(id.incident);
        self.not_done(id, &reason)
    }

    /// A step ended without having changed anything.
    fn not_done(&mut self, id: StepId, reason: &Reason) -> Decided {
        let Some(step) = self.state.steps.get(&id) else { return Ok(()) };
        let says = reason.says(&self.policy.zone);
        match step.purpose.clone() {
            Purpose::Fix => self.fix_not_done(id, reason),
            Purpose::Undo { step: undone, by: Some(_) } => {
                self.post(id.incident, format!("Step {undone} was not undone: {says}."))
            }
            Purpose::Undo { step: undone, by: None } => {
                self.post(id.incident, format!("Step {undone} was not undone: {says}."))?;
                self.stop_ladder(id.incident, reason.clone())
            }
            Purpose::LeaseEnd { lease, .. } => {
                let how = match reason {
                    Reason::ChangedSince { difference } | Reason::Refused { why: difference } => {
                        LeaseEnd::LeftAlone { difference: difference.clone() }
                    }
                    other => LeaseEnd::GivenUp { reason: other.clone() },
                };
                self.lease_over(id.incident, &lease, how)
            }
        }
    }

    pub(super) fn void_approval(&mut self, id: StepId, reason: &Reason) -> Decided {
        match self.state.steps.get(&id).map(|step| step.phase) {
            Some(Phase::Observing | Phase::Asking) => {
                self.emit(Event::ApprovalVoided { step: id, reason: reason.clone() })
            }
            _ => Ok(()),
        }
    }

    /// What the driver's call came to.
    pub(super) fn performed(&mut self, id: StepId, op: Op, outcome: &Outcome) -> Decided {
        let Some(phase) = self.state.steps.get(&id).map(|step| step.phase) else { return Ok(()) };
        match (op, phase, outcome) {
            (Op::Apply, Phase::Acting, Outcome::Applied) | (Op::ReadBack, Phase::ReadBack, Outcome::Applied) => {
                self.applied(id, None)
            }
            (Op::Apply, Phase::Acting, Outcome::Ended { ended })
            | (Op::ReadBack, Phase::ReadBack, Outcome::Ended { ended }) => self.applied(id, Some(ended)),
            (Op::Apply, Phase::Acting, Outcome::NotApplied { why, changed_since })
            | (Op::ReadBack, Phase::ReadBack, Outcome::NotApplied { why, changed_since }) => {
                let reason = if *changed_since {
                    Reason::ChangedSince { difference: why.clone() }
                } else {
                    Reason::CallFailed { why: why.clone() }
                };
                self.emit(Event::StepFailed { step: id, reason: reason.clone() })?;
                self.touched.insert(id.incident);
                let says = reason.says(&self.policy.zone);
                self.post(id.incident, format!("Step {id} changed nothing: {says}."))?;
                self.may_disarm(id)?;
                self.not_done(id, &reason)
            }
            (Op::Apply, Phase::Acting, Outcome::Unknown { why }) => {
                if self.state.steps.get(&id).is_some_and(|step| step.outcome_lost) {
                    return Ok(());
                }
                self.touched.insert(id.incident);
                self.emit(Event::StepOutcomeLost { step: id, why: why.clone() })
            }
            (Op::ReadBack, Phase::ReadBack, Outcome::Unknown { why }) => self.unknown(id, why),
            // A late answer: the step has moved on.
            (Op::Apply | Op::ReadBack, ..) => Ok(()),
        }
    }

    fn applied(&mut self, id: StepId, ended: Option<&Ended>) -> Decided {
        let Some(step) = self.state.steps.get(&id) else { return Ok(()) };
        let (settle, within) = if step.purpose.is_fix() {
            (step.rung.verify.settle, step.rung.verify.resolved_within)
        } else {
            (Span::ZERO, UNDO_MEASURED)
        };
        let purpose = step.purpose.clone();
        let plan = step.plan.clone();
        let measure_from = self.now + settle;
        self.touched.insert(id.incident);
        let verify_by = measure_from + within;
        self.emit(Event::StepApplied { step: id, measure_from, verify_by, ended: ended.cloned().map(Box::new) })?;
        if let Some(ended) = ended {
            self.post(id.incident, format!("Step {id}: {}.", ended.says()))?;
        }
        let Some(plan) = plan else { return Ok(()) };
        match purpose {
            Purpose::Fix => self.begin_lease(id, &plan),
            Purpose::Undo { step, .. } => self.undo_lease(id, step, &plan),
            Purpose::LeaseEnd { lease, .. } => self.lease_over(id.incident, &lease, LeaseEnd::PutBack),
        }
    }

    fn unknown(&mut self, id: StepId, why: &str) -> Decided {
        self.touched.insert(id.incident);
        self.emit(Event::StepUnknown { step: id, why: why.to_owned() })?;
        self.may_disarm(id)?;
        let purpose = self.state.steps.get(&id).map(|step| step.purpose.clone());
        let reason = Reason::OutcomeUnknown { why: why.to_owned() };
        match purpose {
            Some(Purpose::LeaseEnd { lease, .. }) => self.lease_over(id.incident, &lease, LeaseEnd::GivenUp { reason }),
            _ if self.ladder_lives(id.incident) => self.hand_over(id.incident, reason),
            _ => self.page(id.incident, reason),
        }
    }

    /// A fix failed once too often: its rule stays away from the target, or from all.
    pub(super) fn may_disarm(&mut self, id: StepId) -> Decided {
        let Some(step) = self.state.steps.get(&id).filter(|step| step.purpose.is_fix()) else { return Ok(()) };
        let Some(rule) = self.state.incidents.get(&id.incident).map(|incident| incident.rule.clone()) else {
            return Ok(());
        };
        let target = step.rung.target.key();
        let Some((target, disarm)) = self.state.records.to_disarm(&rule, &target) else { return Ok(()) };
        let Disarm { failures, of } = disarm;
        let reason = Reason::Disarmed { rule: rule.clone(), target: target.clone(), failures, of };
        self.touched.insert(id.incident);
        self.emit(Event::Disarmed { incident: id.incident, rule, target, failures, of })?;
        self.post(id.incident, format!("Disarmed: {}.", reason.says(&self.policy.zone)))
    }

    /// Lets the first that waits for a slot or a lock be judged afresh, when one is free.
    pub(super) fn admit(&mut self) -> Decided {
        while let Some(step) = self.next_admitted() {
            self.emit(Event::StepResumed { step })?;
            self.touched.insert(step.incident);
        }
        Ok(())
    }

    fn next_admitted(&self) -> Option<StepId> {
        let mut waits =
            self.state.waiting.iter().filter_map(|(_, id)| self.state.steps.get(id).map(|step| (*id, step))).peekable();
        waits.peek()?;
        let observing = self.state.live.get(&Phase::Observing);
        let admitted_by = |wants: &dyn Fn(&Reason) -> bool| {
            let steps = observing.into_iter().flatten().filter_map(|(_, step)| self.state.steps.get(step));
            steps
                .filter(|step| step.held_for.as_ref().is_some_and(wants))
                .map(|step| step.rung.target.key())
                .collect::<Vec<_>>()
        };
        let for_a_slot = |reason: &Reason| matches!(reason, Reason::NoSlot { .. });
        let for_a_lock = |reason: &Reason| matches!(reason, Reason::TargetLocked { .. });
        let free = self.policy.spec.max_concurrent.saturating_sub(self.state.acting());
        let free_slot = (admitted_by(&for_a_slot).len() as u64) < u64::from(free);
        let admitted_to_locks = admitted_by(&for_a_lock);
        waits
            .find(|(id, step)| match &step.held_for {
                Some(Reason::NoSlot { .. }) => free_slot,
                Some(Reason::TargetLocked { .. }) => {
                    let target = step.rung.target.key();
                    // One that only a person frees is not waited for: it is judged, and handed over.
                    self.state.locks.get(&target).is_none_or(|lock| lock.incident == id.incident || lock.unknown)
                        && !admitted_to_locks.contains(&target)
                }
                _ => false,
            })
            .map(|(id, _)| id)
    }
}

/// `with: {lease: 2h}`: the one parameter that is not the action's alone, because time is decided here.
fn lease_of(with: &serde_json::Value) -> Option<Span> {
    with.get("lease").and_then(serde_json::Value::as_str).and_then(|text| Span::parse(text).ok())
}

/// One lease for each field that a plan touches.
pub(super) fn lease_keys(plan: &Plan) -> Vec<LeaseKey> {
    let target = plan.target.key();
    plan.proposal.effect.touches.iter().map(|field| LeaseKey { target: target.clone(), field: field.clone() }).collect()
}
