//! Actions: what a step does to its target. One file an action, one line where the [`Registry`] is filled.
//!
//! An action decides nothing: it observes, proposes an absolute change with its way back, writes once with the
//! precondition in the write, reads back, and measures. Whether it may is `decide`'s affair.

pub mod kubernetes;
pub mod noop;
pub mod postgres;

use crate::model::{
    observation::{DryRun, Facts, Holds, Outcome, Proposed, TargetReading},
    plan::{Plan, Proposal},
    rung::{Bounds, Rung},
    target::Object,
    time::Micros,
};
use serde_json::Value;
use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What an action saw for a plan.
pub struct Observed {
    pub facts: Facts,
    pub proposal: Proposed,
}

/// One kind of action. Every method is bounded by `within` and gives errors as sentences for people, without secrets.
pub trait Action: Send + Sync {
    /// The word in rules files: `kubernetes/scale`.
    fn name(&self) -> &'static str;

    /// Checks `with` and the target's kind and bounds when rules are loaded: all problems, as sentences.
    fn check(&self, with: &Value, target: &Object, bounds: Option<Bounds>) -> Vec<String>;

    /// What `with` may say and proves or does less than it seems, as sentences. They refuse nothing.
    fn warns(&self, _with: &Value) -> Vec<String> {
        Vec::new()
    }

    /// How long what it does lasts before it is put back, if it says so.
    fn lease(&self, _with: &Value) -> Option<crate::model::time::Span> {
        None
    }

    /// How long it watches what it did, if it says so itself: that is how long it is measured after settling.
    fn watches(&self, _: &Value) -> Option<crate::model::time::Span> {
        None
    }

    /// Whether it ends what evidence would show (then evidence is collected first). Before a plan is known.
    fn may_destroy(&self, with: &Value) -> bool;

    /// The alert's label whose value chooses among what the target owns. It never names anything else: what the target
    /// does not own is refused when it is observed.
    fn chooses_by(&self) -> Option<&'static str> {
        None
    }

    /// Whether a person may undo it.
    fn has_undo(&self) -> bool;

    /// Reads the target and proposes. Changes nothing: it reads, and at most asks by a dry run. `good`: versions
    /// that are known to be good there, as [`Effect::runs`](crate::model::plan::Effect::runs) names them. `now`: for what a
    /// plan fixes in time (`restartedAt`).
    fn observe<'a>(
        &'a self,
        rung: &'a Rung,
        good: &'a [String],
        now: Micros,
        within: Duration,
    ) -> Boxed<'a, Result<Observed, String>>;

    /// Proposes the way back of what `plan` did: from what it left to what it found (or `baseline`, for a lease).
    /// `Refused` with the difference when somebody else changed it since.
    fn observe_undo<'a>(
        &'a self,
        plan: &'a Plan,
        baseline: Option<&'a Value>,
        now: Micros,
        within: Duration,
    ) -> Boxed<'a, Result<Observed, String>>;

    /// After an approval: reads again; does everything that the plan rests on still hold?
    fn holds<'a>(&'a self, plan: &'a Plan, now: Micros, within: Duration) -> Boxed<'a, Result<(Facts, Holds), String>>;

    /// Asks the server whether it would accept the write, without writing.
    fn dry_run<'a>(
        &'a self,
        target: &'a Object,
        proposal: &'a Proposal,
        within: Duration,
    ) -> Boxed<'a, Result<DryRun, String>>;

    /// Writes, once, with the precondition in the write. Never retries. Anything but a clear answer is `Unknown`.
    fn apply<'a>(&'a self, plan: &'a Plan, within: Duration) -> Boxed<'a, Outcome>;

    /// After a lost answer: was it applied?
    fn read_back<'a>(&'a self, plan: &'a Plan, within: Duration) -> Boxed<'a, Outcome>;

    /// Does the target read well, given what was seen before the step?
    fn measure<'a>(&'a self, plan: &'a Plan, before: &'a Facts, within: Duration) -> Boxed<'a, TargetReading>;
}

/// The actions that this process can do, by name.
#[derive(Clone, Default)]
pub struct Registry(std::collections::BTreeMap<&'static str, Arc<dyn Action>>);

impl Registry {
    pub fn add(&mut self, action: Arc<dyn Action>) {
        self.0.insert(action.name(), action);
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Action>> {
        self.0.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.keys().copied()
    }
}
