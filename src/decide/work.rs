//! What is to be done outside, as the state says it: the driver compares this with what it has in flight.
//!
//! Level-triggered, so recovery after a crash is this same list. Only a committed `StepStarted` makes an [`Intent`].

use super::{State, state::Step};
use crate::model::{
    alert::{Labels, Source},
    id::{Fingerprint, IncidentId, StepId},
    mode::Mode,
    observation::{Facts, Moment},
    peer::PeerNews,
    plan::Plan,
    rung::{Collector, Rung},
    step::{Phase, Purpose},
    time::Micros,
};
use serde_json::Value;
use std::collections::BTreeSet;

/// Alerts of one incident that are asked about at a time; a silence on one of the rest is not seen. Labels of all of them
/// are copied whenever the work is published.
pub const ALERTS_ASKED: usize = 200;

#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    Observe(Box<Observe>),
    Apply(Intent),
    ReadBack {
        step: StepId,
        plan: Box<Plan>,
    },
    Measure(Box<Measure>),
    Gather {
        incident: IncidentId,
        collector: Box<Collector>,
    },
    Confirm {
        alert: AskedAlert,
    },
    /// PagerDuty's incident may be one of ours: which keys has it?
    /// Not before `from`.
    AskPeer {
        news: Box<PeerNews>,
        from: Option<Micros>,
    },
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
    AskPeer(String),
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
    /// Versions of the target that are known to be good, as plans name them (`Effect::runs`): something was verified while
    /// they ran, or they were seen in full for long enough.
    pub good: Vec<String>,
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
    /// Who is asked.
    pub source: Source,
    pub starts_at: Micros,
    pub labels: Labels,
}

/// Pieces of one kind that are shown at a time: the rest follow as these are done.
const SHOWN: usize = 64;

impl State {
    /// What is to be done outside, writes first. Bounded: at most [`SHOWN`] of each kind that can be many.
    #[must_use]
    pub fn work(&self) -> Vec<Work> {
        let mut work = Vec::new();
        for (id, step) in self.in_phase(Phase::Acting) {
            if let (Some(plan), Some(perform_by), false) = (&step.plan, step.perform_by, step.outcome_lost) {
                work.push(Work::Apply(Intent {
                    step: id,
                    plan: Box::new(plan.clone()),
                    perform_by,
                    epoch: step.epoch,
                    by_person: step.purpose.is_by_person(),
                }));
            }
        }
        for (id, step) in self.in_phase(Phase::ReadBack) {
            if let Some(plan) = &step.plan {
                work.push(Work::ReadBack { step: id, plan: Box::new(plan.clone()) });
            }
        }
        work.extend(self.in_phase(Phase::Verifying).filter_map(|(id, step)| self.measure(id, step)));
        work.extend(self.in_phase(Phase::Observing).take(SHOWN).filter_map(|(id, step)| self.observe(id, step)));
        let gathers = self.evidence_wanted.iter().take(SHOWN);
        work.extend(
            gathers.map(|(incident, collector)| Work::Gather {
                incident: *incident,
                collector: Box::new(collector.clone()),
            }),
        );
        let confirms = self.confirming.iter().take(SHOWN).filter_map(|print| {
            let alert = self.alerts.get(print)?;
            let alert = AskedAlert {
                fingerprint: print.clone(),
                source: alert.source,
                starts_at: alert.starts_at,
                labels: alert.labels.to_labels(),
            };
            Some(Work::Confirm { alert })
        });
        work.extend(confirms);
        let asks = self.peers.to_ask().take(SHOWN);
        work.extend(asks.map(|(news, from)| Work::AskPeer { news: Box::new(news.clone()), from }));
        work
    }

    fn in_phase(&self, phase: Phase) -> impl Iterator<Item = (StepId, &Step)> + '_ {
        let ids = self.live.get(&phase).into_iter().flatten();
        ids.filter_map(|(_, id)| self.steps.get(id).map(|step| (*id, step)))
    }

    fn observe(&self, id: StepId, step: &Step) -> Option<Work> {
        let what = match (&step.approved_by, &step.plan, &step.purpose) {
            (Some(_), Some(plan), _) => ObserveWhat::Holds { plan: Box::new(plan.clone()) },
            (_, _, Purpose::Fix) => ObserveWhat::Fix,
            (_, _, Purpose::Undo { step: undone, .. }) => {
                ObserveWhat::Undo { plan: Box::new(self.steps.get(undone)?.plan.clone()?), baseline: None }
            }
            (_, _, Purpose::LeaseEnd { lease, .. }) => {
                let lease = self.leases.get(lease)?;
                let plan = Box::new(self.steps.get(&lease.step)?.plan.clone()?);
                ObserveWhat::Undo { plan, baseline: Some(lease.baseline.clone()) }
            }
        };
        Some(Work::Observe(Box::new(Observe {
            step: id,
            rung: step.rung.clone(),
            what,
            alerts: if step.purpose.is_fix() { self.asked_alerts(id.incident) } else { Vec::new() },
            dry_run: step.purpose.is_fix() && step.rung.mode == Mode::Shadow,
            good: self.records.good_on(&step.rung.target.key()),
        })))
    }

    fn measure(&self, id: StepId, step: &Step) -> Option<Work> {
        let alerts = if step.purpose.is_fix() { self.asked_alerts(id.incident) } else { Vec::new() };
        let names = self.incidents.get(&id.incident).map(|incident| {
            let alerts = incident.alerts.iter().filter_map(|print| self.alerts.get(print));
            alerts.filter_map(|alert| alert.labels.get("alertname").map(str::to_owned)).collect::<BTreeSet<String>>()
        });
        Some(Work::Measure(Box::new(Measure {
            step: id,
            plan: step.plan.clone()?,
            before: step.before.clone()?,
            from: step.measure_from?,
            last: step.last_measurement,
            alerts,
            rules: if step.purpose.is_fix() { names.unwrap_or_default().into_iter().collect() } else { Vec::new() },
            query: step.rung.verify.query.clone(),
        })))
    }
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
            Work::AskPeer { news, .. } => WorkKey::AskPeer(news.ids.join(" ")),
        }
    }
}
