//! The rules of a scenario: drawn so that rules share targets, budgets are small and every mode occurs.

use super::{random::Random, scenario::BEGIN};
use nightshift::{
    decide::{
        Policy,
        policy::{
            Brake, Choice, CollectorSpec, Component, Escalation, Level, Limit, PagerDutyUse, Person, PolicySpec, Rule,
            RungSpec, Severity, StatusPage, TargetSpec, Wish,
        },
    },
    model::{
        freeze::{Freeze, Window},
        matcher::Matcher,
        mode::Mode,
        public::{Publish, Sentences},
        rung::{Bounds, IfIneffective, Verify},
        target::{Kind, Object},
        time::Span,
    },
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// The workloads that rules name one by one.
pub const WORKLOADS: [&str; 3] = ["web", "api", "jobs"];
/// The set whose members the alert's label picks.
pub const SET: &str = "fleet";
pub const SERVICE_KEY: &str = "production/Service/front";
pub const DATABASE_KEY: &str = "postgres/claims-db";

pub fn key_of(target: &str) -> String {
    format!("production/Deployment/{target}")
}

/// A member of [`SET`].
pub fn member(place: u64) -> String {
    format!("{SET}-{place}")
}

pub fn draw(random: &mut Random) -> PolicySpec {
    let rules = 1 + random.below(4) as usize;
    let asks_alertmanager = random.chance(90);
    let severity = |name: &str| Severity {
        name: name.to_owned(),
        title: name.to_owned(),
        aliases: Vec::new(),
        mentions: vec!["S1".to_owned()],
        respond_within: None,
        update_every: Some(Span::minutes(7)),
    };
    let spec = PolicySpec {
        mode: if random.chance(92) { Mode::Auto } else { Mode::Ask },
        severities: vec![severity("P0"), severity("P1"), severity("P2")],
        targets: draw_targets(random),
        rules: (0..rules).map(|place| draw_rule(random, place, asks_alertmanager)).collect(),
        max_concurrent: random.pick(&[1, 1, 1, 2, 3]),
        limits_namespace: draw_limits(random, 25),
        limits_all: draw_limits(random, 25),
        freezes: draw_freezes(random),
        brake: draw_brake(random),
        unclean_starts: random.pick(&[0, 0, 0, 2, 3]),
        settle_after_start: random.pick(&[Span::seconds(60), Span::seconds(60), Span::seconds(20), Span::minutes(5)]),
        lost_after: Span::minutes(30),
        timezone: "UTC".to_owned(),
        asks_alertmanager,
        asks_prometheus: random.chance(70),
        slack_channel: Some("#incidents".to_owned()),
        people: people(),
        escalations: draw_escalations(random),
        incident_channels: if random.chance(30) { vec!["P0".to_owned()] } else { Vec::new() },
        security_channel: Some("#security".to_owned()),
        approvers: BTreeMap::new(),
        pagerduty: PagerDutyUse { pages: true, ..PagerDutyUse::default() },
        statuspage: None,
    };
    with_customers(random, spec)
}

/// Most have a status page, and most rules concern somebody on it.
fn with_customers(random: &mut Random, mut spec: PolicySpec) -> PolicySpec {
    if !random.chance(60) {
        return spec;
    }
    let sentences = Sentences {
        title: "Something is slow".to_owned(),
        investigating: "We look.".to_owned(),
        identified: "We repair.".to_owned(),
        monitoring: "We watch.".to_owned(),
        resolved: "It works.".to_owned(),
    };
    let component = Component { sentences, shows: BTreeMap::new() };
    let components = ["claims", "portal"].map(|name| (name.to_owned(), component.clone())).into();
    let publish = random.pick(&[Publish::Auto, Publish::Auto, Publish::Draft]);
    spec.statuspage = Some(StatusPage { publish, components });
    for rule in &mut spec.rules {
        let severities = ["P0", "P1", "P2"].iter().take(1 + random.below(3) as usize);
        let severities = severities.map(|name| (*name).to_owned()).collect();
        let component = random.pick(&["claims", "claims", "portal"]).to_owned();
        rule.statuspage = random.chance(80).then_some(Wish { component, severities });
    }
    spec
}

fn draw_targets(random: &mut Random) -> BTreeMap<String, TargetSpec> {
    let mut targets = BTreeMap::new();
    let namespace = || "production".to_owned();
    for name in WORKLOADS {
        let object =
            Object::Workload { namespace: namespace(), kind: Kind::Deployment, name: name.to_owned(), selector: None };
        let bounds = random.pick(&[
            None,
            Some(Bounds { min: 1, max: 20, may_scale_to_zero: false }),
            Some(Bounds { min: 2, max: 6, may_scale_to_zero: false }),
            Some(Bounds { min: 1, max: 20, may_scale_to_zero: true }),
        ]);
        targets.insert(name.to_owned(), TargetSpec { choice: Choice::One { object }, bounds });
    }
    let choice = Choice::Set {
        namespace: namespace(),
        kind: Kind::Deployment,
        selector: "app=fleet".to_owned(),
        pick: "member".to_owned(),
    };
    targets.insert(SET.to_owned(), TargetSpec { choice, bounds: None });
    let front = Object::BlueGreen {
        namespace: namespace(),
        service: "front".to_owned(),
        selector: "version".to_owned(),
        colors: ["blue".to_owned(), "green".to_owned()],
        deployment: "front-{color}".to_owned(),
    };
    let database = Object::Database { name: "claims-db".to_owned() };
    for (name, object) in [("front", front), ("claims-db", database)] {
        targets.insert(name.to_owned(), TargetSpec { choice: Choice::One { object }, bounds: None });
    }
    targets
}

fn people() -> BTreeMap<String, Person> {
    let person = |id: &str| Person { slack: Some(id.to_owned()), pagerduty: false };
    [("team", "S1"), ("lead", "U1"), ("room", "#room")].map(|(name, id)| (name.to_owned(), person(id))).into()
}

/// Levels that come within a scenario.
fn draw_escalations(random: &mut Random) -> Vec<Escalation> {
    if random.chance(30) {
        return Vec::new();
    }
    let mut after = Span::ZERO;
    let levels = ["team", "lead", "room", "lead"].map(|to| {
        let level = Level { after, to: to.to_owned() };
        after = after + random.pick(&[Span::seconds(20), Span::minutes(2), Span::minutes(7)]);
        level
    });
    let severities = if random.chance(50) { vec!["P0".to_owned(), "P1".to_owned()] } else { vec!["P1".to_owned()] };
    vec![Escalation { name: "urgent".to_owned(), severities, levels: levels.to_vec() }]
}

/// Now and then some minutes of the scenario's first hour.
fn draw_freezes(random: &mut Random) -> Vec<Freeze> {
    if !random.chance(15) {
        return Vec::new();
    }
    let from = BEGIN + random.span(Span::ZERO, Span::minutes(40));
    let to = from + random.span(Span::minutes(1), Span::minutes(30));
    let except = if random.chance(30) { vec!["P0".to_owned()] } else { Vec::new() };
    vec![Freeze { name: "change-window".to_owned(), window: Window::Dates { from, to }, except }]
}

/// There are few targets: a brake that trips for all of them is a tight one.
fn draw_brake(random: &mut Random) -> Option<Brake> {
    random.chance(40).then(|| Brake {
        share_percent: 20,
        at_least: random.pick(&[2, 3]),
        all: random.pick(&[1, 2, 5]),
        within: random.pick(&[Span::minutes(2), Span::minutes(5)]),
        cooldown: random.pick(&[Span::minutes(3), Span::minutes(15)]),
    })
}

fn draw_limits(random: &mut Random, percent: u64) -> Vec<Limit> {
    if random.chance(percent) {
        let within = random.pick(&[Span::minutes(10), Span::minutes(30), Span::hours(1)]);
        vec![Limit { count: 1 + random.below(3) as u32, within }]
    } else {
        Vec::new()
    }
}

fn draw_rule(random: &mut Random, place: usize, asks_alertmanager: bool) -> Rule {
    let rungs = random.pick(&[1, 1, 1, 2, 2, 3]);
    let remediate: Vec<RungSpec> = (0..rungs).map(|_| draw_rung(random)).collect();
    // An incident acts on one target: what its rungs pick by is part of its name.
    let mut group_by = if random.chance(40) { vec!["pod".to_owned()] } else { Vec::new() };
    for rung in &remediate {
        let label = if rung.target == SET { Some("member".to_owned()) } else { rung.chooses_by.clone() };
        group_by.extend(label);
    }
    group_by.sort();
    group_by.dedup();
    // Without Alertmanager nothing acts, and only what is held for long can become old news.
    let says_late = !asks_alertmanager && random.chance(60);
    let fires_for = random.pick(&[Span::ZERO, Span::ZERO, Span::seconds(45), Span::minutes(3), Span::minutes(12)]);
    let mode = random.pick(&[Mode::Auto, Mode::Auto, Mode::Auto, Mode::Auto, Mode::Ask, Mode::Shadow]);
    Rule {
        name: format!("rule-{place}"),
        matchers: vec![Matcher::parse(&format!("alertname=\"A{place}\"")).expect("a matcher")],
        severity: Some(format!("P{}", random.below(3))),
        service: random.chance(50).then(|| "claims".to_owned()),
        runbook: None,
        impact: None,
        security: random.chance(10),
        group_by,
        fires_for: if says_late { Span::minutes(12) } else { fires_for },
        mode: if says_late { Mode::Shadow } else { mode },
        limits: draw_limits(random, 40),
        cooldown: random.pick(&[Span::ZERO, Span::minutes(1), Span::minutes(5), Span::minutes(15)]),
        quiet: random.pick(&[Span::minutes(2), Span::minutes(10)]),
        flapping: random.chance(30).then(|| Limit {
            count: 2 + random.below(3) as u32,
            within: random.pick(&[Span::minutes(10), Span::minutes(30)]),
        }),
        canary: random.pick(&[0, 0, 0, 0, 0, 1, 2]),
        undo_within: Span::hours(1),
        evidence: if place == 1 {
            vec![CollectorSpec { collect: "pods".to_owned(), target: "web".to_owned(), with: json!({}) }]
        } else {
            Vec::new()
        },
        remediate,
        slack_channel: random.chance(20).then(|| "#others".to_owned()),
        statuspage: None,
    }
}

/// What is done with what.
fn draw_action(random: &mut Random) -> (&'static str, Value) {
    match random.below(20) {
        0..=7 => ("scale", draw_scale(random)),
        8..=10 => ("restart", json!({})),
        11..=13 => {
            ("undo", random.pick(&["{}", r#"{"deployed_within": "30m"}"#, r#"{"to": 1}"#]).parse().expect("parameters"))
        }
        14 | 15 => ("delete_pod", json!({})),
        16 | 17 => {
            let with = r#"{"min_ready": 1, "smoke": true}"#;
            ("flip", random.pick(&["{}", r#"{"smoke": true, "deployed_within": "30m"}"#, with]).parse().expect("with"))
        }
        18 => {
            let keep = random.below(5);
            let with = json!({"idle_for": "10m", "max": random.pick(&[2, 5]), "keep": keep, "allow": ["report"]});
            ("kill_idle", with)
        }
        _ => {
            let with = json!({"longer_than": "5m", "max": 3, "terminate": random.chance(50), "never_users": ["admin"]});
            ("cancel_slow", with)
        }
    }
}

fn draw_scale(random: &mut Random) -> Value {
    match random.below(9) {
        0 | 1 => json!({"replicas": "+1", "lease": random.pick(&["4m", "20m", "2h"])}),
        2 | 3 => json!({"replicas": "-2"}),
        4 => json!({"replicas": "0"}),
        _ => json!({"replicas": "+2"}),
    }
}

fn draw_rung(random: &mut Random) -> RungSpec {
    let (action, with) = draw_action(random);
    let target = match action {
        "flip" => "front",
        "kill_idle" | "cancel_slow" => "claims-db",
        "delete_pod" => random.pick(&WORKLOADS),
        _ => random.pick(&["web", "web", "api", "jobs", SET]),
    };
    let target = target.to_owned();
    let destroys = !matches!(action, "scale" | "flip");
    let evidence = CollectorSpec { collect: "pods".to_owned(), target: target.clone(), with: json!({}) };
    let watches = action == "flip";
    RungSpec {
        action: action.to_owned(),
        evidence: if destroys && random.chance(50) { vec![evidence] } else { Vec::new() },
        target,
        with,
        mode: random.chance(10).then(|| random.pick(&[Mode::Ask, Mode::Shadow])),
        verify: Verify {
            settle: random.pick(&[Span::seconds(10), Span::seconds(30)]),
            resolved_within: random.pick(&[Span::seconds(20), Span::seconds(60), Span::seconds(120)]),
            query: None,
        },
        if_ineffective: if watches && random.chance(80) {
            IfIneffective::Keep
        } else {
            random.pick(&[IfIneffective::Keep, IfIneffective::Undo])
        },
        chooses_by: (action == "delete_pod").then(|| "pod".to_owned()),
    }
}

/// A reload: a rule changed, removed or added back, a mode lowered, a budget changed.
pub fn reload(random: &mut Random, now: &PolicySpec) -> PolicySpec {
    let mut spec = now.clone();
    let place = random.below(spec.rules.len() as u64) as usize;
    match random.below(5) {
        0 if spec.rules.len() > 1 => {
            spec.rules.remove(place);
        }
        1 => spec.rules[place].cooldown = spec.rules[place].cooldown + Span::minutes(1),
        2 => spec.rules[place].mode = random.pick(&[Mode::Shadow, Mode::Ask]),
        3 => spec.mode = random.pick(&[Mode::Shadow, Mode::Ask]),
        _ => spec.max_concurrent = random.pick(&[1, 2]),
    }
    spec
}

pub fn compile(spec: PolicySpec) -> Arc<Policy> {
    Arc::new(Policy::new(spec).expect("a policy"))
}
