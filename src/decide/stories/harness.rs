//! The builder: a policy, a state and a clock; inputs as sentences; answers looked up in events and state.

use crate::{
    decide::{
        Policy, State, decide,
        policy::{Choice, Limit, PolicySpec, RespondWithin, Rule, RungSpec, Severity, TargetSpec},
        state::Step,
        work::Work,
    },
    model::{
        alert::{Alert, Source, Status},
        event::{Event, LadderEnd},
        firing::{Firing, FiringAnswer},
        id::{Fingerprint, IncidentId, StepId},
        input::{Command, Input, Op, Via},
        letter::Told,
        matcher::Matcher,
        mode::Mode,
        observation::{
            Facts, Holds, Moment, Observation, Outcome, Proposed, QueryReading, Reading, RuleReading, TargetReading,
        },
        plan::{Effect, Proposal, Replicas},
        reason::Reason,
        rung::{Bounds, IfIneffective, Verify},
        step::Phase,
        target::{Kind, Object},
        time::{Micros, Span},
    },
};
use serde_json::json;
use std::collections::BTreeMap;

pub struct Story {
    pub policy: Policy,
    policies: BTreeMap<String, Policy>,
    pub state: State,
    pub now: Micros,
    pub entries: Vec<(Micros, String, Input, Vec<Event>)>,
    /// What Alertmanager answers; None: as the state has it.
    pub alertmanager: Option<FiringAnswer>,
    /// The world's replicas of the web target.
    pub replicas: u32,
    pub facts: Facts,
    pub refuses: Option<String>,
    /// What the web target runs when a plan on it is done ([`Effect::runs`]).
    pub runs: Option<String>,
}

/// Letters of a receiver, in a story.
const EVERY: usize = 1_000;
/// Five in the afternoon of a day.
const BEGIN: Micros = Micros(1_770_000_000_000_000);

pub fn spec() -> PolicySpec {
    let workload = |name: &str| Object::Workload {
        namespace: "production".into(),
        kind: Kind::Deployment,
        name: name.into(),
        selector: None,
    };
    let target = |name: &str| TargetSpec {
        choice: Choice::One { object: workload(name) },
        bounds: Some(Bounds { min: 2, max: 20, may_scale_to_zero: false }),
    };
    let severity = |name: &str, alias: &str, respond_within| Severity {
        name: name.into(),
        title: alias.into(),
        aliases: vec![alias.into()],
        mentions: vec!["S0123ABC".into()],
        respond_within: Some(RespondWithin::Span(respond_within)),
        update_every: None,
    };
    PolicySpec {
        mode: Mode::Auto,
        severities: vec![
            severity("P0", "critical", Span::ZERO),
            severity("P1", "error", Span::minutes(15)),
            severity("P2", "warning", Span::hours(1)),
            severity("P3", "info", Span::hours(24)),
        ],
        targets: [("web".to_owned(), target("web")), ("api".to_owned(), target("api"))].into(),
        rules: vec![
            rule("web-is-slow", "WebIsSlow", &["web"]),
            rule("web-is-down", "WebIsDown", &["web"]),
            rule("api-is-slow", "ApiIsSlow", &["api"]),
        ],
        max_concurrent: 1,
        limits_namespace: vec![Limit { count: 10, within: Span::hours(1) }],
        limits_all: vec![Limit { count: 20, within: Span::hours(1) }],
        freezes: Vec::new(),
        brake: None,
        unclean_starts: 0,
        settle_after_start: Span::seconds(60),
        lost_after: Span::minutes(30),
        timezone: "UTC".into(),
        asks_alertmanager: true,
        asks_prometheus: true,
        slack_channel: Some("#incidents".into()),
        people: BTreeMap::new(),
        escalations: Vec::new(),
        incident_channels: Vec::new(),
        security_channel: None,
        approvers: BTreeMap::new(),
        statuspage: None,
        pagerduty: Default::default(),
    }
}

pub fn rule(name: &str, alertname: &str, targets: &[&str]) -> Rule {
    Rule {
        name: name.into(),
        matchers: vec![Matcher::parse(&format!("alertname=\"{alertname}\"")).unwrap()],
        severity: Some("P1".into()),
        service: None,
        runbook: None,
        impact: None,
        security: false,
        group_by: Vec::new(),
        fires_for: Span::ZERO,
        mode: Mode::Auto,
        limits: vec![Limit { count: 3, within: Span::hours(1) }],
        cooldown: Span::minutes(15),
        quiet: Span::minutes(10),
        flapping: None,
        hold_page: None,
        canary: 0,
        undo_within: Span::hours(1),
        evidence: Vec::new(),
        remediate: targets.iter().map(|target| rung(target)).collect(),
        slack_channel: None,
        statuspage: None,
    }
}

pub fn rung(target: &str) -> RungSpec {
    RungSpec {
        action: "kubernetes/scale".into(),
        target: target.into(),
        with: json!({"replicas": "+2"}),
        mode: None,
        verify: Verify { settle: Span::seconds(30), resolved_within: Span::minutes(2), query: None },
        if_ineffective: IfIneffective::Keep,
        chooses_by: None,
        evidence: Vec::new(),
    }
}

impl Story {
    pub fn begin() -> Story {
        Story::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut PolicySpec)) -> Story {
        let mut spec = spec();
        change(&mut spec);
        let policy = Policy::new(spec).unwrap();
        let mut facts = Facts::of_nothing(BEGIN);
        facts.uid = "uid-1".into();
        facts.generation = 7;
        facts.ready = 4;
        facts.replicas = Some(4);
        let mut story = Story {
            policies: [(policy.hash.clone(), policy.clone())].into(),
            policy,
            state: State::default(),
            now: BEGIN,
            entries: Vec::new(),
            alertmanager: None,
            replicas: 4,
            facts,
            refuses: None,
            runs: None,
        };
        story.starts();
        story
    }

    pub fn input(&mut self, input: Input) -> Vec<Event> {
        if self.state.knows(&self.policy, &input) {
            return Vec::new();
        }
        let (work, letters) = (self.state.work(), self.state.letters_due(EVERY));
        let (work_version, letters_version) = (self.state.work_version(), self.state.letters_version());
        let events = decide(&self.policy, &mut self.state, &input, self.now).unwrap();
        let is_told = self.state.work_version() != work_version || self.state.work() == work;
        assert!(is_told, "the driver does not hear what there is to do since {input:?}: {events:?}");
        let is_told = self.state.letters_version() != letters_version || self.state.letters_due(EVERY) == letters;
        assert!(is_told, "the courier does not hear what is owed since {input:?}: {events:?}");
        self.entries.push((self.now, self.policy.hash.clone(), input, events.clone()));
        events
    }

    /// Lets time pass, handling each timer when it is due.
    pub fn after(&mut self, span: Span) -> &mut Story {
        let end = self.now + span;
        for _ in 0..10_000 {
            match self.state.next_due().filter(|due| *due <= end) {
                Some(due) => {
                    self.now = self.now.max(due);
                    let before = self.state.timers.first().cloned();
                    self.input(Input::Wake);
                    assert_ne!(before, self.state.timers.first().cloned(), "a wake must remove or move its timer");
                }
                None => break,
            }
        }
        self.now = end;
        self
    }

    pub fn starts(&mut self) -> Vec<Event> {
        let policy = self.policy.hash.clone();
        self.input(Input::Started { replica: "one".into(), version: "0".into(), policy, clean: false, damage: None })
    }

    pub fn reloads(&mut self, change: impl FnOnce(&mut PolicySpec)) -> Vec<Event> {
        let mut spec = self.policy.spec.clone();
        change(&mut spec);
        self.policy = Policy::new(spec).unwrap();
        self.policies.insert(self.policy.hash.clone(), self.policy.clone());
        let policy = self.policy.hash.clone();
        self.input(Input::PolicyLoaded { policy, by: "ann".into() })
    }

    pub fn alert(&self, name: &str, pod: &str, status: Status, starts_at: Micros) -> Alert {
        let labels = [("alertname", name), ("pod", pod)].map(|(name, value)| (name.to_owned(), value.to_owned()));
        Alert {
            source: Source::Alertmanager,
            sender: "test".into(),
            fingerprint: Fingerprint::new(&format!("{name}-{pod}")),
            status,
            starts_at,
            ends_at: (status == Status::Resolved).then_some(self.now),
            labels: labels.into(),
            annotations: BTreeMap::new(),
            url: String::new(),
            group_key: String::new(),
            received_at: self.now,
        }
    }

    /// A new firing that began now.
    pub fn fires(&mut self, name: &str) -> Vec<Event> {
        self.fires_since(name, self.now)
    }

    pub fn fires_since(&mut self, name: &str, starts_at: Micros) -> Vec<Event> {
        let alert = self.alert(name, "p1", Status::Firing, starts_at);
        self.input(Input::Alert(Box::new(alert)))
    }

    pub fn resolves(&mut self, name: &str) -> Vec<Event> {
        let starts_at =
            self.state.alerts.get(&Fingerprint::new(&format!("{name}-p1"))).map_or(self.now, |held| held.starts_at);
        let alert = self.alert(name, "p1", Status::Resolved, starts_at);
        self.input(Input::Alert(Box::new(alert)))
    }

    pub fn command(&mut self, by: &str, command: Command) -> Vec<Event> {
        self.input(Input::Command { by: by.into(), via: Via::Api, command })
    }

    /// What the world answers to an observation of the web target.
    pub fn observation(&self, work: &crate::decide::work::Observe) -> Observation {
        use crate::decide::work::ObserveWhat;
        let mut facts = self.facts.clone();
        facts.observed_at = self.now;
        facts.replicas = Some(self.replicas);
        let make = |from: u32, to: u32, undo: serde_json::Value| {
            Proposed::Made(Box::new(Proposal {
                uid: facts.uid.clone(),
                generation: facts.generation,
                from: json!(from),
                to: json!(to),
                undo,
                precondition: json!({"replicas": from}),
                effect: Effect {
                    replicas: Some(Replicas { from, to }),
                    min_ready_after: None,
                    touches: vec!["spec.replicas".into()],
                    destroys: false,
                    runs: self.runs.clone(),
                },
                summary: format!("replicas {from} → {to}"),
                undo_summary: None,
            }))
        };
        let (proposal, holds) = match (&work.what, &self.refuses) {
            (_, Some(why)) => (Proposed::Refused { why: why.clone() }, None),
            (ObserveWhat::Fix, _) => (make(self.replicas, self.replicas + 2, json!(self.replicas)), None),
            (ObserveWhat::Undo { plan, baseline }, _) => {
                let left = plan.proposal.to.as_u64().unwrap() as u32;
                let back = baseline.as_ref().unwrap_or(&plan.proposal.undo).as_u64().unwrap() as u32;
                if left == self.replicas {
                    (make(left, back, serde_json::Value::Null), None)
                } else {
                    let why = format!("replicas are {}, nightshift left {left}", self.replicas);
                    (Proposed::Refused { why }, None)
                }
            }
            (ObserveWhat::Holds { plan }, _) => {
                let from = plan.proposal.from.as_u64().unwrap() as u32;
                let holds = if from == self.replicas && plan.proposal.generation == facts.generation {
                    Holds::Yes
                } else {
                    Holds::Changed { difference: format!("replicas {from} → {}", self.replicas) }
                };
                (Proposed::NotMade, Some(holds))
            }
        };
        let firing = self.alertmanager.clone().unwrap_or_else(|| self.answer(|starts_at| Firing::Active { starts_at }));
        Observation { facts, proposal, holds, firing, delivered: BTreeMap::new(), dry_run: None }
    }

    /// Alertmanager lists every alert that the state holds as firing.
    pub fn answer(&self, listed: impl Fn(Micros) -> Firing) -> FiringAnswer {
        let alerts = self.state.alerts.iter().filter(|(_, alert)| alert.held == crate::decide::state::Held::Firing);
        let alerts = alerts.map(|(print, alert)| (print.clone(), listed(alert.starts_at))).collect();
        FiringAnswer::Answered { at: self.now, alerts }
    }

    /// The driver does every observation that is due, once.
    pub fn observes(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for work in self.state.work() {
            if let Work::Observe(observe) = work {
                let observation = self.observation(&observe);
                let moment = if observation.holds.is_some() { Moment::BeforeStart } else { Moment::ForPlan };
                let moment = if matches!(observe.what, crate::decide::work::ObserveWhat::Holds { .. }) {
                    Moment::BeforeStart
                } else {
                    moment
                };
                events.extend(self.input(Input::Observed {
                    step: observe.step,
                    moment,
                    result: Ok(Box::new(observation)),
                }));
            }
        }
        events
    }

    pub fn cannot_observe(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for work in self.state.work() {
            if let Work::Observe(observe) = work {
                let result = Err("the API server does not answer".to_owned());
                events.extend(self.input(Input::Observed { step: observe.step, moment: Moment::ForPlan, result }));
            }
        }
        events
    }

    /// Steps that may write now.
    pub fn intents(&self) -> Vec<StepId> {
        let work = self.state.work();
        work.iter().filter_map(|work| if let Work::Apply(intent) = work { Some(intent.step()) } else { None }).collect()
    }

    /// The driver writes what may be written.
    pub fn performs(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for work in self.state.work() {
            if let Work::Apply(intent) = work {
                self.replicas = intent.plan().proposal.to.as_u64().unwrap() as u32;
                self.facts.generation += 1;
                events.extend(self.performed(intent.step(), Op::Apply, Outcome::Applied));
            }
        }
        events
    }

    pub fn performed(&mut self, step: StepId, op: Op, outcome: Outcome) -> Vec<Event> {
        self.input(Input::Performed { step, op, outcome })
    }

    pub fn reading(&self) -> Reading {
        Reading {
            at: self.now,
            target: TargetReading::Well { says: "ready".into() },
            firing: self.answer(|starts_at| Firing::Active { starts_at }),
            rule: RuleReading::Evaluated { at: self.now },
            query: QueryReading::NotAsked,
        }
    }

    pub fn measures(&mut self, reading: Reading) -> Vec<Event> {
        let mut events = Vec::new();
        for work in self.state.work() {
            if let Work::Measure(measure) = work {
                events.extend(self.input(Input::Measured { step: measure.step, reading: reading.clone() }));
            }
        }
        events
    }

    /// The courier brings every letter.
    pub fn mails(&mut self) {
        while let Some(letter) = self.state.letters_due(1).into_iter().next() {
            let result = Told::Sent { external: None };
            self.input(Input::Told { letter: letter.key, up_to: letter.want, result });
        }
    }

    /// From a fresh alert to a step that has been applied and is verified.
    pub fn acts_on(&mut self, name: &str) -> StepId {
        self.fires(name);
        self.observes();
        self.performs();
        *self.state.steps.keys().next_back().unwrap()
    }

    pub fn step(&self, id: StepId) -> &Step {
        &self.state.steps[&id]
    }

    pub fn phase(&self, id: StepId) -> Phase {
        self.step(id).phase
    }

    pub fn last_step(&self) -> StepId {
        *self.state.steps.keys().next_back().unwrap()
    }

    pub fn reason(&self, id: StepId) -> &'static str {
        let step = self.step(id);
        let reason = if step.phase == Phase::Holding { &step.held_for } else { &step.reason };
        reason.as_ref().map_or("", Reason::word)
    }

    pub fn ladder(&self, id: u64) -> Option<LadderEnd> {
        self.state.incidents[&IncidentId(id)].ladder.as_ref().unwrap().ended.clone()
    }

    pub fn incident_state(&self, id: u64) -> &'static str {
        self.state.incidents[&IncidentId(id)].phase.word()
    }

    pub fn incident_state_if_any(&self, id: IncidentId) -> Option<&'static str> {
        self.state.incidents.get(&id).map(|incident| incident.phase.word())
    }

    pub fn pages(&self) -> usize {
        self.events().filter(|event| matches!(event, Event::PageReleased { .. })).count()
    }

    /// What was said in threads, pages included.
    pub fn posts(&self) -> Vec<String> {
        let notes = self.events().filter_map(|event| match event {
            Event::Tell { note: Some(note), .. } => Some(note.text.clone()),
            _ => None,
        });
        notes.collect()
    }

    pub fn starts_count(&self) -> usize {
        self.events().filter(|event| matches!(event, Event::StepStarted { .. })).count()
    }

    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.entries.iter().flat_map(|(_, _, _, events)| events)
    }

    /// A crash: the state is folded anew from the journal, and the process starts.
    pub fn crashes(&mut self) -> &mut Story {
        self.state = self.folded();
        self.starts();
        self
    }

    fn folded(&self) -> State {
        let mut state = State::default();
        for (at, _, input, events) in &self.entries {
            let text = serde_json::to_string(&(input, events)).unwrap();
            let (input, events): (Input, Vec<Event>) = serde_json::from_str(&text).unwrap();
            for event in &events {
                state.apply(*at, &input, event).unwrap();
            }
        }
        state
    }
}

/// Every story proves that its journal folds and replays.
impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        assert_eq!(self.folded().digest(), self.state.digest(), "a fold of the journal is the state");
        let text = serde_json::to_string(&self.state).unwrap();
        let read: State = serde_json::from_str(&text).unwrap();
        assert_eq!(read.digest(), self.state.digest(), "a snapshot reads back");
        let mut state = State::default();
        for (at, policy, input, events) in &self.entries {
            let again = decide(&self.policies[policy], &mut state, input, *at).unwrap();
            assert_eq!(
                serde_json::to_string(&again).unwrap(),
                serde_json::to_string(events).unwrap(),
                "a replay decides the same"
            );
        }
    }
}
