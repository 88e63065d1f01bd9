//! `kubernetes/restart`: a rolling restart, as `kubectl rollout restart` asks for it, but idempotent.
//!
//! The annotation's value is the decision's time, fixed in the plan, so writing it twice restarts once. The write is a
//! JSON Patch whose `test`s name the uid and the generation: any change of the spec since makes it fail. There is
//! nothing to undo.

use super::{
    deadline, dry_run, last_look, no_workload, outcome, own, ownership,
    rollout::{self, Rollout},
    strategy::certainly_ready,
    template::Template,
    unknown_keys, unless_done,
    workload::{Itself, Named, Workload},
};
use crate::{
    action::{Action, Boxed, Observed},
    model::{
        observation::{DryRun, Facts, Holds, Outcome, Proposed, TargetReading},
        plan::{Effect, Plan, Proposal},
        rung::{Bounds, Rung},
        target::{Kind, Object},
        time::Micros,
    },
    peer::kubernetes::Cluster,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

const NAME: &str = "kubernetes/restart";
/// kubectl's own annotation, so that its users see what happened.
const ANNOTATION: &str = "kubectl.kubernetes.io/restartedAt";
/// The same in a JSON Patch's path.
const ANNOTATION_IN_PATH: &str = "kubectl.kubernetes.io~1restartedAt";

/// A plan's `from` and `to`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Restarted {
    restarted_at: Option<String>,
}

/// Travels with the write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Precondition {
    uid: String,
    generation: i64,
    /// The template has an annotations map to write into.
    has_annotations: bool,
}

pub struct Restart {
    cluster: Cluster,
    itself: Option<Itself>,
}

impl Restart {
    #[must_use]
    pub fn new(cluster: Cluster, itself: Option<Itself>) -> Restart {
        Restart { cluster, itself }
    }

    fn facts(&self, workload: &Workload, named: Named<'_>, now: Micros) -> Facts {
        // What a GitOps controller does not have in its manifests it leaves alone: a restart is taken back by none.
        let owner = ownership::gitops(&workload.metadata, ownership::RESTARTED_AT);
        Facts { owner, ..workload.facts(named, self.itself.as_ref(), now) }
    }

    async fn propose(&self, rung: &Rung, now: Micros, within: Duration) -> Result<Observed, String> {
        let named = Named::of(&rung.target.object)?;
        let until = deadline(within);
        let (workload, members) =
            tokio::join!(Workload::read(&self.cluster, named, until), Workload::members(&self.cluster, named, until));
        let workload = workload?;
        let facts = Facts { members, ..self.facts(&workload, named, now) };
        let proposal = propose(&workload, &facts, named, now);
        Ok(Observed { facts, proposal })
    }

    async fn still_holds(&self, plan: &Plan, now: Micros, within: Duration) -> Result<(Facts, Holds), String> {
        let named = Named::of(&plan.target.object)?;
        let workload = Workload::read(&self.cluster, named, deadline(within)).await?;
        let facts = self.facts(&workload, named, now);
        let (was, is) = (plan.proposal.generation, facts.generation);
        let holds = if facts.uid != plan.proposal.uid {
            Holds::Changed { difference: "it was deleted and made anew".to_owned() }
        } else if was != is {
            Holds::Changed { difference: format!("its spec was edited (generation {was} → {is})") }
        } else {
            Holds::Yes
        };
        Ok((facts, holds))
    }

    /// `Err`: the plan could not be made into a request, and nothing was sent.
    async fn write(&self, plan: &Plan, within: Duration) -> Result<Outcome, String> {
        let named = Named::of(&plan.target.object)?;
        let ops = patch(&plan.proposal)?;
        // Of what is refused later, it is known then that it was not so before.
        let workload: Workload = match self.cluster.get(named.place(), last_look(within)).await {
            Ok(workload) => workload,
            Err(problem) => {
                return Ok(Outcome::NotApplied { changed_since: problem.is_changed_since(), why: problem.says });
            }
        };
        let (was, is) = (plan.proposal.generation, workload.metadata.generation);
        if workload.metadata.uid != plan.proposal.uid || was != is {
            let why = format!("it was changed since (generation {was} → {is})");
            return Ok(Outcome::NotApplied { why, changed_since: true });
        }
        let answer = self.cluster.patch(named.place(), ops, false, deadline(within)).await;
        Ok(unless_done(outcome(answer), self.was_applied(plan, within)).await)
    }

    async fn was_applied(&self, plan: &Plan, within: Duration) -> Result<Outcome, String> {
        let named = Named::of(&plan.target.object)?.by_name();
        let (from, to) = (read(&plan.proposal.from)?, read(&plan.proposal.to)?);
        let workload = Workload::read(&self.cluster, named, deadline(within)).await?;
        let value = workload.template_annotation(ANNOTATION);
        Ok(if workload.metadata.uid != plan.proposal.uid {
            Outcome::Unknown { why: format!("{} was made anew since", named.words()) }
        } else if value == to.restarted_at.as_deref() {
            Outcome::Applied
        } else if value == from.restarted_at.as_deref() && workload.metadata.generation == plan.proposal.generation {
            Outcome::NotApplied { why: format!("{} was not restarted", named.words()), changed_since: false }
        } else {
            let value = value.unwrap_or("nothing");
            Outcome::Unknown { why: format!("{ANNOTATION} is {value}, and its spec was edited since") }
        })
    }

    async fn read_target(&self, plan: &Plan, before: &Facts, within: Duration) -> Result<TargetReading, String> {
        let named = Named::of(&plan.target.object)?.by_name();
        let workload = Workload::read(&self.cluster, named, deadline(within)).await?;
        if workload.metadata.uid != plan.proposal.uid {
            return Ok(TargetReading::NotYet { says: "it was deleted and made anew".to_owned() });
        }
        // A later restart by somebody else is no harm; that ours is gone is.
        let (from, value) = (read(&plan.proposal.from)?, workload.template_annotation(ANNOTATION));
        if value.is_none() || value == from.restarted_at.as_deref() {
            return Ok(TargetReading::NotYet { says: "somebody took the restart back".to_owned() });
        }
        let (ready, wanted) = (workload.ready(named.kind), before.ready);
        let held_back = rollout::held_back(named.kind, &workload);
        Ok(match rollout::status(named.kind, &workload) {
            Rollout::Unfinished(says) | Rollout::Failed(says) | Rollout::NotRolling(says) => {
                TargetReading::NotYet { says }
            }
            Rollout::Complete if ready < wanted => {
                TargetReading::NotYet { says: format!("{ready} pods are ready, {wanted} were before") }
            }
            Rollout::Complete if held_back.is_some() => TargetReading::NotYet { says: held_back.unwrap_or_default() },
            Rollout::Complete => TargetReading::Well { says: format!("restarted, {ready} pods are ready") },
        })
    }
}

fn read(value: &Value) -> Result<Restarted, String> {
    Restarted::deserialize(value).map_err(|_| format!("`{value}` is not a setting of {NAME}"))
}

fn propose(workload: &Workload, facts: &Facts, named: Named<'_>, now: Micros) -> Proposed {
    if let Rollout::NotRolling(why) = rollout::status(named.kind, workload) {
        return Proposed::Refused { why };
    }
    let kept = rollout::kept_back(named.kind, workload);
    if kept > 0 {
        let replicas = facts.replicas.unwrap_or_default();
        let why = format!("its partition keeps {kept} of {replicas} pods as they are: they would not be restarted");
        return Proposed::Refused { why };
    }
    if named.kind == Kind::DaemonSet && workload.status.desired_number_scheduled == 0 {
        return Proposed::Refused { why: format!("{} runs on no node", named.words()) };
    }
    let before = workload.template_annotation(ANNOTATION).map(str::to_owned);
    let at = now.rfc3339_seconds();
    if before.as_deref() == Some(&at) {
        return Proposed::Refused { why: format!("it was restarted at {at} already") };
    }
    let has_annotations = workload.has_template_annotations();
    let precondition = Precondition { uid: facts.uid.clone(), generation: facts.generation, has_annotations };
    Proposed::Made(Box::new(Proposal {
        uid: facts.uid.clone(),
        generation: facts.generation,
        from: json!(Restarted { restarted_at: before }),
        to: json!(Restarted { restarted_at: Some(at) }),
        undo: Value::Null,
        precondition: json!(precondition),
        effect: Effect {
            replicas: None,
            min_ready_after: Some(certainly_ready(workload, named.kind)),
            touches: vec!["spec.template".to_owned()],
            destroys: true,
            runs: Template::of(&workload.spec.template).map(|template| template.version()),
        },
        summary: match facts.replicas {
            Some(replicas) => format!("rolling restart of {replicas} pods"),
            None => format!("rolling restart of {} pods", workload.status.desired_number_scheduled),
        },
        undo_summary: None,
    }))
}

/// The write: `test`s of uid and generation, then the annotation.
fn patch(proposal: &Proposal) -> Result<Value, String> {
    let at = read(&proposal.to)?.restarted_at.ok_or("the plan has no time to write")?;
    let precondition = Precondition::deserialize(&proposal.precondition)
        .map_err(|error| format!("the plan's precondition: {error}"))?;
    let mut ops = vec![
        json!({"op": "test", "path": "/metadata/uid", "value": precondition.uid}),
        json!({"op": "test", "path": "/metadata/generation", "value": precondition.generation}),
    ];
    ops.push(if precondition.has_annotations {
        json!({"op": "add", "path": format!("/spec/template/metadata/annotations/{ANNOTATION_IN_PATH}"), "value": at})
    } else {
        json!({"op": "add", "path": "/spec/template/metadata/annotations", "value": {ANNOTATION: at}})
    });
    Ok(Value::Array(ops))
}

impl Action for Restart {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, with: &Value, target: &Object, _: Option<Bounds>) -> Vec<String> {
        let mut problems = unknown_keys(NAME, with, &[]);
        problems.extend(no_workload(NAME, target));
        problems.extend(own(NAME, target, self.itself.as_ref()));
        problems
    }

    fn may_destroy(&self, _: &Value) -> bool {
        true
    }

    fn has_undo(&self) -> bool {
        false
    }

    fn observe<'a>(
        &'a self,
        rung: &'a Rung,
        _: &'a [String],
        now: Micros,
        within: Duration,
    ) -> Boxed<'a, Result<Observed, String>> {
        Box::pin(self.propose(rung, now, within))
    }

    fn observe_undo<'a>(
        &'a self,
        plan: &'a Plan,
        _: Option<&'a Value>,
        now: Micros,
        within: Duration,
    ) -> Boxed<'a, Result<Observed, String>> {
        Box::pin(async move {
            let named = Named::of(&plan.target.object)?;
            let workload = Workload::read(&self.cluster, named, deadline(within)).await?;
            let why = "a restart has nothing to put back".to_owned();
            Ok(Observed {
                facts: workload.facts(named, self.itself.as_ref(), now),
                proposal: Proposed::Refused { why },
            })
        })
    }

    fn holds<'a>(&'a self, plan: &'a Plan, now: Micros, within: Duration) -> Boxed<'a, Result<(Facts, Holds), String>> {
        Box::pin(self.still_holds(plan, now, within))
    }

    fn dry_run<'a>(
        &'a self,
        target: &'a Object,
        proposal: &'a Proposal,
        within: Duration,
    ) -> Boxed<'a, Result<DryRun, String>> {
        Box::pin(async move {
            let place = Named::of(target)?.place();
            dry_run(self.cluster.patch(place, patch(proposal)?, true, deadline(within)).await)
        })
    }

    fn apply<'a>(&'a self, plan: &'a Plan, within: Duration) -> Boxed<'a, Outcome> {
        Box::pin(async move {
            let written = self.write(plan, within).await;
            written.unwrap_or_else(|why| Outcome::NotApplied { why, changed_since: false })
        })
    }

    fn read_back<'a>(&'a self, plan: &'a Plan, within: Duration) -> Boxed<'a, Outcome> {
        Box::pin(async move { self.was_applied(plan, within).await.unwrap_or_else(|why| Outcome::Unknown { why }) })
    }

    fn measure<'a>(&'a self, plan: &'a Plan, before: &'a Facts, within: Duration) -> Boxed<'a, TargetReading> {
        Box::pin(async move {
            let reading = self.read_target(plan, before, within).await;
            reading.unwrap_or_else(|problem| TargetReading::Unread { problem })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(strategy: Value, replicas: u32, ready: u32) -> Workload {
        serde_json::from_value(json!({
            "metadata": {"uid": "u", "generation": 3},
            "spec": {"replicas": replicas, "strategy": strategy},
            "status": {"observedGeneration": 3, "readyReplicas": ready}
        }))
        .unwrap()
    }

    #[test]
    fn pods_that_a_partition_keeps_are_not_restarted_by_halves() {
        let named = Named { namespace: "production", kind: Kind::StatefulSet, name: "db", selector: None };
        let set = |partition: u32| -> Workload {
            serde_json::from_value(json!({
                "metadata": {"uid": "u", "generation": 3},
                "spec": {"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}},
                "status": {"observedGeneration": 3, "readyReplicas": 3, "currentRevision": "a", "updateRevision": "a"}
            }))
            .unwrap()
        };
        let proposed =
            |workload: &Workload| propose(workload, &workload.facts(named, None, Micros(0)), named, Micros(0));
        assert!(matches!(proposed(&set(0)), Proposed::Made(_)));
        let why = "its partition keeps 2 of 3 pods as they are: they would not be restarted".to_owned();
        assert_eq!(proposed(&set(2)), Proposed::Refused { why });
    }

    #[test]
    fn the_time_written_is_the_plans_not_the_calls() {
        let named = Named { namespace: "production", kind: Kind::Deployment, name: "web", selector: None };
        let workload = deployment(json!({"type": "RollingUpdate"}), 2, 2);
        let now = Micros::parse("2026-03-01T02:12:09.123456Z").unwrap();
        let facts = workload.facts(named, None, now);
        let Proposed::Made(proposal) = propose(&workload, &facts, named, now) else { panic!() };
        let ops = patch(&proposal).unwrap();
        assert_eq!(ops, patch(&proposal).unwrap());
        assert_eq!(
            ops,
            json!([
                {"op": "test", "path": "/metadata/uid", "value": "u"},
                {"op": "test", "path": "/metadata/generation", "value": 3},
                {"op": "add", "path": "/spec/template/metadata/annotations",
                 "value": {"kubectl.kubernetes.io/restartedAt": "2026-03-01T02:12:09Z"}},
            ])
        );
    }
}
