//! What customers read on a status page: its words for a component, the owner's sentences, and when they go out.

use super::{id::IncidentId, letter::PublicStatus};
use serde::{Deserialize, Serialize};

/// How a component is, in the order in which it gets worse. The service's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComponentStatus {
    /// Only ever read: nightshift plans no maintenance.
    UnderMaintenance,
    Operational,
    DegradedPerformance,
    PartialOutage,
    MajorOutage,
}

impl ComponentStatus {
    pub const ALL: [ComponentStatus; 5] = [
        ComponentStatus::UnderMaintenance,
        ComponentStatus::Operational,
        ComponentStatus::DegradedPerformance,
        ComponentStatus::PartialOutage,
        ComponentStatus::MajorOutage,
    ];

    /// On the wire.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            ComponentStatus::UnderMaintenance => "under_maintenance",
            ComponentStatus::Operational => "operational",
            ComponentStatus::DegradedPerformance => "degraded_performance",
            ComponentStatus::PartialOutage => "partial_outage",
            ComponentStatus::MajorOutage => "major_outage",
        }
    }

    /// None: a word that nobody knows here. Nothing at all is how the service spells that all is well.
    #[must_use]
    pub fn parse(word: &str) -> Option<ComponentStatus> {
        let word = if word.is_empty() { "operational" } else { word };
        ComponentStatus::ALL.into_iter().find(|status| status.word() == word)
    }

    /// For people.
    #[must_use]
    pub fn says(self) -> &'static str {
        match self {
            ComponentStatus::UnderMaintenance => "under maintenance",
            ComponentStatus::Operational => "operational",
            ComponentStatus::DegradedPerformance => "degraded performance",
            ComponentStatus::PartialOutage => "partial outage",
            ComponentStatus::MajorOutage => "major outage",
        }
    }

    /// The impact of an incident that makes a component so, in the service's word.
    #[must_use]
    pub fn impact(self) -> &'static str {
        match self {
            ComponentStatus::UnderMaintenance => "maintenance",
            ComponentStatus::Operational => "none",
            ComponentStatus::DegradedPerformance => "minor",
            ComponentStatus::PartialOutage => "major",
            ComponentStatus::MajorOutage => "critical",
        }
    }

    /// Where the settings say nothing else. `rank`: of the severity, 0 is the most severe.
    #[must_use]
    pub fn of_rank(rank: u32) -> ComponentStatus {
        match rank {
            0 => ComponentStatus::MajorOutage,
            1 => ComponentStatus::PartialOutage,
            _ => ComponentStatus::DegradedPerformance,
        }
    }
}

/// When something goes out to customers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Publish {
    /// Once a person has said so; what follows of the same incident then goes out by itself.
    Draft,
    Auto,
}

/// What the owner of a component wrote: everything that customers ever read of it. No word of an alert gets in here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sentences {
    pub title: String,
    pub investigating: String,
    pub identified: String,
    pub monitoring: String,
    pub resolved: String,
}

impl Sentences {
    #[must_use]
    pub fn of(&self, status: PublicStatus) -> &str {
        match status {
            PublicStatus::Investigating => &self.investigating,
            PublicStatus::Identified => &self.identified,
            PublicStatus::Monitoring => &self.monitoring,
            PublicStatus::Resolved => &self.resolved,
        }
    }
}

/// What a person had changed on the status page, and nightshift left as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftAlone {
    Incident { is: PublicStatus },
    Component { is: ComponentStatus },
}

impl LeftAlone {
    /// The sentence for people, without a full stop.
    #[must_use]
    pub fn says(self) -> String {
        match self {
            LeftAlone::Incident { is } => format!("a person set its incident to {} there: it is left alone", is.word()),
            LeftAlone::Component { is } => format!("the component is {} by somebody else: it is left alone", is.says()),
        }
    }
}

/// What the status page is to show of an incident, for people and for whoever publishes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicView {
    pub component: String,
    /// The incident under which it is published: several of one component are one for customers.
    pub incident: IncidentId,
    pub status: PublicStatus,
    pub shows: ComponentStatus,
    /// Nothing goes out before a person says so.
    pub waits: bool,
    pub published_by: Option<String>,
    /// What customers were last told.
    pub told: Option<PublicStatus>,
    pub title: String,
    /// The owner's, for `status`.
    pub sentence: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_services_words_are_read_as_they_are_written() {
        for status in ComponentStatus::ALL {
            assert_eq!(ComponentStatus::parse(status.word()), Some(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.word());
        }
        assert_eq!(ComponentStatus::parse(""), Some(ComponentStatus::Operational));
        assert_eq!(ComponentStatus::parse("on_fire"), None);
        assert!(ComponentStatus::ALL.is_sorted());
    }
}
