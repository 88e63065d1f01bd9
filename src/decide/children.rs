//! One story of one service: an incident that opens soon after another of the same service is that one's child.
//!
//! A child speaks in its parent's thread, and has no card, escalation or acknowledge of its own: whoever has the parent has
//! it. It keeps its own ladder. One that is more severe raises the parent, and voids its acknowledge. The parent is not
//! resolved before its children are.

use super::{
    Decided, Decider, State,
    state::{Incident, IncidentPhase, Timer},
};
use crate::model::{
    event::{Event, HowResolved},
    id::IncidentId,
    reason::Reason,
    time::Span,
};

/// Opened so long after its parent at most.
pub const SAME_STORY_WITHIN: Span = Span::minutes(10);

impl Decider<'_> {
    /// The open incident of the service that one which opens now belongs to.
    pub(super) fn parent_for(&self, service: Option<&str>) -> Option<IncidentId> {
        let root = *self.state.roots.get(service?)?;
        let incident = self.state.incidents.get(&root)?;
        let is_open = incident.phase != IncidentPhase::Resolved && incident.opened_at + SAME_STORY_WITHIN >= self.now;
        (is_open && self.state.speaks_for_itself(incident)).then_some(root)
    }

    /// A child was opened: it is told in the parent's thread, and whoever has the parent has it.
    pub(super) fn joins_its_parent(&mut self, id: IncidentId) -> Decided {
        let Some(child) = self.state.incidents.get(&id) else { return Ok(()) };
        let Some(parent) = child.parent else { return Ok(()) };
        let (rule, severity) = (child.rule.clone(), child.severity.clone());
        self.touched.insert(parent);
        self.post(id, format!("It belongs to this one: opened by rule {rule}, {severity}."))?;
        self.raise_its_parent(id)?;
        let had_by = self.state.incidents.get(&parent).and_then(|parent| parent.acknowledged_by.clone());
        had_by.map_or(Ok(()), |by| self.emit(Event::IncidentAcknowledged { incident: id, by }))
    }

    /// A child that is more severe than its parent makes that so: nobody has it any more, and that severity's people are
    /// woken if anybody was.
    pub(super) fn raise_its_parent(&mut self, id: IncidentId) -> Decided {
        let Some(child) = self.state.incidents.get(&id) else { return Ok(()) };
        let Some((parent, told)) = child.parent.and_then(|id| Some((id, self.state.incidents.get(&id)?))) else {
            return Ok(());
        };
        if child.rank >= told.rank {
            return Ok(());
        }
        let (severity, rank) = (child.severity.clone(), child.rank);
        let had_by = told.acknowledged_by.clone();
        let people_know = told.paged_at.is_some() || had_by.is_some();
        self.touched.insert(parent);
        self.emit(Event::SeverityChanged { incident: parent, severity: severity.clone(), rank })?;
        let mut text = format!("It is {severity} now: incident {id} belongs to it.");
        if let Some(by) = had_by {
            self.void_acknowledge(parent)?;
            text += &format!(" {by} had it as something less severe: who has it now?");
        }
        self.post(parent, text)?;
        self.may_open_channel(parent)?;
        if !people_know {
            return Ok(());
        }
        self.escalate_anew(parent)?;
        self.page(parent, Reason::MoreSevere { by: id, severity })
    }

    /// Nobody has any of it any more.
    pub(super) fn void_acknowledge(&mut self, root: IncidentId) -> Decided {
        let is_had = |(id, it): (IncidentId, &Incident)| it.acknowledged_by.is_some().then_some(id);
        let family: Vec<IncidentId> = self.state.family(root).filter_map(is_had).collect();
        family.into_iter().try_for_each(|incident| self.emit(Event::AcknowledgeVoided { incident }))
    }

    /// An alert made an incident more severe. Where people were woken for less, and nobody has it, that severity's people are.
    pub(super) fn raised_by_itself(&mut self, id: IncidentId) -> Decided {
        self.may_open_channel(id)?;
        let Some(incident) = self.state.incidents.get(&id) else { return Ok(()) };
        if incident.escalation.is_none() {
            return Ok(());
        }
        let severity = incident.severity.clone();
        self.escalate_anew(id)?;
        self.page(id, Reason::MoreSevere { by: id, severity })
    }

    /// A child is over: so is its parent, if that waited for nothing else.
    pub(super) fn child_is_over(&mut self, id: IncidentId) -> Decided {
        let Some(parent) = self.state.incidents.get(&id).and_then(|incident| incident.parent) else { return Ok(()) };
        self.touched.insert(parent);
        let is_monitored =
            self.state.incidents.get(&parent).is_some_and(|parent| parent.phase == IncidentPhase::Monitoring);
        let counts = self.state.due.contains_key(&Timer::Quiet(parent));
        if is_monitored && !counts { self.quiet_over(parent) } else { Ok(()) }
    }

    /// A person closed the parent: that is the whole story.
    pub(super) fn close_children(&mut self, parent: IncidentId, by: &str) -> Decided {
        for id in self.state.open_children(parent) {
            self.stop_ladder(id, Reason::Closed { by: by.to_owned() })?;
            self.resolve_incident(id, HowResolved::ByPerson { by: by.to_owned() })?;
        }
        Ok(())
    }

    /// Where an incident's sentence is said, and how.
    pub(super) fn said_of(&self, id: IncidentId, text: String) -> (IncidentId, String) {
        match self.state.incidents.get(&id).and_then(|incident| Some((incident.parent?, &incident.title))) {
            Some((parent, title)) => (parent, format!("Incident {id} ({title}): {text}")),
            None => (id, text),
        }
    }
}

impl State {
    pub(super) fn open_children(&self, parent: IncidentId) -> Vec<IncidentId> {
        let children = self.incidents.get(&parent).map(|parent| &parent.children);
        let is_open = |id: &&IncidentId| {
            self.incidents.get(*id).is_some_and(|incident| incident.phase != IncidentPhase::Resolved)
        };
        children.into_iter().flatten().filter(is_open).copied().collect()
    }
}
