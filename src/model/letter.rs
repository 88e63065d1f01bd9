//! A letter: a message owed to a receiver. Letters are part of the state, so none is lost and nothing waits for one.

use super::{
    id::IncidentId,
    public::{ComponentStatus, LeftAlone},
    time::Micros,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::fmt;

/// Who is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Receiver {
    /// A Slack channel, as configured (`#incidents` or an id).
    Slack { channel: String },
    /// The incident's own Slack channel, by the name that it is made with.
    IncidentChannel { name: String },
    /// A PagerDuty service: `default`, or the name of the people whose routing key it is.
    PagerDuty { service: String },
    /// A component of the status page, as the settings name it.
    Statuspage { component: String },
}

impl Receiver {
    /// The closed list behind the metric label.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Receiver::Slack { .. } | Receiver::IncidentChannel { .. } => "slack",
            Receiver::PagerDuty { .. } => "pagerduty",
            Receiver::Statuspage { .. } => "statuspage",
        }
    }
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Receiver::Slack { channel } => write!(f, "slack:{channel}"),
            Receiver::IncidentChannel { name } => write!(f, "channel:{name}"),
            Receiver::PagerDuty { service } => write!(f, "pagerduty:{service}"),
            Receiver::Statuspage { component } => write!(f, "statuspage:{component}"),
        }
    }
}

impl Serialize for Receiver {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Receiver {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Receiver, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.split_once(':') {
            Some(("slack", channel)) => Ok(Receiver::Slack { channel: channel.to_owned() }),
            Some(("channel", name)) => Ok(Receiver::IncidentChannel { name: name.to_owned() }),
            Some(("pagerduty", service)) => Ok(Receiver::PagerDuty { service: service.to_owned() }),
            Some(("statuspage", component)) => Ok(Receiver::Statuspage { component: component.to_owned() }),
            _ => Err(D::Error::custom(format!("`{text}` is not a receiver"))),
        }
    }
}

/// Which message of an incident. The order is the order in which what is owed goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slot {
    /// What the receiver shows of the incident, updated in place: a message, a status page's incident. The newest wish
    /// supersedes; rendered from the state when sent.
    Card,
    /// A PagerDuty alert of the incident, by its number in [`crate::decide::state`]: triggered, acknowledged, resolved.
    /// The newest wish supersedes.
    Page(u32),
    /// One line that follows it in the thread. Never superseded; sent in order. The number is the state's counter.
    Post(u64),
    /// One line that says how it stands. The newest wish supersedes one that was not sent yet; each that is sent is a
    /// message of its own.
    Update,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LetterKey {
    pub receiver: Receiver,
    pub incident: IncidentId,
    pub slot: Slot,
}

impl LetterKey {
    /// A page in PagerDuty: it waits for no other letter.
    #[must_use]
    pub fn is_page(&self) -> bool {
        matches!(self.slot, Slot::Page(_))
    }
}

/// What a post says, in plain text: the notifier escapes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub at: Micros,
    pub text: String,
    /// People and groups to mention, as configured (never from a label).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<String>,
    /// It wakes people: it goes before other incidents' news, and is owed however much of them is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub page: bool,
    /// For PagerDuty's own incidents: somebody has it, and that is so there, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub takes: bool,
}

impl Note {
    /// It wakes nobody, and mentions nobody.
    #[must_use]
    pub fn plain(at: Micros, text: String) -> Note {
        Note { at, text, mentions: Vec::new(), page: false, takes: false }
    }
}

/// Where the receiver keeps what it was sent, and what it was last told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum External {
    Posted(Posted),
    Paged(Paged),
    Published(Published),
}

/// A Slack channel id and message time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    pub channel: String,
    pub ts: String,
}

/// A PagerDuty alert, and how it was last told to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paged {
    pub dedup_key: String,
    pub page: PageState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageState {
    Triggered,
    Acknowledged,
    Resolved,
}

/// A status page's incident, and what was last told there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    pub status_incident: String,
    pub status: PublicStatus,
    /// To what the component was set. None: it is somebody else's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<ComponentStatus>,
    /// What somebody else had changed there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_alone: Vec<LeftAlone>,
}

/// What customers read of an incident, in the order it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublicStatus {
    Investigating,
    Identified,
    Monitoring,
    Resolved,
}

impl PublicStatus {
    pub const ALL: [PublicStatus; 4] =
        [PublicStatus::Investigating, PublicStatus::Identified, PublicStatus::Monitoring, PublicStatus::Resolved];

    /// On the wire, and for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            PublicStatus::Investigating => "investigating",
            PublicStatus::Identified => "identified",
            PublicStatus::Monitoring => "monitoring",
            PublicStatus::Resolved => "resolved",
        }
    }

    /// None: a word of planned maintenance, or one that nobody knows here.
    #[must_use]
    pub fn parse(word: &str) -> Option<PublicStatus> {
        PublicStatus::ALL.into_iter().find(|status| status.word() == word)
    }
}

impl External {
    #[must_use]
    pub fn posted(&self) -> Option<&Posted> {
        if let External::Posted(posted) = self { Some(posted) } else { None }
    }

    #[must_use]
    pub fn paged(&self) -> Option<&Paged> {
        if let External::Paged(paged) = self { Some(paged) } else { None }
    }

    #[must_use]
    pub fn published(&self) -> Option<&Published> {
        if let External::Published(published) = self { Some(published) } else { None }
    }
}

/// The answer to sending one letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    Sent {
        external: Option<External>,
    },
    /// It will never succeed as it is. Transient failures are retried by the courier and never get here.
    Failed {
        reason: String,
    },
    /// Refused until somebody sets right what is wrong with the receiver's settings. The courier tries it again all the same.
    Waits {
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_and_what_they_hold_come_back_as_they_went_also_from_old_journals() {
        for text in ["slack:#incidents", "channel:incident-2026-03-01-0214", "pagerduty:default", "statuspage:claims"] {
            let receiver: Receiver = serde_json::from_value(text.into()).unwrap();
            assert_eq!(serde_json::to_value(&receiver).unwrap(), text);
        }
        assert!(serde_json::from_value::<Receiver>("carrier-pigeon:home".into()).is_err());
        let posted = Posted { channel: "C024BE91L".to_owned(), ts: "1.000001".to_owned() };
        let paged = Paged { dedup_key: "0af1".to_owned(), page: PageState::Acknowledged };
        let published = Published {
            status_incident: "p31zjtct2jer".to_owned(),
            status: PublicStatus::Monitoring,
            component: Some(ComponentStatus::PartialOutage),
            left_alone: vec![LeftAlone::Component { is: ComponentStatus::MajorOutage }],
        };
        let bare = Published { component: None, left_alone: Vec::new(), ..published.clone() };
        let published = [bare, published].map(External::Published);
        for external in [External::Posted(posted), External::Paged(paged)].into_iter().chain(published) {
            let text = serde_json::to_string(&external).unwrap();
            assert_eq!(serde_json::from_str::<External>(&text).unwrap(), external);
        }
        let old: External = serde_json::from_str(r#"{"channel":"C024BE91L","ts":"1.000001"}"#).unwrap();
        assert_eq!(old.posted().map(|posted| posted.ts.as_str()), Some("1.000001"));
    }
}
