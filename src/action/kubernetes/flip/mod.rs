//! `kubernetes/flip`: a Service's traffic goes from the live colour to the other one, by one write of its selector.
//!
//! [`colours`] says which colour is live, [`side`] whether the other one is there in full, [`smoke`] whether it answers,
//! [`pinned`] what a plan holds and writes, [`service`] where the traffic really goes, [`watch`] how it fares after. Both
//! colours stay up: nothing here scales anything. With `with: {min_ready, smoke, watch, deployed_within}`.

mod colours;
mod parameters;
mod pinned;
mod service;
mod side;
pub mod smoke;
#[cfg(test)]
mod stubbed;
#[cfg(test)]
mod stubbed_later;
mod watch;

pub use self::colours::COLOR;
use self::{
    colours::Colours,
    pinned::{Pinned, made, patch, precondition, still},
    service::{Endpoints, Service},
    side::{No, Side, chosen_pods},
    smoke::{Smoke, Smoked, Smoker},
};
use super::{
    NotSent, deadline, dry_run, ownership,
    revision_choice::STOOD_FOR,
    rollout,
    versioned::{self, Look},
    workload::Itself,
};
use crate::{
    action::{Action, Boxed, Observed},
    model::{
        observation::{DryRun, Edited, Facts, Holds, Outcome, Proposed, TargetReading},
        plan::{Plan, Proposal},
        rung::{Bounds, Rung},
        target::{Kind, Object},
        time::{Micros, Span},
    },
    peer::kubernetes::{Cluster, Place, Resource},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::Instant;

const NAME: &str = "kubernetes/flip";

pub struct Flip {
    cluster: Cluster,
    itself: Option<Itself>,
    smoker: Smoker,
}

/// The Service, and both colours as its selector would choose them.
struct Seen {
    service: Service,
    live: Result<Side, No>,
    other: Result<Side, No>,
    from: BTreeMap<String, String>,
    to: BTreeMap<String, String>,
    facts: Facts,
}

impl Flip {
    #[must_use]
    pub fn new(cluster: Cluster, itself: Option<Itself>, smoker: Smoker) -> Flip {
        Flip { cluster, itself, smoker }
    }

    async fn see(&self, service: Service, colours: Colours<'_>, now: Micros, until: Instant) -> Result<Seen, String> {
        let from = service.spec.selector.clone();
        let (live, other) = colours.live(&from)?;
        let to = colours.turned(&from, other);
        let (live, other) = tokio::join!(
            Side::read(&self.cluster, colours, live, &from, until),
            Side::read(&self.cluster, colours, other, &to, until)
        );
        let mut facts = self.facts(&service, colours, now);
        let sides = [&live, &other].into_iter().filter_map(|side| side.as_ref().ok());
        let edits = sides.filter_map(|side| ownership::edited(&side.workload.metadata));
        facts.edited = edits.chain(facts.edited.take()).max_by_key(|edited: &Edited| edited.at);
        if let Ok(live) = &live {
            facts.replicas = live.workload.replicas(Kind::Deployment);
            facts.ready = live.ready;
            facts.rollout = rollout::running(Kind::Deployment, &live.workload);
        }
        Ok(Seen { service, live, other, from, to, facts })
    }

    fn facts(&self, service: &Service, colours: Colours<'_>, now: Micros) -> Facts {
        let mut facts = Facts::of_nothing(now);
        facts.uid = service.metadata.uid.clone();
        facts.generation = service.metadata.generation;
        facts.owner = service.owner();
        facts.edited = ownership::edited(&service.metadata);
        facts.is_itself = self.itself.as_ref().is_some_and(|itself| colours.is(itself));
        facts
    }

    /// Whether traffic may go to a colour now: there in full, and its smoke test green. Whoever hears nothing from it does
    /// not know: that may be the way there.
    async fn ready(&self, side: &Side, wanted: u32, smoke: Option<&Smoke>, until: Instant) -> Result<(), No> {
        if let Some(why) = side.refuses(wanted) {
            return Err(No::Answered(why));
        }
        let Some(smoke) = smoke else { return Ok(()) };
        match self.smoker.test(smoke, &side.color, until).await {
            Smoked::Green => Ok(()),
            Smoked::Red(why) | Smoked::NotAllowed(why) => Err(No::Answered(why)),
            Smoked::Silent(why) | Smoked::NotRun(why) => Err(No::Unread(why)),
        }
    }

    async fn propose(&self, rung: &Rung, now: Micros, within: Duration) -> Result<Observed, String> {
        let until = deadline(within);
        let colours = Colours::of(&rung.target.object)?;
        let with = parameters::of_with(&rung.with)?;
        let service = Service::read(&self.cluster, colours, until).await?;
        if let Err(why) = colours.live(&service.spec.selector) {
            let facts = self.facts(&service, colours, now);
            return Ok(Observed { facts, proposal: Proposed::Refused { why } });
        }
        let mut seen = self.see(service, colours, now, until).await?;
        // Whoever may be leaving a bad version must know since when it runs.
        let live = seen.live.clone().map_err(No::says)?;
        let (rolls_back, anyway) = tokio::join!(
            live.rolls_back(&self.cluster, colours, seen.other.as_ref().ok(), now - with.recent, until),
            self.anyway(colours, &seen.from, until)
        );
        seen.facts.rolls_back = Some(rolls_back?);
        let anyway = anyway?;
        let wanted = with.min_ready.unwrap_or(live.ready).max(1);
        let proposal = match self.to_other(&seen, wanted, with.smoke.as_ref(), until).await {
            Err(No::Unread(problem)) => return Err(problem),
            Err(No::Answered(why)) => Proposed::Refused { why },
            Ok(other) => {
                let pinned = |color: &str, selector: &BTreeMap<String, String>| Pinned {
                    color: color.to_owned(),
                    selector: selector.clone(),
                    wanted,
                    min_ready: with.min_ready,
                    smoke: with.smoke.clone(),
                    anyway: anyway.clone(),
                };
                let (from, to) = (pinned(&live.color, &seen.from), pinned(&other.color, &seen.to));
                made(&seen.service, colours, &from, &to, other.ready, false)
            }
        };
        Ok(Observed { facts: seen.facts, proposal })
    }

    /// Endpoints of the Service that are no pods of the live colour.
    async fn anyway(
        &self,
        colours: Colours<'_>,
        from: &BTreeMap<String, String>,
        until: Instant,
    ) -> Result<BTreeSet<String>, String> {
        let (endpoints, pods) = tokio::join!(
            Endpoints::read(&self.cluster, colours, until),
            chosen_pods(&self.cluster, colours, from, until)
        );
        Ok(endpoints?.beside(&pods?))
    }

    async fn to_other<'s>(
        &self,
        seen: &'s Seen,
        wanted: u32,
        smoke: Option<&Smoke>,
        until: Instant,
    ) -> Result<&'s Side, No> {
        let other = seen.other.as_ref().map_err(Clone::clone)?;
        self.ready(other, wanted, smoke, until).await?;
        Ok(other)
    }

    async fn propose_undo(&self, plan: &Plan, now: Micros, within: Duration) -> Result<Observed, String> {
        let until = deadline(within);
        let colours = Colours::of(&plan.target.object)?;
        let (left, mut back) = (Pinned::read(&plan.proposal.to)?, Pinned::read(&plan.proposal.undo)?);
        let service = Service::read(&self.cluster, colours, until).await?;
        let refused = if service.metadata.uid == plan.proposal.uid {
            service.difference(&left.selector)
        } else {
            Some("it was deleted and made anew".to_owned())
        };
        if let Some(why) = refused {
            let facts = self.facts(&service, colours, now);
            return Ok(Observed { facts, proposal: Proposed::Refused { why } });
        }
        let seen = self.see(service, colours, now, until).await?;
        // As many as get the traffic now: less would make it worse. The live colour may be gone altogether.
        let live_ready = match &seen.live {
            Ok(live) => live.ready,
            Err(No::Answered(_)) => 0,
            Err(No::Unread(problem)) => return Err(problem.clone()),
        };
        back.wanted = back.min_ready.unwrap_or(live_ready).max(1);
        let proposal = match self.to_other(&seen, back.wanted, back.smoke.as_ref(), until).await {
            Err(No::Unread(problem)) => return Err(problem),
            Err(No::Answered(why)) => Proposed::Refused { why },
            Ok(other) => made(&seen.service, colours, &left, &back, other.ready, true),
        };
        Ok(Observed { facts: seen.facts, proposal })
    }

    async fn still_holds(&self, plan: &Plan, now: Micros, within: Duration) -> Result<(Facts, Holds), String> {
        let until = deadline(within);
        let colours = Colours::of(&plan.target.object)?;
        let (from, to) = (Pinned::read(&plan.proposal.from)?, Pinned::read(&plan.proposal.to)?);
        let service = Service::read(&self.cluster, colours, until).await?;
        let changed = if service.metadata.uid == plan.proposal.uid {
            service.difference(&from.selector)
        } else {
            Some("it was deleted and made anew".to_owned())
        };
        if let Some(difference) = changed {
            return Ok((self.facts(&service, colours, now), Holds::Changed { difference }));
        }
        let mut seen = self.see(service, colours, now, until).await?;
        if !plan.proposal.undo.is_null() {
            let (live, other) = (seen.live.clone().map_err(No::says)?, seen.other.as_ref().ok());
            // No more than was looked at when it was planned.
            let recent = now - STOOD_FOR;
            seen.facts.rolls_back = Some(live.rolls_back(&self.cluster, colours, other, recent, until).await?);
        }
        let holds = match self.to_other(&seen, to.wanted, to.smoke.as_ref(), until).await {
            Ok(_) => Holds::Yes,
            Err(No::Answered(difference)) => Holds::Changed { difference },
            Err(No::Unread(problem)) => return Err(problem),
        };
        Ok((seen.facts, holds))
    }

    /// Tests the colour once more, then writes. `Err`: nothing was sent.
    async fn write(&self, plan: &Plan, within: Duration) -> Result<Outcome, String> {
        let until = deadline(within);
        let colours = Colours::of(&plan.target.object)?;
        let to = Pinned::read(&plan.proposal.to)?;
        let ops = patch(&plan.proposal)?;
        let side = Side::read(&self.cluster, colours, &to.color, &to.selector, until).await.map_err(No::says)?;
        self.ready(&side, to.wanted, to.smoke.as_ref(), until).await.map_err(No::says)?;
        let place = Place::one(Resource::Service, colours.namespace, colours.service);
        let send = |ops| self.cluster.patch(place, ops, false, until);
        Ok(versioned::write(&ops, within, |until| self.as_planned(plan, place, until), send).await)
    }

    /// What the write rests on, once more.
    async fn as_planned(&self, plan: &Plan, place: Place<'_>, until: Instant) -> Result<Look, NotSent> {
        let service: Service = self.cluster.get(place, until).await?;
        let pinned = |value| Pinned::read(value).map_err(|why| NotSent { why, changed_since: false });
        let (from, to) = (pinned(&plan.proposal.from)?, pinned(&plan.proposal.to)?);
        if service.metadata.uid != plan.proposal.uid {
            return Err(NotSent { why: "it was deleted and made anew".to_owned(), changed_since: true });
        }
        match service.difference(&from.selector) {
            None => Ok(Look::AsPlanned { version: service.metadata.resource_version }),
            Some(why) if service.spec.selector == to.selector => Ok(Look::AsWanted { why }),
            Some(why) => Err(NotSent { why, changed_since: true }),
        }
    }

    async fn was_applied(&self, plan: &Plan, within: Duration) -> Result<Outcome, String> {
        let colours = Colours::of(&plan.target.object)?;
        let (from, to) = (Pinned::read(&plan.proposal.from)?, Pinned::read(&plan.proposal.to)?);
        let precondition = precondition(&plan.proposal)?;
        let service = Service::read(&self.cluster, colours, deadline(within)).await?;
        let unwritten = service.metadata.resource_version == precondition.resource_version;
        Ok(if service.metadata.uid != plan.proposal.uid {
            Outcome::Unknown { why: format!("{} was made anew since", colours.words()) }
        } else if service.spec.selector == to.selector {
            Outcome::Applied
        } else if service.spec.selector == from.selector && unwritten {
            Outcome::NotApplied { why: still(&from), changed_since: false }
        } else {
            Outcome::Unknown { why: "its selector is neither clearly the one before nor the one after".to_owned() }
        })
    }
}

impl Action for Flip {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, with: &Value, target: &Object, _: Option<Bounds>) -> Vec<String> {
        let Object::BlueGreen { colors, .. } = target else {
            return vec![format!("{NAME} needs a target with `blue_green`")];
        };
        let mut problems = parameters::problems(NAME, with, colors, &self.smoker);
        let own = |colours: Colours<'_>| self.itself.as_ref().is_some_and(|itself| colours.is(itself));
        if Colours::of(target).is_ok_and(own) {
            problems.push(format!("{NAME} may not act on its target: it is nightshift itself"));
        }
        problems
    }

    fn warns(&self, with: &Value) -> Vec<String> {
        parameters::warnings(with)
    }

    fn watches(&self, with: &Value) -> Option<Span> {
        parameters::watch_of(with).ok()
    }

    fn may_destroy(&self, _: &Value) -> bool {
        false
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
            let colours = Colours::of(target)?;
            let place = Place::one(Resource::Service, colours.namespace, colours.service);
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

    fn measure<'a>(&'a self, plan: &'a Plan, _: &'a Facts, within: Duration) -> Boxed<'a, TargetReading> {
        Box::pin(async move {
            let reading = self.watch(plan, within).await;
            reading.unwrap_or_else(|problem| TargetReading::Unread { problem })
        })
    }
}
