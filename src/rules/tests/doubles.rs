//! Actions that only check, in the way of the real ones.

use crate::{
    action::{Action, Boxed, Observed, Registry},
    model::{
        observation::{DryRun, Facts, Holds, Outcome, TargetReading},
        plan::{Plan, Proposal},
        rung::{Bounds, Rung},
        target::{Kind, Object},
        time::{Micros, Span},
    },
};
use serde_json::Value;
use std::{sync::Arc, time::Duration};

struct Double {
    name: &'static str,
    keys: &'static [&'static str],
    kinds: &'static [Kind],
    destroys: bool,
    has_undo: bool,
}

pub fn registry() -> Registry {
    let doubles = [
        Double {
            name: "kubernetes/scale",
            keys: &["replicas", "lease"],
            kinds: &[Kind::Deployment, Kind::StatefulSet],
            destroys: false,
            has_undo: true,
        },
        Double {
            name: "kubernetes/restart",
            keys: &[],
            kinds: &[Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet],
            destroys: true,
            has_undo: false,
        },
        Double { name: "noop", keys: &[], kinds: &[], destroys: false, has_undo: false },
    ];
    let mut registry = Registry::default();
    for double in doubles {
        registry.add(Arc::new(double));
    }
    registry
}

impl Action for Double {
    fn name(&self) -> &'static str {
        self.name
    }
    fn check(&self, with: &Value, target: &Object, bounds: Option<Bounds>) -> Vec<String> {
        let mut problems = Vec::new();
        if self.keys.contains(&"replicas") && bounds.is_none() {
            problems.push(format!("{} needs bounds on its target: `replicas: {{min: 2, max: 20}}`", self.name));
        }
        let given: Vec<&str> = with.as_object().unwrap().keys().map(String::as_str).collect();
        problems.extend(given.iter().filter(|key| !self.keys.contains(key)).map(|key| format!("no parameter `{key}`")));
        if self.keys.contains(&"replicas") && !given.contains(&"replicas") {
            problems.push("`replicas` is missing".to_owned());
        }
        match target {
            Object::Workload { kind, .. } if !self.kinds.contains(kind) => {
                problems.push(format!("does not work on a {}", kind.word()));
            }
            Object::Nothing if !self.kinds.is_empty() => problems.push("needs a workload".to_owned()),
            Object::Workload { .. } | Object::Nothing => {}
        }
        problems
    }
    fn lease(&self, _: &Value) -> Option<Span> {
        None
    }
    fn may_destroy(&self, _: &Value) -> bool {
        self.destroys
    }
    fn has_undo(&self) -> bool {
        self.has_undo
    }
    fn observe<'a>(&'a self, _: &'a Rung, _: Micros, _: Duration) -> Boxed<'a, Result<Observed, String>> {
        unreachable!("loading rules observes nothing")
    }
    fn observe_undo<'a>(
        &'a self,
        _: &'a Plan,
        _: Option<&'a Value>,
        _: Micros,
        _: Duration,
    ) -> Boxed<'a, Result<Observed, String>> {
        unreachable!("loading rules observes nothing")
    }
    fn holds<'a>(&'a self, _: &'a Plan, _: Micros, _: Duration) -> Boxed<'a, Result<(Facts, Holds), String>> {
        unreachable!("loading rules observes nothing")
    }
    fn dry_run<'a>(&'a self, _: &'a Object, _: &'a Proposal, _: Duration) -> Boxed<'a, Result<DryRun, String>> {
        unreachable!("loading rules asks no server")
    }
    fn apply<'a>(&'a self, _: &'a Plan, _: Duration) -> Boxed<'a, Outcome> {
        unreachable!("loading rules writes nothing")
    }
    fn read_back<'a>(&'a self, _: &'a Plan, _: Duration) -> Boxed<'a, Outcome> {
        unreachable!("loading rules reads nothing back")
    }
    fn measure<'a>(&'a self, _: &'a Plan, _: &'a Facts, _: Duration) -> Boxed<'a, TargetReading> {
        unreachable!("loading rules measures nothing")
    }
}
