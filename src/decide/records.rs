//! What is remembered of what rules did and met: how often an alert came, what failed, what was tried how often.
//!
//! Part of the state: changed by `apply` only, through the methods here. Guards read it.

use crate::model::{
    observation::Runs,
    pairs,
    target::TargetKey,
    time::{Micros, Span},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Beginnings of one (rule, key) that are remembered: no rule may ask for more.
pub const FIRED_REMEMBERED: usize = 100;
/// No rule may look back further.
pub const FIRED_WITHIN: Span = Span::hours(24);
/// Failures in a row that disarm a rule for a target.
pub const FAILURES_IN_A_ROW: u32 = 2;
/// Outcomes of a rule that are looked at ...
const OUTCOMES: usize = 10;
/// ... of which so many failures disarm it.
const FAILURES_OF_OUTCOMES: u32 = 5;
/// Versions of one target that are remembered as verified, and as seen.
const VERSIONS_REMEMBERED: usize = 10;
/// A version that was seen in full at two moments so far apart, and never otherwise in between, is a good one.
pub const STOOD_FOR: Span = Span::hours(1);

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Records {
    /// When an incident of (rule, key) began to fire, oldest first.
    #[serde(with = "pairs")]
    fired: BTreeMap<(String, String), VecDeque<Micros>>,
    /// Failures in a row of (rule, target).
    #[serde(with = "pairs")]
    failures: BTreeMap<(String, TargetKey), u32>,
    /// The last outcomes of a rule, oldest first; true: it failed.
    outcomes: BTreeMap<String, VecDeque<bool>>,
    /// (rule, target) that may not act until a person rearms it; None: the rule on every target.
    #[serde(with = "pairs")]
    disarmed: BTreeMap<(String, Option<TargetKey>), Disarm>,
    /// Rules as they are now, by their hash, and how often each has acted so.
    runs: BTreeMap<String, (String, u32)>,
    /// What ran on a target when a step on it was verified ([`Effect::runs`](crate::model::plan::Effect::runs)), newest last.
    verified: BTreeMap<TargetKey, Vec<String>>,
    /// What observations saw running on a target, the one seen last at the end.
    #[serde(default)]
    seen: BTreeMap<TargetKey, Vec<Seen>>,
}

/// A version of a target, and how observations found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    version: String,
    /// Since when each observation found it in full. None: the last one did not.
    in_full_since: Option<Micros>,
    /// It once was found so for [`STOOD_FOR`].
    stood: bool,
}

/// Why a rule may not act: so many failures of so many outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disarm {
    pub failures: u32,
    pub of: u32,
}

impl Records {
    pub(super) fn fires(&mut self, rule: &str, key: &str, at: Micros) {
        let fired = self.fired.entry((rule.to_owned(), key.to_owned())).or_default();
        fired.push_back(at);
        while fired.len() > FIRED_REMEMBERED {
            fired.pop_front();
        }
    }

    /// Drops what nobody can ask for any more. For when an incident of it is forgotten.
    pub(super) fn forget_fired(&mut self, rule: &str, key: &str, at: Micros) {
        let key = (rule.to_owned(), key.to_owned());
        if self.fired.get(&key).is_some_and(|fired| fired.back().is_none_or(|last| *last + FIRED_WITHIN < at)) {
            self.fired.remove(&key);
        }
    }

    /// The clock went forward, and no time passed.
    pub(super) fn clock_stepped(&mut self, by: Span) {
        self.fired.values_mut().flatten().for_each(|at| *at = *at + by);
    }

    pub(super) fn fired_within(&self, rule: &str, key: &str, within: Span, now: Micros) -> u32 {
        let fired = self.fired.get(&(rule.to_owned(), key.to_owned()));
        let recent = fired.into_iter().flatten().filter(|at| **at + within > now).count();
        u32::try_from(recent).unwrap_or(u32::MAX)
    }

    pub(super) fn ended(&mut self, rule: &str, target: &TargetKey, failed: bool) {
        let in_a_row = (rule.to_owned(), target.clone());
        if failed {
            *self.failures.entry(in_a_row).or_default() += 1;
        } else {
            self.failures.remove(&in_a_row);
        }
        let outcomes = self.outcomes.entry(rule.to_owned()).or_default();
        outcomes.push_back(failed);
        while outcomes.len() > OUTCOMES {
            outcomes.pop_front();
        }
    }

    /// What the last failure calls for: the rule on all targets, or on this one, that is not disarmed yet.
    pub(super) fn to_disarm(&self, rule: &str, target: &TargetKey) -> Option<(Option<TargetKey>, Disarm)> {
        let whole = self.whole_rule(rule).map(|disarm| (None, disarm));
        let here = self.failures.get(&(rule.to_owned(), target.clone())).copied().unwrap_or_default();
        let here = (here >= FAILURES_IN_A_ROW).then(|| (Some(target.clone()), Disarm { failures: here, of: here }));
        let is_new =
            |(target, _): &(Option<TargetKey>, Disarm)| !self.disarmed.contains_key(&(rule.to_owned(), target.clone()));
        whole.filter(is_new).or(here.filter(is_new))
    }

    fn whole_rule(&self, rule: &str) -> Option<Disarm> {
        let outcomes = self.outcomes.get(rule)?;
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let failures = count(outcomes.iter().filter(|failed| **failed).count());
        (failures >= FAILURES_OF_OUTCOMES).then_some(Disarm { failures, of: count(outcomes.len()) })
    }

    pub(super) fn disarm(&mut self, rule: &str, target: Option<&TargetKey>, disarm: Disarm) {
        self.disarmed.insert((rule.to_owned(), target.cloned()), disarm);
    }

    /// On every target, or on this one.
    pub(super) fn disarmed(&self, rule: &str, target: &TargetKey) -> Option<(Option<&TargetKey>, Disarm)> {
        let of = |target: Option<TargetKey>| self.disarmed.get_key_value(&(rule.to_owned(), target));
        of(None).or_else(|| of(Some(target.clone()))).map(|((_, target), disarm)| (target.as_ref(), *disarm))
    }

    /// Where the rule is disarmed; None: everywhere.
    pub(super) fn disarmed_of<'a>(&'a self, rule: &'a str) -> impl Iterator<Item = Option<&'a TargetKey>> + 'a {
        self.disarmed.keys().filter(move |(of, _)| of == rule).map(|(_, target)| target.as_ref())
    }

    /// How many rules and (rule, target) are disarmed.
    pub(super) fn disarmed_count(&self) -> u64 {
        self.disarmed.len() as u64
    }

    /// A person says that it may act again: on these targets, and everywhere if it was the whole rule.
    pub(super) fn rearm(&mut self, rule: &str, targets: &[TargetKey], whole: bool) {
        for target in targets {
            self.failures.remove(&(rule.to_owned(), target.clone()));
            self.disarmed.remove(&(rule.to_owned(), Some(target.clone())));
        }
        if whole {
            self.outcomes.remove(rule);
            self.disarmed.remove(&(rule.to_owned(), None));
        }
    }

    pub(super) fn acted(&mut self, rule: &str, hash: &str) {
        let known = self.runs.entry(rule.to_owned()).or_default();
        if known.0 != hash {
            *known = (hash.to_owned(), 0);
        }
        known.1 = known.1.saturating_add(1);
    }

    /// How often the rule has acted as it is now.
    pub(super) fn runs_of(&self, rule: &str, hash: &str) -> u32 {
        self.runs.get(rule).filter(|known| known.0 == hash).map_or(0, |known| known.1)
    }

    /// A step on the target helped, and the target runs this.
    pub(super) fn verified(&mut self, target: &TargetKey, runs: &str) {
        let known = self.verified.entry(target.clone()).or_default();
        known.retain(|one| one != runs);
        known.push(runs.to_owned());
        let over = known.len().saturating_sub(VERSIONS_REMEMBERED);
        known.drain(..over);
    }

    /// An observation found this on the target.
    pub(super) fn saw(&mut self, target: &TargetKey, runs: &Runs, at: Micros) {
        let known = self.seen.entry(target.clone()).or_default();
        let place = known.iter().position(|one| one.version == runs.version);
        let mut one = place.map(|place| known.remove(place)).unwrap_or_else(|| Seen {
            version: runs.version.clone(),
            in_full_since: None,
            stood: false,
        });
        one.in_full_since = runs.in_full.then(|| one.in_full_since.unwrap_or(at));
        one.stood |= one.in_full_since.is_some_and(|since| at - since >= STOOD_FOR);
        // What runs now was not there all the while that something else was.
        known.iter_mut().for_each(|other| other.in_full_since = None);
        known.push(one);
        let over = known.len().saturating_sub(VERSIONS_REMEMBERED);
        known.drain(..over);
    }

    /// Versions of a target that are known to be good: something was verified while they ran, or they stood.
    pub(super) fn good_on(&self, target: &TargetKey) -> Vec<String> {
        let stood = self.seen.get(target).into_iter().flatten().filter(|one| one.stood).map(|one| &one.version);
        let verified = self.verified.get(target).into_iter().flatten();
        let good: BTreeSet<&String> = verified.chain(stood).collect();
        good.into_iter().cloned().collect()
    }
}
