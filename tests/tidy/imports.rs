//! Which part of the crate may name which other: the table, and reading it off the source.
//!
//! Tests inside the crate may name anything.

use crate::{
    File,
    code::{bare, is_test, module, test_files, without_tests},
    none, rust, text,
};
use std::collections::BTreeSet;

/// A top-level module, and the others that it may name. `app` and `cli` see everything.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("decide", &["model"]),
    ("telemetry", &["model"]),
    ("config", &["model", "telemetry"]),
    ("peer", &["model"]),
    ("http", &["config", "model", "telemetry"]),
    ("action", &["model", "peer"]),
    ("evidence", &["model", "peer"]),
    ("notify", &["action", "decide", "http", "model", "peer", "telemetry"]),
    ("source", &["config", "decide", "engine", "http", "model", "peer", "telemetry"]),
    ("rules", &["action", "config", "decide", "model", "telemetry"]),
    ("routing", &["config", "decide", "model", "telemetry"]),
    ("journal", &["model"]),
    ("engine", &["decide", "journal", "model"]),
    // Parts of a part that see more than the rest of it: the API's routes, and the metrics of what the engine commits.
    ("http::api", &["config", "decide", "engine", "journal", "model", "telemetry"]),
    ("telemetry::observer", &["decide", "engine", "model"]),
    ("driver", &["action", "decide", "engine", "evidence", "journal", "model", "notify", "peer"]),
];

/// Single names beyond the table, each with its reason.
const EXCEPT: &[(&str, &str, &str)] = &[
    ("engine", "action::Boxed", "the shape of a future, which every trait of ours uses"),
    ("engine", "driver::tasks", "the words of a panic, caught here and there"),
    ("peer", "decide::work", "the question as the work list asks it"),
    ("peer", "http::signature", "what a button asks for is sealed as requests are signed"),
    ("peer", "http::client", "Slack is called as messages and Statuspage are: by the one client with its own errors"),
];

/// These see everything.
const SEE_EVERYTHING: &[&str] = &["app", "cli", "lib", "main"];

/// Folders whose children never name each other, and the children that are no plug-in but shared by them.
const PLUG_INS: &[(&str, &[&str])] =
    &[("source", &[]), ("action", &[]), ("notify", &["message", "plain"]), ("evidence", &[])];

/// The crates that `model` and `decide` may use.
const PURE: &[&str] = &["serde", "serde_json", "regex", "regex_syntax", "sha2", "jiff", "thiserror"];

/// The paths into the crate that a file names, from the top: `[model, event]`. The text is bare.
fn named(text: &str, here: &[String]) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        if !ends_in_word(&text[..at]) {
            paths(&text[at + "crate::".len()..], Vec::new(), &mut found);
        }
    }
    for (at, _) in text.match_indices("super::") {
        let before = &text[..at];
        if ends_in_word(before) || before.ends_with("super::") {
            continue;
        }
        let mut rest = &text[at..];
        let mut from = here.to_vec();
        while let Some(after) = rest.strip_prefix("super::") {
            from.pop();
            rest = after;
        }
        paths(rest, from, &mut found);
    }
    found
}

fn ends_in_word(text: &str) -> bool {
    text.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$')
}

/// The paths that begin with `text`, up to two segments: a name, or a group of names.
fn paths(text: &str, from: Vec<String>, found: &mut BTreeSet<Vec<String>>) {
    let text = text.trim_start();
    if from.len() >= 2 {
        found.insert(from[..2].to_vec());
    } else if let Some(group) = text.strip_prefix('{') {
        let (mut depth, mut begin) = (0_u32, 0);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                '}' | ',' if depth == 0 => {
                    paths(&group[begin..at], from.clone(), found);
                    begin = at + 1;
                    if c == '}' {
                        break;
                    }
                }
                _ => {}
            }
        }
    } else {
        let length = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
        let (name, rest) = text.split_at(length);
        if name.is_empty() || name == "self" {
            if !from.is_empty() {
                found.insert(from);
            }
            return;
        }
        let path: Vec<String> = from.into_iter().chain([name.to_owned()]).collect();
        match rest.trim_start().strip_prefix("::") {
            Some(rest) => paths(rest, path, found),
            None => {
                found.insert(path);
            }
        }
    }
}

/// What a file names against the table.
fn against_the_table(path: &str, text: &str) -> Vec<String> {
    let here = module(path);
    let Some(top) = here.first() else { return Vec::new() };
    if SEE_EVERYTHING.contains(&top.as_str()) {
        return Vec::new();
    }
    let part = here.iter().take(2).cloned().collect::<Vec<_>>().join("::");
    let row = MAY_NAME.iter().find(|(name, _)| *name == part).or(MAY_NAME.iter().find(|(name, _)| name == top));
    let Some((_, may)) = row else {
        return vec![format!("{path}: `{top}` is not in the table of who may name whom (tests/tidy/imports.rs)")];
    };
    let modules: Vec<&str> = MAY_NAME.iter().map(|(name, _)| *name).chain(["app", "cli"]).collect();
    named(text, &here)
        .into_iter()
        .filter(|other| modules.contains(&other[0].as_str()) && other[0] != *top && !may.contains(&other[0].as_str()))
        .filter(|other| !EXCEPT.iter().any(|(who, name, _)| who == top && *name == other.join("::")))
        .map(|other| format!("{path}: `{top}` may not name `{}`", other.join("::")))
        .collect()
}

/// Whether a plug-in names another one. `children` are the names in the folder of its group.
fn against_its_neighbours(path: &str, text: &str, is_plug_in: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let here = module(path);
    let [group, plug_in, ..] = here.as_slice() else { return Vec::new() };
    if !is_plug_in(group, plug_in) {
        return Vec::new();
    }
    named(text, &here)
        .into_iter()
        .filter(|other| other.len() == 2 && other[..] != here[..2] && is_plug_in(&other[0], &other[1]))
        .map(|other| format!("{path}: the plug-in `{group}::{plug_in}` names `{}`", other.join("::")))
        .collect()
}

/// Crates beyond [`PURE`] in a file of `model` or `decide`.
fn impure(path: &str, text: &str, dependencies: &[String]) -> Vec<String> {
    let names = |name: &str| {
        let path = format!("{name}::");
        text.match_indices(&path).any(|(at, _)| !ends_in_word(&text[..at]) && !text[..at].ends_with("::"))
            || text.contains(&format!("use {name};"))
    };
    let crates = dependencies.iter().filter(|name| !PURE.contains(&name.as_str()) && names(name));
    let words = ["HashMap", "HashSet", "f32", "f64", "async", "std::fs", "std::net", "std::env", "std::thread"];
    let words = words.iter().filter(|word| {
        text.match_indices(*word).any(|(at, _)| {
            !ends_in_word(&text[..at])
                && !text[at + word.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
        })
    });
    crates
        .map(|name| format!("{path}: names the crate `{name}`"))
        .chain(words.map(|word| format!("{path}: has `{word}`")))
        .collect()
}

/// The names of the dependencies in Cargo.toml, as code names them.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut section = "";
    let mut found = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]")
            && let Some((name, _)) = line.split_once('=')
        {
            found.push(name.trim().replace('-', "_"));
        }
    }
    found
}

/// The crate's files without its tests, bare.
fn sources() -> Vec<File> {
    let all = rust("src");
    let tests = test_files(&all);
    all.into_iter()
        .filter(|file| !is_test(&file.path, &tests))
        .map(|file| {
            let bare = bare(&file.text);
            File { text: without_tests(&bare).to_owned(), path: file.path }
        })
        .collect()
}

#[test]
fn every_module_names_only_whom_it_may() {
    let problems: Vec<String> = sources().iter().flat_map(|file| against_the_table(&file.path, &file.text)).collect();
    none(&problems);
}

#[test]
fn plug_ins_never_name_each_other() {
    let sources = sources();
    let is_plug_in = |group: &str, name: &str| {
        PLUG_INS.iter().any(|(known, shared)| *known == group && !shared.contains(&name))
            && sources.iter().any(|file| {
                let path = module(&file.path);
                path.len() >= 2 && path[0] == group && path[1] == name
            })
    };
    let problems: Vec<String> =
        sources.iter().flat_map(|file| against_its_neighbours(&file.path, &file.text, is_plug_in)).collect();
    none(&problems);
}

#[test]
fn the_core_is_pure() {
    let dependencies = dependencies(&text("Cargo.toml"));
    assert!(dependencies.contains(&"tokio".to_owned()), "{dependencies:?}");
    let problems: Vec<String> = sources()
        .iter()
        .filter(|file| file.path.starts_with("src/model/") || file.path.starts_with("src/decide/"))
        .flat_map(|file| impure(&file.path, &file.text, &dependencies))
        .collect();
    none(&problems);
}

#[test]
fn a_wrong_name_is_seen_however_it_is_written() {
    for text in [
        "use crate::engine::lanes;",
        "use crate::{model::time, engine};",
        "use crate::{\n    model::{a, b::{c, d}},\n    engine::{lanes, run},\n};",
        "let a = crate::engine::run();",
        "use super::super::engine;",
        "fn a(b: super::super::engine::Lane) {}",
    ] {
        assert!(!against_the_table("src/decide/guard.rs", text).is_empty(), "{text}");
        assert!(against_the_table("src/app/guard.rs", text).is_empty(), "{text}");
    }
    for text in ["use crate::model::engine;", "use super::engine;", "use crate::decide::{engine, alert};"] {
        assert!(against_the_table("src/decide/guard.rs", text).is_empty(), "{text}");
    }
    assert_eq!(against_the_table("src/new/mod.rs", "").len(), 1, "a module that the table does not know");
}

#[test]
fn a_plug_in_that_names_its_neighbour_is_seen() {
    let is_plug_in =
        |group: &str, name: &str| ["notify", "action"].contains(&group) && ["slack", "noop"].contains(&name);
    let seen = |path, text| against_its_neighbours(path, text, is_plug_in).len();
    assert_eq!(seen("src/notify/slack/mod.rs", "use crate::action::noop::Noop;"), 1);
    assert_eq!(seen("src/notify/noop.rs", "use super::slack::Slack;"), 1);
    assert_eq!(seen("src/notify/noop.rs", "use super::{Notifier, slack};"), 1);
    assert_eq!(seen("src/notify/slack/api.rs", "use super::words; use crate::notify::slack::words;"), 0);
    assert_eq!(seen("src/notify/mod.rs", "use self::slack;"), 0);
}

#[test]
fn what_is_not_pure_is_seen() {
    let dependencies =
        dependencies("[dependencies]\ntokio = \"1\"\nserde-saphyr = \"2\"\nserde = \"1\"\n[lints]\nx = 1\n");
    assert_eq!(dependencies, ["tokio", "serde_saphyr", "serde"]);
    let seen = |text| impure("src/model/a.rs", text, &dependencies).len();
    assert_eq!(seen("use tokio::sync::watch;"), 1);
    assert_eq!(seen("let a = serde_saphyr::from_str(b);"), 1);
    assert_eq!(seen("use std::collections::HashMap;"), 1);
    assert_eq!(seen("let a: f64 = 1.0;"), 1);
    assert_eq!(seen("use serde::Serialize; use crate::tokio::x; let buf64 = asynchronous;"), 0);
}
