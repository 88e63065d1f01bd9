//! Who is called when: the levels of a severity's escalation, and how a name under `people` is reached.

use super::Policy;
use crate::model::time::Span;
use serde::{Deserialize, Serialize};

/// How often people are told how it stands, where the severity does not say.
const UPDATE_EVERY: Span = Span::hours(1);

/// How a name under `people` is reached; what is secret stays in the settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// A Slack user, user group or channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<String>,
    /// A PagerDuty service is theirs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pagerduty: bool,
}

/// Who is called for incidents of some severities, one level after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Escalation {
    pub name: String,
    /// By name. A severity is in one escalation at most.
    pub severities: Vec<String>,
    /// The first is called by the page.
    pub levels: Vec<Level>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// Counted from the page.
    pub after: Span,
    /// A name under `people`.
    pub to: String,
}

/// How somebody is called in Slack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach<'a> {
    /// A user or group, in the incident's thread.
    Mention(&'a str),
    /// By a post of its own.
    Channel(&'a str),
    Nowhere,
}

impl Person {
    #[must_use]
    pub fn in_slack(&self) -> Reach<'_> {
        match self.slack.as_deref() {
            // Slack's ids of users begin with U or W, those of user groups with S.
            Some(id) if id.starts_with(['U', 'W', 'S']) => Reach::Mention(id),
            Some(channel) => Reach::Channel(channel),
            None => Reach::Nowhere,
        }
    }
}

impl Policy {
    #[must_use]
    pub fn levels(&self, severity: &str) -> &[Level] {
        let of = |escalation: &&Escalation| escalation.severities.iter().any(|name| name == severity);
        self.spec.escalations.iter().find(of).map_or(&[], |escalation| &escalation.levels)
    }

    #[must_use]
    pub fn reach(&self, name: &str) -> Reach<'_> {
        self.spec.people.get(name).map_or(Reach::Nowhere, Person::in_slack)
    }

    /// How often people are told how an incident of this severity stands.
    #[must_use]
    pub fn update_every(&self, severity: &str) -> Span {
        self.severity(severity).and_then(|(_, severity)| severity.update_every).unwrap_or(UPDATE_EVERY)
    }
}
