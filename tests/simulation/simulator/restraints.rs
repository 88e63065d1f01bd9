//! What holds rules back, counted from the committed events alone: storms, freezes, flapping, failures, first runs.

use nightshift::{
    decide::{Policy, brake, policy::Brake},
    model::{
        event::Event,
        id::{IncidentId, StepId},
        input::Input,
        mode::Mode,
        reason::Reason,
        rung::Rung,
        step::Answer,
        target::{Object, Target, TargetKey},
        time::Micros,
    },
};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub struct Restraints {
    incidents: BTreeMap<IncidentId, Known>,
    fixes: BTreeMap<StepId, (String, TargetKey)>,
    /// Steps on a member of a set.
    sets: BTreeMap<StepId, String>,
    /// (rule, key) began to fire.
    fired: Vec<(Micros, (String, String))>,
    /// A ladder began that may come to the target, of this set.
    alarms: Vec<(Micros, IncidentId, TargetKey, Option<String>)>,
    /// How many a set had when one of it was last looked at.
    members: BTreeMap<String, u32>,
    /// Failures in a row.
    failures: BTreeMap<(String, TargetKey), u32>,
    /// The rule's hash when it last acted, and how often it has so.
    runs: BTreeMap<String, (String, u32)>,
    /// Starts without a clean stop, and when the last one was.
    unclean: (u32, Micros),
    /// A crash loop ended in observing only, and nobody has resumed it.
    observes: bool,
}

struct Known {
    rule: String,
    key: String,
    severity: String,
}

impl Restraints {
    pub fn severity(&self, incident: IncidentId) -> Option<&str> {
        self.incidents.get(&incident).map(|known| known.severity.as_str())
    }

    pub fn follow(&mut self, at: Micros, input: &Input, event: &Event) {
        match event {
            Event::IncidentOpened { incident, rule, key, severity, .. } => {
                let known = Known { rule: rule.clone(), key: key.clone(), severity: severity.clone() };
                self.fired.push((at, (rule.clone(), key.clone())));
                self.incidents.insert(*incident, known);
            }
            Event::SeverityChanged { incident, severity, .. } => {
                if let Some(known) = self.incidents.get_mut(incident) {
                    known.severity.clone_from(severity);
                }
            }
            Event::IncidentReopened { incident } => {
                if let Some(known) = self.incidents.get(incident) {
                    self.fired.push((at, (known.rule.clone(), known.key.clone())));
                }
            }
            Event::LadderBegan { incident, rungs, .. } => {
                let alarm = |rung: &Rung| (at, *incident, rung.target.key(), set_of(&rung.target));
                self.alarms.extend(rungs.iter().map(alarm));
            }
            Event::StepJudged { step, .. } => {
                let set = self.sets.get(step);
                if let (Some(set), Input::Observed { result: Ok(seen), .. }) = (set, input)
                    && let Some(members) = seen.facts.members
                {
                    self.members.insert(set.clone(), members);
                }
            }
            Event::StepPlanned { step, purpose, rung, .. } if purpose.is_fix() => {
                if let Some(known) = self.incidents.get(&step.incident) {
                    self.fixes.insert(*step, (known.rule.clone(), rung.target.key()));
                }
                self.sets.extend(set_of(&rung.target).map(|set| (*step, set)));
            }
            Event::StepStarted { step, plan, .. } => {
                if let Some((rule, _)) = self.fixes.get(step) {
                    let runs = self.runs.entry(rule.clone()).or_default();
                    if runs.0 != plan.rule_hash {
                        *runs = (plan.rule_hash.clone(), 0);
                    }
                    runs.1 += 1;
                }
            }
            Event::StepFailed { reason: Reason::ChangedSince { .. }, .. } => {}
            Event::StepFailed { step, .. } | Event::StepUnknown { step, .. } => self.failed(*step),
            Event::StepVerified { step, answer: Answer::DidNot | Answer::Broke { .. } } => self.failed(*step),
            Event::StepVerified { step, answer: Answer::Helped } => {
                if let Some(of) = self.fixes.get(step) {
                    self.failures.remove(of);
                }
            }
            Event::Resumed { .. } => self.observes = false,
            Event::Rearmed { rule, targets, .. } => {
                for target in targets {
                    self.failures.remove(&(rule.clone(), target.clone()));
                }
            }
            _ => {}
        }
    }

    /// So many members of the set: its share, or all of them.
    fn too_many(&self, brake: &Brake, set: &str) -> u32 {
        match self.members.get(set) {
            None => brake.at_least,
            Some(members) => {
                let share = (members * brake.share_percent).div_ceil(100);
                brake.at_least.max(share).min(*members).max(2)
            }
        }
    }

    fn failed(&mut self, step: StepId) {
        if let Some(of) = self.fixes.get(&step) {
            *self.failures.entry(of.clone()).or_default() += 1;
        }
    }

    /// A process started.
    pub fn started(&mut self, at: Micros, clean: bool, policy: &Policy) {
        let steady = nightshift::decide::apply::STEADY_AFTER;
        let before = if at >= self.unclean.1 + steady { 0 } else { self.unclean.0 };
        self.unclean = (if clean { 0 } else { before + 1 }, at);
        let most = policy.spec.unclean_starts;
        self.observes |= most > 0 && self.unclean.0 >= most;
    }

    /// Why this fix should not have started now.
    pub fn forbids(
        &self,
        at: Micros,
        step: StepId,
        rung: &Rung,
        approved: bool,
        policy: &Policy,
    ) -> Option<(&'static str, String)> {
        let known = self.incidents.get(&step.incident)?;
        let rule = policy.rule(&known.rule)?;
        let target = rung.target.key();
        if self.observes {
            return Some(("I-36 a crash loop ends in observing only", format!("{} unclean starts", self.unclean.0)));
        }
        let frozen = policy.spec.freezes.iter().filter(|freeze| !freeze.except.contains(&known.severity));
        if let Some(freeze) = frozen.into_iter().find(|freeze| freeze.holds_until(at, &policy.zone).is_some()) {
            return Some(("I-21 nothing acts in a freeze", freeze.name.clone()));
        }
        if let Some(limit) = policy.spec.brake {
            // A ladder over many targets is one trouble.
            let alerting = |set: Option<&String>| {
                let recent = self.alarms.iter().filter(|(alarm, ..)| *alarm + limit.within > at);
                let of = recent.filter(|(.., of)| set.is_none() || of.as_ref() == set);
                let (incidents, targets): (BTreeSet<IncidentId>, BTreeSet<&TargetKey>) =
                    of.map(|(_, incident, target, _)| (*incident, target)).unzip();
                targets.len().min(incidents.len()) as u32
            };
            let all = alerting(None);
            if all > limit.all {
                return Some(("I-16 the brake", format!("{all} targets alert at once")));
            }
            if let Some(set) = set_of(&rung.target) {
                let many = alerting(Some(&set));
                if many >= self.too_many(&limit, &set) {
                    return Some(("I-16 the brake of a set", format!("{many} members of {set} alert at once")));
                }
            }
        }
        if let Some(limit) = rule.flapping {
            let of = (known.rule.clone(), known.key.clone());
            let times = self.fired.iter().filter(|(fired, key)| *fired + limit.within > at && *key == of).count();
            if times >= limit.count as usize {
                return Some(("flapping is left to people", format!("it began to fire {times} times")));
            }
        }
        if self.failures.get(&(known.rule.clone(), target)).is_some_and(|failures| *failures >= 2) {
            return Some(("I-19 two failures disarm", "it failed twice in a row".to_owned()));
        }
        let hash = policy.rule_hash(&known.rule).unwrap_or_default();
        let runs = self.runs.get(&known.rule).filter(|runs| runs.0 == hash).map_or(0, |runs| runs.1);
        if runs < rule.canary && rung.mode.min(policy.spec.mode) == Mode::Auto && !approved {
            return Some(("first runs ask", format!("run {} was not approved", runs + 1)));
        }
        (known.rule == brake::RULE).then(|| ("the brake's incident has no steps", known.rule.clone()))
    }
}

/// The set that a target was picked from.
fn set_of(target: &Target) -> Option<String> {
    match &target.object {
        Object::Workload { selector, .. } => selector.is_some().then(|| target.name.clone()),
        Object::BlueGreen { .. } | Object::Database { .. } | Object::Nothing => None,
    }
}
