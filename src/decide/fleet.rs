//! What the brake remembers: which targets alerted when, and for which incidents; how many members sets have; where it is
//! on. It decides nothing: that is [`super::brake`]'s.
//!
//! An alarm is one (target, incident): another incident on the same target neither renews nor ends it. It is remembered for
//! as long as its incident is, which is longer than any brake looks back.

use super::brake::set_of;
use crate::model::{
    id::IncidentId,
    mode::Mode,
    pairs,
    rung::Rung,
    target::TargetKey,
    time::{Micros, Span},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Fleet {
    /// By the set that the target was picked from; None: all of them.
    #[serde(with = "pairs")]
    alarms: BTreeMap<Option<String>, Alarms>,
    /// Where each incident has alarms: they are forgotten with it.
    of: BTreeMap<IncidentId, BTreeSet<(Option<String>, TargetKey)>>,
    /// How many members a set had when it was last observed.
    members: BTreeMap<String, u32>,
    /// Where the brake is on; None: for everything.
    #[serde(with = "pairs")]
    on: BTreeMap<Option<String>, On>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Alarms {
    #[serde(with = "pairs")]
    targets: BTreeMap<TargetKey, Alarmed>,
    /// The same by the time of their latest alarm.
    times: BTreeSet<(Micros, TargetKey)>,
}

/// A target that alerted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Alarmed {
    latest: Micros,
    pub incidents: BTreeMap<IncidentId, Alarm>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Alarm {
    pub at: Micros,
    /// The rung does more than to say what it would do.
    pub acts: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct On {
    /// Tells of it.
    pub incident: IncidentId,
    pub targets: u32,
    pub folded: u32,
    pub calm_since: Option<Micros>,
}

impl Alarms {
    fn add(&mut self, target: &TargetKey, incident: IncidentId, alarm: Alarm) {
        let known = self.targets.entry(target.clone()).or_default();
        // Two rungs on one target: it acts if one of them does.
        let at_once = known.incidents.get(&incident).is_some_and(|before| before.at == alarm.at && before.acts);
        known.incidents.insert(incident, Alarm { acts: alarm.acts || at_once, ..alarm });
        self.times.remove(&(known.latest, target.clone()));
        known.latest = known.latest.max(alarm.at);
        self.times.insert((known.latest, target.clone()));
    }

    fn forget(&mut self, target: &TargetKey, incident: IncidentId) {
        let Some(known) = self.targets.get_mut(target) else { return };
        known.incidents.remove(&incident);
        self.times.remove(&(known.latest, target.clone()));
        match known.incidents.values().map(|alarm| alarm.at).max() {
            Some(latest) => {
                known.latest = latest;
                self.times.insert((latest, target.clone()));
            }
            None => {
                self.targets.remove(target);
            }
        }
    }
}

impl Fleet {
    /// A ladder began: every target that it may come to alerts.
    pub(super) fn alarm(&mut self, rungs: &[Rung], incident: IncidentId, at: Micros) {
        for rung in rungs {
            let target = rung.target.key();
            let alarm = Alarm { at, acts: rung.mode != Mode::Shadow };
            for scope in std::iter::once(None).chain(set_of(&rung.target).map(|set| Some(set.to_owned()))) {
                self.alarms.entry(scope.clone()).or_default().add(&target, incident, alarm);
                self.of.entry(incident).or_default().insert((scope, target.clone()));
            }
        }
    }

    /// The clock went forward, and no time passed.
    pub(super) fn clock_stepped(&mut self, by: Span) {
        for alarms in self.alarms.values_mut() {
            for alarmed in alarms.targets.values_mut() {
                alarmed.latest = alarmed.latest + by;
                alarmed.incidents.values_mut().for_each(|alarm| alarm.at = alarm.at + by);
            }
            alarms.times = std::mem::take(&mut alarms.times).into_iter().map(|(at, key)| (at + by, key)).collect();
        }
    }

    pub(super) fn forget(&mut self, incident: IncidentId) {
        for (scope, target) in self.of.remove(&incident).unwrap_or_default() {
            if let Some(alarms) = self.alarms.get_mut(&scope) {
                alarms.forget(&target, incident);
                if alarms.targets.is_empty() {
                    self.alarms.remove(&scope);
                }
            }
        }
    }

    pub(super) fn counted(&mut self, set: &str, members: u32) {
        self.members.insert(set.to_owned(), members);
    }

    /// How many members a set had when it was last observed. None: nobody has counted yet.
    pub(super) fn members(&self, set: &str) -> Option<u32> {
        self.members.get(set).copied()
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

    pub(super) fn on(&self, scope: &Option<String>) -> Option<&On> {
        self.on.get(scope)
    }

    /// The incidents that tell of a brake that is on.
    pub(super) fn told_in(&self) -> impl Iterator<Item = IncidentId> {
        self.on.values().map(|on| on.incident)
    }

    /// What stops acting on a target of `set`: the brake for everything before the set's own.
    pub(super) fn on_for<'a>(&'a self, set: Option<&'a str>) -> Option<(Option<&'a str>, &'a On)> {
        let all = self.on.get(&None).map(|on| (None, on));
        all.or_else(|| set.and_then(|set| self.on.get(&Some(set.to_owned())).map(|on| (Some(set), on))))
    }

    pub(super) fn tells(&self, incident: IncidentId) -> bool {
        self.told_in().any(|told| told == incident)
    }

    /// Incidents that folded into the one that tells of a brake.
    pub(super) fn folded(&self, into: IncidentId) -> u32 {
        self.on.values().find(|on| on.incident == into).map_or(0, |on| on.folded)
    }

    /// Where the brake is on, for people; None: everywhere.
    pub(super) fn scopes(&self) -> impl Iterator<Item = Option<&str>> {
        self.on.keys().map(Option::as_deref)
    }

    /// Targets that alerted after `since`, the latest first.
    pub(super) fn alarmed_since(&self, scope: &Option<String>, since: Micros) -> impl Iterator<Item = &Alarmed> {
        let alarms = self.alarms.get(scope).into_iter();
        alarms.flat_map(move |alarms| {
            let latest = alarms.times.iter().rev().take_while(move |(at, _)| *at > since);
            latest.filter_map(|(_, target)| alarms.targets.get(target))
        })
    }

    /// All targets whose alarms are remembered.
    pub(super) fn alarmed(&self, scope: &Option<String>) -> impl Iterator<Item = &Alarmed> {
        self.alarms.get(scope).into_iter().flat_map(|alarms| alarms.targets.values())
    }

    pub(super) fn alarmed_count(&self, scope: &Option<String>) -> usize {
        self.alarms.get(scope).map_or(0, |alarms| alarms.targets.len())
    }

    /// All alarms that are remembered, by the incidents that they are of.
    pub(super) fn alarms(&self, scope: &Option<String>) -> impl Iterator<Item = (IncidentId, &Alarm)> {
        self.alarmed(scope).flat_map(|target| target.incidents.iter().map(|(id, alarm)| (*id, alarm)))
    }
}

/// How many of these targets alert, looked for up to `enough`. No more than incidents do: a ladder over many targets is one
/// trouble, not many.
pub(super) fn count<'a>(
    targets: impl Iterator<Item = &'a Alarmed>,
    enough: u32,
    alerts: impl Fn(IncidentId, &Alarm) -> bool,
) -> u32 {
    let (mut found, mut incidents) = (0_u32, BTreeSet::new());
    for target in targets {
        let alerting = target.incidents.iter().rev().filter(|(id, alarm)| alerts(**id, alarm));
        let mut alerting = alerting.map(|(id, _)| *id).peekable();
        found = found.saturating_add(u32::from(alerting.peek().is_some()));
        for incident in alerting {
            incidents.insert(incident);
            if incidents.len() >= enough as usize {
                break;
            }
        }
        if found >= enough && incidents.len() >= enough as usize {
            break;
        }
    }
    found.min(u32::try_from(incidents.len()).unwrap_or(u32::MAX))
}
