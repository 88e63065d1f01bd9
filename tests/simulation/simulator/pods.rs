//! Pods of a workload in the model world, and evictions as `kubernetes/delete_pod` does them: by name and uid, never the
//! last one that is ready, and only where the budget allows it.

use super::{
    objects::Workload,
    things::{Change, Without, Written, made, refused},
};
use nightshift::model::{
    observation::{Facts, Outcome, Proposed},
    plan::Plan,
};
use serde_json::{Value, json};

const FORBIDDEN: &str = "a PodDisruptionBudget does not allow it now";

/// Its name is its place, and is used again: `p0`, `p1`.
pub struct Pod {
    pub uid: u64,
    pub ready: bool,
}

impl Workload {
    fn place_of(&self, name: &str) -> Option<usize> {
        let place: usize = name.strip_prefix('p')?.parse().ok()?;
        (place < self.pods.len()).then_some(place)
    }

    fn others_ready(&self, place: usize) -> u32 {
        self.ready() - u32::from(self.pods[place].ready)
    }

    fn budget_forbids(&self, place: usize) -> bool {
        self.budget.is_some_and(|kept| self.pods[place].ready && self.others_ready(place) < kept)
    }

    fn evictable(&self, name: &str, without: Option<Without>) -> Result<usize, String> {
        let place = self.place_of(name).ok_or_else(|| format!("it owns no pod {name}"))?;
        let last = self.pods[place].ready && self.others_ready(place) == 0;
        if last && without != Some(Without::LastReadyPod) {
            return Err(format!("pod {name} is the only one that is ready"));
        }
        Ok(place)
    }
}

fn chosen(plan: &Plan) -> (&str, u64) {
    let from = &plan.proposal.from;
    let name = from.get("pod").and_then(Value::as_str).unwrap_or_default();
    (name, from.get("uid").and_then(Value::as_u64).unwrap_or_default())
}

pub fn propose(workload: &Workload, name: Option<&str>, facts: &mut Facts, without: Option<Without>) -> Proposed {
    let name = name.unwrap_or_default();
    let place = match workload.evictable(name, without) {
        Ok(place) => place,
        Err(why) => return refused(why),
    };
    facts.disruption = workload.budget_forbids(place).then(|| FORBIDDEN.to_owned());
    let uid = workload.pods[place].uid;
    let pod = |gone: bool| json!({"pod": name, "uid": uid, "gone": gone});
    let change = Change {
        summary: format!("eviction of pod {name}"),
        destroys: true,
        replicas: None,
        min_ready_after: Some(workload.others_ready(place)),
    };
    made(facts, &format!("pod/{name}"), pod(false), pod(true), Value::Null, change)
}

pub fn difference(workload: &Workload, plan: &Plan, facts: &mut Facts, without: Option<Without>) -> Option<String> {
    let (name, uid) = chosen(plan);
    if workload.uid != plan.proposal.uid {
        return Some("it was deleted and made anew".to_owned());
    }
    match workload.evictable(name, without) {
        Err(why) => Some(why),
        Ok(place) if workload.pods[place].uid != uid => Some(format!("pod {name} was made anew")),
        Ok(place) => {
            facts.disruption = workload.budget_forbids(place).then(|| FORBIDDEN.to_owned());
            None
        }
    }
}

/// The Eviction API compares the pod's uid, and asks the budget.
pub fn write(workload: &mut Workload, plan: &Plan, without: Option<Without>) -> Written {
    let (name, uid) = chosen(plan);
    let Some(place) = workload.place_of(name) else { return Written::refused("404: it is gone", true) };
    let same = workload.pods[place].uid == uid;
    if !same && without != Some(Without::Precondition) {
        return Written::refused("409: it has another uid", true);
    }
    if workload.budget_forbids(place) {
        return Written::refused(FORBIDDEN, false);
    }
    workload.next_pod += 1;
    workload.pods[place] = Pod { uid: workload.next_pod, ready: false };
    Written::applied(same)
}

pub fn is_there(workload: &Workload, plan: &Plan) -> bool {
    let (name, uid) = chosen(plan);
    workload.place_of(name).is_some_and(|place| workload.pods[place].uid == uid)
}

pub fn read_back(workload: &Workload, plan: &Plan) -> Outcome {
    if is_there(workload, plan) {
        Outcome::NotApplied { why: "the pod is still there".to_owned(), changed_since: false }
    } else {
        Outcome::Applied
    }
}

/// Pods that are ready beside the one that goes; any number where the one that goes is not.
pub fn ready_without(workload: &Workload, plan: &Plan) -> u32 {
    match workload.place_of(chosen(plan).0) {
        Some(place) if workload.pods[place].ready => workload.others_ready(place),
        _ => u32::MAX,
    }
}
