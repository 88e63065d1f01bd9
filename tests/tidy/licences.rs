//! What dependencies are licensed under and where they come from, by deny.toml's own list.
//!
//! cargo-deny says more and has to be installed; this needs cargo alone, and no network.

use crate::{none, text, top};
use serde_json::Value;
use std::process::Command;

/// The texts of `allow = [ … ]` in a section of deny.toml.
fn allowed(deny: &str) -> Vec<String> {
    let section = deny.split("\n[licenses]").nth(1).unwrap_or_default();
    let list = section.split("allow = [").nth(1).and_then(|rest| rest.split(']').next()).unwrap_or_default();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether an SPDX expression can be met by what is allowed. `/` is the old way to write OR.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let (met, rest) = either(&words, allowed);
    met && rest.is_empty()
}

fn either<'a, 'b>(words: &'b [&'a str], allowed: &[String]) -> (bool, &'b [&'a str]) {
    let (mut met, mut rest) = both(words, allowed);
    while let ["OR", after @ ..] = rest {
        let (other, more) = both(after, allowed);
        met |= other;
        rest = more;
    }
    (met, rest)
}

fn both<'a, 'b>(words: &'b [&'a str], allowed: &[String]) -> (bool, &'b [&'a str]) {
    let (mut met, mut rest) = one(words, allowed);
    while let ["AND", after @ ..] = rest {
        let (other, more) = one(after, allowed);
        met &= other;
        rest = more;
    }
    (met, rest)
}

fn one<'a, 'b>(words: &'b [&'a str], allowed: &[String]) -> (bool, &'b [&'a str]) {
    match words {
        ["(", inner @ ..] => match either(inner, allowed) {
            (met, [")", rest @ ..]) => (met, rest),
            (_, rest) => (false, rest),
        },
        [name, "WITH", exception, rest @ ..] => (allowed.contains(&format!("{name} WITH {exception}")), rest),
        [name, rest @ ..] => (allowed.iter().any(|other| other == name), rest),
        [] => (false, words),
    }
}

fn problems(metadata: &Value, allowed: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let shown = format!("{} {}", package["name"].as_str().unwrap(), package["version"].as_str().unwrap());
        let licence = package["license"].as_str().unwrap_or("none that it states");
        if !is_met(licence, allowed) {
            found.push(format!("{shown}: its licence is {licence}, and deny.toml does not allow that"));
        }
        let source = package["source"].as_str();
        if source.is_some_and(|source| !source.starts_with("registry+")) {
            found.push(format!("{shown}: comes from {}", source.unwrap_or_default()));
        }
    }
    found
}

#[test]
fn every_dependency_may_be_used() {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform=x86_64-unknown-linux-gnu"])
        .current_dir(top())
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let metadata: Value = serde_json::from_slice(&cargo.stdout).unwrap();
    assert!(metadata["packages"].as_array().unwrap().len() > 100);
    none(&problems(&metadata, &allowed(&text("deny.toml"))));
}

#[test]
fn what_may_not_be_used_is_seen() {
    let allowed =
        allowed("x\n[licenses]\nallow = [\n  \"MIT\",\n  \"Apache-2.0\",\n]\n[bans]\nallow = [\"GPL-3.0\"]\n");
    assert_eq!(allowed, ["MIT", "Apache-2.0"]);
    for met in
        ["MIT", "MIT OR GPL-3.0", "MIT/GPL-3.0", "(MIT OR GPL-3.0) AND Apache-2.0", "GPL-3.0 OR MIT AND Apache-2.0"]
    {
        assert!(is_met(met, &allowed), "{met}");
    }
    for unmet in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT AND GPL-3.0) OR ISC", "MIT WITH x", "", "(MIT"] {
        assert!(!is_met(unmet, &allowed), "{unmet}");
    }
    let metadata = serde_json::json!({"packages": [
        {"name": "ours", "version": "1.0.0", "license": "MIT", "source": null},
        {"name": "fork", "version": "1.0.0", "license": "MIT", "source": "git+https://example.com/fork"},
        {"name": "none", "version": "1.0.0", "license": null, "source": null},
    ]});
    assert_eq!(problems(&metadata, &allowed).len(), 2);
}
