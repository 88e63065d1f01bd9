//! Rules that no alert can reach, because an earlier rule takes all of theirs.
//!
//! A rule whose matchers are all among a later rule's matchers takes whatever that later rule would. Patterns are
//! compared as texts only: `=~"a|b"` before `="a"` is not noticed.

use super::check::{Check, place};
use crate::{config::node::Place, decide::policy::Rule, model::matcher::MatchOp};
use std::collections::{BTreeMap, BTreeSet};

/// Rules that are compared, in all: thousands of rules are cheap, a file made to be slow gets fewer warnings.
const MOST_COMPARISONS: usize = 1_000_000;

/// Whether it takes every alert.
pub(super) fn takes_all(rule: &Rule) -> bool {
    rule.matchers.iter().all(|matcher| matcher.op() == MatchOp::Matches && matcher.value() == ".*")
}

pub(super) fn warn(check: &mut Check<'_>, rules: &[(Place, Rule)]) {
    let sets: Vec<BTreeSet<String>> =
        rules
            .iter()
            .map(|(_, rule)| {
                if takes_all(rule) { BTreeSet::new() } else { rule.matchers.iter().map(ToString::to_string).collect() }
            })
            .collect();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for matcher in sets.iter().flatten() {
        *counts.entry(matcher).or_default() += 1;
    }
    // Earlier rules by their rarest matcher: few rules share it, so that ten thousand rules are not compared in pairs.
    let mut earlier: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut catch_all: Option<usize> = None;
    let mut compared = 0;
    for (at, set) in sets.iter().enumerate() {
        let candidates = set.iter().filter_map(|matcher| earlier.get(matcher.as_str())).flatten();
        let covers = |before: &usize| {
            compared += 1;
            compared <= MOST_COMPARISONS && sets.get(*before).is_some_and(|other| other.is_subset(set))
        };
        let first = catch_all.into_iter().chain(candidates.copied().filter(covers)).min();
        match first.and_then(|first| rules.get(first)).zip(rules.get(at)) {
            Some(((first_place, first), (own_place, own))) => {
                let what = format!("no alert reaches `{}`: `{}` takes all of its alerts first", own.name, first.name);
                let hint = format!("put it before `{}` ({})", first.name, place(first_place));
                check.problems.push(own_place.warning(what).hint(hint));
            }
            None => match set.iter().min_by_key(|matcher| counts.get(matcher.as_str())) {
                Some(rarest) => earlier.entry(rarest).or_default().push(at),
                None => catch_all = Some(at),
            },
        }
    }
}
