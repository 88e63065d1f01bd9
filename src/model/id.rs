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

/// An alert's fingerprint as its source prints it. Alertmanager's, 16 hex digits, is kept as the number that it is: a
/// hundred thousand alerts are looked up by it in a handful of maps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(Kept);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kept {
    /// Printed as 16 lower-case hex digits.
    Hex(u64),
    /// Any other text.
    Text(Arc<str>),
}

impl Fingerprint {
    #[must_use]
    pub fn new(text: &str) -> Fingerprint {
        let is_hex = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = if is_hex { u64::from_str_radix(text, 16).ok() } else { None };
        Fingerprint(number.map_or_else(|| Kept::Text(Arc::from(text)), Kept::Hex))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kept::Hex(number) => write!(f, "{number:016x}"),
            Kept::Text(text) => f.write_str(text),
        }
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fingerprint, D::Error> {
        Ok(Fingerprint::new(&String::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_printed_as_it_came() {
        let alertmanagers = ["6cd90da8e8f10998", "0000000000000000", "00000000000000aa", "ffffffffffffffff"];
        // Upper case, too short, a sign, PagerDuty's.
        let others = ["6CD90DA8E8F10998", "6cd90da8e8f1099", "+6cd90da8e8f1099", "Q2K5B8AKPL1P4N", ""];
        for text in alertmanagers.into_iter().chain(others) {
            let print = Fingerprint::new(text);
            assert_eq!(print.to_string(), text);
            let json = serde_json::to_string(&print).unwrap();
            assert_eq!((json.as_str(), serde_json::from_str(&json).unwrap()), (format!("{text:?}").as_str(), print));
        }
        assert!(alertmanagers.into_iter().all(|text| matches!(Fingerprint::new(text).0, Kept::Hex(_))));
        assert!(others.into_iter().all(|text| matches!(Fingerprint::new(text).0, Kept::Text(_))));
    }

    #[test]
    fn a_fingerprint_takes_no_more_room_than_a_reference_to_its_text() {
        assert_eq!(size_of::<Fingerprint>(), size_of::<&str>());
    }
}
