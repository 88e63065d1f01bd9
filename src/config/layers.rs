//! Defaults < file < environment < command line, merged by the `config` crate; every value keeps the place it came from.
//!
//! The `config` crate only layers. Reading YAML, types, unknown keys and their problems stay with [`super::yaml`]
//! and [`super::typed`], because it reports the first error only and without a line.

use super::node::{Key, Kind, Node, Place};
use crate::model::problem::Problem;
use config::{Map, Source, Value, ValueKind};
use std::{collections::BTreeMap, sync::Arc};

/// Before every variable; two underscores, so that `NIGHTSHIFT_PORT`, which Kubernetes sets for a Service of that
/// name, is none of ours.
const PREFIX: &str = "NIGHTSHIFT";
const SEPARATOR: &str = "__";
/// The name of the environment in problems.
pub const ENVIRONMENT: &str = "environment";
/// The name of the command line in problems.
const COMMAND_LINE: &str = "command line";
/// Between the parts of a place in `config`'s origin text: no file name holds it.
const UNIT: char = '\u{1f}';
/// Merging drops the origin of a table: its place travels as a value of its own.
const PLACE: &str = "\u{1f}place";

/// A value that the command line gives.
#[derive(Debug, Clone)]
pub struct Flag {
    /// As it is typed: `--mode`.
    pub name: &'static str,
    /// The keys down to the value: `listen`, `webhooks`.
    pub path: &'static [&'static str],
    pub value: String,
}

/// The command line as a tree.
pub(super) fn command_line(flags: &[Flag]) -> Node {
    let mut tree = Node { place: Place::of(COMMAND_LINE), kind: Kind::Map(Vec::new()) };
    for flag in flags {
        let place = Place { variable: Some(flag.name.into()), ..Place::of(COMMAND_LINE) };
        let value = Node { place: place.clone(), kind: Kind::Text(flag.value.clone()) };
        put(&mut tree, flag.path, value, &place);
    }
    tree
}

fn put(tree: &mut Node, path: &[&str], value: Node, place: &Place) {
    let (Some((key, rest)), Kind::Map(entries)) = (path.split_first(), &mut tree.kind) else { return };
    let known = entries.iter().position(|(have, _)| have.text == *key);
    match known.and_then(|known| entries.get_mut(known)) {
        Some((_, inner)) => put(inner, rest, value, place),
        None => {
            let mut inner = Node { place: place.clone(), kind: Kind::Map(Vec::new()) };
            if rest.is_empty() {
                inner = value;
            } else {
                put(&mut inner, rest, value, place);
            }
            entries.push((Key { text: (*key).to_owned(), place: place.clone() }, inner));
        }
    }
}

/// This process's variables that may be ours, for [`environment`]. What is not UTF-8 keeps its readable part.
pub fn process_variables() -> impl Iterator<Item = (String, String)> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
}

/// Whether the user asked programs not to colour their output.
#[must_use]
pub fn no_color() -> bool {
    std::env::vars_os().any(|(name, value)| name == "NO_COLOR" && !value.is_empty())
}

/// Our variables out of the environment as a tree, and what is wrong with their names. Those are not in the tree.
pub fn environment(variables: impl Iterator<Item = (String, String)>) -> (Node, Vec<Problem>) {
    let start = format!("{PREFIX}{SEPARATOR}");
    let (people, databases) = (format!("{start}PEOPLE{SEPARATOR}"), format!("{start}POSTGRES{SEPARATOR}"));
    let approvers = format!("{start}APPROVERS{SEPARATOR}");
    let ours: BTreeMap<String, String> = variables.filter(|(name, _)| name.starts_with(&start)).collect();
    let mut problems = Vec::new();
    let mut kept = Map::new();
    for (name, value) in &ours {
        let inner = format!("{name}{SEPARATOR}");
        if let Some(other) = ours.keys().find(|other| other.starts_with(&inner)) {
            let what = format!("{name}: is set as a whole, and {other} sets a part of it");
            problems.push(Problem::error(ENVIRONMENT, 0, 0, what).hint("keep one of them"));
        } else if name.starts_with(&people) {
            // Variables lose their letters' case on the way; names of people have one.
            let what = format!("{name}: names of people cannot be set by the environment");
            problems.push(Problem::error(ENVIRONMENT, 0, 0, what).hint("set `people` in nightshift.yaml"));
        } else if name.starts_with(&approvers) {
            let what = format!("{name}: severities cannot be named by the environment");
            problems.push(Problem::error(ENVIRONMENT, 0, 0, what).hint("set `approvers` in nightshift.yaml"));
        } else if name.starts_with(&databases) {
            let what = format!("{name}: names of databases cannot be set by the environment");
            problems.push(Problem::error(ENVIRONMENT, 0, 0, what).hint("set `postgres` in nightshift.yaml"));
        } else {
            kept.insert(name.clone(), value.clone());
        }
    }
    let source =
        config::Environment::with_prefix(PREFIX).prefix_separator(SEPARATOR).separator(SEPARATOR).source(Some(kept));
    match built(config::Config::builder().add_source(source)) {
        Ok(node) => (node, problems),
        Err(more) => (Node { place: Place::of(ENVIRONMENT), kind: Kind::Map(Vec::new()) }, more),
    }
}

/// The layers as one tree; a later one replaces what it names, mappings are merged key by key.
pub fn merged(layers: &[&Node]) -> Result<Node, Vec<Problem>> {
    let mut builder = config::Config::builder();
    for layer in layers {
        builder = builder.add_source(Layer((*layer).clone()));
    }
    built(builder)
}

fn built(builder: config::ConfigBuilder<config::builder::DefaultState>) -> Result<Node, Vec<Problem>> {
    let merged = builder.build().map_err(|error| vec![Problem::error(ENVIRONMENT, 0, 0, error.to_string())])?;
    Ok(to_node(merged.cache, ""))
}

#[derive(Debug, Clone)]
struct Layer(Node);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }
    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        match to_value(&self.0).kind {
            ValueKind::Table(table) => Ok(table),
            _ => Ok(Map::new()),
        }
    }
}

fn to_value(node: &Node) -> Value {
    let place = &node.place;
    let number = if matches!(node.kind, Kind::Number(_)) { "number" } else { "" };
    let flag = place.variable.as_deref().unwrap_or_default();
    let origin = format!("{}{UNIT}{}{UNIT}{}{UNIT}{number}{UNIT}{flag}", place.file, place.line, place.column);
    let kind = match &node.kind {
        Kind::Null => ValueKind::Nil,
        Kind::Bool(value) => ValueKind::Boolean(*value),
        Kind::Number(text) | Kind::Text(text) => ValueKind::String(text.clone()),
        Kind::List(items) => ValueKind::Array(items.iter().map(to_value).collect()),
        Kind::Map(entries) => {
            let own = (PLACE.to_owned(), Value::new(Some(&origin), ValueKind::Nil));
            let entries = entries.iter().map(|(key, value)| (key.text.clone(), to_value(value)));
            ValueKind::Table(entries.chain([own]).collect())
        }
    };
    Value::new(Some(&origin), kind)
}

fn to_node(mut value: Value, path: &str) -> Node {
    if let ValueKind::Table(table) = &mut value.kind
        && let Some(own) = table.remove(PLACE)
    {
        return Node { place: place_of(&own, path).0, kind: to_node(value, path).kind };
    }
    let (place, is_number) = place_of(&value, path);
    let kind = match value.kind {
        ValueKind::Nil => Kind::Null,
        ValueKind::Boolean(value) => Kind::Bool(value),
        ValueKind::String(text) if is_number => Kind::Number(text),
        ValueKind::String(text) => Kind::Text(text),
        ValueKind::I64(value) => Kind::Number(value.to_string()),
        ValueKind::I128(value) => Kind::Number(value.to_string()),
        ValueKind::U64(value) => Kind::Number(value.to_string()),
        ValueKind::U128(value) => Kind::Number(value.to_string()),
        ValueKind::Float(value) => Kind::Number(value.to_string()),
        ValueKind::Array(items) => Kind::List(items.into_iter().map(|item| to_node(item, path)).collect()),
        ValueKind::Table(table) => {
            let sorted: BTreeMap<String, Value> = table.into_iter().collect();
            let entries = sorted.into_iter().map(|(text, value)| {
                let path = if path.is_empty() { text.clone() } else { format!("{path}{SEPARATOR}{text}") };
                let node = to_node(value, &path);
                (Key { text, place: node.place.clone() }, node)
            });
            Kind::Map(entries.collect())
        }
    };
    Node { place, kind }
}

/// The place in an origin text, and whether the value was a number; without one the value came from a variable.
fn place_of(value: &Value, path: &str) -> (Place, bool) {
    let mut parts = value.origin().unwrap_or_default().split(UNIT);
    let file: Arc<str> = parts.next().unwrap_or_default().into();
    let mut number = || parts.next().and_then(|part| part.parse::<u32>().ok());
    let (line, column) = (number(), number());
    let is_number = parts.next() == Some("number");
    let variable = parts.next().filter(|flag| !flag.is_empty()).map(Arc::from);
    let place = match (line, column) {
        (Some(line), Some(column)) if &*file != ENVIRONMENT => Place { file, line, column, variable },
        _ => by_variable(path),
    };
    (place, is_number)
}

/// The place of a value that a variable gave: its name follows from the path.
fn by_variable(path: &str) -> Place {
    let variable = (!path.is_empty())
        .then(|| format!("{PREFIX}{SEPARATOR}{}", path.replace('.', SEPARATOR).to_uppercase()).into());
    Place { variable, ..Place::of(ENVIRONMENT) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Node {
        crate::config::yaml::tree("a.yaml", text).unwrap().0
    }

    fn variables(pairs: &[(&str, &str)]) -> (Node, Vec<Problem>) {
        environment(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn a_later_layer_replaces_only_what_it_names() {
        let below = tree("slack: {channel: '#a', api_url: x}\nlist: [1, 2]\nnumber: 1.10\n");
        let above = tree("slack: {channel: '#b'}\nlist: [3]\n");
        let env =
            variables(&[("NIGHTSHIFT__SLACK__API_URL", "0123"), ("NIGHTSHIFT_PORT", "tcp://1"), ("PATH", "/bin")]);
        let all = merged(&[&below, &above, &env.0]).unwrap();
        let slack = all.get("slack").unwrap();
        assert_eq!(slack.get("channel").unwrap().kind, Kind::Text("#b".to_owned()));
        let url = slack.get("api_url").unwrap();
        assert_eq!(url.kind, Kind::Text("0123".to_owned()), "a variable stays the text that it is");
        assert_eq!(url.place.variable.as_deref(), Some("NIGHTSHIFT__SLACK__API_URL"));
        assert_eq!(all.get("number").unwrap().kind, Kind::Number("1.10".to_owned()));
        assert_eq!(all.get("number").unwrap().place.line, 3);
        assert!(matches!(&all.get("list").unwrap().kind, Kind::List(items) if items.len() == 1));
    }

    #[test]
    fn a_flag_stands_above_everything_and_keeps_its_name() {
        let flag = |name, path, value: &str| Flag { name, path, value: value.to_owned() };
        let flags = [
            flag("--webhooks", &["listen", "webhooks"][..], "here"),
            flag("--admin", &["listen", "admin"], "there"),
            flag("--journal", &["journal"], "sqlite:x"),
        ];
        let env = variables(&[("NIGHTSHIFT__JOURNAL__POSTGRES__URL_FILE", "url"), ("NIGHTSHIFT__MODE", "ask")]).0;
        let all =
            merged(&[&tree("listen: {admin: below, tls: {cert_file: c}}\n"), &env, &command_line(&flags)]).unwrap();
        let admin = all.get("listen").unwrap().get("admin").unwrap();
        assert_eq!(admin.kind, Kind::Text("there".to_owned()));
        assert_eq!((&*admin.place.file, admin.place.variable.as_deref()), ("command line", Some("--admin")));
        assert!(all.get("listen").unwrap().get("tls").is_some(), "what is beside it stays");
        assert_eq!(all.get("journal").unwrap().kind, Kind::Text("sqlite:x".to_owned()));
        assert_eq!(all.get("mode").unwrap().place.variable.as_deref(), Some("NIGHTSHIFT__MODE"));
    }

    #[test]
    fn a_variable_and_a_part_of_it_are_not_both_taken() {
        let problems = variables(&[("NIGHTSHIFT__SLACK", "x"), ("NIGHTSHIFT__SLACK__CHANNEL", "y")]).1;
        assert_eq!(problems.len(), 1);
        assert!(problems[0].what.contains("sets a part of it"), "{}", problems[0]);
    }
}
