//! A YAML text as a tree in which every value knows its place.
//!
//! serde-saphyr reads the YAML (budgets, aliases, tags, strict booleans); here its events become [`Node`]s, so that
//! problems can be told all at once and layers can be merged without losing where a value came from.

use crate::model::problem::Problem;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where a value was written. `line` and `column` count from 1; 0 means unknown.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The file as the user named it, or `environment`, `command line`, `defaults`.
    pub file: Arc<str>,
    pub line: u32,
    pub column: u32,
    /// The environment variable or the flag that gave the value, where one did.
    pub variable: Option<Arc<str>>,
}

impl Place {
    /// A file as a whole.
    #[must_use]
    pub fn of(file: &str) -> Place {
        Place { file: file.into(), line: 0, column: 0, variable: None }
    }

    /// An error at this place.
    #[must_use]
    pub fn error(&self, what: impl Into<String>) -> Problem {
        Problem::error(&*self.file, self.line, self.column, self.named(what.into()))
    }

    /// A warning at this place.
    #[must_use]
    pub fn warning(&self, what: impl Into<String>) -> Problem {
        Problem::warning(&*self.file, self.line, self.column, self.named(what.into()))
    }

    /// A path that is written here: a relative one begins at the folder of the file that says it, and in a variable or a flag
    /// at the working directory.
    #[must_use]
    pub fn path(&self, written: &str) -> PathBuf {
        Path::new(&*self.file).parent().unwrap_or(Path::new("")).join(written)
    }

    fn named(&self, what: String) -> String {
        match &self.variable {
            Some(variable) => format!("{variable}: {what}"),
            None => what,
        }
    }
}

/// One value and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub place: Place,
    pub kind: Kind,
}

impl Node {
    /// Every value by its keys (`listen.admin`), as text, without what is left empty.
    #[must_use]
    pub fn by_key(&self) -> BTreeMap<String, String> {
        fn add(node: &Node, key: &str, all: &mut BTreeMap<String, String>) {
            match &node.kind {
                Kind::Map(entries) => {
                    for (inner, value) in entries {
                        let key = if key.is_empty() { inner.text.clone() } else { format!("{key}.{}", inner.text) };
                        add(value, &key, all);
                    }
                }
                Kind::Null => {}
                _ => {
                    all.insert(key.to_owned(), text(node));
                }
            }
        }
        fn text(node: &Node) -> String {
            match &node.kind {
                Kind::Null => "null".to_owned(),
                Kind::Bool(value) => value.to_string(),
                Kind::Number(text) | Kind::Text(text) => text.clone(),
                Kind::List(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(", ")),
                Kind::Map(entries) => {
                    let entries = entries.iter().map(|(key, value)| format!("{}: {}", key.text, text(value)));
                    format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
                }
            }
        }
        let mut all = BTreeMap::new();
        add(self, "", &mut all);
        all
    }
}

/// A key of a mapping and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub text: String,
    pub place: Place,
}

/// What a value is. Numbers keep their spelling, so that `1.10` and `+2` stay what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

impl Kind {
    /// For messages: `the text "abc"`, `a list`.
    #[must_use]
    pub fn found(&self) -> String {
        match self {
            Kind::Null => "nothing".to_owned(),
            Kind::Bool(value) => format!("`{value}`"),
            Kind::Number(text) => format!("the number {text}"),
            Kind::Text(text) => format!("the text \"{}\"", crate::telemetry::text::shortened(text, 60)),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a mapping".to_owned(),
        }
    }
}

impl Node {
    /// The value of a key, where this is a mapping that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(have, _)| have.text == key).map(|(_, value)| value),
            _ => None,
        }
    }
}

/// What serde-saphyr gives, before spellings and file names are filled in.
pub(super) enum Raw {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }
    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }
    fn visit_none<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(self)
    }
    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }
    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }
    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }
    fn visit_str<E: de::Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }
    fn visit_string<E: de::Error>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

/// Turns what serde-saphyr gave into nodes, and collects the keys that stand twice.
pub(super) struct Builder<'a> {
    pub file: Arc<str>,
    pub text: &'a str,
    pub problems: Vec<Problem>,
}

impl Builder<'_> {
    pub fn node(&mut self, raw: Spanned<Raw>) -> Node {
        let spelling = self.spelling(&raw.defined);
        let place = self.place(&raw.referenced);
        let kind = match raw.value {
            Raw::Null => Kind::Null,
            Raw::Bool(value) => Kind::Bool(value),
            Raw::Number(value) => Kind::Number(spelling.unwrap_or(value)),
            Raw::Text(text) => Kind::Text(text),
            Raw::List(items) => Kind::List(items.into_iter().map(|item| self.node(item)).collect()),
            Raw::Map(entries) => self.map(entries),
        };
        Node { place, kind }
    }

    fn map(&mut self, entries: Vec<(Spanned<String>, Spanned<Raw>)>) -> Kind {
        let mut seen: std::collections::BTreeMap<String, u32> = std::collections::BTreeMap::new();
        let mut kept = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let place = self.place(&key.referenced);
            let value = self.node(value);
            if let Some(first) = seen.get(&key.value) {
                if self.problems.len() < super::typed::MOST_PROBLEMS {
                    let what = format!("key `{}` stands twice", crate::telemetry::text::shortened(&key.value, 60));
                    self.problems.push(place.error(what).hint(format!("it is first given in line {first}")));
                }
                continue;
            }
            seen.insert(key.value.clone(), place.line);
            kept.push((Key { text: key.value, place }, value));
        }
        Kind::Map(kept)
    }

    fn place(&self, location: &serde_saphyr::Location) -> Place {
        let number = |value: u64| u32::try_from(value).unwrap_or(0);
        Place {
            file: self.file.clone(),
            line: number(location.line()),
            column: number(location.column()),
            variable: None,
        }
    }

    /// The characters between a scalar's first and last: serde gives a number's value, people wrote its spelling.
    fn spelling(&self, location: &serde_saphyr::Location) -> Option<String> {
        let from = usize::try_from(location.span().byte_offset()?).ok()?;
        let to = from.checked_add(usize::try_from(location.span().byte_len()?).ok()?)?;
        let text = self.text.get(from..to)?.trim();
        (!text.is_empty() && text.len() <= 64).then(|| text.to_owned())
    }
}
