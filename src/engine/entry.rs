//! One entry of the journal: an input with every event that it caused, written as canonical text and read back.
//!
//! `{"v":1,"policy":"<hash>","input":{…},"events":[…]}`, fields always in this order: its bytes are hashed.

use crate::{
    journal::{Head, Row},
    model::{event::Event, id::IncidentId, input::Input, time::Micros},
};
use serde::{Deserialize, Serialize};

/// Raised when an older nightshift could misread what is written. Events only gain fields, so it rarely is.
pub const VERSION: u32 = 1;

/// An entry as it was decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub seq: u64,
    /// The `now` it was decided with.
    pub at: Micros,
    pub epoch: u64,
    /// The policy that decided it.
    pub policy: String,
    pub input: Input,
    pub events: Vec<Event>,
}

/// The body of an entry could not be made or understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    #[error("entry {seq} is written in version {found}, this nightshift reads version {VERSION}")]
    Version { seq: u64, found: u32 },
    #[error("entry {seq} cannot be read: {why}")]
    Unreadable { seq: u64, why: String },
    #[error("an entry cannot be written: {why}")]
    Unwritable { why: String },
}

#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    policy: &'a str,
    input: &'a Input,
    events: &'a [Event],
}

#[derive(Deserialize)]
struct Body {
    v: u32,
    policy: String,
    input: Input,
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// The text that is kept and hashed.
pub fn body(policy: &str, input: &Input, events: &[Event]) -> Result<String, EntryError> {
    serde_json::to_string(&Written { v: VERSION, policy, input, events })
        .map_err(|error| EntryError::Unwritable { why: error.to_string() })
}

/// The row behind `head`.
pub fn seal(
    head: &Head,
    at: Micros,
    epoch: u64,
    policy: &str,
    input: &Input,
    events: &[Event],
) -> Result<Row, EntryError> {
    let body = body(policy, input, events)?;
    let incident = incident_of(input, events).map(|incident| incident.0);
    Ok(Row::sealed(&head.hash, head.seq.saturating_add(1), at.0, epoch, incident, input.cause().to_owned(), body))
}

/// Reads a row. Its place in the chain is [`crate::journal::chain`]'s affair.
pub fn open(row: &Row) -> Result<Entry, EntryError> {
    let body: Body = serde_json::from_str(&row.body).map_err(|error| unreadable(row, &error))?;
    if body.v != VERSION {
        return Err(EntryError::Version { seq: row.seq, found: body.v });
    }
    let Body { policy, input, events, .. } = body;
    Ok(Entry { seq: row.seq, at: Micros(row.at), epoch: row.epoch, policy, input, events })
}

/// A newer version is said to be one, whatever else is odd about it.
fn unreadable(row: &Row, error: &serde_json::Error) -> EntryError {
    match serde_json::from_str::<Version>(&row.body) {
        Ok(Version { v }) if v != VERSION => EntryError::Version { seq: row.seq, found: v },
        _ => EntryError::Unreadable { seq: row.seq, why: error.to_string() },
    }
}

/// The incident that an entry concerns: at most one, named by its events or else by its input.
#[must_use]
pub fn incident_of(input: &Input, events: &[Event]) -> Option<IncidentId> {
    events.iter().find_map(of_event).or_else(|| of_input(input)).filter(|incident| *incident != IncidentId::ITSELF)
}

fn of_event(event: &Event) -> Option<IncidentId> {
    if let Some(step) = event.step() {
        return Some(step.incident);
    }
    match event {
        Event::IncidentOpened { incident, .. }
        | Event::AlertJoined { incident, .. }
        | Event::SeverityChanged { incident, .. }
        | Event::IncidentAcknowledged { incident, .. }
        | Event::AcknowledgeVoided { incident }
        | Event::IncidentMonitoring { incident, .. }
        | Event::IncidentReopened { incident }
        | Event::IncidentLostContact { incident }
        | Event::IncidentResolved { incident, .. }
        | Event::IncidentForgotten { incident }
        | Event::IncidentWaits { incident }
        | Event::EscalationBegan { incident, .. }
        | Event::EscalationAsked { incident, .. }
        | Event::Escalated { incident, .. }
        | Event::EscalationSilenced { incident }
        | Event::EscalationEnded { incident }
        | Event::UpdatesBegan { incident, .. }
        | Event::UpdateDue { incident, .. }
        | Event::ChannelOpened { incident, .. }
        | Event::PostmortemDue { incident, .. }
        | Event::PostmortemReminded { incident }
        | Event::EvidenceWanted { incident, .. }
        | Event::EvidenceGathered { incident }
        | Event::LadderBegan { incident, .. }
        | Event::LadderEnded { incident, .. }
        | Event::Barred { incident, .. }
        | Event::PageReleased { incident, .. }
        | Event::PageOwed { incident, .. }
        | Event::PageWanted { incident, .. }
        | Event::StatusDue { incident, .. }
        | Event::StatusPublished { incident, .. }
        | Event::PageSeen { incident, .. }
        | Event::PeerJoined { incident, .. } => Some(*incident),
        Event::Tell { letter, .. } | Event::LetterTold { letter, .. } | Event::LetterFailed { letter, .. } => {
            Some(letter.incident)
        }
        _ => None,
    }
}

fn of_input(input: &Input) -> Option<IncidentId> {
    use crate::model::input::Command;
    match input {
        Input::Observed { step, .. } | Input::Performed { step, .. } | Input::Measured { step, .. } => {
            Some(step.incident)
        }
        Input::Gathered { incident, .. } => Some(*incident),
        Input::Told { letter, .. } => Some(letter.incident),
        Input::Command { command, .. } => match command {
            Command::Acknowledge { incident } | Command::Resolve { incident } | Command::Publish { incident } => {
                Some(*incident)
            }
            Command::Approve { step, .. }
            | Command::Reject { step }
            | Command::Undo { step }
            | Command::ExtendLease { step, .. }
            | Command::EndLease { step } => Some(step.incident),
            Command::Rearm { .. } | Command::Pause { .. } | Command::Resume { .. } | Command::NotHeard { .. } => None,
        },
        Input::Started { .. }
        | Input::Stopped
        | Input::PolicyLoaded { .. }
        | Input::PolicyRefused { .. }
        | Input::Alert(_)
        | Input::Peer(_)
        | Input::Confirmed { .. }
        | Input::Wake
        | Input::ClockStepped { .. }
        | Input::Poisoned { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::GENESIS;

    #[test]
    fn an_entry_reads_back_as_it_was_written() {
        let events = vec![Event::Resumed { by: "ana".to_owned() }, Event::Stopped];
        let row = seal(&GENESIS, Micros(5), 2, "ab", &Input::Stopped, &events).unwrap();
        assert_eq!(
            row.body,
            r#"{"v":1,"policy":"ab","input":"stopped","events":[{"resumed":{"by":"ana"}},"stopped"]}"#
        );
        let entry = open(&row).unwrap();
        assert_eq!((entry.seq, entry.at, entry.epoch, entry.policy.as_str()), (1, Micros(5), 2, "ab"));
        assert_eq!(entry.events, events);
        assert_eq!(body(&entry.policy, &entry.input, &entry.events).unwrap(), row.body);
    }

    #[test]
    fn another_version_is_named_even_if_nothing_else_of_it_is_understood() {
        let text = r#"{"v":2,"something":"new"}"#.to_owned();
        let row = Row::sealed(&GENESIS.hash, 1, 0, 1, None, "wake".to_owned(), text);
        assert_eq!(open(&row), Err(EntryError::Version { seq: 1, found: 2 }));
    }
}
