//! What goes to Statuspage and what comes back, as far as we read it.
//!
//! Every incident of ours carries metadata: which incident it is, and what we last told there. So it is found again after a
//! lost answer or a crash, and what a person changed since is known from what we did.

use crate::model::{id::IncidentId, letter::PublicStatus, public::ComponentStatus, time::Micros};
use serde_json::{Map, Value, json};

/// Our part of the metadata, whose top-level values must be objects.
const OURS: &str = "nightshift";
/// Of an error's words.
const LONGEST_SAID_CHARS: usize = 200;

/// Which incident of which journal: numbers begin anew with a journal, times do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub incident: IncidentId,
    pub opened_at: Micros,
}

/// An incident as Statuspage shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub id: String,
    /// None: planned maintenance, or a word that is not known here.
    pub status: Option<PublicStatus>,
    pub impact_override: Option<String>,
    /// None: somebody else's.
    pub ours: Option<Ours>,
}

/// What we last wrote there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ours {
    pub key: Key,
    pub status: PublicStatus,
    /// To what the component was set. None: it was not ours to set.
    pub component: Option<ComponentStatus>,
}

impl Ours {
    fn metadata(&self) -> Value {
        let Key { incident, opened_at } = &self.key;
        json!({OURS: {
            "incident": incident.to_string(),
            "opened_at": opened_at.0.to_string(),
            "status": self.status.word(),
            "component": self.component.map_or("", ComponentStatus::word),
        }})
    }

    fn read(metadata: &Value) -> Option<Ours> {
        let text = |name: &str| metadata.get(OURS)?.get(name)?.as_str();
        let component = text("component").filter(|word| !word.is_empty()).and_then(ComponentStatus::parse);
        let key =
            Key { incident: text("incident")?.parse().ok()?, opened_at: Micros(text("opened_at")?.parse().ok()?) };
        Some(Ours { key, status: PublicStatus::parse(text("status")?)?, component })
    }
}

/// Reads an incident; None where it has no id.
#[must_use]
pub fn seen(value: &Value) -> Option<Seen> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    Some(Seen {
        id: text("id").filter(|id| is_id(id))?.to_owned(),
        status: text("status").and_then(PublicStatus::parse),
        impact_override: text("impact_override").map(str::to_owned),
        ours: value.get("metadata").and_then(Ours::read),
    })
}

/// It stands in the path of later requests.
fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// What a call writes. The sentences are the owner's; nothing else in it is text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write<'a> {
    /// What is there when it is done.
    pub leaves: Ours,
    /// The title of a new incident.
    pub opens: Option<&'a str>,
    /// The sentence of a status that is new.
    pub says: Option<&'a str>,
    /// The component's id, and what it is set to.
    pub sets: Option<(&'a str, ComponentStatus)>,
    /// The component that is concerned, whether it is set or not.
    pub concerns: &'a str,
    pub impact: Option<&'static str>,
    /// Whether the service mails its subscribers. Never left out: then it would.
    pub notifies: bool,
}

impl Write<'_> {
    #[must_use]
    pub fn body(&self) -> Value {
        let mut incident = Map::new();
        incident.insert("deliver_notifications".to_owned(), self.notifies.into());
        incident.insert("metadata".to_owned(), self.leaves.metadata());
        if let Some(title) = self.opens {
            incident.insert("name".to_owned(), title.into());
        }
        if let Some(sentence) = self.says {
            incident.insert("status".to_owned(), self.leaves.status.word().into());
            incident.insert("body".to_owned(), sentence.into());
        }
        if let Some((component, status)) = self.sets {
            incident.insert("components".to_owned(), json!({component: status.word()}));
        }
        if self.opens.is_some() || self.sets.is_some() {
            incident.insert("component_ids".to_owned(), json!([self.concerns]));
        }
        if let Some(impact) = self.impact {
            incident.insert("impact_override".to_owned(), impact.into());
        }
        json!({"incident": incident})
    }
}

/// `{"error": …}` or `{"message": …}`, a text or a list of them.
#[must_use]
pub fn error_of(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let said = match body.get("error").or_else(|| body.get("message"))? {
        Value::String(said) => said.clone(),
        Value::Array(said) => said.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        _ => return None,
    };
    let said: String = said.chars().take(LONGEST_SAID_CHARS).collect();
    (!said.trim().is_empty()).then_some(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_wrote_there_is_read_back_and_what_others_wrote_is_not_ours() {
        let key = Key { incident: IncidentId(1042), opened_at: Micros(1_770_000_000_000_001) };
        for component in [None, Some(ComponentStatus::PartialOutage)] {
            let ours = Ours { key: key.clone(), status: PublicStatus::Identified, component };
            let there = json!({"id": "p31zjtct2jer", "status": "monitoring", "metadata": ours.metadata(), "name": "x"});
            let seen = seen(&there).unwrap();
            assert_eq!((seen.status, seen.ours), (Some(PublicStatus::Monitoring), Some(ours)));
        }
        for metadata in [json!(null), json!({}), json!({"nightshift": "x"}), json!({"nightshift": {"incident": "1"}})] {
            assert_eq!(seen(&json!({"id": "a", "status": "in_progress", "metadata": metadata})).unwrap().ours, None);
        }
        for id in ["", "../components/a", "a?b", "a/b"] {
            assert_eq!(seen(&json!({"id": id, "status": "resolved"})), None, "{id}");
        }
    }
}
