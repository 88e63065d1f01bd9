//! Observing for a step: what it would destroy is collected first, then the target is read, then a dry run where one is
//! asked for, and Alertmanager last, so that "still firing" is the freshest fact of all.

use super::{Context, gather};
use crate::{
    decide::work::{Observe, ObserveWhat},
    model::{
        id::StepId,
        input::Input,
        observation::{DryRun, Moment, Observation, Proposed},
        time::{Micros, Span},
    },
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// One read of a target.
const OBSERVE_WITHIN: Duration = Duration::from_secs(10);
const DRY_RUN_WITHIN: Duration = Duration::from_secs(10);
pub(super) const ASK_WITHIN: Duration = Duration::from_secs(5);
/// Evidence never blocks a step for longer.
const EVIDENCE_WITHIN: Duration = Duration::from_secs(10);

/// A step that is held and observed again needs no new evidence for a while.
const EVIDENCE_LASTS: Span = Span::minutes(5);
/// Steps remembered; the oldest are forgotten first.
const STEPS_REMEMBERED: usize = 1000;

/// When evidence was last collected for a step.
#[derive(Clone, Default)]
pub(super) struct Collected(Arc<Mutex<BTreeMap<StepId, Micros>>>);

impl Collected {
    /// Whether it is to be collected now; then it counts as collected.
    pub(super) fn is_wanted(&self, step: StepId, now: Micros) -> bool {
        let mut collected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if collected.get(&step).is_some_and(|at| now - *at < EVIDENCE_LASTS) {
            return false;
        }
        collected.insert(step, now);
        if collected.len() > STEPS_REMEMBERED {
            collected.pop_first();
        }
        true
    }
}

pub(super) async fn observe(context: &Context, collected: &Collected, work: &Observe) -> Input {
    let moment = match work.what {
        ObserveWhat::Holds { .. } => Moment::BeforeStart,
        ObserveWhat::Fix | ObserveWhat::Undo { .. } => Moment::ForPlan,
    };
    let is_undo = matches!(work.what, ObserveWhat::Undo { .. });
    let destroys = is_undo || context.world.may_destroy(&work.rung);
    if destroys && !work.rung.evidence.is_empty() && collected.is_wanted(work.step, context.now()) {
        collect_first(context, work).await;
    }
    let result = look(context, work).await.map(Box::new);
    Input::Observed { step: work.step, moment, result }
}

/// All collectors at once. Their results are recorded before the observation is.
async fn collect_first(context: &Context, work: &Observe) {
    let collectors = &work.rung.evidence;
    let incident = work.step.incident;
    let mut tasks = tokio::task::JoinSet::new();
    for collector in collectors {
        let context = context.clone();
        let collector = collector.clone();
        tasks.spawn(async move {
            let gathered = gather::gather(&context, incident, &collector, EVIDENCE_WITHIN).await;
            // Refused only when the engine stops: then the step is not observed either.
            let _ = context.engine.result(gathered).await;
        });
    }
    // Read-only calls with a bound of their own; one that keeps it badly is left behind.
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(EVIDENCE_WITHIN + Duration::from_secs(1), all).await.is_err() {
        tracing::warn!(step = %work.step, "evidence was not collected in time; the step goes on without it");
    }
}

async fn look(context: &Context, work: &Observe) -> Result<Observation, String> {
    let world = &context.world;
    let sight = world.observe(work, context.now(), OBSERVE_WITHIN).await?;
    let dry_run = match &sight.proposal {
        Proposed::Made(proposal) if work.dry_run => {
            let answer = world.dry_run(&work.rung, proposal, DRY_RUN_WITHIN).await;
            Some(answer.unwrap_or_else(|why| DryRun::Rejected { why: format!("not proved: {why}") }))
        }
        _ => None,
    };
    let firing = world.firing(&work.alerts, context.now(), ASK_WITHIN).await;
    let asked = work.alerts.iter().map(|alert| alert.fingerprint.clone()).collect();
    let delivered = context.engine.deliveries(asked).await.map_err(|why| format!("the engine is busy: {why}"))?;
    Ok(Observation { facts: sight.facts, proposal: sight.proposal, holds: sight.holds, firing, delivered, dry_run })
}
