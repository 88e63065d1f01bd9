//! People who ask through Slack: each click once, and only from those who may.
//!
//! Whoever is a full member of the workspace may acknowledge, resolve, publish and pause: that takes nothing away that
//! another could not give back, and whoever may say that it is over may say that it is not. What lets nightshift act (approve, undo, a lease, a resume), and reject, is for `approvers`.

use super::{Decider, State, command::incident_of, policy::Policy};
use crate::model::{
    event::Event,
    id::IncidentId,
    input::Command,
    person::SlackPerson,
    time::{Micros, Span},
};

/// Slack's signatures are good for 5 minutes before and after their time; a click is remembered for longer.
const CLICK_REMEMBERED: Span = Span::minutes(15);
/// Far more than people click; each takes some hundred bytes of the state.
const CLICKS_REMEMBERED: usize = 10_000;
/// What a click that comes again is told.
pub const TAKEN: &str = "this was taken already: it is done once";
/// What Slack said of somebody's groups holds no longer than this.
pub const GROUPS_HOLD: Span = Span::minutes(5);

impl Decider<'_> {
    /// Takes note of a click. Why it is not heard, if it is not.
    pub(super) fn heard(&mut self, person: &SlackPerson, command: &Command) -> Result<Option<String>, super::Illegal> {
        if self.state.has_taken(&person.once) {
            return Ok(Some(TAKEN.into()));
        }
        // None is forgotten before its time, or it could come again; whoever wants everything to stop is always heard.
        let remembered = self.state.clicks.values().filter(|until| **until >= self.now).count();
        if remembered >= CLICKS_REMEMBERED && !matches!(command, Command::Pause { .. }) {
            return Ok(Some(format!("too much was asked for in Slack within {CLICK_REMEMBERED}: try again")));
        }
        self.emit(Event::Clicked { once: person.once.clone(), until: self.now + CLICK_REMEMBERED })?;
        Ok(self.may_not(person, command))
    }

    fn may_not(&self, person: &SlackPerson, command: &Command) -> Option<String> {
        let needs_approver = match command {
            Command::Acknowledge { .. }
            | Command::Resolve { .. }
            | Command::Publish { .. }
            | Command::Pause { .. }
            | Command::NotHeard { .. } => false,
            Command::Approve { .. }
            | Command::Reject { .. }
            | Command::Undo { .. }
            | Command::ExtendLease { .. }
            | Command::EndLease { .. }
            | Command::Rearm { .. }
            | Command::Resume { .. } => true,
        };
        if !needs_approver {
            return None;
        }
        let incident = incident_of(command);
        let severity = incident.map_or_else(|| self.policy.worst(), |id| self.severity_of(id));
        let right = self.policy.approver(severity, person);
        match right {
            Approver::ByName => None,
            Approver::ByGroup { .. } if person.asked_at + GROUPS_HOLD >= self.now => None,
            Approver::ByGroup { group } => Some(format!("whether you belong to {group} was asked too long ago: again")),
            Approver::Nobody => Some(format!("nobody is listed under `approvers` for {severity}")),
            Approver::No => Some(format!("you are not among the `approvers` for {severity}")),
        }
    }

    fn severity_of(&self, id: IncidentId) -> &str {
        self.state.incidents.get(&id).map_or_else(|| self.policy.worst(), |incident| incident.severity.as_str())
    }
}

/// What gives somebody the right to approve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approver<'a> {
    ByName,
    ByGroup {
        group: &'a str,
    },
    No,
    /// Nobody may, of this severity.
    Nobody,
}

impl Policy {
    /// The most severe severity's name.
    fn worst(&self) -> &str {
        self.spec.severities.first().map_or("", |worst| worst.name.as_str())
    }

    /// Whether somebody may approve what an incident of this severity wants.
    #[must_use]
    pub fn approver<'a>(&'a self, severity: &str, person: &SlackPerson) -> Approver<'a> {
        let listed = self.spec.approvers.get(severity).map_or(&[][..], Vec::as_slice);
        if listed.is_empty() {
            Approver::Nobody
        } else if listed.contains(&person.user) {
            Approver::ByName
        } else {
            let group = listed.iter().find(|listed| person.groups.contains(*listed));
            group.map_or(Approver::No, |group| Approver::ByGroup { group })
        }
    }
}

impl State {
    /// This click or command was taken already.
    #[must_use]
    pub fn has_taken(&self, once: &str) -> bool {
        self.clicks.contains_key(once)
    }
}

/// Until when an approval by membership holds.
pub(super) fn membership_holds_until(person: &SlackPerson) -> Micros {
    person.asked_at + GROUPS_HOLD
}
