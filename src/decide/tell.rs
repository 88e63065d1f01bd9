//! Owing letters: the card of every incident that changed, the posts of its thread, and pages.

use super::{Decided, Decider};
use crate::model::{
    alert::Alert,
    event::Event,
    id::IncidentId,
    letter::{LetterKey, Note, Receiver, Slot},
    reason::Reason,
};
use std::collections::BTreeSet;

/// Posts that one incident may owe at a time, pages not counted in: with the receiver down, newer news is left out.
pub const POSTS_OWED: usize = 200;
/// Pages that one incident may owe at a time. Whom a hundred of them wait for, one more would not wake.
const PAGES_OWED: usize = 100;

impl Decider<'_> {
    /// One line in the incident's thread: a child's in its parent's.
    pub(super) fn post(&mut self, id: IncidentId, text: String) -> Decided {
        let receiver = self.receiver_of(id);
        let (said_of, text) = self.said_of(id, text);
        self.post_to(receiver, said_of, text)
    }

    /// Who is told of it; nobody while a storm's incident tells of it.
    fn receiver_of(&self, id: IncidentId) -> Option<Receiver> {
        self.state.incidents.get(&id).filter(|incident| self.state.speaks_for_itself(incident))?;
        self.receiver_of_family(id)
    }

    fn receiver_of_family(&self, id: IncidentId) -> Option<Receiver> {
        self.state.incidents.get(&self.state.root_of(id))?.receiver.clone()
    }

    /// Wakes people: a post that mentions the severity's people, an ERROR line and a metric. Whoever acknowledged is awake.
    pub(super) fn page(&mut self, id: IncidentId, reason: Reason) -> Decided {
        let Some(incident) = self.state.incidents.get(&id) else { return Ok(()) };
        let says = reason.says(&self.policy.zone);
        if incident.acknowledged_by.is_some() {
            self.post(id, format!("Over to you: {says}."))?;
            return self.keep_updating(id);
        }
        // It may have become more severe since it was opened.
        let now = self.policy.severity(&incident.severity).map(|(_, severity)| severity.mentions.clone());
        let mentions = now.unwrap_or_else(|| incident.mentions.clone());
        let receiver = self.receiver_of_family(id);
        self.touched.insert(id);
        self.emit(Event::PageReleased { incident: id, reason, mentions: mentions.clone() })?;
        self.page_in_pagerduty(id, &says)?;
        let text = format!("Page: {says}. This needs a person.");
        self.tell_security(id, &text)?;
        let (said_of, text) = self.said_of(id, text);
        self.owe_page(receiver, said_of, text.clone(), mentions)?;
        self.page_in_channel_of_level(id, &text)?;
        self.begin_escalation(id)?;
        self.may_open_channel(id)
    }

    /// A level of the escalation is called in the thread, as a page is.
    pub(super) fn call_in_thread(&mut self, id: IncidentId, text: String, mentions: Vec<String>) -> Decided {
        self.owe_page(self.receiver_of_family(id), id, text, mentions)
    }

    /// ... or where it has a channel of its own.
    pub(super) fn call_in_channel(&mut self, id: IncidentId, channel: &str, text: String) -> Decided {
        let receiver = Receiver::Slack { channel: channel.to_owned() };
        self.owe_page(Some(receiver), id, text, Vec::new())
    }

    /// Wakes people for an alert that has no incident: those of the severity that its label names, else of the most severe.
    pub(super) fn page_without_incident(&mut self, alert: &Alert, reason: Reason) -> Decided {
        let named = alert.labels.get("severity").and_then(|name| self.policy.severity(name));
        let severity = named.map(|(_, severity)| severity).or_else(|| self.policy.spec.severities.first());
        let Some((severity, mentions)) = severity.map(|it| (it.name.clone(), it.mentions.clone())) else {
            return Ok(());
        };
        let says = reason.says(&self.policy.zone);
        self.emit(Event::PageReleased { incident: IncidentId::ITSELF, reason, mentions: mentions.clone() })?;
        self.page_group_in_pagerduty(alert, &severity, &says)?;
        let text = format!("Page: {says}. This needs a person.");
        self.owe_page(self.default_receiver(), IncidentId::ITSELF, text, mentions)
    }

    /// What concerns nightshift itself goes to the default channel.
    pub(super) fn tell_all(&mut self, text: String) -> Decided {
        self.post_to(self.default_receiver(), IncidentId::ITSELF, text)
    }

    /// As [`Decider::tell_all`], and wakes people.
    pub(super) fn page_all(&mut self, text: String, mentions: Vec<String>) -> Decided {
        let note = Note { at: self.now, text: text.clone(), mentions: mentions.clone(), page: true, takes: false };
        self.page_itself_in_pagerduty(&note)?;
        self.owe_page(self.default_receiver(), IncidentId::ITSELF, text, mentions)
    }

    /// Wakes an incident's people, or those of the most severe, where PagerDuty could not.
    pub(super) fn page_in_slack(&mut self, id: IncidentId, text: String) -> Decided {
        let incident = self.state.incidents.get(&id);
        let severity = match incident {
            Some(incident) => self.policy.severity(&incident.severity).map(|(_, severity)| severity),
            None => self.policy.spec.severities.first(),
        };
        let mentions = severity.map(|severity| severity.mentions.clone()).unwrap_or_default();
        let receiver = incident.map_or_else(|| self.default_receiver(), |_| self.receiver_of_family(id));
        let (said_of, text) = self.said_of(id, text);
        self.owe_page(receiver, said_of, text, mentions)
    }

    fn default_receiver(&self) -> Option<Receiver> {
        self.policy.spec.slack_channel.clone().map(|channel| Receiver::Slack { channel })
    }

    pub(super) fn post_to(&mut self, receiver: Option<Receiver>, incident: IncidentId, text: String) -> Decided {
        let Some(receiver) = receiver else { return Ok(()) };
        self.owe_note(receiver, incident, Note::plain(self.now, text))
    }

    /// Left out where too much is owed there already.
    pub(super) fn owe_note(&mut self, receiver: Receiver, incident: IncidentId, note: Note) -> Decided {
        if self.posts_owed(&receiver, incident) >= POSTS_OWED {
            return Ok(());
        }
        self.owe_post(receiver, incident, note)
    }

    /// Not left out, however many posts are owed.
    fn owe_page(
        &mut self,
        receiver: Option<Receiver>,
        incident: IncidentId,
        text: String,
        mentions: Vec<String>,
    ) -> Decided {
        let Some(receiver) = receiver else { return Ok(()) };
        let owed = self.state.pages_owed.iter().filter(|page| page.incident == incident && page.receiver == receiver);
        if owed.take(PAGES_OWED).count() == PAGES_OWED {
            return Ok(());
        }
        self.owe_post(receiver, incident, Note { at: self.now, text, mentions, page: true, takes: false })
    }

    pub(super) fn owe_post(&mut self, receiver: Receiver, incident: IncidentId, note: Note) -> Decided {
        let letter = LetterKey { receiver, incident, slot: Slot::Post(self.state.last_post + 1) };
        self.emit(Event::Tell { letter, note: Some(note) })
    }

    fn posts_owed(&self, receiver: &Receiver, incident: IncidentId) -> usize {
        let first = LetterKey { receiver: receiver.clone(), incident, slot: Slot::Card };
        let last = LetterKey { receiver: receiver.clone(), incident, slot: Slot::Post(u64::MAX) };
        self.state.owed.range(first..=last).take(POSTS_OWED + 1).count()
    }

    /// Every incident that this input touched owes its card anew: the one of its family, and that in its own channel.
    pub(super) fn owe_cards(&mut self) -> Decided {
        let touched: BTreeSet<IncidentId> =
            std::mem::take(&mut self.touched).into_iter().map(|id| self.state.root_of(id)).collect();
        for incident in touched {
            let Some(receiver) = self.receiver_of(incident) else { continue };
            let channel = self.state.incidents.get(&incident).and_then(|incident| incident.channel.clone());
            let channel = channel.map(|name| Receiver::IncidentChannel { name });
            for receiver in std::iter::once(receiver).chain(channel) {
                self.emit(Event::Tell { letter: LetterKey { receiver, incident, slot: Slot::Card }, note: None })?;
            }
        }
        Ok(())
    }
}
