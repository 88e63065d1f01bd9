//! The world as the driver touches it: one trait, so that the simulator can put a model world in its place.
//!
//! [`RealWorld`] asks the actions and the peers. Nothing here decides, retries or waits for more than its bound.

use crate::{
    action::{Boxed, Observed, Registry},
    decide::work::{AskedAlert, Observe, ObserveWhat},
    evidence, journal,
    model::{
        alert::Source,
        firing::{Firing, FiringAnswer},
        id::Fingerprint,
        input::Gathered,
        observation::{DryRun, Facts, Holds, Outcome, Proposed, QueryReading, RuleReading, TargetReading},
        plan::{Plan, Proposal},
        rung::{Collector, Rung},
        time::{Micros, Span},
    },
    peer::{alertmanager::Alertmanagers, pagerduty::rest::PagerDutyApi, prometheus::Prometheus},
};
use std::{collections::BTreeMap, time::Duration};

/// Evidence is kept in one statement; a journal that takes longer has other worries.
const KEEP_WITHIN: Duration = Duration::from_secs(5);

/// What an observation of the target gave, before the alerts are asked about.
pub struct Sight {
    pub facts: Facts,
    pub proposal: Proposed,
    /// Only for an approved plan.
    pub holds: Option<Holds>,
}

/// Everything that the driver can do outside. Every call is bounded by `within`; only [`World::apply`] writes.
pub trait World: Send + Sync {
    fn observe<'a>(&'a self, work: &'a Observe, now: Micros, within: Duration) -> Boxed<'a, Result<Sight, String>>;

    /// What a step like this destroys is collected first.
    fn may_destroy(&self, rung: &Rung) -> bool;

    fn dry_run<'a>(
        &'a self,
        rung: &'a Rung,
        proposal: &'a Proposal,
        within: Duration,
    ) -> Boxed<'a, Result<DryRun, String>>;

    fn firing<'a>(&'a self, alerts: &'a [AskedAlert], now: Micros, within: Duration) -> Boxed<'a, FiringAnswer>;

    /// The keys of PagerDuty's incident and of its alerts.
    fn peer_keys<'a>(&'a self, peer: &'a str, within: Duration) -> Boxed<'a, Result<Vec<String>, String>>;

    /// Writes, at most once. Never cancelled: it keeps its own deadline.
    fn apply<'a>(&'a self, plan: &'a Plan, within: Duration) -> Boxed<'a, Outcome>;

    fn read_back<'a>(&'a self, plan: &'a Plan, within: Duration) -> Boxed<'a, Outcome>;

    fn target<'a>(&'a self, plan: &'a Plan, before: &'a Facts, within: Duration) -> Boxed<'a, TargetReading>;

    fn rules<'a>(&'a self, names: &'a [String], within: Duration) -> Boxed<'a, RuleReading>;

    fn query<'a>(&'a self, query: &'a str, within: Duration) -> Boxed<'a, QueryReading>;

    fn gather<'a>(
        &'a self,
        collector: &'a Collector,
        now: Micros,
        within: Duration,
    ) -> Boxed<'a, Result<Gathered, String>>;
}

/// The actions and peers of this process. A peer that is not configured is not asked, and that is an answer too.
#[derive(Clone)]
pub struct RealWorld {
    pub actions: Registry,
    pub collectors: evidence::Registry,
    pub alertmanager: Option<Alertmanagers>,
    pub prometheus: Option<Prometheus>,
    pub pagerduty: Option<PagerDutyApi>,
    /// Where evidence is kept, beside the chain.
    pub journal: journal::Handle,
    /// `evidence_keep`.
    pub evidence_keep: Span,
}

impl RealWorld {
    fn no_action(name: &str) -> String {
        format!("this nightshift has no action `{name}`")
    }
}

fn unknown(alerts: &[AskedAlert]) -> impl Iterator<Item = (Fingerprint, Firing)> + '_ {
    alerts.iter().map(|asked| (asked.fingerprint.clone(), Firing::Unprocessed))
}

/// Alerts of two sources in one incident: where one of them says nothing, nothing is known of its alerts.
fn merged(one: FiringAnswer, of_one: &[AskedAlert], two: FiringAnswer, of_two: &[AskedAlert]) -> FiringAnswer {
    match (one, two) {
        (FiringAnswer::Answered { at, mut alerts }, FiringAnswer::Answered { at: other, alerts: more }) => {
            alerts.extend(more);
            FiringAnswer::Answered { at: at.min(other), alerts }
        }
        (FiringAnswer::Answered { at, mut alerts }, _) => {
            alerts.extend(unknown(of_two));
            FiringAnswer::Answered { at, alerts }
        }
        (_, FiringAnswer::Answered { at, mut alerts }) => {
            alerts.extend(unknown(of_one));
            FiringAnswer::Answered { at, alerts }
        }
        (FiringAnswer::NotAsked, other) => other,
        (other, _) => other,
    }
}

impl World for RealWorld {
    fn observe<'a>(&'a self, work: &'a Observe, now: Micros, within: Duration) -> Boxed<'a, Result<Sight, String>> {
        Box::pin(async move {
            let action_name = match &work.what {
                ObserveWhat::Fix => &work.rung.action,
                ObserveWhat::Undo { plan, .. } | ObserveWhat::Holds { plan } => &plan.action,
            };
            let action = self.actions.get(action_name).ok_or_else(|| RealWorld::no_action(action_name))?;
            let seen: Observed = match &work.what {
                ObserveWhat::Fix => action.observe(&work.rung, &work.good, now, within).await?,
                ObserveWhat::Undo { plan, baseline } => {
                    action.observe_undo(plan, baseline.as_ref(), now, within).await?
                }
                ObserveWhat::Holds { plan } => {
                    let (facts, holds) = action.holds(plan, now, within).await?;
                    return Ok(Sight { facts, proposal: Proposed::NotMade, holds: Some(holds) });
                }
            };
            Ok(Sight { facts: seen.facts, proposal: seen.proposal, holds: None })
        })
    }

    fn may_destroy(&self, rung: &Rung) -> bool {
        self.actions.get(&rung.action).is_some_and(|action| action.may_destroy(&rung.with))
    }

    fn dry_run<'a>(
        &'a self,
        rung: &'a Rung,
        proposal: &'a Proposal,
        within: Duration,
    ) -> Boxed<'a, Result<DryRun, String>> {
        match self.actions.get(&rung.action) {
            Some(action) => action.dry_run(&rung.target.object, proposal, within),
            None => Box::pin(std::future::ready(Err(RealWorld::no_action(&rung.action)))),
        }
    }

    fn firing<'a>(&'a self, alerts: &'a [AskedAlert], now: Micros, within: Duration) -> Boxed<'a, FiringAnswer> {
        Box::pin(async move {
            let (theirs, others): (Vec<AskedAlert>, Vec<AskedAlert>) =
                alerts.iter().cloned().partition(|alert| alert.source == Source::PagerDuty);
            let alertmanager = async {
                match &self.alertmanager {
                    Some(_) if others.is_empty() => FiringAnswer::Answered { at: now, alerts: BTreeMap::new() },
                    Some(peer) => peer.ask(&others, now, within).await,
                    None => FiringAnswer::NotAsked,
                }
            };
            if theirs.is_empty() {
                return alertmanager.await;
            }
            let pagerduty = async {
                match &self.pagerduty {
                    Some(peer) => peer.ask(&theirs, now, within).await,
                    None => FiringAnswer::NotAsked,
                }
            };
            if others.is_empty() {
                return pagerduty.await;
            }
            let (one, two) = tokio::join!(alertmanager, pagerduty);
            merged(one, &others, two, &theirs)
        })
    }

    fn peer_keys<'a>(&'a self, peer: &'a str, within: Duration) -> Boxed<'a, Result<Vec<String>, String>> {
        match &self.pagerduty {
            Some(api) => Box::pin(api.keys(peer, within)),
            None => Box::pin(std::future::ready(Err("no pagerduty.api_token_file is configured".to_owned()))),
        }
    }

    fn apply<'a>(&'a self, plan: &'a Plan, within: Duration) -> Boxed<'a, Outcome> {
        match self.actions.get(&plan.action) {
            Some(action) => action.apply(plan, within),
            None => Box::pin(std::future::ready(Outcome::NotApplied {
                why: RealWorld::no_action(&plan.action),
                changed_since: false,
            })),
        }
    }

    fn read_back<'a>(&'a self, plan: &'a Plan, within: Duration) -> Boxed<'a, Outcome> {
        match self.actions.get(&plan.action) {
            Some(action) => action.read_back(plan, within),
            None => Box::pin(std::future::ready(Outcome::Unknown { why: RealWorld::no_action(&plan.action) })),
        }
    }

    fn target<'a>(&'a self, plan: &'a Plan, before: &'a Facts, within: Duration) -> Boxed<'a, TargetReading> {
        match self.actions.get(&plan.action) {
            Some(action) => action.measure(plan, before, within),
            None => Box::pin(std::future::ready(TargetReading::Unread { problem: RealWorld::no_action(&plan.action) })),
        }
    }

    fn rules<'a>(&'a self, names: &'a [String], within: Duration) -> Boxed<'a, RuleReading> {
        match &self.prometheus {
            Some(peer) => Box::pin(peer.rules(names, within)),
            None => Box::pin(std::future::ready(RuleReading::NotAsked)),
        }
    }

    fn query<'a>(&'a self, query: &'a str, within: Duration) -> Boxed<'a, QueryReading> {
        match &self.prometheus {
            Some(peer) => Box::pin(peer.query(query, within)),
            None => Box::pin(std::future::ready(QueryReading::NotAsked)),
        }
    }

    fn gather<'a>(
        &'a self,
        collector: &'a Collector,
        now: Micros,
        within: Duration,
    ) -> Boxed<'a, Result<Gathered, String>> {
        Box::pin(async move {
            let name = collector.collect.as_str();
            let found =
                self.collectors.get(name).ok_or_else(|| format!("this nightshift has no collector `{name}`"))?;
            let collected = found.collect(&collector.target.object, &collector.with, within).await?;
            let digest = journal::chain::digest(&collected.body);
            let until = now + self.evidence_keep;
            let kept = tokio::time::timeout(KEEP_WITHIN, self.journal.put_evidence(digest, &collected.body, until.0));
            match kept.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(format!("it was collected, but not kept: {error}")),
                Err(_) => return Err("it was collected, but not kept in time".to_owned()),
            }
            let bytes = u64::try_from(collected.body.len()).unwrap_or(u64::MAX);
            Ok(Gathered { digest: digest.to_string(), bytes, summary: collected.summary })
        })
    }
}
