//! Alerts to try: label sets made of everything that the routes and the rules match by.
//!
//! One for each route and each rule, one for each pair of those that can be one alert, and all combinations where there are few;
//! each with the label that asks for a held page, and without. Bounded, however large the file is.

use super::tree::Tree;
use crate::{
    decide::Policy,
    model::{
        alert::{HOLD_LABEL, Labels},
        matcher::{MatchOp, Matcher},
    },
};
use regex_syntax::hir::{Class, Hir, HirKind};
use std::collections::{BTreeMap, BTreeSet};

/// Routes and rules that alerts are made for.
const MOST_WISHES: usize = 2_000;
const MOST_PAIRS: usize = 10_000;
const MOST_COMBINATIONS: usize = 4_000;
/// Of one pattern.
const MOST_SAMPLES: usize = 8;
/// Of one label.
const MOST_VALUES: usize = 200;
/// Prometheus sends no alert without it.
const ALERTNAME: &str = "alertname";
const ANY_NAME: &str = "Any";
/// A value that nobody thought of.
const OTHER: &str = "other";

/// Simple ones first: the first that shows a fault is what people read.
pub(super) fn of(tree: &Tree, policy: Option<&Policy>) -> Vec<Labels> {
    let routes = (0..tree.routes.len()).map(|id| tree.matchers_to(id));
    let rules = policy.map_or(&[][..], |policy| &policy.spec.rules);
    let of_rule = |holds: bool| {
        let rules = rules.iter().filter(move |rule| rule.hold_page.is_some() == holds);
        rules.map(|rule| rule.matchers.iter().collect::<Vec<&Matcher>>())
    };
    let paired: Vec<Vec<&Matcher>> = routes.chain(of_rule(true)).take(MOST_WISHES).collect();
    let alone: Vec<Vec<&Matcher>> = of_rule(false).take(MOST_WISHES).collect();
    let values = Values::of(paired.iter().chain(&alone).flatten().copied());

    let mut found = Found::default();
    for wish in paired.iter().chain(&alone) {
        found.add(values.fitting(wish));
    }
    let pairs = paired.iter().enumerate().flat_map(|(place, one)| {
        paired.iter().skip(place + 1).map(move |other| [one.as_slice(), other.as_slice()].concat())
    });
    for wish in pairs.take(MOST_PAIRS) {
        found.add(values.fitting(&wish));
    }
    let labels = paired.iter().flatten().map(|matcher| matcher.name());
    for combination in values.combinations(&labels.collect()) {
        found.add(Some(combination));
    }
    found.in_order
}

#[derive(Default)]
struct Found {
    in_order: Vec<Labels>,
    known: BTreeSet<Labels>,
}

impl Found {
    /// Twice: with the label that asks for a held page, and without.
    fn add(&mut self, labels: Option<Labels>) {
        let Some(mut labels) = labels else { return };
        labels.entry(ALERTNAME.to_owned()).or_insert_with(|| ANY_NAME.to_owned());
        labels.remove(HOLD_LABEL);
        let held = labels.iter().map(|(name, value)| (name.clone(), value.clone()));
        let held: Labels = held.chain([(HOLD_LABEL.to_owned(), "true".to_owned())]).collect();
        for labels in [labels, held] {
            if self.known.insert(labels.clone()) {
                self.in_order.push(labels);
            }
        }
    }
}

/// Values worth trying, by label. The empty one stands for a label that is not there.
struct Values(BTreeMap<String, Vec<String>>);

impl Values {
    fn of<'m>(matchers: impl Iterator<Item = &'m Matcher>) -> Values {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for matcher in matchers {
            let known = values.entry(matcher.name().to_owned()).or_insert_with(|| {
                let usual = if matcher.name() == ALERTNAME { ANY_NAME } else { "" };
                vec![usual.to_owned()]
            });
            let new = match matcher.op() {
                MatchOp::Equal | MatchOp::NotEqual => vec![matcher.value().to_owned()],
                MatchOp::Matches | MatchOp::NotMatches => samples_of(matcher.value()),
            };
            for value in new.into_iter().chain([OTHER.to_owned()]) {
                if known.len() < MOST_VALUES && !known.contains(&value) {
                    known.push(value);
                }
            }
        }
        Values(values)
    }

    /// Labels that all of the matchers take, if some can be thought of.
    fn fitting(&self, matchers: &[&Matcher]) -> Option<Labels> {
        let mut labels = Labels::new();
        let mut by_label: BTreeMap<&str, Vec<&Matcher>> = BTreeMap::new();
        for matcher in matchers.iter().filter(|matcher| matcher.name() != HOLD_LABEL) {
            by_label.entry(matcher.name()).or_default().push(matcher);
        }
        for (label, wanted) in by_label {
            let known = self.0.get(label)?;
            let value = known.iter().find(|value| wanted.iter().all(|matcher| matcher.matches_value(value)))?;
            if !value.is_empty() {
                labels.insert(label.to_owned(), value.clone());
            }
        }
        Some(labels)
    }

    /// All combinations of these labels' values, where they are few.
    fn combinations(&self, labels: &BTreeSet<&str>) -> Vec<Labels> {
        let labels: Vec<(&String, &Vec<String>)> =
            self.0.iter().filter(|(label, _)| *label != HOLD_LABEL && labels.contains(label.as_str())).collect();
        let count = labels.iter().try_fold(1_usize, |count, (_, values)| count.checked_mul(values.len()));
        if count.is_none_or(|count| count > MOST_COMBINATIONS) {
            return Vec::new();
        }
        let mut combinations = vec![Labels::new()];
        for (label, values) in labels {
            let with = |labels: &Labels, value: &String| {
                let mut labels = labels.clone();
                if !value.is_empty() {
                    labels.insert(label.clone(), value.clone());
                }
                labels
            };
            combinations =
                combinations.iter().flat_map(|labels| values.iter().map(move |value| with(labels, value))).collect();
        }
        combinations
    }
}

/// Texts that a pattern may take. Whether they do is asked of the matcher later.
fn samples_of(pattern: &str) -> Vec<String> {
    regex_syntax::parse(pattern).map(|hir| samples(&hir)).unwrap_or_default()
}

fn samples(hir: &Hir) -> Vec<String> {
    let mut found = match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => vec![String::new()],
        HirKind::Literal(literal) => vec![String::from_utf8_lossy(&literal.0).into_owned()],
        HirKind::Class(class) => samples_of_class(class).into_iter().map(String::from).collect(),
        HirKind::Repetition(repetition) => {
            let times = repetition.min.clamp(1, 64) as usize;
            let some = samples(&repetition.sub).into_iter().map(|one| one.repeat(times));
            let none = (repetition.min == 0).then(String::new);
            some.chain(none).collect()
        }
        HirKind::Capture(capture) => samples(&capture.sub),
        HirKind::Concat(parts) => parts.iter().fold(vec![String::new()], |before, part| {
            let after = samples(part);
            let both = before.iter().flat_map(|one| after.iter().map(move |other| format!("{one}{other}")));
            both.take(MOST_SAMPLES).collect()
        }),
        HirKind::Alternation(ways) => ways.iter().flat_map(samples).take(MOST_SAMPLES).collect(),
    };
    found.truncate(MOST_SAMPLES);
    found
}

/// All letters of a small class (`a|b` is one), else one that people might write.
fn samples_of_class(class: &Class) -> Vec<char> {
    let ranges: Vec<(char, char)> = match class {
        Class::Unicode(class) => class.ranges().iter().map(|range| (range.start(), range.end())).collect(),
        Class::Bytes(class) => {
            class.ranges().iter().map(|range| (char::from(range.start()), char::from(range.end()))).collect()
        }
    };
    let all: Vec<char> = ranges.iter().flat_map(|(from, to)| *from..=*to).take(MOST_SAMPLES + 1).collect();
    if all.len() <= MOST_SAMPLES {
        return all;
    }
    let usual = ['x', 'a', '0', 'X', '-', '_'].into_iter();
    let usual = usual.filter(|letter| ranges.iter().any(|(from, to)| (from..=to).contains(&letter)));
    usual.chain(all.first().copied()).take(1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_gives_texts_that_it_takes() {
        for pattern in [
            "a|b",
            "web-.*",
            ".+",
            ".*",
            "[0-9]{3}",
            "(prod|stage)-(eu|us)",
            "a?b+",
            "critical|page",
            "(?i)error",
            "x{2,}y",
        ] {
            let matcher = Matcher::new("a", MatchOp::Matches, pattern).unwrap();
            let samples = samples_of(pattern);
            assert!(!samples.is_empty() && samples.iter().all(|sample| matcher.matches_value(sample)), "{samples:?}");
        }
        assert_eq!(samples_of("a|b"), ["a", "b"]);
        assert_eq!(samples_of("(prod|stage)-(eu|us)"), ["prod-eu", "prod-us", "stage-eu", "stage-us"]);
        assert_eq!(samples_of("a{1000}{1000}("), Vec::<String>::new());
    }
}
