//! The brake: when so many targets alert at once that acting on each would make it worse, nothing acts on them.
//!
//! A target alerts when a ladder begins for it. Over a set's number, or over a number of any rules' targets, acting stops
//! for the set, or for everything; one incident tells of it, one page goes out, and what opens meanwhile folds into it.
//! It goes on once it has been calm for the brake's cool-down.

use super::{
    Decided, Decider,
    policy::{Brake, Rule},
    state::IncidentPhase,
};
use crate::model::{
    alert::Labels,
    event::{Event, HowResolved},
    id::{IncidentId, StepId},
    letter::Receiver,
    pairs,
    reason::Reason,
    rung::Rung,
    target::{Object, Target, TargetKey},
    time::{Micros, Span},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The rule's name of the incident that tells of it. No rules file may use it.
pub const RULE: &str = "fleet-brake";
/// How often it is looked at whether it is calm.
const LOOKED_AT: Span = Span::minutes(1);
/// Alarms that are remembered: no brake may look back further.
pub const REMEMBERED: Span = Span::hours(24);
/// Incidents that are named where they fold; the rest is counted.
const NAMED: u32 = 10;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Fleet {
    #[serde(with = "pairs")]
    alarms: BTreeMap<TargetKey, Alarm>,
    /// The same by their time.
    times: BTreeSet<(Micros, TargetKey)>,
    /// How many members a set had when it was last observed.
    members: BTreeMap<String, u32>,
    /// Where the brake is on; None: for everything.
    #[serde(with = "pairs")]
    on: BTreeMap<Option<String>, On>,
}

/// A target alerted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Alarm {
    at: Micros,
    set: Option<String>,
    incident: IncidentId,
    /// Its rule does more than to say what it would do.
    acts: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct On {
    /// Tells of it.
    pub incident: IncidentId,
    pub targets: u32,
    pub folded: u32,
    pub calm_since: Option<Micros>,
}

impl Fleet {
    pub(super) fn alarm(&mut self, rung: &Rung, incident: IncidentId, at: Micros) {
        let target = rung.target.key();
        let acts = rung.mode != crate::model::mode::Mode::Shadow;
        let alarm = Alarm { at, set: set_of(&rung.target).map(str::to_owned), incident, acts };
        if let Some(before) = self.alarms.insert(target.clone(), alarm) {
            self.times.remove(&(before.at, target.clone()));
        }
        self.times.insert((at, target));
        while let Some((oldest, target)) = self.times.first().filter(|(oldest, _)| *oldest + REMEMBERED < at).cloned() {
            self.times.remove(&(oldest, target.clone()));
            self.alarms.remove(&target);
        }
    }

    /// The clock went forward, and no time passed.
    pub(super) fn clock_stepped(&mut self, by: Span) {
        self.alarms.values_mut().for_each(|alarm| alarm.at = alarm.at + by);
        self.times = std::mem::take(&mut self.times).into_iter().map(|(at, target)| (at + by, target)).collect();
    }

    pub(super) fn counted(&mut self, set: &str, members: u32) {
        self.members.insert(set.to_owned(), members);
    }

    pub(super) fn brake(&mut self, scope: Option<String>, incident: IncidentId, targets: u32) {
        self.on.insert(scope, On { incident, targets, folded: 0, calm_since: None });
    }

    pub(super) fn keep(&mut self, scope: &Option<String>, calm_since: Option<Micros>) {
        if let Some(on) = self.on.get_mut(scope) {
            on.calm_since = calm_since;
        }
    }

    pub(super) fn release(&mut self, scope: &Option<String>) {
        self.on.remove(scope);
    }

    pub(super) fn fold(&mut self, into: IncidentId) {
        if let Some(on) = self.on.values_mut().find(|on| on.incident == into) {
            on.folded = on.folded.saturating_add(1);
        }
    }

    /// What stops acting on a target of `set`: the brake for everything before the set's own.
    pub(super) fn on_for<'a>(&'a self, set: Option<&'a str>) -> Option<(Option<&'a str>, &'a On)> {
        let all = self.on.get(&None).map(|on| (None, on));
        all.or_else(|| set.and_then(|set| self.on.get(&Some(set.to_owned())).map(|on| (Some(set), on))))
    }

    pub(super) fn tells(&self, incident: IncidentId) -> bool {
        self.on.values().any(|on| on.incident == incident)
    }

    /// Where the brake is on, for people; None: everywhere.
    pub(super) fn scopes(&self) -> impl Iterator<Item = Option<&str>> {
        self.on.keys().map(Option::as_deref)
    }

    /// Distinct targets that alerted after `since`, newest first.
    fn alarms_since(&self, scope: Option<&str>, since: Micros) -> impl Iterator<Item = &Alarm> {
        let newest = self.times.iter().rev().take_while(move |(at, _)| *at > since);
        let alarms = newest.filter_map(|(_, target)| self.alarms.get(target));
        alarms.filter(move |alarm| scope.is_none() || alarm.set.as_deref() == scope)
    }

    /// So many alerting targets are too many.
    fn limit(&self, brake: &Brake, scope: Option<&str>) -> u32 {
        let Some(set) = scope else { return brake.all.saturating_add(1) };
        // Nobody has counted yet: as if it were small.
        let Some(members) = self.members.get(set).copied() else { return brake.at_least };
        let share = (u64::from(members) * u64::from(brake.share_percent)).div_ceil(100);
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        brake.at_least.max(share).min(members.max(2))
    }
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

fn count(alarms: usize) -> u32 {
    u32::try_from(alarms).unwrap_or(u32::MAX)
}

impl Decider<'_> {
    /// A ladder began on `target`: is it one too many?
    pub(super) fn may_brake(&mut self, target: &Target) -> Decided {
        let Some(brake) = self.policy.spec.brake else { return Ok(()) };
        let since = self.now - brake.within;
        let set = set_of(target).map(str::to_owned);
        for scope in std::iter::once(None).chain(set.map(Some)) {
            if self.state.fleet.on_for(scope.as_deref()).is_some() {
                return Ok(());
            }
            let limit = self.state.fleet.limit(&brake, scope.as_deref());
            let alarms = self.state.fleet.alarms_since(scope.as_deref(), since);
            let targets = count(alarms.take(limit as usize).count());
            if targets >= limit {
                return self.trip(&brake, scope, targets);
            }
        }
        Ok(())
    }

    fn trip(&mut self, brake: &Brake, scope: Option<String>, targets: u32) -> Decided {
        let words = scope.as_ref().map_or("all rules".to_owned(), |set| format!("the set {set}"));
        let title = format!("Brake: {targets} targets of {words} alert within {}", brake.within);
        let since = self.now - brake.within;
        let acts = self.state.fleet.alarms_since(scope.as_deref(), since).any(|alarm| alarm.acts);
        let told = self.state.fleet.on.values().map(|on| on.incident).find(|id| self.state.tells_of_a_storm(*id));
        let incident = match told {
            Some(incident) => incident,
            None => self.open_fleet_incident(scope.as_deref(), since, title.clone())?,
        };
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

    /// The brake stops a rule that would have acted: the storm's one page is for it too. Where nobody has it, or it tells of
    /// nothing any more, people are woken now.
    pub(super) fn left_to_the_storm(&mut self, id: IncidentId, storm: IncidentId, reason: Reason) -> Decided {
        if !self.state.tells_of_a_storm(storm) {
            return self.page(id, reason);
        }
        let woken = self.state.incidents.get(&storm).is_some_and(|it| it.pages > 0 || it.acknowledged_by.is_some());
        if !woken {
            self.page(storm, reason.clone())?;
        }
        let says = reason.says(&self.policy.zone);
        self.post(id, format!("Not acting: {says}."))
    }

    fn open_fleet_incident(
        &mut self,
        scope: Option<&str>,
        since: Micros,
        title: String,
    ) -> Result<IncidentId, super::Illegal> {
        let alarms = self.state.fleet.alarms_since(scope, since);
        let worst = alarms.filter_map(|alarm| self.state.incidents.get(&alarm.incident)).min_by_key(|it| it.rank);
        let (severity, rank) = worst.map_or((String::new(), 0), |it| (it.severity.clone(), it.rank));
        let mentions = self.policy.severity(&severity).map(|(_, found)| found.mentions.clone()).unwrap_or_default();
        let key = serde_json::to_string(&[("set", scope.unwrap_or("all"))]).unwrap_or_default();
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
        if self.state.fleet.on.is_empty() {
            return None;
        }
        let rungs = self.policy.ladder(rule, labels).ok()?;
        let target = &rungs.first()?.target;
        let storm = self.state.fleet.on_for(set_of(target)).map(|(_, on)| on.incident);
        storm.filter(|storm| self.state.tells_of_a_storm(*storm))
    }

    /// Tells in the storm's incident, not in one of its own.
    pub(super) fn fold(&mut self, incident: IncidentId, into: IncidentId, title: &str) -> Decided {
        self.emit(Event::IncidentFolded { incident, into })?;
        let folded = self.state.fleet.on.values().find(|on| on.incident == into).map_or(0, |on| on.folded);
        match folded {
            0..NAMED => self.post(into, format!("Incident {incident} belongs to it: {title}.")),
            NAMED => self.post(into, "More incidents belong to it: `nightshift incidents` lists them.".into()),
            _ => Ok(()),
        }
    }

    /// Has it been calm for the cool-down?
    pub(super) fn brake_due(&mut self, scope: &Option<String>) -> Decided {
        let Some(on) = self.state.fleet.on.get(scope).cloned() else { return Ok(()) };
        let Some(brake) = self.policy.spec.brake else { return self.release(scope, &on, "the rules have none now") };
        let limit = self.state.fleet.limit(&brake, scope.as_deref());
        let is_calm = |within: Span| count(self.alerting(scope.as_deref(), self.now - within).len()) < limit;
        let (calm_since, look_at) = match on.calm_since {
            _ if !is_calm(brake.within) => (None, self.now + LOOKED_AT),
            None => (Some(self.now), self.now + brake.cooldown),
            Some(since) if since + brake.cooldown > self.now => (Some(since), since + brake.cooldown),
            Some(_) if !is_calm(brake.cooldown) => (Some(self.now), self.now + brake.cooldown),
            Some(_) => return self.release(scope, &on, &format!("it has been calm for {}", brake.cooldown)),
        };
        self.emit(Event::BrakeKept { set: scope.clone(), calm_since, look_at })
    }

    /// Targets that alerted after `since`, or whose incident still fires.
    fn alerting(&self, scope: Option<&str>, since: Micros) -> BTreeSet<&TargetKey> {
        let fires = |alarm: &Alarm| self.fires(alarm.incident);
        let alarms = self.state.fleet.alarms.iter();
        let alarms = alarms.filter(|(_, alarm)| scope.is_none() || alarm.set.as_deref() == scope);
        alarms.filter(|(_, alarm)| alarm.at > since || fires(alarm)).map(|(target, _)| target).collect()
    }

    fn release(&mut self, scope: &Option<String>, on: &On, why: &str) -> Decided {
        let alarms = self.state.fleet.alarms.values();
        let alarms = alarms.filter(|alarm| scope.is_none() || alarm.set == *scope);
        let firing: BTreeSet<IncidentId> = alarms.map(|alarm| alarm.incident).filter(|id| self.fires(*id)).collect();
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
