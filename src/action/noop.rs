//! `noop`: does nothing, verifiably. For drills, for trying out a rule, and for tests.
//!
//! Its change is from nothing to nothing, so applying it twice, reading it back and measuring it always agree.

use super::{Action, Boxed, Observed};
use crate::model::{
    observation::{DryRun, Facts, Holds, Outcome, Proposed, TargetReading},
    plan::{Effect, Plan, Proposal},
    rung::{Bounds, Rung},
    target::Object,
    time::Micros,
};
use serde_json::{Value, json};
use std::time::Duration;

pub struct Noop;

fn nothing(summary: &str) -> Proposal {
    Proposal {
        uid: String::new(),
        generation: 0,
        from: json!({}),
        to: json!({}),
        undo: Value::Null,
        precondition: json!({}),
        effect: Effect { replicas: None, min_ready_after: None, touches: Vec::new(), destroys: false, runs: None },
        summary: summary.to_owned(),
        undo_summary: None,
    }
}

impl Action for Noop {
    fn name(&self) -> &'static str {
        "noop"
    }

    fn check(&self, with: &Value, _: &Object, _: Option<Bounds>) -> Vec<String> {
        match with {
            Value::Null => Vec::new(),
            Value::Object(map) if map.is_empty() => Vec::new(),
            _ => vec!["noop takes no `with`".to_owned()],
        }
    }

    fn may_destroy(&self, _: &Value) -> bool {
        false
    }

    fn has_undo(&self) -> bool {
        false
    }

    fn observe<'a>(
        &'a self,
        _: &'a Rung,
        _: &'a [String],
        now: Micros,
        _: Duration,
    ) -> Boxed<'a, Result<Observed, String>> {
        let proposal = Proposed::Made(Box::new(nothing("nothing is changed")));
        Box::pin(async move { Ok(Observed { facts: Facts::of_nothing(now), proposal }) })
    }

    fn observe_undo<'a>(
        &'a self,
        _: &'a Plan,
        _: Option<&'a Value>,
        now: Micros,
        _: Duration,
    ) -> Boxed<'a, Result<Observed, String>> {
        let proposal = Proposed::Refused { why: "nothing was changed: there is nothing to put back".to_owned() };
        Box::pin(async move { Ok(Observed { facts: Facts::of_nothing(now), proposal }) })
    }

    fn holds<'a>(&'a self, _: &'a Plan, now: Micros, _: Duration) -> Boxed<'a, Result<(Facts, Holds), String>> {
        Box::pin(async move { Ok((Facts::of_nothing(now), Holds::Yes)) })
    }

    fn dry_run<'a>(&'a self, _: &'a Object, _: &'a Proposal, _: Duration) -> Boxed<'a, Result<DryRun, String>> {
        Box::pin(async { Ok(DryRun::Accepted) })
    }

    fn apply<'a>(&'a self, _: &'a Plan, _: Duration) -> Boxed<'a, Outcome> {
        Box::pin(async { Outcome::Applied })
    }

    fn read_back<'a>(&'a self, _: &'a Plan, _: Duration) -> Boxed<'a, Outcome> {
        Box::pin(async { Outcome::Applied })
    }

    fn measure<'a>(&'a self, _: &'a Plan, _: &'a Facts, _: Duration) -> Boxed<'a, TargetReading> {
        Box::pin(async { TargetReading::Well { says: "nothing was changed".to_owned() } })
    }
}
