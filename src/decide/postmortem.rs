//! After an incident: by when its post-mortem is due, and one reminder. And the security channel, for whom some incidents
//! concern while they last.

use super::{Decided, Decider, state::Incident};
use crate::model::{
    event::Event,
    id::IncidentId,
    letter::{Note, Receiver},
    time::Span,
};

/// The severities that owe one: the two most severe.
const RANKS: u32 = 2;
const DUE_AFTER: Span = Span::hours(24);
const REMINDED_AFTER: Span = Span::hours(20);

impl Decider<'_> {
    /// A severe incident is resolved that woke people, PagerDuty by itself included, or that was acted on. A child's story is its parent's.
    pub(super) fn owe_a_postmortem(&mut self, id: IncidentId) -> Decided {
        let Some(incident) = self.state.incidents.get(&id) else { return Ok(()) };
        let woke = |id, incident: &Incident| incident.pages > 0 || self.state.peers.has(id);
        let was_grave = self.state.family(id).any(|(id, incident)| woke(id, incident) || self.has_acted(id));
        if incident.rank >= RANKS || incident.parent.is_some() || !was_grave {
            return Ok(());
        }
        let (due, remind_at) = (self.now + DUE_AFTER, self.now + REMINDED_AFTER);
        self.emit(Event::PostmortemDue { incident: id, due, remind_at })?;
        let by = due.in_zone(&self.policy.zone);
        self.post(id, format!("Its post-mortem is due by {by}. What happened: nightshift why {id}"))
    }

    pub(super) fn remind_of_the_postmortem(&mut self, id: IncidentId) -> Decided {
        self.emit(Event::PostmortemReminded { incident: id })?;
        let Some(incident) = self.state.incidents.get(&id) else { return Ok(()) };
        let Some(due) = incident.postmortem_due else { return Ok(()) };
        let due = due.in_zone(&self.policy.zone);
        let who = incident.acknowledged_by.clone().map(|by| format!(" {by} had the incident.")).unwrap_or_default();
        let mentions = incident.holder.clone().into_iter().collect();
        self.remind_in_thread(id, format!("The post-mortem of incident {id} is due by {due}.{who}"), mentions)
    }

    fn remind_in_thread(&mut self, id: IncidentId, text: String, mentions: Vec<String>) -> Decided {
        let receiver = self.state.incidents.get(&id).and_then(|incident| incident.receiver.clone());
        let Some(receiver) = receiver else { return Ok(()) };
        self.owe_post(receiver, id, Note { at: self.now, text, mentions, page: false, takes: false })
    }

    /// What concerns security is told there too: that it began, that people were woken, that it is over.
    pub(super) fn tell_security(&mut self, id: IncidentId, text: &str) -> Decided {
        let Some(incident) = self.state.incidents.get(&id) else { return Ok(()) };
        let Some(receiver) = incident.security.clone() else { return Ok(()) };
        let Incident { severity, title, .. } = incident;
        let text = format!("{severity}: {title}. {text}");
        self.post_to(Some(receiver), id, text)
    }

    pub(super) fn security_receiver(&self, wanted: bool) -> Option<Receiver> {
        let channel = self.policy.spec.security_channel.clone().filter(|_| wanted);
        channel.map(|channel| Receiver::Slack { channel })
    }
}
