//! What is to be done outside, as the state says it: the driver compares this with what it has in flight.
//!
//! Level-triggered, so recovery after a crash is this same list. Only a committed `StepStarted` makes an [`Intent`].

use crate::model::{
    alert::Labels,
    id::{Fingerprint, IncidentId, StepId},
    observation::{Facts, Moment},
    plan::Plan,
    rung::{Collector, Rung},
    time::Micros,
};
use serde_json::Value;

/// Alerts of one incident that are asked about at a time; the rest are not: one active alert is enough to act on.
pub const ALERTS_ASKED: usize = 50;

#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    Observe(Box<Observe>),
    Apply(Intent),
    ReadBack { step: StepId, plan: Box<Plan> },
    Measure(Box<Measure>),
    Gather { incident: IncidentId, collector: Box<Collector> },
    Confirm { alert: AskedAlert },
}

/// What names a piece of work while it is in flight: the same key is never begun twice at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkKey {
    Observe(StepId, Moment),
    Apply(StepId),
    ReadBack(StepId),
    Measure(StepId),
    Gather(IncidentId, String, String),
    Confirm(Fingerprint),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Observe {
    pub step: StepId,
    pub rung: Rung,
    pub what: ObserveWhat,
    /// The incident's firing alerts, at most [`ALERTS_ASKED`].
    pub alerts: Vec<AskedAlert>,
    /// Prove the proposal by a server-side dry run.
    pub dry_run: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ObserveWhat {
    /// A fix, to make a plan.
    Fix,
    /// The way back of a step or the end of a lease, to make a plan.
    Undo { plan: Box<Plan>, baseline: Option<Value> },
    /// After an approval, whatever the purpose: does this plan still hold?
    Holds { plan: Box<Plan> },
}

/// The right to write once. Its fields are read-only outside: only the state makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    pub(super) step: StepId,
    pub(super) plan: Box<Plan>,
    pub(super) perform_by: Micros,
    pub(super) epoch: u64,
    pub(super) by_person: bool,
}

impl Intent {
    #[must_use]
    pub fn step(&self) -> StepId {
        self.step
    }

    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The call must be over by then; after it, it may not begin.
    #[must_use]
    pub fn perform_by(&self) -> Micros {
        self.perform_by
    }

    /// The leadership that started it. A later one never performs it: it reads back.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// A named person asked for exactly this: the kill switch does not stop it.
    #[must_use]
    pub fn by_person(&self) -> bool {
        self.by_person
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    pub step: StepId,
    pub plan: Plan,
    pub before: Facts,
    /// Not before this.
    pub from: Micros,
    /// The window has passed: this measurement decides.
    pub last: bool,
    pub alerts: Vec<AskedAlert>,
    /// The alerting rules whose health is asked (names), for a fix.
    pub rules: Vec<String>,
    pub query: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AskedAlert {
    pub fingerprint: Fingerprint,
    pub starts_at: Micros,
    pub labels: Labels,
}

impl Work {
    #[must_use]
    pub fn key(&self) -> WorkKey {
        match self {
            Work::Observe(observe) => {
                let moment = match observe.what {
                    ObserveWhat::Holds { .. } => Moment::BeforeStart,
                    ObserveWhat::Fix | ObserveWhat::Undo { .. } => Moment::ForPlan,
                };
                WorkKey::Observe(observe.step, moment)
            }
            Work::Apply(intent) => WorkKey::Apply(intent.step),
            Work::ReadBack { step, .. } => WorkKey::ReadBack(*step),
            Work::Measure(measure) => WorkKey::Measure(measure.step),
            Work::Gather { incident, collector } => {
                WorkKey::Gather(*incident, collector.collect.clone(), collector.target.key().0)
            }
            Work::Confirm { alert } => WorkKey::Confirm(alert.fingerprint.clone()),
        }
    }
}
