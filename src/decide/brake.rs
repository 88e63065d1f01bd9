//! The brake: when so many targets alert at once that acting on each would make it worse, nothing acts on them.
//!
//! A target alerts when a ladder begins that may come to it. Over a set's number, or over a number of any rules' targets,
//! within a time, acting stops for the set, or for everything; and for a set all of whose members alert, however slowly it
//! came to that. One incident tells of it, one page goes out, and what opens meanwhile folds into it. Whatever is left to it
//! and is more severe makes it so, and wakes that severity's people. It goes on once it has been calm for the brake's
//! cool-down. What is remembered for all that is in [`super::fleet`].

use super::{
    Decided, Decider,
    fleet::{Alarm, On, count},
    policy::{Brake, Rule},
    state::IncidentPhase,
};
use crate::model::{
    alert::Labels,
    event::{Event, HowResolved, LadderEnd},
    id::{IncidentId, StepId},
    letter::Receiver,
    reason::Reason,
    target::{Object, Target},
    time::{Micros, Span},
};
use std::collections::BTreeSet;

/// The rule's name of the incident that tells of it. No rules file may use it.
pub const RULE: &str = "fleet-brake";
/// How often it is looked at whether it is calm.
const LOOKED_AT: Span = Span::minutes(1);
/// Incidents that are named where they fold; the rest is counted.
const NAMED: u32 = 10;

/// So many targets alert that the brake is put on.
struct Storm {
    scope: Option<String>,
    targets: u32,
    /// The alarms after this are its own.
    since: Micros,
    /// ... and whatever else still fires: every member of the set alerts.
    is_whole: bool,
}

/// The set that a target was picked from.
pub(super) fn set_of(target: &Target) -> Option<&str> {
    match &target.object {
        Object::Workload { selector: Some(_), .. } => Some(&target.name),
        Object::Workload { selector: None, .. }
        | Object::BlueGreen { .. }
        | Object::Database { .. }
        | Object::Nothing => None,
    }
}

impl Decider<'_> {
    /// A ladder began that may come to `target`, or its set was counted: is it one too many?
    pub(super) fn may_brake(&mut self, target: &Target) -> Decided {
        let Some(brake) = self.policy.spec.brake else { return Ok(()) };
        let set = set_of(target).map(str::to_owned);
        for scope in std::iter::once(None).chain(set.map(Some)) {
            if self.state.fleet.on_for(scope.as_deref()).is_some() {
                return Ok(());
            }
            if let Some(storm) = self.storm(&brake, scope) {
                return self.trip(&brake, storm);
            }
        }
        Ok(())
    }

    fn storm(&self, brake: &Brake, scope: Option<String>) -> Option<Storm> {
        let (fleet, since) = (&self.state.fleet, self.now - brake.within);
        let limit = self.limit(brake, scope.as_deref());
        // Each of them alerts: most often there are too few to look any closer.
        if fleet.alarmed_since(&scope, since).take(limit as usize).count() >= limit as usize {
            let targets = count(fleet.alarmed_since(&scope, since), limit, |_, alarm| alarm.at > since);
            if targets >= limit {
                return Some(Storm { scope, targets, since, is_whole: false });
            }
        }
        let members = fleet.members(scope.as_deref()?)?.max(2);
        if fleet.alarmed_count(&scope) < members as usize {
            return None;
        }
        let targets = self.alerting(&scope, since, members);
        (targets >= members).then_some(Storm { scope, targets, since, is_whole: true })
    }

    /// So many alerting targets are too many.
    fn limit(&self, brake: &Brake, scope: Option<&str>) -> u32 {
        let Some(set) = scope else { return brake.all.saturating_add(1) };
        // Nobody has counted yet: as if it were small.
        let Some(members) = self.state.fleet.members(set) else { return brake.at_least };
        let share = (u64::from(members) * u64::from(brake.share_percent)).div_ceil(100);
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        brake.at_least.max(share).min(members.max(2))
    }

    /// Targets that alerted after `since`, or whose incident still fires, up to `enough`.
    fn alerting(&self, scope: &Option<String>, since: Micros, enough: u32) -> u32 {
        count(self.state.fleet.alarmed(scope), enough, |id, alarm| alarm.at > since || self.fires(id))
    }

    fn trip(&mut self, brake: &Brake, storm: Storm) -> Decided {
        let targets = storm.targets;
        let words = storm.scope.as_ref().map_or("all rules".to_owned(), |set| format!("the set {set}"));
        let title = if storm.is_whole {
            format!("Brake: all {targets} targets of {words} alert")
        } else {
            format!("Brake: {targets} targets of {words} alert within {}", brake.within)
        };
        let acts = self.alarms_of(&storm).any(|(_, alarm)| alarm.acts);
        let told = self.state.fleet.told_in().find(|id| self.state.tells_of_a_storm(*id));
        let incident = match told {
            Some(incident) => incident,
            None => self.open_fleet_incident(&storm, title.clone())?,
        };
        let scope = storm.scope;
        let look_at = self.now + LOOKED_AT;
        self.emit(Event::Braked { set: scope.clone(), incident, targets, look_at })?;
        let reason = Reason::Braked { by: incident, set: scope.clone(), targets };
        self.touched.insert(incident);
        let goes_on = format!("Nothing acts on them until it has been calm for {}.", brake.cooldown);
        match told {
            // One page for one storm, however wide it becomes.
            Some(_) => self.post(incident, format!("{title}. {goes_on}"))?,
            None if acts => {
                self.post(incident, goes_on)?;
                self.page(incident, reason.clone())?;
            }
            None => self.post(incident, format!("{goes_on} In shadow mode nobody is woken for it."))?,
        }
        for id in self.unstarted_in(scope.as_deref()) {
            self.stop_ladder(id, reason.clone())?;
        }
        Ok(())
    }

    fn alarms_of<'a>(&'a self, storm: &'a Storm) -> impl Iterator<Item = (IncidentId, &'a Alarm)> {
        let alarms = self.state.fleet.alarms(&storm.scope);
        alarms.filter(|(id, alarm)| alarm.at > storm.since || storm.is_whole && self.fires(*id))
    }

    /// The brake stops a rule that would have acted: the storm's one page is for it too. Where nobody has it, or it tells of
    /// nothing any more, or it was less severe until now, people are woken.
    pub(super) fn left_to_the_storm(&mut self, id: IncidentId, storm: IncidentId, reason: Reason) -> Decided {
        if !self.state.tells_of_a_storm(storm) {
            return self.page(id, reason);
        }
        self.raise_the_storm(id, storm, &reason)?;
        let woken = self.state.incidents.get(&storm).is_some_and(|it| it.pages > 0 || it.acknowledged_by.is_some());
        if !woken {
            self.page(storm, reason.clone())?;
        }
        let says = reason.says(&self.policy.zone);
        self.post(id, format!("Not acting: {says}."))
    }

    /// An incident became more severe: so does the storm that it was left to.
    pub(super) fn more_severe(&mut self, id: IncidentId) -> Decided {
        self.raise_its_parent(id)?;
        self.raised_by_itself(id)?;
        let ended = self.state.incidents.get(&id).and_then(|incident| incident.ladder.as_ref()?.ended.as_ref());
        match ended.cloned() {
            Some(LadderEnd::HandedOver { reason: reason @ Reason::Braked { by, .. } })
                if self.state.tells_of_a_storm(by) && !self.ladder_is_shadow(id) =>
            {
                self.raise_the_storm(id, by, &reason)
            }
            _ => Ok(()),
        }
    }

    /// Whoever has the storm took it for something less severe than what is left to it: the severity's people are woken.
    fn raise_the_storm(&mut self, id: IncidentId, storm: IncidentId, reason: &Reason) -> Decided {
        let (Some(left), Some(told)) = (self.state.incidents.get(&id), self.state.incidents.get(&storm)) else {
            return Ok(());
        };
        if left.rank >= told.rank {
            return Ok(());
        }
        let (severity, rank) = (left.severity.clone(), left.rank);
        let had_it = told.acknowledged_by.clone();
        self.touched.insert(storm);
        self.emit(Event::SeverityChanged { incident: storm, severity: severity.clone(), rank })?;
        let void = match had_it {
            None => String::new(),
            Some(by) => {
                self.emit(Event::AcknowledgeVoided { incident: storm })?;
                format!(" {by} had it as something less severe: who has it now?")
            }
        };
        self.post(storm, format!("It is {severity} now: incident {id} belongs to it.{void}"))?;
        self.escalate_anew(storm)?;
        self.page(storm, reason.clone())
    }

    fn open_fleet_incident(&mut self, storm: &Storm, title: String) -> Result<IncidentId, super::Illegal> {
        let incidents = self.alarms_of(storm).filter_map(|(id, _)| self.state.incidents.get(&id));
        let worst = incidents.min_by_key(|it| it.rank);
        let (severity, rank) = worst.map_or((String::new(), 0), |it| (it.severity.clone(), it.rank));
        let mentions = self.policy.severity(&severity).map(|(_, found)| found.mentions.clone()).unwrap_or_default();
        let key = serde_json::to_string(&[("set", storm.scope.as_deref().unwrap_or("all"))]).unwrap_or_default();
        let incident = IncidentId(self.state.last_incident + 1);
        let receiver = self.policy.spec.slack_channel.clone().map(|channel| Receiver::Slack { channel });
        self.emit(Event::IncidentOpened {
            incident,
            rule: RULE.to_owned(),
            key,
            severity,
            rank,
            title,
            service: None,
            runbook: None,
            quiet: Span::ZERO,
            receiver,
            mentions,
            parent: None,
            impact: None,
            security: None,
        })?;
        Ok(incident)
    }

    /// Incidents whose fixes have not started, in the scope.
    fn unstarted_in(&self, scope: Option<&str>) -> BTreeSet<IncidentId> {
        let waits = |step: &StepId| {
            self.state.steps.get(step).is_some_and(|step| {
                let is_in = scope.is_none() || set_of(&step.rung.target) == scope;
                step.purpose.is_fix() && !step.phase.is_started() && is_in
            })
        };
        self.state.live_steps().filter(waits).map(|step| step.incident).collect()
    }

    /// The incident that an alert's new incident folds into: its target is one of those that are braked.
    pub(super) fn folds_into(&self, rule: &Rule, labels: &Labels) -> Option<IncidentId> {
        // Most often it is off, and nothing need be looked up.
        self.state.fleet.scopes().next()?;
        let rungs = self.policy.ladder(rule, labels).ok()?;
        let target = &rungs.first()?.target;
        let storm = self.state.fleet.on_for(set_of(target)).map(|(_, on)| on.incident);
        storm.filter(|storm| self.state.tells_of_a_storm(*storm))
    }

    /// Tells in the storm's incident, not in one of its own.
    pub(super) fn fold(&mut self, incident: IncidentId, into: IncidentId, title: &str) -> Decided {
        self.emit(Event::IncidentFolded { incident, into })?;
        match self.state.fleet.folded(into) {
            0..NAMED => self.post(into, format!("Incident {incident} belongs to it: {title}.")),
            NAMED => self.post(into, "More incidents belong to it: `nightshift incidents` lists them.".into()),
            _ => Ok(()),
        }
    }

    /// Has it been calm for the cool-down?
    pub(super) fn brake_due(&mut self, scope: &Option<String>) -> Decided {
        let Some(on) = self.state.fleet.on(scope).cloned() else { return Ok(()) };
        let Some(brake) = self.policy.spec.brake else { return self.release(scope, &on, "the rules have none now") };
        let limit = self.limit(&brake, scope.as_deref());
        let is_calm = |within: Span| self.alerting(scope, self.now - within, limit) < limit;
        let (calm_since, look_at) = match on.calm_since {
            _ if !is_calm(brake.within) => (None, self.now + LOOKED_AT),
            None => (Some(self.now), self.now + brake.cooldown),
            Some(since) if since + brake.cooldown > self.now => (Some(since), since + brake.cooldown),
            Some(_) if !is_calm(brake.cooldown) => (Some(self.now), self.now + brake.cooldown),
            Some(_) => return self.release(scope, &on, &format!("it has been calm for {}", brake.cooldown)),
        };
        self.emit(Event::BrakeKept { set: scope.clone(), calm_since, look_at })
    }

    fn release(&mut self, scope: &Option<String>, on: &On, why: &str) -> Decided {
        let alarms = self.state.fleet.alarms(scope);
        let firing: BTreeSet<IncidentId> = alarms.map(|(id, _)| id).filter(|id| self.fires(*id)).collect();
        self.emit(Event::BrakeReleased { set: scope.clone() })?;
        self.touched.insert(on.incident);
        // What still fires has messages of its own from here on.
        self.touched.extend(&firing);
        let mut text = format!("The brake is off: {why}.");
        if !firing.is_empty() {
            let named: Vec<String> = firing.iter().take(NAMED as usize).map(ToString::to_string).collect();
            text += &format!(" {} incidents still fire, and are people's: {}.", firing.len(), named.join(", "));
        }
        self.post(on.incident, text)?;
        let is_told_elsewhere = self.state.fleet.tells(on.incident);
        let is_open = self.state.incidents.get(&on.incident).is_some_and(|it| it.phase != IncidentPhase::Resolved);
        if is_open && !is_told_elsewhere { self.resolve_incident(on.incident, HowResolved::Quiet) } else { Ok(()) }
    }
}
