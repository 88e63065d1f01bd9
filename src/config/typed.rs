//! A tree as a Rust type, by serde, with every problem at once.
//!
//! serde stops at the first error. So a value that does not fit is noted and left out, and the tree is read again
//! without it, until nothing new is found: each pass leaves out at least one value more, so it ends. A struct that
//! then lacks a required key because its value was left out is itself left out without a word.

use super::{
    node::{Key, Kind, Node, Place},
    refusal::{Refusal, shown},
    suggest,
    yaml::Located,
};
use crate::model::problem::Problem;
use serde::de::{
    self, Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};
use std::{cell::RefCell, collections::BTreeSet, fmt};

/// A person mends a few problems and runs it again; a file that is wrong all over needs no thousand lines.
pub(super) const MOST_PROBLEMS: usize = 100;
/// Names by which [`Located`] and [`Node`] ask for what serde's data model does not carry.
const LOCATED: &str = "$nightshift::Located";
const ONE_OR_MANY: &str = "$nightshift::OneOrMany";
const NODE: &str = "$nightshift::Node";

thread_local! {
    /// Carries what serde's data model cannot (a place, a whole subtree) over the one call in which it is asked for.
    static HANDED: RefCell<Option<Node>> = const { RefCell::new(None) };
}

/// Reads a tree into a type, or gives every problem.
pub fn read<T: DeserializeOwned>(node: &Node) -> Result<T, Vec<Problem>> {
    match read_partly(node) {
        (Some(value), problems) if problems.is_empty() => Ok(value),
        (_, problems) => Err(problems),
    }
}

/// Reads what fits, with the problems of what does not; `None` where too little is left to make a value of.
pub fn read_partly<T: DeserializeOwned>(node: &Node) -> (Option<T>, Vec<Problem>) {
    let notes = RefCell::new(Notes::default());
    let mut value = None;
    for _ in 0..=MOST_PROBLEMS {
        let result = T::deserialize(Typed { node, notes: &notes });
        let mut notes = notes.borrow_mut();
        match result {
            Err(Refusal::Again) if !notes.full() => continue,
            Err(Refusal::Fresh(what, hint)) => notes.note(&node.place, what, hint),
            Ok(read) => value = Some(read),
            Err(_) => {}
        }
        break;
    }
    let mut problems = notes.into_inner().problems;
    if value.is_none() && problems.is_empty() {
        problems.push(node.place.error("this cannot be read as what it should be"));
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    (value, problems)
}

/// Deserialises [`Located`]: the value, and the place that was handed over.
pub(super) fn located<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Located<T>, D::Error> {
    struct Inner<T>(std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Inner<T> {
        type Value = Located<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a value")
        }
        fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Located<T>, D::Error> {
            let place = HANDED.take().map_or_else(|| Place::of(""), |node| node.place);
            Ok(Located { value: T::deserialize(deserializer)?, place })
        }
    }
    deserializer.deserialize_newtype_struct(LOCATED, Inner(std::marker::PhantomData))
}

/// Deserialises a list, or its only element.
pub(super) fn one_or_many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct All<T>(std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for All<T> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a value or a list of them")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Vec<T>, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = access.next_element()? {
                items.push(item);
            }
            Ok(items)
        }
    }
    deserializer.deserialize_newtype_struct(ONE_OR_MANY, All(std::marker::PhantomData))
}

/// A subtree as it is, for values whose type is known only later (an action's `with`): read it then with [`read`].
impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        struct Whole;
        impl<'de> Visitor<'de> for Whole {
            type Value = Node;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value of a YAML file")
            }
            fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
                HANDED.take().ok_or_else(|| E::custom("a subtree can only be read from a YAML file"))
            }
        }
        deserializer.deserialize_newtype_struct(NODE, Whole)
    }
}

/// What was found wrong so far, and which nodes are left out of the next pass (by their address in the tree).
#[derive(Default)]
struct Notes {
    problems: Vec<Problem>,
    left_out: BTreeSet<usize>,
}

impl Notes {
    fn full(&self) -> bool {
        self.problems.len() >= MOST_PROBLEMS
    }

    fn note(&mut self, place: &Place, what: String, hint: Option<String>) {
        let mut problem = place.error(what);
        problem.hint = hint;
        if !self.full() && !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

fn address(node: &Node) -> usize {
    std::ptr::from_ref(node).addr()
}

#[derive(Clone, Copy)]
struct Typed<'a> {
    node: &'a Node,
    notes: &'a RefCell<Notes>,
}

impl<'a> Typed<'a> {
    fn expected(self, what: &str) -> Refusal {
        Refusal::Fresh(format!("expected {what}, found {}", self.node.kind.found()), None)
    }

    fn no_list(self) -> Refusal {
        let hint = match self.node.kind {
            Kind::Map(_) => Some("each item of a list begins with `- `: put one before the first key"),
            Kind::Text(_) | Kind::Number(_) | Kind::Bool(_) => Some("put it in brackets: `[VALUE]`"),
            Kind::Null | Kind::List(_) => None,
        };
        let what = format!("expected a list, found {}", self.node.kind.found());
        Refusal::Fresh(what, hint.map(str::to_owned))
    }

    /// Reads a child; one that does not fit is told here, at its own place, and left out of the next pass.
    fn child<'de, S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Refusal> {
        let refusal = match seed.deserialize(self) {
            Ok(value) => return Ok(value),
            Err(refusal) => refusal,
        };
        let mut notes = self.notes.borrow_mut();
        match refusal {
            Refusal::Again => return Err(Refusal::Again),
            Refusal::Fresh(what, hint) => notes.note(&self.node.place, what, hint),
            Refusal::Missing(key) => notes.note(&self.node.place, format!("key `{key}` is missing"), None),
            Refusal::Lost => {}
        }
        notes.left_out.insert(address(self.node));
        Err(Refusal::Again)
    }

    fn left_out(self, node: &Node) -> bool {
        self.notes.borrow().left_out.contains(&address(node))
    }

    /// A mapping; with `fields` as a struct, whose other keys are refused.
    fn map<'de, V: Visitor<'de>>(
        self,
        visitor: V,
        fields: Option<&'static [&'static str]>,
    ) -> Result<V::Value, Refusal> {
        let Kind::Map(entries) = &self.node.kind else {
            return Err(self.expected("a mapping"));
        };
        if let Some(fields) = fields {
            for (key, _) in entries {
                if !fields.contains(&key.text.as_str()) && !self.notes.borrow().full() {
                    let what = format!("unknown key `{}`", shown(&key.text));
                    let hint = suggest::hint(&key.text, fields.iter().copied());
                    self.notes.borrow_mut().note(&key.place, what, hint);
                }
            }
        }
        let known = |key: &str| fields.is_none_or(|fields| fields.contains(&key));
        let kept: Vec<&(Key, Node)> =
            entries.iter().filter(|(key, value)| known(&key.text) && !self.left_out(value)).collect();
        let all = kept.len() == entries.len();
        match visitor.visit_map(Entries { kept: kept.into_iter(), value: None, notes: self.notes }) {
            Err(Refusal::Missing(key)) => {
                let taken_out = !all && entries.iter().any(|(have, _)| have.text == key);
                if !taken_out {
                    let what = format!("key `{key}` is missing");
                    self.notes.borrow_mut().note(&self.node.place, what, None);
                }
                Err(Refusal::Lost)
            }
            other => other,
        }
    }

    fn number<N: std::str::FromStr>(self, what: &str) -> Result<N, Refusal> {
        let text = match &self.node.kind {
            Kind::Number(text) => text,
            Kind::Text(text) if self.node.place.variable.is_some() => text,
            _ => return Err(self.expected(what)),
        };
        text.strip_prefix('+').unwrap_or(text).parse().map_err(|_| self.expected(what))
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $what:literal;)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
            visitor.$visit(self.number($what)?)
        }
    )* };
}

impl<'de> Deserializer<'de> for Typed<'_> {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match &self.node.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Bool(value) => visitor.visit_bool(*value),
            Kind::Text(text) => visitor.visit_str(text),
            Kind::List(_) => self.deserialize_seq(visitor),
            Kind::Map(_) => self.map(visitor, None),
            Kind::Number(text) => {
                let digits = text.strip_prefix('+').unwrap_or(text);
                if let Ok(number) = digits.parse::<u64>() {
                    visitor.visit_u64(number)
                } else if let Ok(number) = digits.parse::<i64>() {
                    visitor.visit_i64(number)
                } else if let Ok(number) = digits.parse::<f64>() {
                    visitor.visit_f64(number)
                } else {
                    visitor.visit_str(text)
                }
            }
        }
    }

    numbers! {
        deserialize_i8 visit_i8 "a whole number";
        deserialize_i16 visit_i16 "a whole number";
        deserialize_i32 visit_i32 "a whole number";
        deserialize_i64 visit_i64 "a whole number";
        deserialize_i128 visit_i128 "a whole number";
        deserialize_u8 visit_u8 "a whole number from 0 to 255";
        deserialize_u16 visit_u16 "a whole number from 0 to 65535";
        deserialize_u32 visit_u32 "a whole number, 0 or more";
        deserialize_u64 visit_u64 "a whole number, 0 or more";
        deserialize_u128 visit_u128 "a whole number, 0 or more";
        deserialize_f32 visit_f32 "a number";
        deserialize_f64 visit_f64 "a number";
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match &self.node.kind {
            Kind::Bool(value) => visitor.visit_bool(*value),
            Kind::Text(text) if self.node.place.variable.is_some() && (text == "true" || text == "false") => {
                visitor.visit_bool(text == "true")
            }
            _ => Err(self.expected("`true` or `false`")),
        }
    }

    /// A number keeps its spelling as a text; `true`, nothing, lists and mappings are no text.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match &self.node.kind {
            Kind::Text(text) | Kind::Number(text) => visitor.visit_str(text),
            Kind::Bool(value) => {
                let hint = format!("put it into quotes: \"{value}\"");
                Err(Refusal::Fresh(format!("expected a text, found `{value}`"), Some(hint)))
            }
            Kind::Null | Kind::List(_) | Kind::Map(_) => Err(self.expected("a text")),
        }
    }
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_str(visitor)
    }
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_str(visitor)
    }
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_str(visitor)
    }
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_str(visitor)
    }
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match &self.node.kind {
            Kind::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match &self.node.kind {
            Kind::Null => visitor.visit_unit(),
            _ => Err(self.expected("nothing")),
        }
    }
    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_unit(visitor)
    }
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Refusal> {
        match name {
            LOCATED => {
                HANDED.set(Some(Node { place: self.node.place.clone(), kind: Kind::Null }));
                visitor.visit_newtype_struct(self)
            }
            ONE_OR_MANY if !matches!(self.node.kind, Kind::List(_)) => {
                visitor.visit_seq(Items { kept: vec![self.node].into_iter(), notes: self.notes })
            }
            ONE_OR_MANY => self.deserialize_seq(visitor),
            NODE => {
                HANDED.set(Some(self.node.clone()));
                visitor.visit_unit()
            }
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let Kind::List(items) = &self.node.kind else {
            return Err(self.no_list());
        };
        let kept: Vec<&Node> = items.iter().filter(|item| !self.left_out(item)).collect();
        visitor.visit_seq(Items { kept: kept.into_iter(), notes: self.notes })
    }
    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_seq(visitor)
    }
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.deserialize_seq(visitor)
    }
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.map(visitor, None)
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.map(visitor, Some(fields))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        match &self.node.kind {
            Kind::Text(word) => visitor.visit_enum(Choice { word, value: None, variants }),
            Kind::Map(entries) => match entries.as_slice() {
                [(key, value)] if variants.contains(&key.text.as_str()) => {
                    let value = Typed { node: value, notes: self.notes };
                    visitor.visit_enum(Choice { word: &key.text, value: Some(value), variants })
                }
                [(key, _)] => {
                    let what = format!("unknown key `{}`", shown(&key.text));
                    let hint = suggest::hint(&key.text, variants.iter().copied());
                    self.notes.borrow_mut().note(&key.place, what, hint);
                    Err(Refusal::Lost)
                }
                _ => Err(Refusal::Fresh(format!("expected one of the keys {}", suggest::quoted(variants)), None)),
            },
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) => {
                Err(self.expected(&format!("one of {}", suggest::quoted(variants))))
            }
        }
    }
}

struct Items<'a> {
    kept: std::vec::IntoIter<&'a Node>,
    notes: &'a RefCell<Notes>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Refusal;
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Refusal> {
        match self.kept.next() {
            Some(node) => Typed { node, notes: self.notes }.child(seed).map(Some),
            None => Ok(None),
        }
    }
    fn size_hint(&self) -> Option<usize> {
        Some(self.kept.len())
    }
}

struct Entries<'a> {
    kept: std::vec::IntoIter<&'a (Key, Node)>,
    value: Option<(&'a Key, &'a Node)>,
    notes: &'a RefCell<Notes>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Refusal;
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Refusal> {
        let Some((key, value)) = self.kept.next() else {
            return Ok(None);
        };
        self.value = Some((key, value));
        let name = Node { place: key.place.clone(), kind: Kind::Text(key.text.clone()) };
        match seed.deserialize(Typed { node: &name, notes: self.notes }) {
            Ok(key) => Ok(Some(key)),
            Err(refusal) => {
                let mut notes = self.notes.borrow_mut();
                if let Refusal::Fresh(what, hint) = refusal {
                    notes.note(&key.place, what, hint);
                }
                notes.left_out.insert(address(value));
                Err(Refusal::Again)
            }
        }
    }
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refusal> {
        match self.value.take() {
            Some((_, node)) => Typed { node, notes: self.notes }.child(seed),
            None => Err(Refusal::Fresh("a value was asked for before its key".to_owned(), None)),
        }
    }
    fn size_hint(&self) -> Option<usize> {
        Some(self.kept.len())
    }
}

struct Choice<'a> {
    word: &'a str,
    value: Option<Typed<'a>>,
    variants: &'static [&'static str],
}

impl<'de, 'a> EnumAccess<'de> for Choice<'a> {
    type Error = Refusal;
    type Variant = Choice<'a>;
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Choice<'a>), Refusal> {
        if !self.variants.contains(&self.word) {
            return Err(de::Error::unknown_variant(self.word, self.variants));
        }
        let word: de::value::StrDeserializer<'_, Refusal> = self.word.into_deserializer();
        Ok((seed.deserialize(word)?, self))
    }
}

impl Choice<'_> {
    fn value(&self) -> Result<Typed<'_>, Refusal> {
        self.value.ok_or_else(|| Refusal::Fresh(format!("`{}` needs a value: `{{{}: …}}`", self.word, self.word), None))
    }
}

impl<'de> VariantAccess<'de> for Choice<'_> {
    type Error = Refusal;
    fn unit_variant(self) -> Result<(), Refusal> {
        match self.value {
            Some(value) if value.node.kind != Kind::Null => {
                Err(Refusal::Fresh(format!("`{}` takes no value", self.word), None))
            }
            _ => Ok(()),
        }
    }
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Refusal> {
        self.value()?.child(seed)
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Refusal> {
        self.value()?.deserialize_seq(visitor)
    }
    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Refusal> {
        self.value()?.map(visitor, Some(fields))
    }
}
