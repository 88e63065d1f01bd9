//! `kubernetes/scale`: another number of replicas, through the scale subresource, or through the floor of the
//! autoscaler that owns them.
//!
//! `with: {replicas: AMOUNT, lease: 2h, down: true}`; AMOUNT is read by [`super::amount`]. A plan's `from`, `to` and
//! `undo` are a [`Setting`]. The write is a JSON Patch whose `test`s name the object's uid and the value that was seen,
//! so a third writer's change in between makes it fail instead of being overwritten.

use super::{
    NotSent,
    amount::{self, Amount, Resolved},
    autoscaler::{self, Autoscaler, Owned},
    deadline, dry_run, own, ownership,
    rollout::{self, Rollout},
    setting::{Precondition, Setting, patch, precondition},
    unknown_keys,
    versioned::{self, Look},
    workload::{Itself, Named, Workload},
};
use crate::{
    action::{Action, Boxed, Observed},
    model::{
        observation::{DryRun, Facts, Holds, Outcome, Proposed, TargetReading},
        plan::{Effect, Plan, Proposal, Replicas},
        rung::{Bounds, Rung},
        target::{Kind, Object},
        time::{Micros, Span},
    },
    peer::kubernetes::{Cluster, Place, Problem, Resource},
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

const NAME: &str = "kubernetes/scale";
const LEFT: &str = "nightshift left";

/// What is read for every question but the read-back.
struct Seen {
    workload: Workload,
    owned: Owned,
    facts: Facts,
}

pub struct Scale {
    cluster: Cluster,
    itself: Option<Itself>,
}

impl Scale {
    #[must_use]
    pub fn new(cluster: Cluster, itself: Option<Itself>) -> Scale {
        Scale { cluster, itself }
    }

    async fn see(&self, named: Named<'_>, now: Micros, within: Duration) -> Result<Seen, String> {
        let until = deadline(within);
        let (workload, owned) =
            tokio::join!(Workload::read(&self.cluster, named, until), autoscaler::owned(&self.cluster, named, until));
        let workload = workload?;
        let facts = workload.facts(named, self.itself.as_ref(), now);
        Ok(Seen { workload, owned: owned?, facts })
    }

    async fn propose(&self, rung: &Rung, now: Micros, within: Duration) -> Result<Observed, String> {
        let amount = amount::of_with(&rung.with)?;
        let named = Named::of(&rung.target.object)?;
        let (seen, members) =
            tokio::join!(self.see(named, now, within), Workload::members(&self.cluster, named, deadline(within)));
        let mut seen = seen?;
        seen.facts.members = members;
        let proposal = propose(&mut seen, named, amount, rung.bounds);
        Ok(Observed { facts: seen.facts, proposal })
    }

    async fn propose_undo(
        &self,
        plan: &Plan,
        baseline: Option<&Value>,
        now: Micros,
        within: Duration,
    ) -> Result<Observed, String> {
        let left = Setting::read(&plan.proposal.to)?;
        let back = Setting::read(baseline.unwrap_or(&plan.proposal.from))?;
        if !left.is_same_field(&back) {
            return Err(format!("{} was set, and {} is to be put back", left.words(), back.words()));
        }
        let named = Named::of(&plan.target.object)?.by_name();
        let mut seen = self.see(named, now, within).await?;
        let proposal = match difference_since(&seen, &plan.proposal, &left, LEFT) {
            Some(why) => Proposed::Refused { why },
            None if left == back => Proposed::Refused { why: format!("{} is {} already", left.words(), back.value()) },
            None => {
                let uid = written_uid(&seen, &left);
                made(&mut seen, left, back, uid, String::new(), true)
            }
        };
        if matches!(proposal, Proposed::Refused { .. }) {
            seen.facts.owner = not_ours(&seen.owned, &Setting::read(&plan.proposal.to)?);
        }
        Ok(Observed { facts: seen.facts, proposal })
    }

    async fn still_holds(&self, plan: &Plan, now: Micros, within: Duration) -> Result<(Facts, Holds), String> {
        let from = Setting::read(&plan.proposal.from)?;
        let named = Named::of(&plan.target.object)?;
        let is_undo = plan.proposal.undo.is_null();
        let mut seen = self.see(if is_undo { named.by_name() } else { named }, now, within).await?;
        seen.facts.owner = not_ours(&seen.owned, &from);
        let proposal = &plan.proposal;
        let generation = seen.workload.metadata.generation;
        let difference = difference_since(&seen, proposal, &from, "the plan found").or_else(|| {
            (generation != proposal.generation)
                .then(|| format!("its spec was edited (generation {} → {generation})", proposal.generation))
        });
        Ok((seen.facts, difference.map_or(Holds::Yes, |difference| Holds::Changed { difference })))
    }

    /// `Err`: the plan could not be made into a request, and nothing was sent.
    async fn write(&self, plan: &Plan, within: Duration) -> Result<Outcome, String> {
        let named = Named::of(&plan.target.object)?.by_name();
        let (place, ops) = patch(named, &plan.proposal)?;
        let (from, to) = (Setting::read(&plan.proposal.from)?, Setting::read(&plan.proposal.to)?);
        let uid = precondition(&plan.proposal)?.uid;
        let until = deadline(within);
        let look = async |until| {
            let now = self.value_of(named, &to, until).await?;
            if now.uid != uid {
                return Err(NotSent {
                    why: format!("{} was deleted and made anew", named.words()),
                    changed_since: true,
                });
            }
            let why = format!("{} changed since: {}, not {}", from.words(), now.value, from.value());
            match now.value {
                value if value == from.value() => Ok(Look::AsPlanned { version: now.version }),
                value if value == to.value() => Ok(Look::AsWanted { why }),
                _ => Err(NotSent { why, changed_since: true }),
            }
        };
        let send = |ops| self.cluster.patch(place.at(named), ops, false, until);
        Ok(versioned::write(&ops, within, look, send).await)
    }

    /// What is written, as it is now.
    async fn value_of(&self, named: Named<'_>, setting: &Setting, until: Instant) -> Result<Now, Problem> {
        let (meta, value) = match setting {
            Setting::Replicas { .. } => {
                let workload: Workload = self.cluster.get(named.place(), until).await?;
                let value = workload.replicas(named.kind).unwrap_or_default();
                (workload.metadata, value)
            }
            Setting::Floor { hpa, .. } => {
                let place = Place::one(Resource::HorizontalPodAutoscaler, named.namespace, hpa);
                let hpa: Autoscaler = self.cluster.get(place, until).await?;
                let value = hpa.min();
                (hpa.metadata, value)
            }
        };
        Ok(Now { uid: meta.uid, version: meta.resource_version, value })
    }

    async fn was_applied(&self, plan: &Plan, within: Duration) -> Result<Outcome, String> {
        let proposal = &plan.proposal;
        let (from, to) = (Setting::read(&proposal.from)?, Setting::read(&proposal.to)?);
        let precondition = precondition(proposal)?;
        let named = Named::of(&plan.target.object)?.by_name();
        let until = deadline(within);
        let workload = Workload::read(&self.cluster, named, until).await?;
        let (uid, value) = match &to {
            Setting::Replicas { .. } => (workload.metadata.uid.clone(), workload.replicas(named.kind)),
            Setting::Floor { hpa, .. } => {
                let hpa = autoscaler::named(&self.cluster, named, hpa, until).await?;
                (hpa.metadata.uid.clone(), Some(hpa.min()))
            }
        };
        let unchanged = workload.metadata.generation == proposal.generation;
        Ok(match value {
            _ if uid != precondition.uid => unknown(format!("{} was made anew since", named.words())),
            Some(value) if value == to.value() => Outcome::Applied,
            Some(value) if value == from.value() && unchanged => {
                Outcome::NotApplied { why: format!("{} is still {value}", from.words()), changed_since: false }
            }
            Some(value) => unknown(format!(
                "{} is {value}, neither clearly before ({}) nor after ({})",
                to.words(),
                from.value(),
                to.value()
            )),
            None => unknown(format!("{} has no replicas", named.words())),
        })
    }

    async fn read_target(&self, plan: &Plan, before: &Facts, within: Duration) -> Result<TargetReading, String> {
        let proposal = &plan.proposal;
        let (from, to) = (Setting::read(&proposal.from)?, Setting::read(&proposal.to)?);
        let named = Named::of(&plan.target.object)?.by_name();
        let seen = self.see(named, Micros::default(), within).await?;
        if let Some(says) = difference_since(&seen, proposal, &to, LEFT) {
            return Ok(TargetReading::NotYet { says });
        }
        let ready = seen.facts.ready;
        // Fewer were asked for: as many as there were, up to that.
        let wanted = if to.value() >= from.value() { to.value() } else { to.value().min(before.ready) };
        Ok(match rollout::status(named.kind, &seen.workload) {
            Rollout::Unfinished(says) | Rollout::Failed(says) => TargetReading::NotYet { says },
            Rollout::Complete | Rollout::NotRolling(_) if ready < wanted => {
                TargetReading::NotYet { says: format!("{ready} of {wanted} pods are ready") }
            }
            Rollout::Complete | Rollout::NotRolling(_) => {
                TargetReading::Well { says: format!("{ready} pods are ready, {wanted} wanted") }
            }
        })
    }
}

/// The field that is written, and whose it is.
struct Now {
    uid: String,
    version: String,
    value: u32,
}

fn unknown(why: String) -> Outcome {
    Outcome::Unknown { why }
}

/// The proposal, or why not. Pure; sets `facts.owner` where somebody owns the field alone.
fn propose(seen: &mut Seen, named: Named<'_>, amount: Amount, bounds: Option<Bounds>) -> Proposed {
    let Some(replicas) = seen.workload.replicas(named.kind) else {
        return Proposed::Refused { why: format!("a {} has no replicas to set", named.kind.word()) };
    };
    let refused = |why: String| Proposed::Refused { why };
    if let Owned::NotShared(owner) = &seen.owned {
        seen.facts.owner = Some(owner.clone());
        return refused(format!("its replicas belong to {owner}"));
    }
    let gitops = match &seen.owned {
        Owned::By(hpa) => ownership::gitops(&hpa.metadata, ownership::MIN_REPLICAS),
        Owned::ByNobody | Owned::NotShared(_) => ownership::gitops(&seen.workload.metadata, ownership::REPLICAS),
    };
    if let Some(owner) = gitops {
        let why = format!("{owner} has its replicas in its manifests and would put them back");
        seen.facts.owner = Some(owner);
        return refused(why);
    }
    let (wanted, clamped) = match amount.resolve(replicas, bounds) {
        Resolved::Refused { why } => return refused(why),
        Resolved::To { replicas, clamped } => (replicas, clamped),
    };
    let note = clamped.map(|all| format!(" ({all} were wanted, the bounds allow {wanted})")).unwrap_or_default();
    let owned = match &seen.owned {
        Owned::By(autoscaler) => Some(autoscaler.clone()),
        Owned::ByNobody | Owned::NotShared(_) => None,
    };
    let Some(hpa) = owned else {
        let uid = seen.facts.uid.clone();
        return made(seen, Setting::Replicas { replicas }, Setting::Replicas { replicas: wanted }, uid, note, false);
    };
    if wanted < replicas {
        seen.facts.owner = Some(hpa.words());
        return refused(format!("{} alone decides to have fewer replicas", hpa.words()));
    }
    if wanted > hpa.spec.max_replicas {
        return refused(format!("{} allows at most {}, {wanted} are wanted", hpa.words(), hpa.spec.max_replicas));
    }
    if wanted <= hpa.min() {
        return refused(format!("minReplicas of {} is {} already", hpa.words(), hpa.min()));
    }
    let floor = |min_replicas| Setting::Floor { hpa: hpa.metadata.name.clone(), min_replicas };
    let (from, to) = (floor(hpa.min()), floor(wanted));
    let note = format!("{note}, there are {replicas} replicas");
    made(seen, from, to, hpa.metadata.uid.clone(), note, false)
}

fn made(seen: &mut Seen, from: Setting, to: Setting, uid: String, note: String, is_undo: bool) -> Proposed {
    let facts = &seen.facts;
    let fewer = from.value().saturating_sub(to.value());
    let replicas = match (&from, &to) {
        (Setting::Replicas { replicas: from }, Setting::Replicas { replicas: to }) => {
            Some(Replicas { from: *from, to: *to })
        }
        // A raised floor makes at least as many; a lowered one leaves the number to the autoscaler.
        (Setting::Floor { .. }, Setting::Floor { min_replicas, .. }) if !is_undo => {
            facts.replicas.map(|from| Replicas { from, to: *min_replicas })
        }
        _ => None,
    };
    let ends_pods = replicas.is_some_and(|replicas| replicas.to < replicas.from);
    let effect = Effect {
        replicas,
        // Which pods go is the cluster's choice: in the worst case the ready ones.
        min_ready_after: Some(if ends_pods { facts.ready.saturating_sub(fewer) } else { facts.ready }),
        touches: vec![to.field()],
        destroys: ends_pods,
        runs: None,
    };
    Proposed::Made(Box::new(Proposal {
        uid: facts.uid.clone(),
        generation: facts.generation,
        from: json!(from),
        to: json!(to),
        // What an undo did is not undone.
        undo: if is_undo { Value::Null } else { json!(from) },
        precondition: json!(Precondition { uid }),
        effect,
        summary: format!("{} {} → {}{note}", to.words(), from.value(), to.value()),
        undo_summary: (!is_undo).then(|| format!("{} back to {}", from.words(), from.value())),
    }))
}

fn written_uid(seen: &Seen, setting: &Setting) -> String {
    match (&seen.owned, setting) {
        (Owned::By(hpa), Setting::Floor { .. }) => hpa.metadata.uid.clone(),
        _ => seen.facts.uid.clone(),
    }
}

/// What differs from `expected` since the proposal was made, in words.
fn difference_since(seen: &Seen, proposal: &Proposal, expected: &Setting, whose: &str) -> Option<String> {
    if seen.facts.uid != proposal.uid {
        return Some("it was deleted and made anew".to_owned());
    }
    let value = match (expected, &seen.owned) {
        (Setting::Replicas { .. }, Owned::ByNobody) => seen.facts.replicas?,
        (Setting::Floor { hpa, .. }, Owned::By(owner)) if owner.metadata.name == *hpa => {
            if precondition(proposal).is_ok_and(|precondition| precondition.uid != owner.metadata.uid) {
                return Some(format!("{} was deleted and made anew", owner.words()));
            }
            owner.min()
        }
        (Setting::Replicas { .. }, Owned::By(owner)) => return Some(format!("{} scales it now", owner.words())),
        (_, Owned::NotShared(owner)) => return Some(format!("its replicas belong to {owner} now")),
        (Setting::Floor { hpa, .. }, _) => return Some(format!("HorizontalPodAutoscaler {hpa} scales it no more")),
    };
    let (verb, writer) = match (expected, &seen.owned) {
        (Setting::Floor { .. }, Owned::By(hpa)) => {
            ("is", ownership::last_other(&hpa.metadata, ownership::MIN_REPLICAS))
        }
        _ => ("are", ownership::last_other(&seen.workload.metadata, ownership::REPLICAS)),
    };
    let writer = writer.map(|writer| format!(" (set by {writer})")).unwrap_or_default();
    (value != expected.value())
        .then(|| format!("{} {verb} {value}{writer}, {whose} {}", expected.words(), expected.value()))
}

/// The owner that keeps us from a field, if any.
fn not_ours(owned: &Owned, setting: &Setting) -> Option<String> {
    match (owned, setting) {
        (Owned::NotShared(owner), _) => Some(owner.clone()),
        (Owned::By(hpa), Setting::Replicas { .. }) => Some(Autoscaler::words(hpa)),
        _ => None,
    }
}

impl Action for Scale {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, with: &Value, target: &Object, bounds: Option<Bounds>) -> Vec<String> {
        let mut problems = unknown_keys(NAME, with, &["replicas", "lease", "down"]);
        match target {
            Object::Workload { kind: Kind::Deployment | Kind::StatefulSet, .. } => {}
            Object::Workload { kind: Kind::DaemonSet, .. } => {
                problems.push(format!("{NAME} can't scale a DaemonSet: it has one pod a node"));
            }
            Object::BlueGreen { .. } => {
                problems.push(format!("{NAME} needs a target that is a workload, not a Service"))
            }
            Object::Database { .. } | Object::Nothing => {
                problems.push(format!("{NAME} needs a target with `kubernetes`"))
            }
        }
        if bounds.is_none() {
            problems.push(format!("{NAME} needs bounds on its target: `replicas: {{min: 2, max: 20}}`"));
        }
        match amount::of_with(with) {
            Err(problem) => problems.push(problem),
            Ok(Amount::Exactly { replicas, .. }) => {
                let down = with.get("down") == Some(&Value::Bool(true));
                match bounds {
                    Some(Bounds { may_scale_to_zero: true, .. }) if replicas == 0 && down => {}
                    Some(Bounds { may_scale_to_zero: true, .. }) if replicas == 0 => {
                        problems.push("`replicas: 0` ends every pod: write `down: true` beside it".to_owned());
                    }
                    Some(Bounds { min, max, .. }) if !(min..=max).contains(&replicas) => {
                        problems.push(format!("`replicas: {replicas}` is outside the target's bounds {min} to {max}"));
                    }
                    Some(_) | None => {}
                }
            }
            Ok(_) if with.get("down").is_some() => {
                problems.push("`down` belongs to an exact number: a step or percentage has its sign".to_owned());
            }
            Ok(_) => {}
        }
        if with.get("down").is_some_and(|down| !down.is_boolean()) {
            problems.push("`down` is true or false".to_owned());
        }
        problems.extend(amount::lease_of_with(with).err());
        problems.extend(own(NAME, target, self.itself.as_ref()));
        problems
    }

    fn lease(&self, with: &Value) -> Option<Span> {
        amount::lease_of_with(with).ok().flatten()
    }

    fn may_destroy(&self, with: &Value) -> bool {
        match amount::of_with(with) {
            Ok(Amount::More(_) | Amount::MorePercent(_)) => false,
            Ok(Amount::Exactly { down, .. }) => down,
            Ok(Amount::Fewer(_) | Amount::FewerPercent(_)) | Err(_) => true,
        }
    }

    fn has_undo(&self) -> bool {
        true
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
        baseline: Option<&'a Value>,
        now: Micros,
        within: Duration,
    ) -> Boxed<'a, Result<Observed, String>> {
        Box::pin(self.propose_undo(plan, baseline, now, within))
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
            let (place, ops) = patch(named, proposal)?;
            dry_run(self.cluster.patch(place.at(named), ops, true, deadline(within)).await)
        })
    }

    fn apply<'a>(&'a self, plan: &'a Plan, within: Duration) -> Boxed<'a, Outcome> {
        Box::pin(async move {
            let written = self.write(plan, within).await;
            written.unwrap_or_else(|why| Outcome::NotApplied { why, changed_since: false })
        })
    }

    fn read_back<'a>(&'a self, plan: &'a Plan, within: Duration) -> Boxed<'a, Outcome> {
        Box::pin(async move { self.was_applied(plan, within).await.unwrap_or_else(unknown) })
    }

    fn measure<'a>(&'a self, plan: &'a Plan, before: &'a Facts, within: Duration) -> Boxed<'a, TargetReading> {
        Box::pin(async move {
            let reading = self.read_target(plan, before, within).await;
            reading.unwrap_or_else(|problem| TargetReading::Unread { problem })
        })
    }
}
