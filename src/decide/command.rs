//! What people ask for: acknowledge, resolve, approve, reject, undo, rearm, leases, pause, resume.
//!
//! A refusal is an event with its reason: told to the person, and journalled.

use super::{Decided, Decider, state::IncidentPhase};
use crate::model::{
    event::{Event, HowResolved, LadderEnd},
    id::{IncidentId, StepId},
    input::{Command, Via},
    reason::Reason,
    step::{Answer, Phase},
    target::TargetKey,
    time::Micros,
};
use std::collections::BTreeSet;

impl Decider<'_> {
    pub(super) fn command(&mut self, by: &str, via: &Via, command: &Command) -> Decided {
        if let Via::Slack(person) = via {
            // The message shows again what can be asked for now, whatever comes of this.
            self.touched.extend(incident_of(command).filter(|id| self.state.incidents.contains_key(id)));
            if let Some(why) = self.heard(person, command)? {
                return self.refuse(why);
            }
        }
        match command {
            Command::Acknowledge { incident } => self.acknowledge(by, *incident),
            Command::Resolve { incident } => self.close(by, *incident),
            Command::Publish { incident } => self.publish(by, *incident),
            Command::Approve { step, plan_hash } => self.approve(by, *step, plan_hash),
            Command::Reject { step } => self.reject(by, *step),
            Command::Undo { step } => self.undo(by, *step),
            Command::Rearm { rule, target } => self.rearm(by, rule, target.as_deref()),
            Command::ExtendLease { step, by: longer } => self.extend_lease(by, *step, *longer),
            Command::EndLease { step } => self.end_lease_now(by, *step),
            Command::NotHeard { why, .. } => self.refuse(why.clone()),
            Command::Pause { reason } => self.pause(by, reason.clone()),
            Command::Resume { pause_file_present } => self.resume(by, *pause_file_present),
        }
    }

    pub(super) fn refuse(&mut self, reason: String) -> Decided {
        self.emit(Event::CommandRefused { reason })
    }

    /// Who has one incident of a story has all of it.
    fn acknowledge(&mut self, by: &str, id: IncidentId) -> Decided {
        let id = self.state.root_of(id);
        match self.state.incidents.get(&id) {
            None => self.refuse(format!("there is no incident {id}")),
            Some(incident) if incident.phase == IncidentPhase::Resolved => {
                self.refuse(format!("incident {id} is resolved"))
            }
            Some(incident) => match &incident.acknowledged_by {
                Some(earlier) => self.refuse(format!("{earlier} has acknowledged it already")),
                None => self.taken(id, by),
            },
        }
    }

    /// Somebody has it from here on, wherever they said so.
    pub(super) fn taken(&mut self, id: IncidentId, by: &str) -> Decided {
        let id = self.state.root_of(id);
        self.touched.insert(id);
        self.emit(Event::IncidentAcknowledged { incident: id, by: by.to_owned() })?;
        for child in self.state.open_children(id) {
            self.touched.insert(child);
            self.emit(Event::IncidentAcknowledged { incident: child, by: by.to_owned() })?;
        }
        self.post(id, format!("{by} has it. A running step is verified; a new one needs an approval."))?;
        self.keep_updating(id)
    }

    pub(super) fn close(&mut self, by: &str, id: IncidentId) -> Decided {
        match self.state.incidents.get(&id) {
            None => return self.refuse(format!("there is no incident {id}")),
            Some(incident) if incident.phase == IncidentPhase::Resolved => {
                return self.refuse(format!("incident {id} is resolved already"));
            }
            Some(_) => {}
        }
        self.close_children(id, by)?;
        self.stop_ladder(id, Reason::Closed { by: by.to_owned() })?;
        let is_root = self.state.root_of(id) == id;
        if is_root {
            self.post(id, format!("{by} resolved it."))?;
        }
        self.resolve_incident(id, HowResolved::ByPerson { by: by.to_owned() })
    }

    fn approve(&mut self, by: &str, id: StepId, plan_hash: &str) -> Decided {
        let Some(step) = self.state.steps.get(&id) else { return self.refuse(format!("there is no step {id}")) };
        if step.phase != Phase::Asking {
            let phase = step.phase.word();
            return match &step.approved_by {
                Some(earlier) => self.refuse(format!("{earlier} has approved step {id} already (it is {phase})")),
                None => self.refuse(format!("step {id} does not wait for an approval (it is {phase})")),
            };
        }
        if step.plan.as_ref().is_none_or(|plan| plan.hash != plan_hash) {
            return self.refuse(format!("step {id} has another plan than the one you saw: look again"));
        }
        if step.approval_until.is_none_or(|until| until < self.now) {
            return self.refuse(format!("the approval of step {id} has expired"));
        }
        self.touched.insert(id.incident);
        self.emit(Event::Approved { step: id, by: by.to_owned() })?;
        self.post(id.incident, format!("{by} approved step {id}."))
    }

    fn reject(&mut self, by: &str, id: StepId) -> Decided {
        let Some(step) = self.state.steps.get(&id) else { return self.refuse(format!("there is no step {id}")) };
        if step.phase.is_started() || step.phase.is_terminal() {
            let phase = step.phase.word();
            return self.refuse(format!("step {id} can't be rejected any more (it is {phase})"));
        }
        let is_fix = step.purpose.is_fix();
        let target = step.rung.target.key();
        if is_fix {
            self.bar(by, id.incident, target)?;
        }
        self.post(id.incident, format!("{by} rejected step {id}."))?;
        self.drop_step(id, Reason::Rejected { by: by.to_owned() })
    }

    fn undo(&mut self, by: &str, id: StepId) -> Decided {
        if let Some(why) = self.not_undoable(id) {
            return self.refuse(why);
        }
        let verifying = self.state.steps.get(&id).is_some_and(|step| step.phase == Phase::Verifying);
        // What waits to do it by itself need not wait for this person.
        if self.automatic_undo_waits(id) {
            self.drop_unstarted_undo(id.incident, &Reason::Undone { by: by.to_owned() })?;
        }
        let target = self.state.steps.get(&id).map(|step| step.rung.target.key());
        let is_over =
            self.state.incidents.get(&id.incident).is_some_and(|incident| incident.phase == IncidentPhase::Resolved);
        if let (Some(target), false) = (target, is_over) {
            self.bar(by, id.incident, target)?;
        }
        self.drop_unstarted(id.incident, &Reason::Undone { by: by.to_owned() })?;
        self.end_ladder(id.incident, LadderEnd::Vetoed { by: by.to_owned() })?;
        if verifying {
            let why = format!("{by} undid it");
            self.emit(Event::StepVerified { step: id, answer: Answer::Inconclusive { why } })?;
        }
        let bars = if is_over { "" } else { " Its rule stays away from the target until the incident is resolved." };
        self.post(id.incident, format!("{by} undoes step {id}.{bars}"))?;
        self.plan_undo(id, Some(by.to_owned()))
    }

    /// Why a step can't be undone by a person, if it can't.
    fn not_undoable(&self, id: StepId) -> Option<String> {
        let Some(step) = self.state.steps.get(&id) else { return Some(format!("there is no step {id}")) };
        let Some(until) = self.undo_until(id) else {
            return Some(if step.purpose.is_fix() {
                match step.phase {
                    Phase::Verifying | Phase::Verified | Phase::Ineffective | Phase::Inconclusive => {
                        format!("{} has no undo", step.rung.action)
                    }
                    Phase::Acting | Phase::ReadBack | Phase::Unknown => {
                        let phase = step.phase.word();
                        format!("nobody knows whether step {id} changed anything (it is {phase}): look at the target")
                    }
                    other => format!("step {id} has changed nothing (it is {})", other.word()),
                }
            } else {
                "an undo is not undone".into()
            });
        };
        if until < self.now {
            return Some(format!("step {id} could be undone until {}", until.in_zone(&self.policy.zone)));
        }
        let undone = step.undone_by.and_then(|undo| self.state.steps.get(&undo).map(|step| (undo, step.phase)));
        match undone {
            Some((undo, phase))
                if !matches!(phase, Phase::Dropped | Phase::Failed) && !self.automatic_undo_waits(id) =>
            {
                Some(format!("step {undo} undoes it already (it is {})", phase.word()))
            }
            _ => None,
        }
    }

    /// The ladder's own undo of a step is planned and has not started: it is held by a pause, a lock or a slot.
    fn automatic_undo_waits(&self, id: StepId) -> bool {
        let undo = self.state.steps.get(&id).and_then(|step| self.state.steps.get(&step.undone_by?));
        undo.is_some_and(|undo| !undo.purpose.is_by_person() && !undo.phase.is_started() && !undo.phase.is_terminal())
    }

    /// Until when a person may undo a step, if its kind can be undone.
    pub(super) fn undo_until(&self, id: StepId) -> Option<Micros> {
        super::view::undo_until(self.state, id)
    }

    fn bar(&mut self, by: &str, incident: IncidentId, target: TargetKey) -> Decided {
        let Some(rule) = self.state.incidents.get(&incident).map(|incident| incident.rule.clone()) else {
            return Ok(());
        };
        self.touched.insert(incident);
        self.emit(Event::Barred { incident, rule, target, by: by.to_owned() })
    }

    fn rearm(&mut self, by: &str, rule: &str, target: Option<&str>) -> Decided {
        let is_meant =
            |key: &TargetKey| target.is_none_or(|wanted| key.0 == wanted || key.0.ends_with(&format!("/{wanted}")));
        let barred =
            self.state.barred.keys().filter(|(of, key)| of == rule && is_meant(key)).map(|(_, key)| key.clone());
        let locked = self.state.locks.iter().filter(|(key, lock)| {
            let of = self.state.incidents.get(&lock.incident).map(|incident| incident.rule.as_str());
            lock.unknown && of == Some(rule) && is_meant(key)
        });
        let disarmed: Vec<Option<&TargetKey>> = self.state.records.disarmed_of(rule).collect();
        // As a whole it is rearmed only by a word that names no target.
        let whole = target.is_none() && disarmed.contains(&None);
        let disarmed = disarmed.into_iter().flatten().filter(|key| is_meant(key)).cloned();
        let targets: BTreeSet<TargetKey> = barred.chain(locked.map(|(key, _)| key.clone())).chain(disarmed).collect();
        if targets.is_empty() && target.is_some() && self.state.records.disarmed_of(rule).any(|of| of.is_none()) {
            return self.refuse(format!("rule {rule} is disarmed as a whole: nightshift rearm {rule}"));
        }
        if targets.is_empty() && !whole {
            return self
                .refuse(format!("nothing of rule {rule} is barred, disarmed or held by an unknown outcome there"));
        }
        let mut names: Vec<&str> = targets.iter().map(|target| target.0.as_str()).collect();
        if whole {
            names.insert(0, "every target");
        }
        let text = format!("{by} rearmed rule {rule} for {}.", names.join(", "));
        let targets = targets.into_iter().collect();
        self.emit(Event::Rearmed { rule: rule.to_owned(), targets, whole, by: by.to_owned() })?;
        self.tell_all(text)
    }
}

/// The incident whose message somebody clicked on.
pub(super) fn incident_of(command: &Command) -> Option<IncidentId> {
    match command {
        Command::Acknowledge { incident } | Command::Resolve { incident } | Command::Publish { incident } => {
            Some(*incident)
        }
        Command::Approve { step, .. }
        | Command::Reject { step }
        | Command::Undo { step }
        | Command::ExtendLease { step, .. }
        | Command::EndLease { step } => Some(step.incident),
        Command::Rearm { .. } | Command::Pause { .. } | Command::Resume { .. } | Command::NotHeard { .. } => None,
    }
}
