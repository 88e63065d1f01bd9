//! What the guards' laws share: a scene with everything that a guard looks at, to be changed as a law wants it, and the
//! inputs that are made up for it.
//!
//! Each guard's law stands in its own file; `tests/tidy/guards.rs` misses the one that is not there. Times are whole steps
//! of a small grid, so that boundaries are met often.

use super::{super::stories::harness::Story, Case, ask, judge};
pub use crate::model::{
    firing::{Firing, FiringAnswer},
    id::{Fingerprint, IncidentId, StepId},
    mode::Mode,
    reason::Reason,
    step::{Guard, Phase, Verdict},
    target::TargetKey,
    time::{Micros, Span},
};
use crate::{
    decide::{
        Policy, State,
        policy::PolicySpec,
        state::{AlertState, Incident, Step},
        work::Work,
    },
    model::{
        observation::{Facts, Observation, Proposed},
        plan::Plan,
        step::{LeaseKey, Purpose},
    },
};
use proptest::prelude::*;
use std::sync::LazyLock;

/// Enough to meet every boundary of the small grids many times.
pub const CASES: u32 = 192;

pub fn cases() -> ProptestConfig {
    // What fails is made small and shown: no file of seeds.
    ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() }
}

/// One step of one incident that fires, observed a moment ago, with a plan: every guard lets it through.
#[derive(Clone)]
pub struct Scene {
    pub policy: Policy,
    pub state: State,
    pub now: Micros,
    pub id: StepId,
    pub observation: Result<Observation, String>,
    pub plan: Option<Plan>,
}

static CLEAR: LazyLock<Scene> = LazyLock::new(|| {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    let id = story.last_step();
    let work = story.state.work();
    let observe = work.iter().find_map(|work| if let Work::Observe(observe) = work { Some(observe) } else { None });
    let observation = story.observation(observe.unwrap());
    let Proposed::Made(proposal) = observation.proposal.clone() else { panic!("the harness proposes") };
    let rung = &story.step(id).rung;
    let plan = Plan::seal(&rung.action, &rung.target, *proposal, None, "rule", story.now + Span::minutes(30));
    Scene {
        policy: story.policy.clone(),
        state: story.state.clone(),
        now: story.now,
        id,
        observation: Ok(observation),
        plan: Some(plan),
    }
});

impl Scene {
    pub fn clear() -> Scene {
        CLEAR.clone()
    }

    pub fn rules(&mut self, change: impl FnOnce(&mut PolicySpec)) {
        let mut spec = self.policy.spec.clone();
        change(&mut spec);
        self.policy = Policy::new(spec).unwrap();
    }

    pub fn step(&mut self) -> &mut Step {
        self.state.steps.get_mut(&self.id).unwrap()
    }

    pub fn incident(&mut self) -> &mut Incident {
        self.state.incidents.get_mut(&self.id.incident).unwrap()
    }

    /// The one alert of the incident.
    pub fn alert(&mut self) -> &mut AlertState {
        self.state.alerts.values_mut().next().unwrap()
    }

    pub fn seen(&mut self) -> &mut Observation {
        self.observation.as_mut().unwrap()
    }

    pub fn facts(&mut self) -> &mut Facts {
        &mut self.seen().facts
    }

    pub fn plan(&mut self) -> &mut Plan {
        self.plan.as_mut().unwrap()
    }

    pub fn target(&self) -> TargetKey {
        self.state.steps[&self.id].rung.target.key()
    }

    pub fn rule(&self) -> String {
        self.state.incidents[&self.id.incident].rule.clone()
    }

    /// In shadow, a fix only says what it would do.
    pub fn is_shadow(&self) -> bool {
        let step = &self.state.steps[&self.id];
        step.purpose.is_fix() && step.rung.mode.min(self.policy.spec.mode) == Mode::Shadow
    }

    /// One guard's answer. Whatever is not let through shows what was seen, what it was held against, and a reason that
    /// people can read.
    pub fn says(&self, guard: Guard) -> Verdict {
        let step = &self.state.steps[&self.id];
        let incident = &self.state.incidents[&self.id.incident];
        let case = Case {
            policy: &self.policy,
            state: &self.state,
            now: self.now,
            id: self.id,
            step,
            incident,
            rule: self.policy.rule(&incident.rule),
            target: step.rung.target.key(),
            observation: self.observation.as_ref().map_err(String::as_str),
            plan: self.plan.as_ref(),
        };
        let says = ask(guard, &case);
        if says.verdict != Verdict::Allow {
            assert!(
                !says.value.is_empty() && !says.limit.is_empty(),
                "{guard:?} shows `{}`, `{}`",
                says.value,
                says.limit
            );
        }
        let reason = says.verdict.reason().map(|reason| reason.says(&self.policy.zone));
        assert!(reason.is_none_or(|sentence| !sentence.is_empty()), "{guard:?} gives no reason");
        says.verdict
    }

    /// All guards' answer.
    pub fn judged(&self) -> super::Judgement {
        let result = self.observation.clone().map(Box::new);
        judge(&self.policy, &self.state, self.now, self.id, &result, self.plan.as_ref())
    }
}

#[must_use]
pub fn deny(reason: Reason) -> Verdict {
    Verdict::Deny { reason }
}

#[must_use]
pub fn hold(until: Option<Micros>, reason: Reason) -> Verdict {
    Verdict::Hold { until, reason }
}

#[must_use]
pub fn asks(reason: Reason) -> Verdict {
    Verdict::Ask { reason }
}

/// What could not be learned: asked again three times, later each time; a person is told at once.
pub fn doubt(scene: &Scene, reason: Reason) -> Verdict {
    let step = &scene.state.steps[&scene.id];
    let wait = [10, 30, 60].get(step.doubts as usize).filter(|_| !step.purpose.is_by_person());
    match wait {
        Some(seconds) => hold(Some(scene.now + Span::seconds(*seconds)), reason),
        None => deny(reason),
    }
}

/// Somebody else's incident.
pub const OTHER: IncidentId = IncidentId(77);

pub fn purposes() -> impl Strategy<Value = Purpose> {
    let step = StepId { incident: IncidentId(1), number: 9 };
    let lease = LeaseKey { target: TargetKey("production/Deployment/web".into()), field: "spec.replicas".into() };
    let by = || prop::option::of(Just("ann".to_owned()));
    prop_oneof![
        2 => Just(Purpose::Fix),
        1 => by().prop_map(move |by| Purpose::Undo { step, by }),
        1 => by().prop_map(move |by| Purpose::LeaseEnd { lease: lease.clone(), by }),
    ]
}

pub fn modes() -> impl Strategy<Value = Mode> {
    prop::sample::select(vec![Mode::Shadow, Mode::Ask, Mode::Auto])
}

/// Who approved, if somebody did.
pub fn approvals() -> impl Strategy<Value = Option<String>> {
    prop::option::of(Just("bob".to_owned()))
}

/// Whole steps of `step` up to `most` of them.
pub fn grid(step: Span, most: i64) -> impl Strategy<Value = Span> {
    (0..=most).prop_map(move |count| Span(step.0 * count))
}

/// As [`grid`], and a microsecond beside it.
pub fn around(step: Span, most: i64) -> impl Strategy<Value = Span> {
    (0..=most, -1_i64..=1).prop_map(move |(count, beside)| Span((step.0 * count + beside).max(0)))
}

/// What Alertmanager may answer about up to three alerts.
pub fn answers() -> impl Strategy<Value = FiringAnswer> {
    let firing = prop_oneof![
        Just(Firing::Active { starts_at: Micros(0) }),
        prop::collection::vec("[ab]", 0..3).prop_map(|by| Firing::Suppressed { by }),
        Just(Firing::Unprocessed),
        Just(Firing::Absent),
    ];
    let alerts = prop::collection::btree_map("[a-c]", firing, 0..4);
    let answered = alerts.prop_map(|alerts| {
        let alerts = alerts.into_iter().map(|(print, firing)| (Fingerprint::new(&print), firing)).collect();
        FiringAnswer::Answered { at: Micros(0), alerts }
    });
    prop_oneof![
        1 => Just(FiringAnswer::NotAsked),
        1 => Just(FiringAnswer::Unreachable { problem: "no answer".into() }),
        6 => answered,
    ]
}
