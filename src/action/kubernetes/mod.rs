//! Actions on Kubernetes workloads: one file an action, besides what they share.
//!
//! [`workload`] reads a target, [`rollout`] says how it stands, [`autoscaler`] and [`ownership`] who else
//! decides about it, `revisions` what it was before. The client, with its deadlines and classes of errors, is
//! [`crate::peer::kubernetes`].

pub mod amount;
pub mod autoscaler;
pub mod delete_pod;
pub mod flip;
pub mod itself;
pub mod ownership;
mod pods;
pub mod restart;
mod revision_choice;
mod revisions;
pub mod rollout;
pub mod scale;
mod setting;
mod strategy;
#[cfg(test)]
mod stubbed;
#[cfg(test)]
mod stubbed_partition;
#[cfg(test)]
mod stubbed_undo;
#[cfg(test)]
mod stubbed_versions;
mod template;
pub mod undo;
mod undo_plan;
mod versioned;
pub mod workload;

use self::{
    flip::smoke::Smoker,
    workload::{Itself, Named},
};
use super::Registry;
use crate::{
    model::{
        observation::{DryRun, Outcome},
        target::Object,
    },
    peer::kubernetes::{Class, Cluster, Problem},
};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// Two reads of a server that answers at all.
const LAST_LOOK_WITHIN: Duration = Duration::from_secs(5);

/// Every Kubernetes action. `itself`: what they report as nightshift's own. `smoke`: who makes smoke tests.
pub fn register(registry: &mut Registry, cluster: &Cluster, itself: Option<&Itself>, smoke: &Smoker) {
    registry.add(Arc::new(scale::Scale::new(cluster.clone(), itself.cloned())));
    registry.add(Arc::new(restart::Restart::new(cluster.clone(), itself.cloned())));
    registry.add(Arc::new(undo::Undo::new(cluster.clone(), itself.cloned())));
    registry.add(Arc::new(delete_pod::DeletePod::new(cluster.clone(), itself.cloned())));
    registry.add(Arc::new(flip::Flip::new(cluster.clone(), itself.cloned(), smoke.clone())));
}

/// The moment at which all calls of one method are over.
fn deadline(within: Duration) -> Instant {
    Instant::now() + within
}

/// The moment at which looking once more before a write is over. Sooner than the call: a pause that comes meanwhile does not
/// stop it any more.
fn last_look(within: Duration) -> Instant {
    deadline(within.min(LAST_LOOK_WITHIN))
}

/// Why nothing was sent.
struct NotSent {
    why: String,
    changed_since: bool,
}

impl From<Problem> for NotSent {
    fn from(problem: Problem) -> NotSent {
        NotSent { changed_since: problem.is_changed_since(), why: problem.says }
    }
}

/// What a write's answer means for the step.
fn outcome(answer: Result<(), Problem>) -> Outcome {
    match answer {
        Ok(()) => Outcome::Applied,
        Err(problem) if problem.is_certainly_not_done() => {
            Outcome::NotApplied { changed_since: problem.is_changed_since(), why: problem.says }
        }
        Err(problem) => Outcome::Unknown { why: problem.says },
    }
}

/// A write that was refused because of a change since: a change that it may have made itself, where its request was sent
/// twice and only the second answer came. "Changed since" would decide anew, and do it again.
async fn unless_done(outcome: Outcome, read_back: impl Future<Output = Result<Outcome, String>>) -> Outcome {
    match outcome {
        Outcome::NotApplied { why, changed_since: true } => match read_back.await {
            Ok(Outcome::Applied) => Outcome::Unknown { why },
            Ok(_) | Err(_) => Outcome::NotApplied { why, changed_since: true },
        },
        other => other,
    }
}

/// What a dry run's answer means. Not to have been answered is an error, not a rejection.
fn dry_run(answer: Result<(), Problem>) -> Result<DryRun, String> {
    match answer {
        Ok(()) => Ok(DryRun::Accepted),
        Err(problem) => match problem.class {
            Class::Forbidden
            | Class::Invalid
            | Class::Conflict
            | Class::TestFailed
            | Class::NotFound
            | Class::NotNow
            | Class::Refused => Ok(DryRun::Rejected { why: problem.says }),
            Class::NotConfigured | Class::ServerFailed | Class::NotSent | Class::NoAnswer | Class::Unreadable => {
                Err(problem.says)
            }
        },
    }
}

/// nightshift's own Deployment is never a target.
fn own(action: &str, target: &Object, itself: Option<&Itself>) -> Option<String> {
    let named = Named::of(target).ok()?;
    itself?.is(named).then(|| format!("{action} may not act on {}: it is nightshift itself", named.words()))
}

/// What an action on workloads says of a target that is none.
fn no_workload(action: &str, target: &Object) -> Option<String> {
    match target {
        Object::Workload { .. } => None,
        Object::BlueGreen { .. } => Some(format!("{action} needs a target that is a workload, not a Service")),
        Object::Database { .. } | Object::Nothing => Some(format!("{action} needs a target with `kubernetes`")),
    }
}

/// The keys of `with` that an action does not know.
fn unknown_keys(action: &str, with: &Value, known: &[&str]) -> Vec<String> {
    match with {
        Value::Null => Vec::new(),
        Value::Object(map) => map
            .keys()
            .filter(|key| !known.contains(&key.as_str()))
            .map(|key| match known {
                [] => format!("{action} takes no `with`: `{key}` means nothing to it"),
                _ => format!("{action} knows no `{key}` in `with`: it knows {}", known.join(", ")),
            })
            .collect(),
        _ => vec![format!("`with` of {action} is not a mapping")],
    }
}
