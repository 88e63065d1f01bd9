//! What the committed journal says, kept apart from nightshift's own state: the oracle compares it with the world.

use super::{callings::Callings, pagerduty::Pages, restraints::Restraints};
use nightshift::{
    decide::Policy,
    model::{
        alert::Status,
        event::{Event, HowResolved},
        id::{IncidentId, StepId},
        input::Input,
        letter::Slot,
        plan::Plan,
        rung::Rung,
        step::{Answer, Phase, Purpose, next},
        target::TargetKey,
        time::{Micros, Span},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

#[derive(Default)]
pub struct Ledger {
    /// The last entry that was followed.
    pub seq: u64,
    pub policy: Option<Arc<Policy>>,
    pub alerts: BTreeMap<String, Held>,
    pub incidents: BTreeMap<IncidentId, Incident>,
    pub steps: BTreeMap<StepId, Step>,
    /// Fixes that started: when, and what it counts against.
    pub starts: Vec<(Micros, StepId)>,
    /// (rule, target) → nothing by that rule before.
    pub cooldowns: BTreeMap<(String, TargetKey), Micros>,
    pub bars: BTreeMap<(String, TargetKey), IncidentId>,
    /// Targets of steps whose outcome stayed unknown: nobody has looked yet.
    pub unknown: BTreeMap<TargetKey, IncidentId>,
    pub paused: bool,
    pub settles_until: Micros,
    pub starts_of_process: u64,
    pub posts_owed: BTreeSet<u64>,
    pub posts_failed: BTreeSet<u64>,
    pub pages: Pages,
    pub wakes: u64,
    pub restraints: Restraints,
    pub callings: Callings,
    /// (fingerprint, fires, start in ms) of every alert that has an entry.
    pub recorded: BTreeSet<(String, bool, i64)>,
}

pub struct Held {
    pub firing: bool,
    pub lost: bool,
    pub starts_at: Micros,
    pub fired_at: Micros,
    pub incident: Option<IncidentId>,
}

pub struct Incident {
    pub rule: String,
    pub acknowledged: bool,
    pub resolved: bool,
    pub ladder: Option<Ladder>,
    pub last_end: Micros,
    pub quiet: Span,
}

pub struct Ladder {
    pub rule_hash: String,
    pub fires_for: Span,
    pub live: bool,
    pub began_at: Micros,
    /// By the rules that it began with.
    cooldown: Span,
}

pub struct Step {
    pub purpose: Purpose,
    pub rung: Rung,
    pub phase: Phase,
    pub plan: Option<Plan>,
    pub asked_hash: Option<String>,
    pub approved: Option<String>,
    pub started_at: Option<Micros>,
    pub started_seq: u64,
    pub perform_by: Micros,
    /// The process that started it.
    pub started_by: u64,
    pub calls: u32,
    pub took_effect: u32,
    pub verify_by: Micros,
    /// Its window passed while no process lived.
    pub missed: bool,
    pub answer: Option<Answer>,
    /// What it put in place broke while its ladder lived.
    pub broke_live: bool,
}

impl Ledger {
    pub fn alerts_of(&self, incident: IncidentId) -> impl Iterator<Item = &Held> + '_ {
        self.alerts.values().filter(move |held| held.incident == Some(incident))
    }

    /// A step whose own change broke, and that nothing was planned to put back.
    pub fn broke_and_stayed(&self) -> Option<StepId> {
        let put_back = |id: &StepId| {
            self.steps.values().any(|step| matches!(&step.purpose, Purpose::Undo { step, .. } if step == id))
        };
        self.steps.iter().find(|(id, step)| step.broke_live && !put_back(id)).map(|(id, _)| *id)
    }

    /// Follows one event. `Err`: the table of phases does not know it.
    pub fn follow(
        &mut self,
        seq: u64,
        at: Micros,
        input: &Input,
        event: &Event,
        policies: &BTreeMap<String, Arc<Policy>>,
        process: u64,
    ) -> Result<(), String> {
        if let Some(id) = event.step()
            && !matches!(event, Event::StepPlanned { .. })
        {
            let step = self.steps.get_mut(&id).ok_or_else(|| format!("there is no step {id}"))?;
            let phase = next(step.phase, event);
            step.phase = phase.ok_or_else(|| format!("step {id} is {} at {event:?}", step.phase.word()))?;
        }
        self.restraints.follow(at, input, event);
        self.callings.follow(at, event);
        self.pages.follow(at, event);
        match event {
            Event::AlertFired { .. } => {
                if let Input::Alert(alert) = input {
                    let before = self.alerts.get(&alert.fingerprint.to_string()).and_then(|held| held.incident);
                    let incident = before.filter(|id| self.incidents.get(id).is_some_and(|known| !known.resolved));
                    let starts_at = alert.starts_at;
                    let held = Held { firing: true, lost: false, starts_at, fired_at: at, incident };
                    self.alerts.insert(alert.fingerprint.to_string(), held);
                }
            }
            Event::AlertResolved { .. } => {
                if let Input::Alert(alert) = input
                    && let Some(held) = self.alerts.get_mut(&alert.fingerprint.to_string())
                {
                    held.firing = false;
                    held.lost = false;
                    let end = alert.ends_at.unwrap_or(at);
                    if let Some(incident) = held.incident.and_then(|id| self.incidents.get_mut(&id)) {
                        incident.last_end = incident.last_end.max(end);
                    }
                }
            }
            Event::AlertLost { fingerprint, .. } => {
                if let Some(held) = self.alerts.get_mut(&fingerprint.to_string()) {
                    held.firing = false;
                    held.lost = true;
                }
            }
            Event::AlertForgotten { fingerprint } => {
                self.alerts.remove(&fingerprint.to_string());
            }
            Event::IncidentOpened { incident, rule, quiet, .. } => {
                let opened = Incident {
                    rule: rule.clone(),
                    acknowledged: false,
                    resolved: false,
                    ladder: None,
                    last_end: Micros(0),
                    quiet: *quiet,
                };
                self.incidents.insert(*incident, opened);
            }
            Event::AlertJoined { incident, fingerprint } => {
                if let Some(held) = self.alerts.get_mut(&fingerprint.to_string()) {
                    held.incident = Some(*incident);
                }
            }
            Event::IncidentAcknowledged { incident, .. } => {
                if let Some(known) = self.incidents.get_mut(incident) {
                    known.acknowledged = true;
                }
            }
            Event::StepApplied { step, verify_by, .. } => {
                if let Some(known) = self.steps.get_mut(step) {
                    known.verify_by = *verify_by;
                }
            }
            Event::StepVerified { step, answer } => {
                let ladder = self.incidents.get(&step.incident).and_then(|known| known.ladder.as_ref());
                let live = ladder.is_some_and(|ladder| ladder.live);
                if let Some(known) = self.steps.get_mut(step) {
                    known.answer = Some(answer.clone());
                    known.broke_live = live && matches!(answer, Answer::Broke { .. }) && known.purpose.is_fix();
                }
            }
            Event::StepUnknown { step, .. } => {
                if let Some(known) = self.steps.get(step) {
                    self.unknown.insert(known.rung.target.key(), step.incident);
                }
            }
            Event::IncidentResolved { incident, how, .. } => {
                if !is_quiet(how) {
                    self.unknown.retain(|_, by| by != incident);
                }
                if let Some(known) = self.incidents.get_mut(incident) {
                    known.resolved = true;
                }
                self.bars.retain(|_, by| by != incident);
            }
            Event::LadderBegan { incident, rule_hash, fires_for, cooldown, .. } => {
                if let Some(known) = self.incidents.get_mut(incident) {
                    let (rule_hash, fires_for, cooldown) = (rule_hash.clone(), *fires_for, *cooldown);
                    known.ladder = Some(Ladder { rule_hash, fires_for, live: true, began_at: at, cooldown });
                }
            }
            Event::LadderEnded { incident, .. } => self.ladder_ended(*incident, at),
            Event::StepPlanned { step, purpose, rung, .. } => {
                let planned = Step {
                    purpose: purpose.clone(),
                    rung: (**rung).clone(),
                    phase: Phase::Observing,
                    plan: None,
                    asked_hash: None,
                    approved: None,
                    started_at: None,
                    started_seq: 0,
                    perform_by: Micros(0),
                    started_by: 0,
                    calls: 0,
                    took_effect: 0,
                    verify_by: Micros(0),
                    missed: false,
                    answer: None,
                    broke_live: false,
                };
                self.steps.insert(*step, planned);
            }
            Event::ApprovalAsked { step, plan, .. } => {
                if let Some(known) = self.steps.get_mut(step) {
                    known.asked_hash = Some(plan.hash.clone());
                }
            }
            Event::Approved { step, .. } => {
                if let (Some(known), Input::Command { command, .. }) = (self.steps.get_mut(step), input)
                    && let nightshift::model::input::Command::Approve { plan_hash, .. } = command
                {
                    known.approved = Some(plan_hash.clone());
                }
            }
            Event::ApprovalVoided { step, .. } => {
                if let Some(known) = self.steps.get_mut(step) {
                    known.approved = None;
                }
            }
            Event::StepStarted { step, plan, perform_by, .. } => {
                if let Some(known) = self.steps.get_mut(step) {
                    known.plan = Some((**plan).clone());
                    known.started_at = Some(at);
                    known.started_seq = seq;
                    known.perform_by = *perform_by;
                    known.started_by = process;
                    if known.purpose.is_fix() {
                        self.starts.push((at, *step));
                    }
                }
            }
            Event::Barred { incident, rule, target, .. } => {
                self.bars.insert((rule.clone(), target.clone()), *incident);
            }
            Event::Rearmed { rule, targets, .. } => {
                for target in targets {
                    self.bars.remove(&(rule.clone(), target.clone()));
                    self.unknown.remove(target);
                }
            }
            Event::Paused { .. } => self.paused = true,
            Event::Resumed { .. } => self.paused = false,
            Event::Started { .. } => self.started(at, input, policies),
            Event::ClockStepped { by } => self.clock_stepped(at, *by),
            Event::PolicyChanged { policy } => self.policy = policies.get(policy).cloned(),
            Event::Tell { letter, .. } => {
                if let Slot::Post(number) = letter.slot {
                    self.posts_owed.insert(number);
                }
            }
            Event::LetterFailed { letter, .. } => {
                if let Slot::Post(number) = letter.slot {
                    self.posts_failed.insert(number);
                }
            }
            _ => {}
        }
        if let (Input::Alert(alert), Event::AlertFired { .. } | Event::AlertResolved { .. } | Event::AlertStale) =
            (input, event)
        {
            let fires = alert.status == Status::Firing;
            self.recorded.insert((alert.fingerprint.to_string(), fires, alert.starts_at.millis()));
        }
        Ok(())
    }

    /// An empty journal has nothing to settle.
    fn started(&mut self, at: Micros, input: &Input, policies: &BTreeMap<String, Arc<Policy>>) {
        if let Input::Started { policy, .. } = input {
            self.policy = policies.get(policy).cloned();
        }
        if let (Input::Started { clean, .. }, Some(policy)) = (input, &self.policy) {
            self.restraints.started(at, *clean, policy);
        }
        self.starts_of_process += 1;
        for step in self.steps.values_mut() {
            step.missed |= step.phase == Phase::Verifying && step.verify_by <= at;
        }
        if self.starts_of_process > 1 {
            self.settles(at);
        }
    }

    /// Windows that are open go on for as long as they had.
    fn clock_stepped(&mut self, at: Micros, by: Span) {
        self.settles(at);
        if by <= Span::ZERO {
            return;
        }
        for step in self.steps.values_mut().filter(|step| step.phase == Phase::Verifying) {
            step.verify_by = step.verify_by + by;
        }
        for held in self.alerts.values_mut() {
            held.fired_at = held.fired_at + by;
        }
    }

    fn settles(&mut self, at: Micros) {
        let lasts = self.policy.as_ref().map_or(Span::ZERO, |policy| policy.spec.settle_after_start);
        self.settles_until = at + lasts;
    }

    /// The cool-down of every target that the ladder started on counts from here.
    fn ladder_ended(&mut self, id: IncidentId, at: Micros) {
        let Some(incident) = self.incidents.get_mut(&id) else { return };
        let Some(ladder) = &mut incident.ladder else { return };
        ladder.live = false;
        let (began_at, cooldown) = (ladder.began_at, ladder.cooldown);
        let rule = incident.rule.clone();
        let range = StepId { incident: id, number: 0 }..=StepId { incident: id, number: u32::MAX };
        for (_, step) in self.steps.range(range) {
            let of_this = step.started_at.is_some_and(|started| started >= began_at);
            if step.purpose.is_fix() && step.took_effect > 0 && of_this {
                self.cooldowns.insert((rule.clone(), step.rung.target.key()), at + cooldown);
            }
        }
    }
}

/// Resolved by itself, not by a person.
pub fn is_quiet(how: &HowResolved) -> bool {
    matches!(how, HowResolved::Quiet)
}
