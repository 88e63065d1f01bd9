//! Guards: one file a guard. Each gives its verdict with value and limit; the first that blocks decides.
//!
//! A guard is a pure function of the policy, the state, the facts and `now`. All of them are asked every time, so that a
//! trace always shows the whole picture; [`Guard::ALL`] is the order.

pub mod acknowledged;
pub mod approver;
pub mod bounds;
pub mod brake;
pub mod canary;
pub mod changed_since;
pub mod concurrency;
pub mod cooldown;
pub mod deployed_within;
pub mod disarmed;
pub mod disruption;
pub mod edited;
pub mod fires_for;
pub mod firing;
pub mod flapping;
pub mod freeze;
pub mod fresh;
pub mod itself;
#[cfg(test)]
mod laws;
pub mod limits;
pub mod lock;
pub mod mode;
pub mod no_rollback;
pub mod observed;
pub mod ownership;
pub mod pause;
pub mod plan;
pub mod rollout;
pub mod settle;
pub mod silence;
pub mod staleness;
pub mod switched_off;
pub mod veto;

use super::{
    Policy, State,
    policy::Rule,
    state::{Held, Incident, Step},
};
use crate::model::{
    id::StepId,
    mode::Mode,
    observation::{Facts, Observation, RollsBack},
    plan::Plan,
    reason::Reason,
    step::{Guard, GuardLine, Purpose, Verdict},
    target::TargetKey,
    time::{Micros, Span},
};

/// Facts older than this decide nothing.
pub const FACTS_FRESH: Span = Span::seconds(30);
/// A confirmation older than this only informs.
pub const CONFIRMATION_FRESH: Span = Span::minutes(10);
/// What could not be learned is asked again after these waits, then it is denied.
const DOUBT_WAITS: [Span; 3] = [Span::seconds(10), Span::seconds(30), Span::seconds(60)];

/// Everything that a guard may look at.
pub struct Case<'a> {
    pub policy: &'a Policy,
    pub(super) state: &'a State,
    pub now: Micros,
    pub id: StepId,
    pub(super) step: &'a Step,
    pub(super) incident: &'a Incident,
    pub rule: Option<&'a Rule>,
    pub target: TargetKey,
    pub observation: Result<&'a Observation, &'a str>,
    pub plan: Option<&'a Plan>,
}

impl Case<'_> {
    pub(super) fn facts(&self) -> Option<&Facts> {
        self.observation.ok().map(|observation| &observation.facts)
    }

    pub(super) fn is_fix(&self) -> bool {
        self.step.purpose.is_fix()
    }

    pub(super) fn is_shadow(&self) -> bool {
        self.is_fix() && self.mode() == Mode::Shadow
    }

    /// The rung's mode, which is the least of global, rule and rung when it was planned; lowered since, the lower.
    pub(super) fn mode(&self) -> Mode {
        if self.is_fix() { self.step.rung.mode.min(self.policy.spec.mode) } else { self.step.rung.mode }
    }

    pub(super) fn time(&self, at: Micros) -> String {
        at.time_of_day(&self.policy.zone)
    }

    /// When the alert of the incident that has fired longest began to fire, as its source says it. None: none fires.
    pub(super) fn fired_at(&self) -> Option<Micros> {
        let alerts = self.incident.alerts.iter().filter_map(|print| self.state.alerts.get(print));
        alerts.filter(|alert| alert.held == Held::Firing).map(|alert| alert.starts_at).min()
    }

    /// What is rolled back, where it came before the alert did: then its own rollout, and the edit that began it, are no
    /// reason to leave it alone. What came later is somebody's answer to the alert.
    pub(super) fn rolled_back_cause(&self) -> Option<&RollsBack> {
        let rolls_back = self.facts()?.rolls_back.as_ref()?;
        self.fired_at().is_some_and(|fired_at| rolls_back.deployed_at <= fired_at).then_some(rolls_back)
    }

    /// Something could not be learned: wait and ask again, a few times; then no.
    pub(super) fn doubt(&self, reason: Reason) -> Verdict {
        match DOUBT_WAITS.get(self.step.doubts as usize) {
            // A person who asked for it is told at once.
            Some(wait) if !self.step.purpose.is_by_person() => Verdict::Hold { until: Some(self.now + *wait), reason },
            _ => Verdict::Deny { reason },
        }
    }
}

/// What a guard says: the value it saw, the limit it compares with, its verdict.
pub struct Says {
    pub value: String,
    pub limit: String,
    pub verdict: Verdict,
}

impl Says {
    pub(super) fn allow(value: impl Into<String>, limit: impl Into<String>) -> Says {
        Says { value: value.into(), limit: limit.into(), verdict: Verdict::Allow }
    }

    pub(super) fn deny(value: impl Into<String>, limit: impl Into<String>, reason: Reason) -> Says {
        Says { value: value.into(), limit: limit.into(), verdict: Verdict::Deny { reason } }
    }

    pub(super) fn verdict(value: impl Into<String>, limit: impl Into<String>, verdict: Verdict) -> Says {
        Says { value: value.into(), limit: limit.into(), verdict }
    }
}

/// All guards' answer.
pub struct Judgement {
    pub verdict: Verdict,
    pub trace: Vec<GuardLine>,
}

fn ask(guard: Guard, case: &Case) -> Says {
    match guard {
        Guard::Pause => pause::guard(case),
        Guard::Settle => settle::guard(case),
        Guard::Brake => brake::guard(case),
        Guard::Freeze => freeze::guard(case),
        Guard::For => fires_for::guard(case),
        Guard::Flapping => flapping::guard(case),
        Guard::Disarmed => disarmed::guard(case),
        Guard::Veto => veto::guard(case),
        Guard::Lock => lock::guard(case),
        Guard::Firing => firing::guard(case),
        Guard::Silence => silence::guard(case),
        Guard::Staleness => staleness::guard(case),
        Guard::Cooldown => cooldown::guard(case),
        Guard::Limits => limits::guard(case),
        Guard::Observed => observed::guard(case),
        Guard::Fresh => fresh::guard(case),
        Guard::Itself => itself::guard(case),
        Guard::SwitchedOff => switched_off::guard(case),
        Guard::Rollout => rollout::guard(case),
        Guard::Ownership => ownership::guard(case),
        Guard::Edited => edited::guard(case),
        Guard::DeployedWithin => deployed_within::guard(case),
        Guard::NoRollback => no_rollback::guard(case),
        Guard::Disruption => disruption::guard(case),
        Guard::Plan => plan::guard(case),
        Guard::Bounds => bounds::guard(case),
        Guard::ChangedSince => changed_since::guard(case),
        Guard::Approver => approver::guard(case),
        Guard::Concurrency => concurrency::guard(case),
        Guard::Acknowledged => acknowledged::guard(case),
        Guard::Canary => canary::guard(case),
        Guard::Mode => mode::guard(case),
    }
}

/// Which guards a purpose passes. Putting something back skips what only limits new acting.
fn applies(guard: Guard, purpose: &Purpose) -> bool {
    match purpose {
        Purpose::Fix => true,
        Purpose::Undo { by: None, .. } | Purpose::LeaseEnd { by: None, .. } if guard == Guard::Settle => true,
        Purpose::Undo { by: None, .. } if guard == Guard::Brake => true,
        Purpose::Undo { .. } | Purpose::LeaseEnd { .. } => matches!(
            guard,
            Guard::Pause
                | Guard::Lock
                | Guard::Observed
                | Guard::Fresh
                | Guard::Itself
                | Guard::Ownership
                | Guard::Plan
                | Guard::Bounds
                | Guard::ChangedSince
                | Guard::Approver
                | Guard::Concurrency
                | Guard::Mode
        ),
    }
}

/// Guards that look at the observation: without one they are not asked, and [`observed`] blocks.
#[must_use]
pub fn needs_observation(guard: Guard) -> bool {
    matches!(
        guard,
        Guard::Firing
            | Guard::Silence
            | Guard::Staleness
            | Guard::Fresh
            | Guard::Itself
            | Guard::SwitchedOff
            | Guard::Rollout
            | Guard::Ownership
            | Guard::Edited
            | Guard::DeployedWithin
            | Guard::NoRollback
            | Guard::Disruption
            | Guard::Plan
            | Guard::Bounds
            | Guard::ChangedSince
    )
}

/// Asks every guard that applies. The first Deny or Hold decides; else the first Ask; else shadow; else it may.
pub(super) fn judge(
    policy: &Policy,
    state: &State,
    now: Micros,
    id: StepId,
    result: &Result<Box<Observation>, String>,
    plan: Option<&Plan>,
) -> Judgement {
    let (Some(step), Some(incident)) = (state.steps.get(&id), state.incidents.get(&id.incident)) else {
        let reason = Reason::NotObserved { problem: "its incident is gone".into() };
        return Judgement { verdict: Verdict::Deny { reason }, trace: Vec::new() };
    };
    let case = Case {
        policy,
        state,
        now,
        id,
        step,
        incident,
        rule: policy.rule(&incident.rule),
        target: step.rung.target.key(),
        observation: result.as_ref().map(|observation| &**observation).map_err(String::as_str),
        plan,
    };
    let trace: Vec<GuardLine> = Guard::ALL
        .into_iter()
        .filter(|guard| applies(*guard, &step.purpose) && (result.is_ok() || !needs_observation(*guard)))
        .map(|guard| {
            let says = ask(guard, &case);
            GuardLine { guard, value: says.value, limit: says.limit, verdict: says.verdict }
        })
        .collect();
    let first =
        |wanted: fn(&Verdict) -> bool| trace.iter().map(|line| &line.verdict).find(|verdict| wanted(verdict)).cloned();
    let verdict = first(|verdict| matches!(verdict, Verdict::Deny { .. } | Verdict::Hold { .. }))
        .or_else(|| first(|verdict| matches!(verdict, Verdict::WouldHave)))
        .or_else(|| first(|verdict| matches!(verdict, Verdict::Ask { .. })))
        .unwrap_or(Verdict::Allow);
    Judgement { verdict, trace }
}

#[cfg(test)]
mod tests {
    use super::laws::*;
    use crate::model::step::{Guard, Verdict};
    use proptest::prelude::*;

    #[test]
    fn nothing_stands_in_the_way_of_a_clear_scene() {
        let judged = Scene::clear().judged();
        assert_eq!(judged.verdict, Verdict::Allow);
        // What `why` shows: each guard has its line, in the order in which they are asked.
        assert_eq!(judged.trace.iter().map(|line| line.guard).collect::<Vec<_>>(), Guard::ALL);
    }

    proptest! {
        #![proptest_config(cases())]

        #[test]
        fn the_first_that_blocks_decides_and_every_guard_has_its_line(
            paused in any::<bool>(), owned in any::<bool>(), old in any::<bool>(), settles in any::<bool>(),
            acknowledged in any::<bool>(), approved_by in approvals(), mode in modes(), purpose in purposes(),
            seen in any::<bool>(),
        ) {
            let mut scene = Scene::clear();
            let by = "ann".to_owned();
            let view = crate::decide::state::PauseView { by: by.clone(), reason: String::new(), since: scene.now };
            scene.state.paused = paused.then_some(view);
            scene.state.settling_until = settles.then(|| scene.now + super::FACTS_FRESH);
            scene.incident().handed_to = acknowledged.then(|| by.clone());
            scene.facts().owner = owned.then_some(by);
            if old {
                scene.facts().observed_at = scene.now - super::CONFIRMATION_FRESH;
            }
            if !seen {
                scene.observation = Err("no answer".into());
            }
            (scene.step().rung.mode, scene.step().approved_by, scene.step().purpose) = (mode, approved_by, purpose.clone());
            let judged = scene.judged();
            let verdicts: Vec<&Verdict> = judged.trace.iter().map(|line| &line.verdict).collect();
            let first = |wanted: fn(&&&Verdict) -> bool| verdicts.iter().find(wanted).map(|found| (**found).clone());
            let wanted = first(|verdict| matches!(verdict, Verdict::Deny { .. } | Verdict::Hold { .. }))
                .or_else(|| first(|verdict| matches!(verdict, Verdict::WouldHave)))
                .or_else(|| first(|verdict| matches!(verdict, Verdict::Ask { .. })));
            prop_assert_eq!(&judged.verdict, &wanted.unwrap_or(Verdict::Allow));
            let asked: Vec<Guard> = judged.trace.iter().map(|line| line.guard).collect();
            let in_order: Vec<Guard> = Guard::ALL.into_iter().filter(|guard| asked.contains(guard)).collect();
            prop_assert_eq!(&asked, &in_order, "each once, in their order");
            for guard in Guard::ALL {
                let is_asked = purpose.is_fix() && (seen || !super::needs_observation(guard));
                prop_assert!(!is_asked || asked.contains(&guard), "{:?} was not asked", guard);
                let is_safety = matches!(guard, Guard::Pause | Guard::Lock | Guard::Observed | Guard::Concurrency);
                prop_assert!(!is_safety || asked.contains(&guard), "{:?} is asked for every purpose", guard);
            }
        }
    }
}
