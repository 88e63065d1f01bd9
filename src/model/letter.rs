//! A letter: a message owed to a receiver. Letters are part of the state, so none is lost and nothing waits for one.

use super::{id::IncidentId, time::Micros};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::fmt;

/// Who is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Receiver {
    /// A Slack channel, as configured (`#incidents` or an id).
    Slack { channel: String },
}

impl Receiver {
    /// The closed list behind the metric label.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Receiver::Slack { .. } => "slack",
        }
    }
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Receiver::Slack { channel } => write!(f, "slack:{channel}"),
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
            _ => Err(D::Error::custom(format!("`{text}` is not a receiver"))),
        }
    }
}

/// Which message of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slot {
    /// The one message per incident, updated in place. The newest wish supersedes; rendered from the state when sent.
    Card,
    /// One line that follows it in the thread. Never superseded; sent in order. The number is the state's counter.
    Post(u64),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LetterKey {
    pub receiver: Receiver,
    pub incident: IncidentId,
    pub slot: Slot,
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
}

/// Where the receiver keeps what it was sent: a Slack channel id and message time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct External {
    pub channel: String,
    pub ts: String,
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
}
