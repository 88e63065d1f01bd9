//! Ladders: rung after rung, each verified; only *did not help* leads to the next. Any doubt goes to people.

use super::{Decided, Decider, policy::Rule, state::Held};
use crate::model::{
    alert::Labels,
    event::{CoolDown, Event, LadderEnd},
    id::{IncidentId, StepId},
    mode::Mode,
    reason::Reason,
    rung::Rung,
    step::Purpose,
    time::Micros,
};

/// A rung is planned anew when somebody changed the target in between, at most this often.
pub const TRIES_OF_A_RUNG: u32 = 3;

impl Decider<'_> {
    pub(super) fn begin_ladder(&mut self, id: IncidentId, rule: &Rule, labels: &Labels, first: u32) -> Decided {
        if rule.remediate.is_empty() {
            return Ok(());
        }
        let (rungs, missing) = match self.policy.ladder(rule, labels) {
            Ok(rungs) => (rungs, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        let rule_hash = self.policy.rule_hash(&rule.name).unwrap_or_default().to_owned();
        self.emit(Event::LadderBegan {
            incident: id,
            rungs: rungs.clone(),
            first,
            rule_hash,
            fires_for: rule.fires_for,
            cooldown: rule.cooldown,
            undo_within: rule.undo_within,
        })?;
        if let Some(why) = missing {
            return self.hand_over(id, Reason::NoTarget { why });
        }
        for rung in &rungs {
            self.may_brake(&rung.target)?;
        }
        match rungs.into_iter().nth(first as usize) {
            // A step of the ladder before this one is still being verified: its verdict decides.
            _ if self.ladder_has_a_step(id) => Ok(()),
            Some(rung) => self.plan_fix(id, first, rung, 1),
            None => self.exhausted(id),
        }
    }

    /// Plans one rung. What can be known without looking (settling, `for`) holds it before anything is observed; but
    /// what begins during a pause does not wait for its end.
    fn plan_fix(&mut self, id: IncidentId, rung_number: u32, rung: Rung, try_number: u32) -> Decided {
        // Nothing is looked at that the brake stops anyway.
        if let Some((set, on)) = self.state.fleet.on_for(super::brake::set_of(&rung.target)) {
            let reason = Reason::Braked { by: on.incident, set: set.map(str::to_owned), targets: on.targets };
            return self.hand_over(id, reason);
        }
        let step = self.next_step(id);
        let mode = rung.mode;
        self.emit(Event::StepPlanned { step, purpose: Purpose::Fix, rung_number, rung: Box::new(rung), try_number })?;
        self.touched.insert(id);
        let settling = self.state.settling_until.filter(|until| *until > self.now && mode != Mode::Shadow);
        let young = self.fires_long_enough_at(id).filter(|at| *at > self.now);
        let hold = match (settling, young) {
            _ if self.state.paused.is_some() && mode != Mode::Shadow => None,
            (Some(until), young) if young.is_none_or(|young| young <= until) => {
                Some((until, Reason::Settling { until }))
            }
            (_, Some(until)) => Some((until, Reason::TooYoung { until })),
            _ => None,
        };
        match hold {
            Some((until, reason)) => self.emit(Event::StepHeld { step, until: Some(until), reason }),
            None => Ok(()),
        }
    }

    pub(super) fn next_step(&self, incident: IncidentId) -> StepId {
        let steps = self.state.incidents.get(&incident).map_or(0, |incident| incident.steps);
        StepId { incident, number: steps + 1 }
    }

    /// When the longest-firing alert of it has fired for the rule's `for`.
    pub(super) fn fires_long_enough_at(&self, id: IncidentId) -> Option<Micros> {
        let incident = self.state.incidents.get(&id)?;
        let fires_for = incident.ladder.as_ref()?.fires_for;
        let alerts = incident.alerts.iter().filter_map(|print| self.state.alerts.get(print));
        let first = alerts.filter(|alert| alert.held == Held::Firing).map(|alert| alert.seen_at).min()?;
        Some(first + fires_for)
    }

    /// A rung that never started: its step was dropped, or its precondition no longer held when it was written.
    pub(super) fn fix_not_done(&mut self, step: StepId, reason: &Reason) -> Decided {
        let Some((rung_number, rung, tries)) =
            self.state.steps.get(&step).map(|step| (step.rung_number, step.rung.clone(), step.try_number))
        else {
            return Ok(());
        };
        let id = step.incident;
        if !self.ladder_lives(id) {
            return Ok(());
        }
        match reason {
            Reason::ChangedSince { .. } if !self.fires(id) => self.end_ladder(id, LadderEnd::NotNeeded),
            Reason::ChangedSince { .. } if tries < TRIES_OF_A_RUNG => self.plan_fix(id, rung_number, rung, tries + 1),
            Reason::ChangedSince { .. } => self.hand_over(id, Reason::ChangedTooOften { tries }),
            Reason::AlertResolved => self.end_ladder(id, LadderEnd::NotNeeded),
            // It acted and did not help, and what is left only says what it would do: that is not the end of it.
            Reason::Shadow if self.has_acted(id) => self.exhausted(id),
            Reason::Shadow => self.end_ladder(id, LadderEnd::WouldHave),
            Reason::Rejected { by } => self.end_ladder(id, LadderEnd::Vetoed { by: by.clone() }),
            other => self.hand_over(id, other.clone()),
        }
    }

    /// The rung did not help: the next, or people.
    pub(super) fn next_rung(&mut self, id: IncidentId) -> Decided {
        // One step of a ladder at a time, whatever else ends meanwhile.
        if !self.ladder_lives(id) || self.ladder_has_a_step(id) {
            return Ok(());
        }
        if !self.fires(id) {
            return self.end_ladder(id, LadderEnd::NotNeeded);
        }
        let next = self.state.incidents.get(&id).and_then(|incident| {
            let rung = incident.ladder.as_ref()?.rungs.get(incident.next_rung as usize)?;
            Some((incident.next_rung, rung.clone()))
        });
        match next {
            Some((number, rung)) => self.plan_fix(id, number, rung, 1),
            None => self.exhausted(id),
        }
    }

    fn exhausted(&mut self, id: IncidentId) -> Decided {
        self.end_ladder(id, LadderEnd::Exhausted)?;
        self.page(id, Reason::Exhausted)
    }

    /// Gives the incident to people: the ladder ends, and they are paged unless they already have it.
    pub(super) fn hand_over(&mut self, id: IncidentId, reason: Reason) -> Decided {
        if !self.ladder_lives(id) {
            return Ok(());
        }
        let shadow = self.ladder_is_shadow(id);
        self.end_ladder(id, LadderEnd::HandedOver { reason: reason.clone() })?;
        if let (Reason::Braked { by, .. }, false) = (&reason, shadow) {
            return self.left_to_the_storm(id, *by, reason.clone());
        }
        if shadow || !pages(&reason) {
            let says = reason.says(&self.policy.zone);
            return self.post(id, format!("Not acting: {says}."));
        }
        self.page(id, reason)
    }

    /// Drops what has not started, then hands over. A started step is verified by its own text.
    pub(super) fn stop_ladder(&mut self, id: IncidentId, reason: Reason) -> Decided {
        self.drop_unstarted(id, &reason)?;
        self.hand_over(id, reason)
    }

    /// Drops the fixes of an incident that have not started, without a word to its ladder.
    pub(super) fn drop_unstarted(&mut self, id: IncidentId, reason: &Reason) -> Decided {
        for step in self.state.live_steps_of(id) {
            let Some(live) = self.state.steps.get(&step) else { continue };
            if !live.purpose.is_fix() || live.phase.is_started() {
                continue;
            }
            if live.approval_until.is_some() {
                self.void_approval(step, reason)?;
            }
            self.emit(Event::StepDropped { step, reason: reason.clone() })?;
            self.touched.insert(id);
        }
        Ok(())
    }

    /// Drops the automatic undo of an incident that has not started: what it would put back is not in the way any more.
    /// What fails by itself is put back though its alert resolved: perhaps it resolved because nothing answers any more.
    pub(super) fn drop_unstarted_undo(&mut self, id: IncidentId, reason: &Reason) -> Decided {
        for step in self.state.live_steps_of(id) {
            let waits = self.state.steps.get(&step).is_some_and(|live| {
                matches!(live.purpose, Purpose::Undo { step, by: None } if *reason != Reason::AlertResolved
                        || self.state.why_it_broke(step).is_none())
                    && !live.phase.is_started()
            });
            if waits {
                self.emit(Event::StepDropped { step, reason: reason.clone() })?;
                self.touched.insert(id);
            }
        }
        Ok(())
    }

    /// A live step whose end leads the ladder on: a fix, or the automatic undo of one.
    pub(super) fn ladder_has_a_step(&self, id: IncidentId) -> bool {
        let steps = self.state.live_steps_of(id);
        let mut purposes = steps.iter().filter_map(|step| self.state.steps.get(step)).map(|step| &step.purpose);
        purposes.any(|purpose| matches!(purpose, Purpose::Fix | Purpose::Undo { by: None, .. }))
    }

    /// Ends the ladder; the cool-down of every target that it started on counts from here.
    pub(super) fn end_ladder(&mut self, id: IncidentId, how: LadderEnd) -> Decided {
        let Some(incident) = self.state.incidents.get(&id) else { return Ok(()) };
        let Some(ladder) = incident.ladder.as_ref().filter(|ladder| ladder.is_live()) else { return Ok(()) };
        let until = self.now + ladder.cooldown;
        let cooldown = |target: crate::model::target::TargetKey, shadow| CoolDown {
            rule: incident.rule.clone(),
            target,
            until,
            shadow,
        };
        let cooldowns = match &how {
            LadderEnd::WouldHave => {
                ladder.rungs.first().map(|rung| cooldown(rung.target.key(), true)).into_iter().collect()
            }
            _ => ladder.started.iter().map(|target| cooldown(target.clone(), false)).collect(),
        };
        self.touched.insert(id);
        self.emit(Event::LadderEnded { incident: id, how, cooldowns })
    }

    pub(super) fn ladder_lives(&self, id: IncidentId) -> bool {
        self.state.incidents.get(&id).is_some_and(super::state::Incident::has_live_ladder)
    }

    pub(super) fn fires(&self, id: IncidentId) -> bool {
        self.state.incidents.get(&id).is_some_and(|incident| incident.firing > 0)
    }

    /// A fix of it has started, in this ladder or before it was reopened.
    pub(super) fn has_acted(&self, id: IncidentId) -> bool {
        let range = StepId { incident: id, number: 0 }..=StepId { incident: id, number: u32::MAX };
        self.state.steps.range(range).any(|(_, step)| step.purpose.is_fix() && step.started_at.is_some())
    }

    /// Nothing of it may act: what it would not do wakes nobody.
    pub(super) fn ladder_is_shadow(&self, id: IncidentId) -> bool {
        let ladder = self.state.incidents.get(&id).and_then(|incident| incident.ladder.as_ref());
        let rule_is_shadow = self.state.incidents.get(&id).and_then(|incident| self.policy.rule(&incident.rule));
        let by_rule = rule_is_shadow.is_some_and(|rule| rule.mode.min(self.policy.spec.mode) == Mode::Shadow);
        match ladder {
            Some(ladder) if !ladder.rungs.is_empty() => {
                ladder.rungs.first().is_some_and(|rung| rung.mode == Mode::Shadow)
            }
            _ => by_rule,
        }
    }
}

/// Whether people are woken for it. A person's own doing, and what Alertmanager keeps quiet, wakes nobody.
pub(super) fn pages(reason: &Reason) -> bool {
    !matches!(
        reason,
        Reason::Silenced { .. }
            | Reason::Rejected { .. }
            | Reason::Closed { .. }
            | Reason::Undone { .. }
            | Reason::LostContact
            | Reason::AlertResolved
    )
}
