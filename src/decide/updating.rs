//! Saying how an incident stands, every now and then: to whoever has it, and in its own channel.
//!
//! Not a queue: what was not sent yet is superseded by what stands now. It ends with the incident, and rests while contact
//! with its alerts is lost.

use super::{
    Decided, Decider, State,
    state::{Incident, IncidentPhase, Timer},
};
use crate::model::{
    event::{Event, LadderEnd},
    id::IncidentId,
    letter::{LetterKey, Note, Receiver, Slot},
};

impl Decider<'_> {
    /// Begins to, where somebody is to hear of it and nothing is planned yet.
    pub(super) fn keep_updating(&mut self, id: IncidentId) -> Decided {
        let root = self.state.root_of(id);
        let Some(incident) = self.state.incidents.get(&root) else { return Ok(()) };
        if !self.wants_updates(root, incident) || self.state.due.contains_key(&Timer::Update(root)) {
            return Ok(());
        }
        let at = self.now + self.policy.update_every(&incident.severity);
        self.emit(Event::UpdatesBegan { incident: root, at })
    }

    fn wants_updates(&self, root: IncidentId, incident: &Incident) -> bool {
        let is_heard_of = !incident.lost_contact || self.state.family_fires(root);
        let somebody_listens = incident.channel.is_some() || incident.is_in_hands();
        incident.phase != IncidentPhase::Resolved && is_heard_of && somebody_listens
    }

    pub(super) fn update_due(&mut self, root: IncidentId) -> Decided {
        let Some(incident) = self.state.incidents.get(&root) else { return Ok(()) };
        let next_at = self.now + self.policy.update_every(&incident.severity);
        let next_at = self.wants_updates(root, incident).then_some(next_at);
        let fires = self.state.family_fires(root);
        let (channel, receiver, holder) =
            (incident.channel.clone(), incident.receiver.clone(), incident.holder.clone());
        let has_it = incident.acknowledged_by.clone().filter(|_| fires && incident.is_in_hands());
        let stands = self.stands(root, incident);
        self.emit(Event::UpdateDue { incident: root, next_at })?;
        if let (Some(by), Some(receiver)) = (has_it, receiver) {
            let text = format!("{by} has it, and it is not over. {stands}");
            self.say_how_it_stands(receiver, root, text, holder.into_iter().collect())?;
        }
        match channel {
            Some(name) => self.say_how_it_stands(Receiver::IncidentChannel { name }, root, stands, Vec::new()),
            None => Ok(()),
        }
    }

    /// The last word in its channel.
    pub(super) fn say_it_is_resolved(&mut self, id: IncidentId, how: &str) -> Decided {
        let channel = self.state.incidents.get(&id).and_then(|incident| incident.channel.clone());
        let Some(name) = channel else { return Ok(()) };
        let text = format!("Resolved: {how}. This was the last update.");
        self.say_how_it_stands(Receiver::IncidentChannel { name }, id, text, Vec::new())
    }

    fn say_how_it_stands(
        &mut self,
        receiver: Receiver,
        incident: IncidentId,
        text: String,
        mentions: Vec<String>,
    ) -> Decided {
        let note = Note { at: self.now, text, mentions, page: false, takes: false };
        self.emit(Event::Tell { letter: LetterKey { receiver, incident, slot: Slot::Update }, note: Some(note) })
    }

    /// Two or three sentences.
    fn stands(&self, root: IncidentId, incident: &Incident) -> String {
        let firing: u32 = self.state.family(root).map(|(_, incident)| incident.firing).sum();
        let fires = match (firing, incident.quiet_until) {
            (0, Some(until)) => {
                format!("Nothing of it fires any more: resolved at {} if it stays so.", self.time(until))
            }
            (0, None) if incident.lost_contact => {
                "Nobody confirms its alerts any more: that is not the same as resolved.".to_owned()
            }
            (0, None) => "Nothing of it fires any more.".to_owned(),
            (1, _) => "1 alert fires.".to_owned(),
            (more, _) => format!("{more} alerts fire."),
        };
        let mut ladder = super::view::ladder_says(self.policy, incident);
        if let Some(first) = ladder.get(..1).map(str::to_uppercase).filter(|_| !ladder.starts_with("nightshift")) {
            ladder.replace_range(..1, &first);
        }
        format!("{} since {}. {fires} {ladder}.", incident.severity, self.time(incident.opened_at))
    }
}

impl State {
    /// It is over: how it stood, where that was not told yet, is no longer so.
    pub(super) fn leave_unsaid_how_it_stood(&mut self, id: IncidentId) {
        let Some(incident) = self.incidents.get(&id) else { return };
        let channel = incident.channel.clone().map(|name| Receiver::IncidentChannel { name });
        for receiver in incident.receiver.clone().into_iter().chain(channel) {
            let update = LetterKey { receiver, incident: id, slot: Slot::Update };
            if let Some(letter) = self.letters.get_mut(&update).filter(|_| self.owed.remove(&update)) {
                letter.told = letter.want;
                self.letters_version += 1;
            }
        }
    }
}

impl Incident {
    /// It is people's, and somebody has it.
    fn is_in_hands(&self) -> bool {
        let ended = self.ladder.as_ref().and_then(|ladder| ladder.ended.as_ref());
        let left_to_people = matches!(ended, Some(LadderEnd::HandedOver { .. } | LadderEnd::Exhausted));
        self.acknowledged_by.is_some() && (self.paged_at.is_some() || left_to_people)
    }
}
