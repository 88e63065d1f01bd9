//! Targets: which objects rules may act on. What is not listed here cannot be reached by any label.

use super::{
    blue_green,
    check::{Check, LONGEST_NAME_BYTES, LONGEST_TEXT_BYTES, MOST_TARGETS, Written, place},
    file,
};
use crate::{
    config::{
        node::{Node, Place},
        yaml::Located,
    },
    decide::policy::{Choice, TargetSpec, is_object_name},
    model::{
        rung::Bounds,
        target::{Kind, Object},
    },
};
use std::collections::BTreeMap;

/// More replicas of one workload than this is a slip of the hand.
const MOST_REPLICAS: u32 = 10_000;

/// Every listed name; None where the target itself is wrong.
pub(super) fn all<'a>(check: &mut Check<'_>, written: &'a Written) -> BTreeMap<&'a str, Option<TargetSpec>> {
    let mut all: BTreeMap<&str, Option<TargetSpec>> = BTreeMap::new();
    let mut places: BTreeMap<&str, &Place> = BTreeMap::new();
    let mut by_object: BTreeMap<Object, (&str, Option<Bounds>)> = BTreeMap::new();
    if let Some((name, _)) = written.targets.get(MOST_TARGETS) {
        check.error(&name.place, format!("more than {MOST_TARGETS} targets"));
    }
    for (name, node) in written.targets.iter().take(MOST_TARGETS) {
        if let Some(first) = places.get(name.value.as_str()) {
            let what = format!("a second target is named `{}`", name.value);
            check.hinted(&name.place, what, format!("the first one is in {}", place(first)));
            continue;
        }
        places.insert(&name.value, &name.place);
        check.name(name, "target");
        let target = one(check, name, node);
        if let Some(TargetSpec { choice: Choice::One { object }, bounds }) = &target
            && *object != Object::Nothing
        {
            match by_object.get(object) {
                Some((first, others)) if bounds.is_some() && others != bounds => {
                    let what = format!("`{}` and `{first}` are the same object with other bounds", name.value);
                    check.hinted(
                        &name.place,
                        what,
                        "no action may leave either of them: give both the same `replicas`",
                    );
                }
                None if bounds.is_some() => {
                    by_object.insert(object.clone(), (&name.value, *bounds));
                }
                Some(_) | None => {}
            }
        }
        all.insert(&name.value, target);
    }
    all
}

fn one(check: &mut Check<'_>, name: &Located<String>, node: &Node) -> Option<TargetSpec> {
    let target: file::Target = check.read(node)?;
    let bounds = target.replicas.as_ref().map(|replicas| bounds(check, &replicas.value));
    let choice = match (&target.kubernetes, &target.postgres, &target.noop) {
        (Some(kubernetes), None, None) => workload(check, &target, kubernetes)?,
        (None, Some(postgres), None) => {
            has_no_parts(check, &target, "a database has no replicas, no members and no colours");
            Choice::One { object: database(check, postgres)? }
        }
        (None, None, Some(_)) => {
            has_no_parts(check, &target, "a target that is nothing has no replicas, no members and no colours");
            Choice::One { object: Object::Nothing }
        }
        (None, None, None) => {
            let hint = "write `kubernetes: {namespace: NAMESPACE, deployment: NAME}`, `postgres: NAME`, or `noop: {}` for a drill";
            check.hinted(&name.place, format!("target `{}` does not say what it is", name.value), hint);
            return None;
        }
        (Some(_), Some(postgres), _) => {
            check.error(&postgres.place, "a target is either in Kubernetes or a database");
            return None;
        }
        (Some(_), None, Some(noop)) => {
            check.error(&noop.place, "a target is either in Kubernetes or nothing");
            return None;
        }
        (None, Some(_), Some(noop)) => {
            check.error(&noop.place, "a target is either a database or nothing");
            return None;
        }
    };
    Some(TargetSpec { choice, bounds })
}

fn has_no_parts(check: &mut Check<'_>, target: &file::Target, what: &str) {
    let pick = target.pick.as_ref().map(|pick| &pick.place);
    let colours = target.blue_green.as_ref().map(|colours| &colours.place);
    let replicas = target.replicas.as_ref().map(|replicas| &replicas.place);
    for place in replicas.into_iter().chain(pick).chain(colours) {
        check.error(place, what);
    }
}

/// Only what the settings name can be reached.
fn database(check: &mut Check<'_>, name: &Located<String>) -> Option<Object> {
    let known = check.context.databases;
    if known.is_none_or(|known| known.contains(&name.value.as_str())) {
        return Some(Object::Database { name: name.value.clone() });
    }
    let shown = crate::telemetry::text::shortened(&name.value, 60);
    let what = format!("nightshift.yaml names no database `{shown}` under `postgres`");
    match known {
        Some(known) if !known.is_empty() => check.unknown(name, what, known.iter().copied()),
        _ => check.hinted(&name.place, what, "set `postgres: {NAME: {url_file: PATH}}` in nightshift.yaml"),
    }
    None
}

fn bounds(check: &mut Check<'_>, replicas: &file::Replicas) -> Bounds {
    let (min, max) = (&replicas.min, &replicas.max);
    if min.value == 0 {
        let hint = "zero replicas means switched off, and is no bound";
        check.hinted(&min.place, "`min` is at least 1", hint);
    }
    if max.value < min.value {
        check.error(&max.place, format!("`max` ({}) is less than `min` ({})", max.value, min.value));
    }
    if max.value > MOST_REPLICAS {
        check.error(&max.place, format!("`max` is at most {MOST_REPLICAS}"));
    }
    Bounds {
        min: min.value,
        max: max.value,
        may_scale_to_zero: replicas.may_scale_to_zero.as_ref().is_some_and(|may| may.value),
    }
}

fn workload(check: &mut Check<'_>, target: &file::Target, written: &Located<file::Kubernetes>) -> Option<Choice> {
    let kubernetes = &written.value;
    if let Some(service) = &kubernetes.service {
        return blue_green::object(check, target, written, service).map(|object| Choice::One { object });
    }
    if let Some(blue_green) = &target.blue_green {
        let hint = "write `kubernetes: {namespace: NAMESPACE, service: NAME}`";
        check.hinted(&blue_green.place, "`blue_green` needs a `service`", hint);
        return None;
    }
    let namespace = object_name(check, &kubernetes.namespace, "namespace");
    let named: Vec<(Kind, &Located<String>)> = [
        (Kind::Deployment, &kubernetes.deployment),
        (Kind::StatefulSet, &kubernetes.statefulset),
        (Kind::DaemonSet, &kubernetes.daemonset),
    ]
    .into_iter()
    .filter_map(|(kind, name)| name.as_ref().map(|name| (kind, name)))
    .collect();
    match (named.as_slice(), &kubernetes.kind, &kubernetes.selector) {
        ([(kind, name)], None, None) => {
            if let Some(pick) = &target.pick {
                let hint = "remove `pick`, or write `kind` and `selector` in place of the name";
                check.hinted(&pick.place, "one object is not picked", hint);
            }
            let name_text = object_name(check, name, kind.word())?;
            let object = Object::Workload { namespace: namespace?, kind: *kind, name: name_text, selector: None };
            if check.context.itself == Some(&object) {
                let hint = "it would stop itself in the middle of a step";
                check.hinted(&name.place, "this target is nightshift itself", hint);
                return None;
            }
            Some(Choice::One { object })
        }
        ([], Some(kind), Some(selector)) => {
            let right = is_selector(&selector.value);
            if !right {
                let what =
                    format!("`{}` is not a label selector", crate::telemetry::text::shortened(&selector.value, 60));
                check.hinted(&selector.place, what, "write it like `app=web,tier!=cache`; it must not be empty");
            }
            let Some(pick) = &target.pick else {
                let hint = "add `pick: LABEL` beside `kubernetes`: that label of the alert names the member";
                check.hinted(&selector.place, "a set needs `pick`", hint);
                return None;
            };
            let label = check.text(Some(pick), LONGEST_NAME_BYTES)?;
            let kind = match kind.value {
                file::Kind::Deployment => Kind::Deployment,
                file::Kind::StatefulSet => Kind::StatefulSet,
                file::Kind::DaemonSet => Kind::DaemonSet,
            };
            let selector = right.then(|| selector.value.clone())?;
            Some(Choice::Set { namespace: namespace?, kind, selector, pick: label })
        }
        _ => {
            let what =
                "a target is one `deployment`, `statefulset`, `daemonset` or `service`, or a `kind` and a `selector`";
            check.error(&written.place, what);
            None
        }
    }
}

pub(super) fn object_name(check: &mut Check<'_>, name: &Located<String>, of: &str) -> Option<String> {
    if is_object_name(&name.value) {
        return Some(name.value.clone());
    }
    let what = format!("`{}` cannot be the name of a {of}", crate::telemetry::text::shortened(&name.value, 60));
    check.hinted(&name.place, what, "Kubernetes wants lower-case letters, digits, `-` and `.`");
    None
}

/// Kubernetes' label selectors: requirements between commas, all of which must hold. Never empty, because an empty one
/// selects everything.
fn is_selector(text: &str) -> bool {
    text.len() <= LONGEST_TEXT_BYTES && requirements(text).is_some_and(|all| all.iter().all(|one| is_requirement(one)))
}

/// Splits at commas outside of parentheses. None where these do not pair.
fn requirements(text: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let mut begin = 0;
    let mut inside = false;
    for (at, character) in text.char_indices() {
        match character {
            '(' if !inside => inside = true,
            ')' if inside => inside = false,
            '(' | ')' => return None,
            ',' if !inside => {
                parts.push(text.get(begin..at)?.trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(begin..)?.trim());
    (!inside).then_some(parts)
}

fn is_requirement(text: &str) -> bool {
    if let Some((key, value)) = text.split_once("!=").or_else(|| text.split_once("==")).or_else(|| text.split_once('='))
    {
        return is_label_key(key.trim()) && is_label_value(value.trim());
    }
    if let Some((before, values)) = text.split_once('(') {
        let mut words = before.split_whitespace();
        let (Some(key), Some("in" | "notin"), None) = (words.next(), words.next(), words.next()) else { return false };
        let Some(values) = values.strip_suffix(')') else { return false };
        return is_label_key(key) && values.split(',').all(|value| is_label_value(value.trim()));
    }
    is_label_key(text.strip_prefix('!').unwrap_or(text).trim())
}

/// `app`, or `example.com/app`.
pub(super) fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_object_name(prefix) && !name.is_empty() && is_label_value(name),
        None => !text.is_empty() && is_label_value(text),
    }
}

/// Empty, or letters and digits with `-`, `_`, `.` between, at most 63.
pub(super) fn is_label_value(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    bytes.len() <= 63
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && edge(bytes.first())
        && edge(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::is_selector;

    #[test]
    fn selectors_are_those_of_kubernetes() {
        for text in [
            "app=web",
            "app==web,tier!=cache",
            "nightshift.dev/managed=true",
            "env in (a, b),!legacy, app",
            "env notin (a)",
            "app=",
        ] {
            assert!(is_selector(text), "{text}");
        }
        for text in
            ["", ",", "app=web,", "a b", "=x", "a in b", "a in (b", "a in (b))", "-a=b", "a=b c", "a/b/c=d", "a>1"]
        {
            assert!(!is_selector(text), "{text}");
        }
    }
}
