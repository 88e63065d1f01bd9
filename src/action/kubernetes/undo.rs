//! `kubernetes/undo`: a rollback to an earlier revision, as `kubectl rollout undo` does it, but idempotent.
//!
//! `with: {to: previous | last_verified | N, deployed_within: 1h}`, read by [`super::revision_choice`]; whether what is
//! there now was deployed lately enough is a guard's affair, which gets its facts here. A plan pins the revision with the
//! hash of its template, so that doing it twice does not flip back. A later rollout, a paused one and an owner that would
//! put its own template back keep it away.

use super::{
    NotSent, deadline, dry_run, last_look, no_workload, outcome, own, ownership,
    revision_choice::{choose, deployed_within_of, wanted_of},
    revisions::{Revision, Revisions},
    rollout::{self, Rollout},
    template::Template,
    undo_plan::{Version, made, patch},
    unknown_keys, unless_done,
    workload::{Itself, Named, Workload},
};
use crate::{
    action::{Action, Boxed, Observed},
    model::{
        observation::{DryRun, Facts, Forbidden, Holds, Outcome, Proposed, RollsBack, TargetReading},
        plan::{Plan, Proposal},
        rung::{Bounds, Rung},
        target::{Kind, Object},
        time::Micros,
    },
    peer::kubernetes::Cluster,
};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

const NAME: &str = "kubernetes/undo";

/// What is read for every question but the read-back and the measurement.
struct Seen {
    workload: Workload,
    revisions: Revisions,
    facts: Facts,
}

impl Seen {
    /// The revision of the template that the workload has now.
    fn current(&self) -> Result<&Revision, String> {
        let template = Template::of(&self.workload.spec.template).ok_or("it has no pod template")?;
        let found = self.revisions.of_template(&template);
        found.ok_or_else(|| "its controller has made no revision of its template yet".to_owned())
    }

    /// What guards need to know of a rollback to `wanted`.
    fn tell_rollback(&mut self, wanted: Option<i64>) {
        let Ok(current) = self.current() else { return };
        // All that is left behind, not only the newest: a migration went with any of them.
        let wanted = wanted.unwrap_or(current.number - 1);
        let forbidden = self.revisions.left_behind(current, wanted).find_map(|one| {
            let why = one.template.no_rollback()?.to_owned();
            Some(Forbidden { revision: one.number, why })
        });
        let deployed_at = self.revisions.deployed_at(current);
        self.facts.rolls_back = Some(RollsBack { revision: current.number, deployed_at, forbidden });
    }
}

pub struct Undo {
    cluster: Cluster,
    itself: Option<Itself>,
}

impl Undo {
    #[must_use]
    pub fn new(cluster: Cluster, itself: Option<Itself>) -> Undo {
        Undo { cluster, itself }
    }

    async fn see(&self, named: Named<'_>, now: Micros, until: Instant) -> Result<Seen, String> {
        let workload = Workload::read(&self.cluster, named, until).await?;
        let revisions = Revisions::read(&self.cluster, named, &workload, until).await?;
        let mut facts = workload.facts(named, self.itself.as_ref(), now);
        let gitops = ownership::gitops_object(&workload.metadata, ownership::TEMPLATE);
        facts.owner = gitops.or_else(|| ownership::controller(&workload.metadata));
        Ok(Seen { workload, revisions, facts })
    }

    async fn propose(&self, rung: &Rung, good: &[String], now: Micros, within: Duration) -> Result<Observed, String> {
        let wanted = wanted_of(&rung.with)?;
        let named = Named::of(&rung.target.object)?;
        let until = deadline(within);
        let (seen, members) = tokio::join!(self.see(named, now, until), Workload::members(&self.cluster, named, until));
        let mut seen = seen?;
        seen.facts.members = members;
        let chosen = seen.current().and_then(|current| choose(wanted, &seen.revisions, current, good));
        let number = chosen.as_ref().ok().map(|chosen| chosen.number);
        let held_back = chosen.as_ref().ok().and_then(|chosen| held_back(&seen, named, chosen));
        let refused = refusal(&seen, named).or(held_back).or_else(|| chosen.err());
        seen.tell_rollback(number);
        let proposal = match (refused, number) {
            (None, Some(number)) => proposal(&seen, named, number)?,
            (why, _) => Proposed::Refused { why: why.unwrap_or_default() },
        };
        Ok(Observed { facts: seen.facts, proposal })
    }

    async fn propose_undo(&self, plan: &Plan, now: Micros, within: Duration) -> Result<Observed, String> {
        let (left, back) = (Version::read(&plan.proposal.to)?, Version::read(&plan.proposal.from)?);
        let named = Named::of(&plan.target.object)?.by_name();
        let seen = self.see(named, now, deadline(within)).await?;
        let proposal = match self.way_back(&seen, plan, named, &left, &back) {
            Ok(proposal) => proposal,
            Err(why) => Proposed::Refused { why },
        };
        Ok(Observed { facts: seen.facts, proposal })
    }

    fn way_back(
        &self,
        seen: &Seen,
        plan: &Plan,
        named: Named<'_>,
        left: &Version,
        back: &Version,
    ) -> Result<Proposed, String> {
        if seen.facts.uid != plan.proposal.uid {
            return Err("it was deleted and made anew".to_owned());
        }
        let current = seen.current()?;
        if current.template.hash() != left.template {
            let revision = current.number;
            return Err(format!("its template is that of revision {revision}, not the one that nightshift left"));
        }
        if let Some(why) = refusal(seen, named) {
            return Err(why);
        }
        let kept = kept(&seen.revisions, back)?;
        if let Some(why) = held_back(seen, named, kept) {
            return Err(why);
        }
        Ok(made(&seen.workload, &seen.facts, named, current, kept, true))
    }

    async fn still_holds(&self, plan: &Plan, now: Micros, within: Duration) -> Result<(Facts, Holds), String> {
        let (from, to) = (Version::read(&plan.proposal.from)?, Version::read(&plan.proposal.to)?);
        let named = Named::of(&plan.target.object)?;
        let is_undo = plan.proposal.undo.is_null();
        let named = if is_undo { named.by_name() } else { named };
        let mut seen = self.see(named, now, deadline(within)).await?;
        let difference = self.difference_since(&seen, named, &plan.proposal, &from, &to).err();
        if !is_undo {
            let number = kept(&seen.revisions, &to).ok().map(|kept| kept.number);
            seen.tell_rollback(number);
        }
        Ok((seen.facts, difference.map_or(Holds::Yes, |difference| Holds::Changed { difference })))
    }

    fn difference_since(
        &self,
        seen: &Seen,
        named: Named<'_>,
        proposal: &Proposal,
        from: &Version,
        to: &Version,
    ) -> Result<(), String> {
        if seen.facts.uid != proposal.uid {
            return Err("it was deleted and made anew".to_owned());
        }
        let template = Template::of(&seen.workload.spec.template).ok_or("it has no pod template")?;
        if template.hash() != from.template {
            let now = seen.revisions.of_template(&template).map(|one| format!(", but of {}", one.number));
            let now = now.unwrap_or_default();
            return Err(format!("its template is not that of revision {} any more{now}", from.revision));
        }
        held_back(seen, named, kept(&seen.revisions, to)?).map_or(Ok(()), Err)
    }

    /// Reads what is written and what it is written over, once more, and makes the request of it.
    async fn prepare(&self, named: Named<'_>, proposal: &Proposal, until: Instant) -> Result<Value, NotSent> {
        let changed = |why: String| NotSent { why, changed_since: true };
        let failed = |why: String| NotSent { why, changed_since: false };
        let workload: Workload = self.cluster.get(named.place(), until).await?;
        let to = Version::read(&proposal.to).map_err(failed)?;
        let revisions = Revisions::read(&self.cluster, named, &workload, until).await.map_err(failed)?;
        let wanted = kept(&revisions, &to).map_err(changed)?;
        patch(&workload, named, proposal, wanted).map_err(changed)
    }

    async fn was_applied(&self, plan: &Plan, within: Duration) -> Result<Outcome, String> {
        let (from, to) = (Version::read(&plan.proposal.from)?, Version::read(&plan.proposal.to)?);
        let named = Named::of(&plan.target.object)?.by_name();
        let workload = Workload::read(&self.cluster, named, deadline(within)).await?;
        let hash = Template::of(&workload.spec.template).ok_or("it has no pod template")?.hash();
        let unchanged = workload.metadata.generation == plan.proposal.generation;
        Ok(if workload.metadata.uid != plan.proposal.uid {
            Outcome::Unknown { why: format!("{} was made anew since", named.words()) }
        } else if hash == to.template {
            Outcome::Applied
        } else if hash == from.template && unchanged {
            let why = format!("{} still has the template of revision {}", named.words(), from.revision);
            Outcome::NotApplied { why, changed_since: false }
        } else {
            Outcome::Unknown { why: "its template is neither clearly the one before nor the one after".to_owned() }
        })
    }

    async fn read_target(&self, plan: &Plan, before: &Facts, within: Duration) -> Result<TargetReading, String> {
        let to = Version::read(&plan.proposal.to)?;
        let named = Named::of(&plan.target.object)?.by_name();
        let workload = Workload::read(&self.cluster, named, deadline(within)).await?;
        if workload.metadata.uid != plan.proposal.uid {
            return Ok(TargetReading::NotYet { says: "it was deleted and made anew".to_owned() });
        }
        let template = Template::of(&workload.spec.template).ok_or("it has no pod template")?;
        // A restart of it by somebody since is no harm.
        if template.version() != to.version {
            return Ok(TargetReading::NotYet { says: "somebody changed its template since".to_owned() });
        }
        let (ready, wanted) = (workload.ready(named.kind), before.ready);
        let held_back = rollout::held_back(named.kind, &workload);
        Ok(match rollout::status(named.kind, &workload) {
            Rollout::Unfinished(says) if named.kind == Kind::StatefulSet => TargetReading::NotYet {
                says: format!("{says} (a StatefulSet may wait for a broken pod to be deleted)"),
            },
            Rollout::Unfinished(says) | Rollout::Failed(says) | Rollout::NotRolling(says) => {
                TargetReading::NotYet { says }
            }
            Rollout::Complete if ready < wanted => {
                TargetReading::NotYet { says: format!("{ready} pods are ready, {wanted} were before") }
            }
            Rollout::Complete if held_back.is_some() => TargetReading::NotYet { says: held_back.unwrap_or_default() },
            Rollout::Complete => TargetReading::Well { says: format!("rolled back, {ready} pods are ready") },
        })
    }
}

/// The revision that a plan names, if it is still kept and still the same.
fn kept<'a>(revisions: &'a Revisions, version: &Version) -> Result<&'a Revision, String> {
    let found = revisions.by_name(&version.name, &version.uid);
    found
        .filter(|one| one.template.hash() == version.template)
        .ok_or_else(|| format!("revision {} is kept no more", version.revision))
}

/// Why a template is not written here, whatever the revision.
fn refusal(seen: &Seen, named: Named<'_>) -> Option<String> {
    if seen.workload.spec.paused {
        return Some("its rollout is paused: nothing would be rolled out".to_owned());
    }
    if let Rollout::NotRolling(why) = rollout::status(named.kind, &seen.workload) {
        return Some(why);
    }
    let owner = seen.facts.owner.as_ref()?;
    Some(format!("its template belongs to {owner}, which would put its own back: roll back there"))
}

/// Why a StatefulSet would not get `wanted` everywhere: its partition keeps pods that run something else.
fn held_back(seen: &Seen, named: Named<'_>, wanted: &Revision) -> Option<String> {
    let (kept, status) = (rollout::kept_back(named.kind, &seen.workload), &seen.workload.status);
    if kept == 0 || status.current_revision == wanted.name {
        return None;
    }
    let current = &status.current_revision;
    Some(format!(
        "its partition keeps {kept} of {} pods at revision {current}: they would not be rolled back",
        seen.workload.spec.replicas.unwrap_or(1)
    ))
}

fn proposal(seen: &Seen, named: Named<'_>, wanted: i64) -> Result<Proposed, String> {
    let wanted = seen.revisions.by_number(wanted).ok_or("the wanted revision is gone")?;
    Ok(made(&seen.workload, &seen.facts, named, seen.current()?, wanted, false))
}

impl Action for Undo {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, with: &Value, target: &Object, _: Option<Bounds>) -> Vec<String> {
        let mut problems = unknown_keys(NAME, with, &["to", "deployed_within"]);
        problems.extend(no_workload(NAME, target));
        problems.extend(wanted_of(with).err());
        problems.extend(deployed_within_of(with).err());
        problems.extend(own(NAME, target, self.itself.as_ref()));
        problems
    }

    fn may_destroy(&self, _: &Value) -> bool {
        true
    }

    fn has_undo(&self) -> bool {
        true
    }

    fn observe<'a>(
        &'a self,
        rung: &'a Rung,
        good: &'a [String],
        now: Micros,
        within: Duration,
    ) -> Boxed<'a, Result<Observed, String>> {
        Box::pin(self.propose(rung, good, now, within))
    }

    fn observe_undo<'a>(
        &'a self,
        plan: &'a Plan,
        _: Option<&'a Value>,
        now: Micros,
        within: Duration,
    ) -> Boxed<'a, Result<Observed, String>> {
        Box::pin(self.propose_undo(plan, now, within))
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
            let until = deadline(within);
            let named = Named::of(target)?.by_name();
            match self.prepare(named, proposal, until).await {
                Ok(ops) => dry_run(self.cluster.patch(named.place(), ops, true, until).await),
                Err(NotSent { why, changed_since: true }) => Ok(DryRun::Rejected { why }),
                Err(NotSent { why, changed_since: false }) => Err(why),
            }
        })
    }

    fn apply<'a>(&'a self, plan: &'a Plan, within: Duration) -> Boxed<'a, Outcome> {
        Box::pin(async move {
            let until = deadline(within);
            let named = match Named::of(&plan.target.object) {
                Ok(named) => named.by_name(),
                Err(why) => return Outcome::NotApplied { why, changed_since: false },
            };
            match self.prepare(named, &plan.proposal, last_look(within)).await {
                Ok(ops) => {
                    let answer = self.cluster.patch(named.place(), ops, false, until).await;
                    unless_done(outcome(answer), self.was_applied(plan, within)).await
                }
                Err(NotSent { why, changed_since }) => Outcome::NotApplied { why, changed_since },
            }
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
