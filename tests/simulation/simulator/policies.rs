//! The rules of a scenario: drawn so that rules share targets, budgets are small and every mode occurs.

use super::{random::Random, scenario::BEGIN};
use nightshift::{
    decide::{
        Policy,
        policy::{Brake, Choice, CollectorSpec, Limit, PolicySpec, Rule, RungSpec, Severity, TargetSpec},
    },
    model::{
        freeze::{Freeze, Window},
        matcher::Matcher,
        mode::Mode,
        rung::{Bounds, IfIneffective, Verify},
        target::{Kind, Object},
        time::Span,
    },
};
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc};

/// The objects of the model world.
pub const TARGETS: [&str; 3] = ["web", "api", "jobs"];

pub fn key_of(target: &str) -> String {
    format!("production/Deployment/{target}")
}

pub fn draw(random: &mut Random) -> PolicySpec {
    let rules = 1 + random.below(4) as usize;
    let targets = TARGETS.map(|name| {
        let object = Object::Workload {
            namespace: "production".to_owned(),
            kind: Kind::Deployment,
            name: name.to_owned(),
            selector: None,
        };
        let bounds = random.pick(&[
            None,
            Some(Bounds { min: 1, max: 20, may_scale_to_zero: false }),
            Some(Bounds { min: 2, max: 6, may_scale_to_zero: false }),
        ]);
        (name.to_owned(), TargetSpec { choice: Choice::One { object }, bounds })
    });
    let severity = |name: &str| Severity {
        name: name.to_owned(),
        title: name.to_owned(),
        aliases: Vec::new(),
        mentions: vec!["S1".to_owned()],
    };
    PolicySpec {
        mode: if random.chance(92) { Mode::Auto } else { Mode::Ask },
        severities: vec![severity("P0"), severity("P1"), severity("P2")],
        targets: BTreeMap::from(targets),
        rules: (0..rules).map(|place| draw_rule(random, place)).collect(),
        max_concurrent: random.pick(&[1, 1, 1, 2, 3]),
        limits_namespace: draw_limits(random, 25),
        limits_all: draw_limits(random, 25),
        freezes: draw_freezes(random),
        brake: draw_brake(random),
        unclean_starts: random.pick(&[0, 0, 0, 2, 3]),
        settle_after_start: random.pick(&[Span::seconds(60), Span::seconds(60), Span::seconds(20), Span::minutes(5)]),
        lost_after: Span::minutes(30),
        timezone: "UTC".to_owned(),
        asks_alertmanager: random.chance(93),
        asks_prometheus: random.chance(70),
        slack_channel: Some("#incidents".to_owned()),
        approvers: BTreeMap::new(),
    }
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

/// There are few targets: a brake that trips at all is a tight one.
fn draw_brake(random: &mut Random) -> Option<Brake> {
    random.chance(40).then(|| Brake {
        share_percent: 20,
        at_least: 3,
        all: random.pick(&[1, 2]),
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

fn draw_rule(random: &mut Random, place: usize) -> Rule {
    let rungs = random.pick(&[1, 1, 1, 2, 2, 3]);
    Rule {
        name: format!("rule-{place}"),
        matchers: vec![Matcher::parse(&format!("alertname=\"A{place}\"")).expect("a matcher")],
        severity: Some(format!("P{}", random.below(3))),
        service: None,
        runbook: None,
        group_by: if random.chance(40) { vec!["pod".to_owned()] } else { Vec::new() },
        fires_for: random.pick(&[Span::ZERO, Span::ZERO, Span::seconds(45), Span::minutes(3), Span::minutes(12)]),
        mode: random.pick(&[Mode::Auto, Mode::Auto, Mode::Auto, Mode::Auto, Mode::Ask, Mode::Shadow]),
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
        remediate: (0..rungs).map(|_| draw_rung(random)).collect(),
        slack_channel: random.chance(20).then(|| "#others".to_owned()),
    }
}

fn draw_rung(random: &mut Random) -> RungSpec {
    let target = random.pick(&["web", "web", "api", "jobs"]).to_owned();
    let scales = random.chance(70);
    let with = match (scales, random.below(4)) {
        (false, _) => json!({}),
        (true, 0) => json!({"replicas": "+1", "lease": random.pick(&["4m", "20m", "2h"])}),
        (true, 1) => json!({"replicas": "-2"}),
        (true, _) => json!({"replicas": "+2"}),
    };
    let evidence = CollectorSpec { collect: "pods".to_owned(), target: target.clone(), with: json!({}) };
    RungSpec {
        action: if scales { "scale".to_owned() } else { "restart".to_owned() },
        evidence: if scales || random.chance(50) { Vec::new() } else { vec![evidence] },
        target,
        with,
        mode: random.chance(10).then(|| random.pick(&[Mode::Ask, Mode::Shadow])),
        verify: Verify {
            settle: random.pick(&[Span::seconds(10), Span::seconds(30)]),
            resolved_within: random.pick(&[Span::seconds(20), Span::seconds(60)]),
            query: None,
        },
        if_ineffective: random.pick(&[IfIneffective::Keep, IfIneffective::Undo]),
        chooses_by: None,
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
