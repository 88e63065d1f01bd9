//! Verification's four answers. "Resolved" alone is not "helped": an alert that nobody refreshes resolves by itself.

use super::{
    Decided, Decider,
    state::{Incident, Step},
};
use crate::model::{
    event::{Event, LadderEnd},
    firing::{Firing, FiringAnswer},
    id::{IncidentId, StepId},
    observation::{QueryReading, Reading, RuleReading, TargetReading},
    reason::Reason,
    rung::IfIneffective,
    step::{Answer, Phase, Purpose},
};

impl Decider<'_> {
    pub(super) fn measured(&mut self, id: StepId, reading: &Reading) -> Decided {
        let Some(step) = self.state.steps.get(&id) else { return Ok(()) };
        let Some(incident) = self.state.incidents.get(&id.incident) else { return Ok(()) };
        if step.phase != Phase::Verifying || step.measure_from.is_none_or(|from| reading.at < from) {
            return Ok(());
        }
        let answer =
            if step.purpose.is_fix() { answer_of_fix(step, incident, reading) } else { answer_of_undo(step, reading) };
        match answer {
            Some(answer) => self.verified(id, answer),
            None => Ok(()),
        }
    }

    pub(super) fn verified(&mut self, id: StepId, answer: Answer) -> Decided {
        self.emit(Event::StepVerified { step: id, answer: answer.clone() })?;
        self.touched.insert(id.incident);
        self.post(id.incident, format!("Step {id}: {}.", words(&answer)))?;
        let Some(step) = self.state.steps.get(&id) else { return Ok(()) };
        match step.purpose.clone() {
            Purpose::Fix => {
                self.may_disarm(id)?;
                self.after_fix(id, answer)
            }
            Purpose::Undo { step: undone, by: None } => match answer {
                Answer::Helped => match self.why_it_broke(undone) {
                    // It is back where it was, and where it went did not stand: what now is for people to say.
                    Some(why) => self.stop_ladder(id.incident, Reason::Broke { why }),
                    None => self.next_rung(id.incident),
                },
                Answer::Broke { why } => self.not_put_back(id.incident, undone, Reason::Broke { why }),
                Answer::DidNot => self.not_put_back(id.incident, undone, Reason::DidNotHelp),
                Answer::Inconclusive { why } => self.not_put_back(id.incident, undone, Reason::Inconclusive { why }),
                Answer::CouldNotMeasure { why } => {
                    self.not_put_back(id.incident, undone, Reason::CouldNotMeasure { why })
                }
            },
            Purpose::Undo { by: Some(_), .. } | Purpose::LeaseEnd { .. } => Ok(()),
        }
    }

    fn after_fix(&mut self, id: StepId, answer: Answer) -> Decided {
        if let Answer::Broke { why } = answer {
            return self.broke(id, why);
        }
        if !self.ladder_lives(id.incident) {
            return Ok(());
        }
        match answer {
            Answer::Helped => self.end_ladder(id.incident, LadderEnd::Helped),
            Answer::Inconclusive { why } => self.hand_over(id.incident, Reason::Inconclusive { why }),
            Answer::CouldNotMeasure { why } => self.hand_over(id.incident, Reason::CouldNotMeasure { why }),
            Answer::Broke { why } => self.hand_over(id.incident, Reason::Broke { why }),
            Answer::DidNot => {
                let wants = |step: &Step| step.rung.if_ineffective == IfIneffective::Undo;
                let undoes = self.state.steps.get(&id).is_some_and(wants) && self.has_undo(id);
                if undoes { self.plan_undo(id, None) } else { self.next_rung(id.incident) }
            }
        }
    }

    /// What it put in place fails by itself. It goes back, whatever `if_ineffective` says and whoever has the incident by now:
    /// keeping it is keeping what fails, and watching it was the step's own. But not against a person's veto, and in a pause
    /// it waits.
    fn broke(&mut self, id: StepId, why: String) -> Decided {
        let goes_back = self.has_undo(id) && !self.is_barred(id);
        let people_first = !goes_back || self.state.paused.is_some();
        if !self.ladder_lives(id.incident) {
            // Whoever has it now must hear at once that it got worse.
            self.page(id.incident, Reason::Broke { why })?;
        } else if people_first {
            self.hand_over(id.incident, Reason::Broke { why })?;
        }
        if goes_back { self.plan_undo(id, None) } else { Ok(()) }
    }

    /// A person keeps its rule away from its target.
    fn is_barred(&self, id: StepId) -> bool {
        let rule = self.state.incidents.get(&id.incident).map(|incident| incident.rule.clone());
        let key = rule.zip(self.state.steps.get(&id).map(|step| step.rung.target.key()));
        key.is_some_and(|key| self.state.barred.contains_key(&key))
    }

    /// The ladder's own undo came to nothing. Of what fails by itself people must hear, though they have it already.
    pub(super) fn not_put_back(&mut self, incident: IncidentId, undone: StepId, reason: Reason) -> Decided {
        if self.ladder_lives(incident) || self.why_it_broke(undone).is_none() || !super::ladder::pages(&reason) {
            return self.stop_ladder(incident, reason);
        }
        self.page(incident, reason)
    }

    fn has_undo(&self, id: StepId) -> bool {
        let plan = self.state.steps.get(&id).and_then(|step| step.plan.as_ref());
        plan.is_some_and(|plan| !plan.proposal.undo.is_null())
    }

    /// Why a step is put back whose own change failed.
    pub(super) fn why_it_broke(&self, undone: StepId) -> Option<String> {
        match self.state.steps.get(&undone)?.answer.as_ref()? {
            Answer::Broke { why } => Some(why.clone()),
            Answer::Helped | Answer::DidNot | Answer::Inconclusive { .. } | Answer::CouldNotMeasure { .. } => None,
        }
    }

    /// Plans a step that puts back what `undone` did. Never of an undo.
    pub(super) fn plan_undo(&mut self, undone: StepId, by: Option<String>) -> Decided {
        let Some(step) = self.state.steps.get(&undone).filter(|step| step.purpose.is_fix()) else { return Ok(()) };
        let rung = Box::new(super::lease::rung_of_undo(&step.rung, crate::model::mode::Mode::Auto));
        let rung_number = step.rung_number;
        let planned = self.next_step(undone.incident);
        let purpose = Purpose::Undo { step: undone, by };
        self.touched.insert(undone.incident);
        self.emit(Event::StepPlanned { step: planned, purpose, rung_number, rung, try_number: 1 })
    }
}

/// None: not yet.
fn answer_of_fix(step: &Step, incident: &Incident, reading: &Reading) -> Option<Answer> {
    if let TargetReading::Broken { says } = &reading.target {
        return Some(Answer::Broke { why: says.clone() });
    }
    let last = step.last_measurement && step.verify_by.is_some_and(|by| reading.at >= by);
    let is_watched = matches!(reading.target, TargetReading::Watched { .. });
    let may_be_watched = is_watched || matches!(reading.target, TargetReading::Unread { .. });
    if incident.fires_elsewhere {
        // What is watched is watched to the end, whatever its alerts do.
        let over = last || !may_be_watched;
        return over.then(|| inconclusive("an alert of it fires again, in another incident"));
    }
    let resolved = incident.firing == 0 && incident.lost == 0;
    let doubt = doubt_of(incident, reading);
    if resolved && doubt.is_none() && (last || !is_watched) {
        return Some(Answer::Helped);
    }
    if !last {
        return None;
    }
    if incident.firing > 0 {
        return Some(match &reading.firing {
            FiringAnswer::NotAsked => could_not("no alertmanager.urls are configured"),
            FiringAnswer::Unreachable { problem } => could_not(problem),
            FiringAnswer::Answered { alerts, .. } => {
                let any = |wanted: fn(&Firing) -> bool| alerts.values().any(wanted);
                if any(|firing| matches!(firing, Firing::Active { .. })) {
                    Answer::DidNot
                } else if any(|firing| matches!(firing, Firing::Suppressed { .. })) {
                    inconclusive("the alert was silenced meanwhile")
                } else {
                    inconclusive("no resolve was received, and Alertmanager no longer lists the alert")
                }
            }
        });
    }
    if incident.lost > 0 {
        return Some(inconclusive("contact with an alert of the incident was lost"));
    }
    doubt
}

/// What keeps "resolved" from being "helped".
fn doubt_of(incident: &Incident, reading: &Reading) -> Option<Answer> {
    match &reading.target {
        TargetReading::Well { .. } | TargetReading::Watched { .. } => {}
        TargetReading::NotYet { says } | TargetReading::Broken { says } => {
            return Some(inconclusive(&format!("the alert resolved, but the target is not well: {says}")));
        }
        TargetReading::Unread { problem } => return Some(could_not(&format!("the target: {problem}"))),
    }
    match &reading.rule {
        RuleReading::NotAsked => {}
        RuleReading::Evaluated { at } if incident.last_end.is_none_or(|end| *at > end) => {}
        RuleReading::Evaluated { .. } => {
            return Some(inconclusive("the alerting rule has not been evaluated since the alert resolved"));
        }
        RuleReading::Unhealthy { says } => {
            return Some(inconclusive(&format!("the alerting rule is not healthy: {says}")));
        }
        RuleReading::Unread { problem } => return Some(could_not(&format!("the alerting rule: {problem}"))),
    }
    match &reading.query {
        QueryReading::NotAsked | QueryReading::Data { .. } => None,
        QueryReading::Empty => Some(inconclusive("the verification query returned no data")),
        QueryReading::Unread { problem } => Some(could_not(&format!("the verification query: {problem}"))),
    }
}

fn answer_of_undo(step: &Step, reading: &Reading) -> Option<Answer> {
    let last = step.last_measurement && step.verify_by.is_some_and(|by| reading.at >= by);
    match &reading.target {
        TargetReading::Well { .. } | TargetReading::Watched { .. } => Some(Answer::Helped),
        TargetReading::NotYet { says } | TargetReading::Broken { says } if last => {
            Some(inconclusive(&format!("the target is not well: {says}")))
        }
        TargetReading::Unread { problem } if last => Some(could_not(problem)),
        TargetReading::NotYet { .. } | TargetReading::Broken { .. } | TargetReading::Unread { .. } => None,
    }
}

fn inconclusive(why: &str) -> Answer {
    Answer::Inconclusive { why: why.to_owned() }
}

fn could_not(why: &str) -> Answer {
    Answer::CouldNotMeasure { why: why.to_owned() }
}

/// The answer in words, for people.
pub(super) fn words(answer: &Answer) -> String {
    match answer {
        Answer::Helped => "helped, verified".into(),
        Answer::DidNot => "did not help: the alert still fires".into(),
        Answer::Broke { why } => format!("what it switched to is not well: {why}"),
        Answer::Inconclusive { why } => format!("inconclusive: {why}"),
        Answer::CouldNotMeasure { why } => format!("could not measure: {why}"),
    }
}
