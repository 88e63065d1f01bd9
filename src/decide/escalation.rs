//! An escalation as the state keeps it: what its levels count from, and when it rests. Who is called is told in
//! [`super::escalating`].
//!
//! It belongs to the incident that speaks for the service (no child has one), and rests while nothing of that and of its
//! children fires, is heard of, or is not silenced. Time that it rested does not count.

use super::{
    State,
    apply::illegal,
    state::{Illegal, Incident, IncidentPhase, Timer},
};
use crate::model::{
    event::Event,
    id::{Fingerprint, IncidentId},
    time::{Micros, Span},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Escalation {
    /// The page that the levels count from, put off by the times that it rested.
    pub since: Micros,
    /// The level that is called next.
    pub level: u32,
    /// When that is planned. None: there is none.
    pub at: Option<Micros>,
    /// Alerts that are asked about before it is called.
    pub asked: BTreeSet<Fingerprint>,
    pub rests_since: Option<Micros>,
    /// Whatever fires is silenced.
    pub silenced: bool,
}

impl State {
    /// The incident in whose thread this one speaks: its parent, or itself.
    pub(super) fn root_of(&self, id: IncidentId) -> IncidentId {
        self.incidents.get(&id).and_then(|incident| incident.parent).unwrap_or(id)
    }

    /// An incident and its children.
    pub(super) fn family(&self, root: IncidentId) -> impl Iterator<Item = (IncidentId, &Incident)> {
        let children = self.incidents.get(&root).into_iter().flat_map(|incident| incident.children.iter().copied());
        std::iter::once(root).chain(children).filter_map(|id| Some((id, self.incidents.get(&id)?)))
    }

    /// Something of it, or of a child of it, fires. A storm's incident has no alerts of its own, and fires while it is open.
    pub(super) fn family_fires(&self, root: IncidentId) -> bool {
        let fires = |incident: &Incident| incident.firing > 0 || incident.rule == super::brake::RULE;
        self.family(root).any(|(_, incident)| incident.phase != IncidentPhase::Resolved && fires(incident))
    }

    pub(super) fn apply_escalation(&mut self, at: Micros, event: &Event) -> Result<(), Illegal> {
        match event {
            Event::EscalationBegan { incident, next_at } => {
                let changed = self.incident_mut(*incident, event)?;
                changed.paged_at = changed.paged_at.or(Some(at));
                changed.escalation = Some(Escalation {
                    since: at,
                    level: 1,
                    at: *next_at,
                    asked: BTreeSet::new(),
                    rests_since: None,
                    silenced: false,
                });
                self.plan_escalation(*incident);
                self.escalation_may_rest(*incident, at);
            }
            Event::EscalationAsked { incident, fingerprints, until } => {
                self.escalation_mut(*incident, event)?.asked = fingerprints.iter().cloned().collect();
                self.is_asked_about(fingerprints);
                self.set_timer(Timer::Escalate(*incident), *until);
            }
            Event::Escalated { incident, level, next_at, .. } => {
                let escalation = self.escalation_mut(*incident, event)?;
                escalation.level = level + 1;
                escalation.at = *next_at;
                escalation.asked.clear();
                self.plan_escalation(*incident);
            }
            Event::EscalationEnded { incident } => {
                let escalation = self.escalation_mut(*incident, event)?;
                escalation.at = None;
                escalation.asked.clear();
                self.plan_escalation(*incident);
            }
            Event::EscalationSilenced { incident } => {
                self.escalation_mut(*incident, event)?.silenced = true;
                self.escalation_may_rest(*incident, at);
            }
            _ => {}
        }
        Ok(())
    }

    fn escalation_mut(&mut self, id: IncidentId, event: &Event) -> Result<&mut Escalation, Illegal> {
        let incident = self.incident_mut(id, event)?;
        incident.escalation.as_mut().ok_or_else(|| illegal(event, "no escalation has begun"))
    }

    fn plan_escalation(&mut self, root: IncidentId) {
        let at = self.incidents.get(&root).and_then(|incident| incident.escalation.as_ref()?.at);
        match at {
            Some(at) => self.set_timer(Timer::Escalate(root), at),
            None => self.clear_timer(&Timer::Escalate(root)),
        }
    }

    /// Somebody has it, or it is over.
    pub(super) fn end_escalation(&mut self, id: IncidentId) {
        if let Some(incident) = self.incidents.get_mut(&id) {
            incident.escalation = None;
        }
        self.clear_timer(&Timer::Escalate(id));
    }

    /// Something of an incident fires, and is not silenced: the escalation goes on where it rested.
    pub(super) fn escalation_goes_on(&mut self, id: IncidentId, at: Micros) {
        let root = self.root_of(id);
        let escalation = self.incidents.get_mut(&root).and_then(|incident| incident.escalation.as_mut());
        let Some(escalation) = escalation else { return };
        escalation.silenced = false;
        if let Some(since) = escalation.rests_since.take() {
            let rested = at - since;
            escalation.since = escalation.since + rested;
            escalation.at = escalation.at.map(|planned| (planned + rested).max(at));
            self.plan_escalation(root);
        }
    }

    /// Something of an incident fires no more: the escalation rests if that was all.
    pub(super) fn escalation_may_rest(&mut self, id: IncidentId, at: Micros) {
        let root = self.root_of(id);
        let goes_on = self.incidents.get(&root).and_then(|incident| incident.escalation.as_ref());
        let Some(silenced) = goes_on.filter(|it| it.rests_since.is_none()).map(|it| it.silenced) else { return };
        if !silenced && self.family_fires(root) {
            return;
        }
        if let Some(escalation) = self.incidents.get_mut(&root).and_then(|incident| incident.escalation.as_mut()) {
            escalation.rests_since = Some(at);
            escalation.asked.clear();
        }
        self.clear_timer(&Timer::Escalate(root));
    }

    /// The clock went forward, and no time passed.
    pub(super) fn escalations_stepped(&mut self, by: Span) {
        for incident in self.incidents.values_mut() {
            if let Some(escalation) = &mut incident.escalation {
                escalation.since = escalation.since + by;
                escalation.at = escalation.at.map(|at| at + by);
                escalation.rests_since = escalation.rests_since.map(|since| since + by);
            }
        }
    }
}
