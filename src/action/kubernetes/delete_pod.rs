//! `kubernetes/delete_pod`: one pod is evicted, and its workload makes another.
//!
//! The alert's label `pod` chooses among the pods that the listed workload owns; a name that is not one of theirs is
//! refused. It goes through the Eviction API, so that PodDisruptionBudgets hold; whether they allow it now is asked by a
//! dry run when the target is observed, and a guard waits for it. The last ready pod stays. There is nothing to undo.

use super::{
    deadline, dry_run, last_look, no_workload, outcome, own,
    pods::{self, Pod},
    rollout::{self, Rollout},
    unknown_keys,
    workload::{Itself, Named, Workload},
};
use crate::{
    action::{Action, Boxed, Observed},
    model::{
        observation::{DryRun, Facts, Holds, Outcome, Proposed, TargetReading},
        plan::{Effect, Plan, Proposal},
        rung::{Bounds, Rung},
        target::Object,
        time::Micros,
    },
    peer::kubernetes::{Class, Cluster, Place, Problem, Resource},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

const NAME: &str = "kubernetes/delete_pod";
/// The label that names the pod, as Prometheus and kube-state-metrics give it.
const LABEL: &str = "pod";

/// A plan's `from` and `to`, and its precondition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Chosen {
    pod: String,
    /// Names of a StatefulSet's pods are used again.
    uid: String,
    gone: bool,
}

/// What is read for every question but the read-back and the measurement.
struct Seen {
    workload: Workload,
    pods: Vec<Pod>,
    facts: Facts,
}

pub struct DeletePod {
    cluster: Cluster,
    itself: Option<Itself>,
}

impl DeletePod {
    #[must_use]
    pub fn new(cluster: Cluster, itself: Option<Itself>) -> DeletePod {
        DeletePod { cluster, itself }
    }

    async fn see(&self, named: Named<'_>, now: Micros, until: Instant) -> Result<Seen, String> {
        let workload = Workload::read(&self.cluster, named, until).await?;
        let pods = pods::owned(&self.cluster, named, &workload, until).await?;
        let facts = workload.facts(named, self.itself.as_ref(), now);
        Ok(Seen { workload, pods, facts })
    }

    async fn propose(&self, rung: &Rung, now: Micros, within: Duration) -> Result<Observed, String> {
        let until = deadline(within);
        let named = Named::of(&rung.target.object)?;
        let name = rung.member.as_deref().ok_or("the alert names no pod")?;
        let (seen, members) = tokio::join!(self.see(named, now, until), Workload::members(&self.cluster, named, until));
        let mut seen = seen?;
        seen.facts.members = members;
        let proposal = match evictable(&seen, named, name) {
            Ok(pod) => propose(&seen, pod),
            Err(why) => Proposed::Refused { why },
        };
        if let Proposed::Made(proposal) = &proposal {
            let chosen = read(&proposal.to)?;
            match self.evict(named, &chosen, true, until).await {
                Ok(()) => {}
                Err(problem) if problem.class == Class::NotNow => seen.facts.disruption = Some(problem.says),
                Err(problem) => return refused(seen.facts, problem),
            }
        }
        Ok(Observed { facts: seen.facts, proposal })
    }

    async fn still_holds(&self, plan: &Plan, now: Micros, within: Duration) -> Result<(Facts, Holds), String> {
        let until = deadline(within);
        let named = Named::of(&plan.target.object)?;
        let chosen = read(&plan.proposal.from)?;
        let mut seen = self.see(named, now, until).await?;
        if let Some(difference) = difference_since(&seen, &plan.proposal, named, &chosen) {
            return Ok((seen.facts, Holds::Changed { difference }));
        }
        match self.evict(named, &chosen, true, until).await {
            Err(problem) if problem.class == Class::NotNow => seen.facts.disruption = Some(problem.says),
            Err(problem) if problem.is_changed_since() => {
                return Ok((seen.facts, Holds::Changed { difference: problem.says }));
            }
            // Any other answer is met again by the write itself.
            Ok(()) | Err(_) => {}
        }
        Ok((seen.facts, Holds::Yes))
    }

    /// One request. The uid in it keeps a namesake made anew from being taken for the pod.
    async fn evict(&self, named: Named<'_>, chosen: &Chosen, dry: bool, until: Instant) -> Result<(), Problem> {
        let place = Place::one(Resource::Pod, named.namespace, &chosen.pod).subresource("eviction");
        let eviction = json!({
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": chosen.pod, "namespace": named.namespace},
            "deleteOptions": {"preconditions": {"uid": chosen.uid}},
        });
        self.cluster.create(place, eviction, dry, until).await
    }

    /// Looks once more, because that others are ready can't be said in the request.
    async fn write(&self, plan: &Plan, within: Duration) -> Result<Outcome, String> {
        let until = deadline(within);
        let named = Named::of(&plan.target.object)?.by_name();
        let chosen = read(&plan.proposal.from)?;
        let seen = self.see(named, Micros::default(), last_look(within)).await?;
        if let Some(why) = difference_since(&seen, &plan.proposal, named, &chosen) {
            return Ok(Outcome::NotApplied { why, changed_since: true });
        }
        Ok(outcome(self.evict(named, &chosen, false, until).await))
    }

    async fn was_applied(&self, plan: &Plan, within: Duration) -> Result<Outcome, String> {
        let named = Named::of(&plan.target.object)?;
        let chosen = read(&plan.proposal.from)?;
        let found = pods::named(&self.cluster, named.namespace, &chosen.pod, deadline(within)).await?;
        Ok(match found.filter(|pod| pod.metadata.uid == chosen.uid && !pod.is_ending()) {
            None => Outcome::Applied,
            Some(_) => Outcome::NotApplied { why: format!("pod {} is still there", chosen.pod), changed_since: false },
        })
    }

    async fn read_target(&self, plan: &Plan, before: &Facts, within: Duration) -> Result<TargetReading, String> {
        let until = deadline(within);
        let named = Named::of(&plan.target.object)?.by_name();
        let chosen = read(&plan.proposal.from)?;
        let not_yet = |says: String| Ok(TargetReading::NotYet { says });
        let workload = Workload::read(&self.cluster, named, until).await?;
        if workload.metadata.uid != plan.proposal.uid {
            return not_yet("it was deleted and made anew".to_owned());
        }
        let found = pods::named(&self.cluster, named.namespace, &chosen.pod, until).await?;
        if found.is_some_and(|pod| pod.metadata.uid == chosen.uid) {
            return not_yet(format!("pod {} is not gone yet", chosen.pod));
        }
        let (ready, wanted) = (workload.ready(named.kind), before.ready);
        Ok(match rollout::status(named.kind, &workload) {
            Rollout::Unfinished(says) | Rollout::Failed(says) => TargetReading::NotYet { says },
            Rollout::Complete | Rollout::NotRolling(_) if ready < wanted => {
                TargetReading::NotYet { says: format!("{ready} pods are ready, {wanted} were before") }
            }
            Rollout::Complete | Rollout::NotRolling(_) => {
                TargetReading::Well { says: format!("pod {} is gone, {ready} pods are ready", chosen.pod) }
            }
        })
    }
}

fn read(value: &Value) -> Result<Chosen, String> {
    Chosen::deserialize(value).map_err(|_| format!("`{value}` is not a setting of {NAME}"))
}

/// The server would not do it, for whatever else than a budget; not to have been answered is an error.
fn refused(facts: Facts, problem: Problem) -> Result<Observed, String> {
    match dry_run(Err(problem))? {
        DryRun::Rejected { why } => Ok(Observed { facts, proposal: Proposed::Refused { why } }),
        DryRun::Accepted => Err("the dry run was neither accepted nor rejected".to_owned()),
    }
}

/// The pod, if it is the workload's and can be spared.
fn evictable<'a>(seen: &'a Seen, named: Named<'_>, name: &str) -> Result<&'a Pod, String> {
    let pod = seen.pods.iter().find(|pod| pod.metadata.name == name);
    let pod = pod.ok_or_else(|| format!("{} owns no pod {name}", named.words()))?;
    if pod.is_ending() {
        return Err(format!("pod {name} is ending already"));
    }
    if pod.is_ready() && others_ready(seen, pod) == 0 {
        return Err(format!("pod {name} is the only one that is ready"));
    }
    Ok(pod)
}

fn others_ready(seen: &Seen, pod: &Pod) -> u32 {
    let others = seen.pods.iter().filter(|other| other.metadata.uid != pod.metadata.uid && other.is_ready());
    u32::try_from(others.count()).unwrap_or(u32::MAX)
}

fn difference_since(seen: &Seen, proposal: &Proposal, named: Named<'_>, chosen: &Chosen) -> Option<String> {
    if seen.facts.uid != proposal.uid {
        return Some("it was deleted and made anew".to_owned());
    }
    match evictable(seen, named, &chosen.pod) {
        Err(why) => Some(why),
        Ok(pod) if pod.metadata.uid != chosen.uid => Some(format!("pod {} was made anew", chosen.pod)),
        Ok(_) => None,
    }
}

fn propose(seen: &Seen, pod: &Pod) -> Proposed {
    let chosen = Chosen { pod: pod.metadata.name.clone(), uid: pod.metadata.uid.clone(), gone: false };
    let ready = if pod.is_ready() { "ready" } else { "not ready" };
    Proposed::Made(Box::new(Proposal {
        uid: seen.facts.uid.clone(),
        generation: seen.workload.metadata.generation,
        summary: format!("eviction of pod {} ({ready})", chosen.pod),
        to: json!(Chosen { gone: true, ..chosen.clone() }),
        undo: Value::Null,
        precondition: json!(chosen),
        effect: Effect {
            replicas: None,
            min_ready_after: Some(others_ready(seen, pod)),
            touches: vec![format!("pod/{}", chosen.pod)],
            destroys: true,
            runs: None,
        },
        from: json!(chosen),
        undo_summary: None,
    }))
}

impl Action for DeletePod {
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

    fn chooses_by(&self) -> Option<&'static str> {
        Some(LABEL)
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
            let named = Named::of(&plan.target.object)?.by_name();
            let workload = Workload::read(&self.cluster, named, deadline(within)).await?;
            let why = "a pod that is gone can't be put back".to_owned();
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
            let named = Named::of(target)?;
            dry_run(self.evict(named, &read(&proposal.from)?, true, deadline(within)).await)
        })
    }

    fn apply<'a>(&'a self, plan: &'a Plan, within: Duration) -> Boxed<'a, Outcome> {
        Box::pin(async move {
            let written = self.write(plan, within).await;
            // It could not be looked at once more, or the plan could not be read: nothing was sent.
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
