//! Why a value of a tree does not fit its type, in words for people.

use super::{node::Kind, suggest};
use serde::de;
use std::fmt;

/// Why a value was not read.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Not told yet: what, and a hint.
    Fresh(String, Option<String>),
    /// Told, or not worth telling; the value around it can't be built.
    Lost,
    /// Told, and the value is left out: read the tree again.
    Again,
    /// A required key is missing.
    Missing(&'static str),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Fresh(what, _) => f.write_str(what),
            Refusal::Missing(key) => write!(f, "key `{key}` is missing"),
            Refusal::Lost | Refusal::Again => f.write_str("a value was left out"),
        }
    }
}

impl std::error::Error for Refusal {}

impl de::Error for Refusal {
    fn custom<T: fmt::Display>(message: T) -> Refusal {
        Refusal::Fresh(message.to_string(), None)
    }
    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Refusal {
        Refusal::Fresh(format!("expected {expected}, found {}", described(found)), None)
    }
    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Refusal {
        Refusal::Fresh(format!("expected {expected}, found {}", described(found)), None)
    }
    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Refusal {
        let what = format!("expected one of {}, found `{}`", suggest::quoted(known), shown(word));
        Refusal::Fresh(what, suggest::closest(word, known.iter().copied()).map(|it| format!("did you mean `{it}`?")))
    }
    fn unknown_field(key: &str, known: &'static [&'static str]) -> Refusal {
        Refusal::Fresh(format!("unknown key `{}`", shown(key)), suggest::hint(key, known.iter().copied()))
    }
    fn missing_field(key: &'static str) -> Refusal {
        Refusal::Missing(key)
    }
    fn duplicate_field(key: &'static str) -> Refusal {
        Refusal::Fresh(format!("key `{key}` stands twice"), None)
    }
}

pub(super) fn shown(word: &str) -> String {
    crate::telemetry::text::shortened(word, 60)
}

fn described(found: de::Unexpected<'_>) -> String {
    match found {
        de::Unexpected::Str(text) => Kind::Text(text.to_owned()).found(),
        de::Unexpected::Bool(value) => format!("`{value}`"),
        de::Unexpected::Unsigned(number) => format!("the number {number}"),
        de::Unexpected::Signed(number) => format!("the number {number}"),
        de::Unexpected::Float(number) => format!("the number {number}"),
        de::Unexpected::Unit | de::Unexpected::Option => "nothing".to_owned(),
        de::Unexpected::Seq => "a list".to_owned(),
        de::Unexpected::Map => "a mapping".to_owned(),
        other => other.to_string(),
    }
}
