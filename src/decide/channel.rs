//! A Slack channel for one incident: where those who follow it read what it means for them, and how it stands.
//!
//! It opens with the incident, of the severities that the settings say, and never twice. Whether Slack makes it changes
//! nothing else.

use super::{Decided, Decider, state::IncidentPhase};
use crate::model::{
    event::Event,
    id::IncidentId,
    letter::{LetterKey, Receiver, Slot},
    time::Micros,
};
use jiff::{Timestamp, tz::TimeZone};

impl Decider<'_> {
    /// Opens the incident's channel, if it is to have one and has none yet. A child is told of in its parent's.
    pub(super) fn may_open_channel(&mut self, id: IncidentId) -> Decided {
        let Some(incident) = self.state.incidents.get(&id) else { return Ok(()) };
        let is_wanted = self.policy.spec.incident_channels.contains(&incident.severity)
            && incident.phase != IncidentPhase::Resolved
            && incident.parent.is_none()
            && incident.receiver.is_some()
            && self.state.speaks_for_itself(incident);
        if !is_wanted || incident.channel.is_some() || incident.channel_refused {
            return Ok(());
        }
        let mut name = name_of(incident.opened_at, &self.policy.zone);
        // Two of one minute: what Slack has under a name of ours is then this incident's, whoever made it last.
        if self.state.incidents.values().any(|other| other.channel.as_deref() == Some(name.as_str())) {
            name = format!("{name}-incident-{id}");
        }
        self.touched.insert(id);
        self.emit(Event::ChannelOpened { incident: id, name })?;
        self.keep_updating(id)
    }

    /// The channel that a letter makes: nothing is there yet.
    pub(super) fn makes_a_channel<'l>(&self, letter: &'l LetterKey) -> Option<&'l str> {
        let known = self.state.letters.get(letter).and_then(|letter| letter.external.as_ref());
        match (&letter.receiver, letter.slot, known) {
            (Receiver::IncidentChannel { name }, Slot::Card, None) => Some(name),
            _ => None,
        }
    }

    /// Slack will not make it.
    pub(super) fn channel_was_refused(&mut self, id: IncidentId, name: &str, reason: &str) -> Decided {
        self.post(id, format!("Slack did not make the channel #{name} ({reason}): how it stands is told here alone."))
    }
}

/// `incident-2026-03-01-0412`, in the zone of the settings.
fn name_of(at: Micros, zone: &TimeZone) -> String {
    let at = Timestamp::from_microsecond(at.0).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(zone.clone());
    at.strftime("incident-%Y-%m-%d-%H%M").to_string()
}
