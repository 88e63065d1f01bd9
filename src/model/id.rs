//! Typed ids. They are counters in the state, so a replay gives the same ones.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::{fmt, str::FromStr, sync::Arc};

/// An incident's number, as people type it: `1042`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IncidentId(pub u64);

impl IncidentId {
    /// No incident: what concerns nightshift itself (a pause, a poisoned input). Incidents count from 1.
    pub const ITSELF: IncidentId = IncidentId(0);
}

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for IncidentId {
    type Err = String;
    fn from_str(text: &str) -> Result<IncidentId, String> {
        text.parse().map(IncidentId).map_err(|_| format!("`{text}` is not an incident's number (like 1042)"))
    }
}

/// A step's number: the incident's, and the step's within it: `1042.2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId {
    pub incident: IncidentId,
    pub number: u32,
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.incident, self.number)
    }
}

impl FromStr for StepId {
    type Err = String;
    fn from_str(text: &str) -> Result<StepId, String> {
        let wrong = || format!("`{text}` is not a step's number (like 1042.2)");
        let (incident, number) = text.split_once('.').ok_or_else(wrong)?;
        let incident = incident.parse().map_err(|_| wrong())?;
        Ok(StepId { incident, number: number.parse().map_err(|_| wrong())? })
    }
}

impl Serialize for StepId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StepId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<StepId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// An alert's fingerprint as its source prints it (Alertmanager: 16 hex digits of its labels). Shared, not copied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(Arc<str>);

impl Fingerprint {
    #[must_use]
    pub fn new(text: &str) -> Fingerprint {
        Fingerprint(Arc::from(text))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fingerprint, D::Error> {
        Ok(Fingerprint(Arc::from(String::deserialize(deserializer)?)))
    }
}
