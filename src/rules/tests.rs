//! Stories about rules files, with the real actions on no cluster: checking rules asks nobody.

mod called;
mod merge;
mod mutations;
mod refused;

use super::{Context, Loaded, STARTER, STARTER_NAME, check, load, schema};
use crate::{
    action::{
        Registry,
        kubernetes::{
            delete_pod::DeletePod,
            flip::{Flip, smoke::Smoker},
            restart::Restart,
            scale::Scale,
            undo::Undo,
        },
        noop::Noop,
    },
    decide::policy::{Choice, CollectorSpec, Limit, Person, Policy},
    model::{
        mode::Mode,
        problem::Problem,
        public::{Publish, Sentences},
        rung::{Bounds, IfIneffective},
        target::{Kind, Object},
        time::Span,
    },
    peer::{kubernetes::Cluster, postgres::Databases},
    rules::{RulesSource, StatusComponent, Statuspages},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

const COLLECTORS: [&str; 3] = ["kubernetes/pods", "kubernetes/logs", "postgres/connections"];

fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.add(Arc::new(Scale::new(Cluster::absent(), None)));
    registry.add(Arc::new(Restart::new(Cluster::absent(), None)));
    registry.add(Arc::new(Undo::new(Cluster::absent(), None)));
    registry.add(Arc::new(DeletePod::new(Cluster::absent(), None)));
    crate::action::postgres::register(&mut registry, &Databases::default());
    let smoke = Smoker::unconnected(&["blue.internal".to_owned(), "green.internal".to_owned()]);
    registry.add(Arc::new(Flip::new(Cluster::absent(), None, smoke)));
    registry.add(Arc::new(Noop));
    registry
}

fn component() -> StatusComponent {
    let sentences = Sentences {
        title: "Claims are slow".to_owned(),
        investigating: "We look for the cause.".to_owned(),
        identified: "We repair it.".to_owned(),
        monitoring: "We watch it.".to_owned(),
        resolved: "It works.".to_owned(),
    };
    StatusComponent { sentences, shows: Vec::new() }
}

/// A process with everything set up.
struct World {
    people: BTreeMap<String, Person>,
    itself: Object,
    actions: Registry,
    configured: bool,
    slack: bool,
    /// None: no status page is set up.
    components: Option<BTreeMap<String, StatusComponent>>,
}

impl World {
    fn with_everything() -> World {
        let itself = Object::Workload {
            namespace: "ops".to_owned(),
            kind: Kind::Deployment,
            name: "nightshift".to_owned(),
            selector: None,
        };
        let people = [("platform-team", "S0123ABC"), ("jo", "U024BE7LH"), ("everyone", "C0000001")];
        let in_slack = |id: &str| Person { slack: Some(id.to_owned()), pagerduty: false };
        World {
            people: (people.iter().map(|(name, id)| ((*name).to_owned(), in_slack(id))))
                .chain([("service".to_owned(), Person { slack: None, pagerduty: true })])
                .collect(),
            itself,
            actions: registry(),
            configured: true,
            slack: true,
            components: Some([("claims".to_owned(), component()), ("portal".to_owned(), component())].into()),
        }
    }

    fn with_nothing() -> World {
        World { people: BTreeMap::new(), configured: false, slack: false, components: None, ..World::with_everything() }
    }

    fn context(&self) -> Context<'_> {
        Context {
            mode: Mode::Auto,
            people: Some(&self.people),
            approvers: &[],
            itself: Some(&self.itself),
            alertmanager: self.configured,
            prometheus: self.configured,
            slack_channel: self.slack.then_some("#incidents"),
            slack_buttons: self.slack,
            incident_channels: None,
            security_channel: self.slack.then_some("#security"),
            statuspage: match &self.components {
                Some(components) => Statuspages::SetUp { publish: Publish::Draft, components },
                None => Statuspages::NotSetUp,
            },
            pagerduty: None,
            timezone: "UTC",
            unclean_starts: 0,
            lost_after: Span::minutes(30),
            actions: &self.actions,
            databases: Some(if self.configured { &["billing-db", "claims-db"] } else { &[] }),
            collectors: &COLLECTORS,
        }
    }

    fn load(&self, text: &str) -> Result<Loaded, Vec<Problem>> {
        check::texts(&[("r.yaml".to_owned(), text.to_owned())], Vec::new(), &self.context())
    }

    fn told(&self, text: &str) -> Vec<String> {
        match self.load(text) {
            Ok(loaded) => loaded.warnings.iter().map(ToString::to_string).collect(),
            Err(problems) => problems.iter().map(ToString::to_string).collect(),
        }
    }
}

const TARGETS: &str = "targets:\n  web:\n    kubernetes: {namespace: production, deployment: web}\n    \
                       replicas: {min: 2, max: 10}\n  set:\n    kubernetes: {namespace: production, kind: Deployment, \
                       selector: app}\n    pick: deployment\n  drill: {noop: {}}\n";

#[test]
fn a_flip_is_watched_as_long_as_it_says_and_kept_when_it_did_not_help() {
    let text = format!(
        "{TARGETS}  traffic:\n    kubernetes: {{namespace: production, service: web}}\n    blue_green: {{selector: version, \
         colors: [blue, green], deployment: 'web-{{color}}'}}\nrules:\n  - name: one\n    match: ['a = b']\n    remediate:\n      \
         - {{action: kubernetes/flip, target: traffic}}\n      - {{action: kubernetes/flip, target: traffic, with: \
         {{watch: 5m, smoke: {{url: 'https://{{color}}.internal/healthz'}}}}}}\n  - {{name: rest, match: []}}\n"
    );
    let loaded = World::with_everything().load(&text).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let rungs = &loaded.policy.rules[0].remediate;
    assert_eq!(rungs[0].verify.resolved_within, Span::minutes(10));
    assert_eq!(rungs[1].verify.resolved_within, Span::minutes(5));
    assert!(rungs.iter().all(|rung| rung.if_ineffective == IfIneffective::Keep && rung.evidence.is_empty()));
}

#[test]
fn a_smoke_test_that_asks_one_address_for_both_colours_is_told_and_taken() {
    let text = |with: &str| {
        format!(
            "{TARGETS}  traffic:\n    kubernetes: {{namespace: production, service: web}}\n    blue_green: {{selector: version, \
             colors: [blue, green], deployment: 'web-{{color}}'}}\nrules:\n  - name: one\n    match: ['a = b']\n    remediate:\n      \
             - {{action: kubernetes/flip, target: traffic, with: {with}}}\n  - {{name: rest, match: []}}\n"
        )
    };
    let world = World::with_everything();
    let one = text("{min_ready: 2, smoke: {url: 'https://blue.internal/healthz'}}");
    assert_eq!(
        world.load(&one).unwrap().warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "r.yaml:16:73: warning: kubernetes/flip: `smoke` has a url without `{color}`: before the flip it asks whichever \
          colour is live, and says nothing of the other one"
        ]
    );
    for other in ["{smoke: {url: 'https://blue.internal/healthz?of={color}'}}", "{min_ready: 2}"] {
        assert_eq!(world.told(&text(other)), Vec::<String>::new());
    }
}

#[test]
fn the_starter_rules_are_clean_with_nothing_configured() {
    let world = World::with_nothing();
    let loaded = load(&RulesSource::Starter, &world.context()).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(loaded.files, [STARTER_NAME]);
    let policy = Policy::new(loaded.policy).unwrap();
    let rules: Vec<&str> = policy.spec.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(rules, ["web-high-load", "unresponsive-workload", "pagerduty-incidents", "everything-else"]);
    assert!(policy.spec.rules.iter().all(|rule| rule.mode == Mode::Shadow));
    let scale = &policy.spec.rules[0].remediate[0];
    assert_eq!(scale.with, json!({"replicas": "+2", "lease": "2h"}), "a plus is kept, or +2 would mean two");
    assert_eq!(scale.if_ineffective, IfIneffective::Undo);
    let restart = &policy.spec.rules[1].remediate[0];
    assert_eq!(restart.if_ineffective, IfIneffective::Keep);
    assert_eq!(restart.evidence.iter().map(|it| it.collect.as_str()).collect::<Vec<_>>(), COLLECTORS[..2]);
    assert_eq!(policy.spec.rules[1].group_by, ["deployment"]);
    assert_eq!(policy.severity("CRITICAL").unwrap().0, 0);
    let text = policy.text().to_owned();
    assert_eq!(Policy::from_text(&text).unwrap().hash, policy.hash, "a replay compiles the same policy");
}

#[test]
fn a_rollback_is_kept_when_it_did_not_help_and_an_evictions_pod_makes_the_incident() {
    let text = format!(
        "{TARGETS}rules:\n  - {{name: a, match: ['a=1'], remediate: [{{action: kubernetes/undo, target: web}}]}}\n  \
         - {{name: b, match: ['a=2'], remediate: [{{action: kubernetes/delete_pod, target: web}}]}}\n  \
         - {{name: z, match: []}}\n"
    );
    let policy = Policy::new(World::with_everything().load(&text).unwrap().policy).unwrap();
    let rule = |name: &str| policy.rule(name).unwrap();
    assert_eq!(rule("a").remediate[0].if_ineffective, IfIneffective::Keep);
    assert_eq!((rule("a").group_by.len(), rule("b").group_by.clone()), (0, vec!["pod".to_owned()]));
    let evidence = rule("b").remediate[0].evidence.iter().map(|it| it.collect.as_str());
    assert_eq!(evidence.collect::<Vec<_>>(), COLLECTORS[..2], "it ends what they show");

    let ladder = |pod: &str| policy.ladder(rule("b"), &[("pod".to_owned(), pod.to_owned())].into());
    let rung = ladder("web-1").unwrap().remove(0);
    assert_eq!((rung.target.name.as_str(), rung.member.as_deref()), ("web", Some("web-1")));
    for odd in ["", "../x", "a/b", "A"] {
        let refused = ladder(odd).unwrap_err();
        assert!(refused.starts_with("label `pod` is ") && refused.ends_with("no object's name"), "{refused}");
    }
    assert_eq!(policy.ladder(rule("a"), &std::collections::BTreeMap::new()).unwrap()[0].member, None);
}

#[test]
fn what_is_not_said_has_the_documented_defaults() {
    let world = World::with_everything();
    let text = format!(
        "{TARGETS}rules:\n  - {{name: a, match: ['a=1'], remediate: [{{action: kubernetes/restart, target: set}}]}}\n  \
         - {{name: z, match: []}}\n"
    );
    let policy = world.load(&text).unwrap().policy;
    let names: Vec<&str> = policy.severities.iter().map(|severity| severity.name.as_str()).collect();
    assert_eq!(names, ["P0", "P1", "P2", "P3"]);
    assert_eq!((policy.max_concurrent, policy.settle_after_start), (1, Span::seconds(60)));
    assert_eq!(policy.limits_namespace, [Limit { count: 10, within: Span::hours(1) }]);
    assert_eq!(policy.limits_all, [Limit { count: 20, within: Span::hours(1) }]);
    let rule = &policy.rules[0];
    assert_eq!((rule.mode, rule.cooldown, rule.quiet), (Mode::Shadow, Span::minutes(15), Span::minutes(10)));
    assert_eq!((rule.undo_within, rule.fires_for), (Span::hours(1), Span::ZERO));
    assert_eq!(rule.group_by, ["deployment"], "an incident has one target");
    let rung = &rule.remediate[0];
    assert_eq!((rung.verify.settle, rung.verify.resolved_within), (Span::seconds(30), Span::minutes(10)));
    assert_eq!((rung.mode, rung.with.clone()), (None, json!({})));
}

#[test]
fn everything_that_can_be_written_is_used() {
    let world = World::with_everything();
    let text = r##"
severities: [{name: high, title: High, aliases: [page]}, {name: low}]
escalations:
  urgent: {severities: high..low, levels: [{after: 0m, to: platform-team}, {after: 5m, to: everyone}, {after: 15m, to: jo}]}
targets:
  web: {kubernetes: {namespace: production, statefulset: web.v2}, replicas: {min: 2, max: 2}}
  all: {kubernetes: {namespace: production, kind: DaemonSet, selector: "env in (a,b),!old"}, pick: daemon}
defaults: {mode: ask, cooldown: 1m, quiet: 2m, undo_within: 3m, flapping: 9 in 1h, canary: 2}
freezes:
  - {name: quarter-end, from: "2026-12-31T18:00", to: "2027-01-01T06:00Z", except: [high]}
  - {name: weekend, weekly: "Fri 18:00 - Mon 06:00"}
brake: {targets: 30%, at_least: 4, all: 9, within: 10m, cooldown: 20m}
max_concurrent: 4
limits: {namespace: [1 per 1m, 2 per 1h], all: 9 per 31d}
settle_after_start: 5s
rules:
  - name: one
    match: ['a="b"', 'c=~"d|e"']
    severity: PAGE
    service: claims
    runbook: https://runbooks.example/one
    impact: users cannot submit claims
    security: true
    group_by: [cluster, daemon]
    for: 30s
    evidence: [{collect: kubernetes/logs, target: web, with: {lines: 500}}]
    mode: auto
    limits: [3 per 1h, 7 per 1d]
    cooldown: 1h
    quiet: 1m30s
    undo_within: 2h
    flapping: off
    canary: 3
    remediate:
      - action: kubernetes/restart
        target: web
        with: {}
        mode: ask
        verify: {settle: 45s, resolved_within: 2m, query: 'up == 1'}
        if_ineffective: keep
      - {action: kubernetes/restart, target: all}
    notify: {slack: '#web-team'}
  - {name: two, match: []}
"##;
    let loaded = world.load(text).unwrap();
    let doubtful: Vec<&str> = loaded.warnings.iter().map(|it| it.what.as_str()).collect();
    assert!(matches!(&doubtful[..], [only] if only.starts_with("no rule of low acts")), "{doubtful:?}");
    let policy = loaded.policy;
    assert!(policy.severities.iter().all(|severity| severity.mentions == ["S0123ABC"]));
    let levels: Vec<(Span, &str)> =
        policy.escalations[0].levels.iter().map(|level| (level.after, level.to.as_str())).collect();
    assert_eq!(levels, [(Span::ZERO, "platform-team"), (Span::minutes(5), "everyone"), (Span::minutes(15), "jo")]);
    assert_eq!(policy.escalations[0].severities, ["high", "low"]);
    assert_eq!(policy.people.len(), 4);
    assert_eq!(policy.security_channel.as_deref(), Some("#security"));
    assert_eq!((policy.severities[0].title.as_str(), policy.severities[1].title.as_str()), ("High", "low"));
    assert_eq!(policy.targets["web"].bounds, Some(Bounds { min: 2, max: 2, may_scale_to_zero: false }));
    assert!(
        matches!(&policy.targets["all"].choice, Choice::Set { kind: Kind::DaemonSet, pick, .. } if pick == "daemon")
    );
    assert_eq!((policy.max_concurrent, policy.settle_after_start), (4, Span::seconds(5)));
    assert_eq!((policy.limits_namespace.len(), policy.limits_all[0].within), (2, Span::hours(31 * 24)));
    let (one, two) = (&policy.rules[0], &policy.rules[1]);
    assert_eq!((one.impact.as_deref(), one.security, two.security), (Some("users cannot submit claims"), true, false));
    assert_eq!(one.severity.as_deref(), Some("high"), "the alias is not kept, so that renaming it changes no policy");
    assert_eq!((one.mode, two.mode), (Mode::Auto, Mode::Ask));
    assert_eq!((one.cooldown, two.cooldown), (Span::hours(1), Span::minutes(1)));
    assert_eq!((one.quiet, one.undo_within, one.fires_for), (Span::seconds(90), Span::hours(2), Span::seconds(30)));
    assert_eq!(one.limits[1], Limit { count: 7, within: Span::hours(24) });
    assert_eq!(one.slack_channel.as_deref(), Some("#web-team"));
    assert_eq!((one.flapping, one.canary, two.canary), (None, 3, 2));
    assert_eq!(two.flapping, Some(Limit { count: 9, within: Span::hours(1) }));
    let brake = policy.brake.unwrap();
    assert_eq!((brake.share_percent, brake.at_least, brake.all), (30, 4, 9));
    assert_eq!((brake.within, brake.cooldown), (Span::minutes(10), Span::minutes(20)));
    assert_eq!((policy.freezes.len(), policy.freezes[0].except.as_slice()), (2, &["high".to_owned()][..]));
    let first = &one.remediate[0];
    assert_eq!((first.mode, first.verify.query.as_deref()), (Some(Mode::Ask), Some("up == 1")));
    let logs =
        CollectorSpec { collect: "kubernetes/logs".to_owned(), target: "web".to_owned(), with: json!({"lines": 500}) };
    assert_eq!(first.evidence[1], logs, "what is collected before a restart is what the rule asked for");
    assert_eq!(one.remediate[1].evidence[1].with, json!({}));
}

#[test]
fn problems_of_several_rules_are_told_together() {
    let world = World::with_everything();
    let text = format!(
        "{TARGETS}rules:\n  - {{name: a, match: ['a 1'], coldown: 1m}}\n  - {{name: b, match: ['a 1'], cooldown: \
         soon}}\n  - name: c\n    match: []\n    remediate: [{{action: noop, target: wep}}, {{action: restart, \
         target: web}}]\nfreezers: []\n"
    );
    let told = world.told(&text);
    let expected = [
        "r.yaml:10:31: error: unknown key `coldown`\nhint: did you mean `cooldown`?",
        "r.yaml:11:23: error: `a 1` is not a matcher",
        "r.yaml:11:41: error: `soon` is not a duration",
        "r.yaml:14:26: warning: `c` takes every alert",
        "r.yaml:14:40: error: target `wep` is not listed under `targets`\nhint: did you mean `web`?",
        "r.yaml:14:55: error: there is no action `restart`",
        "r.yaml:15:1: error: unknown key `freezers`\nhint: did you mean `freezes`?",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}\nshould begin with\n{expected}");
    }
}

#[test]
fn a_wrong_target_is_told_once_and_not_at_every_rule() {
    let world = World::with_everything();
    let text = "targets: {web: {kubernetes: {namespace: A, deployment: web}}}\nrules:\n  - {name: a, match: [a=b], \
                remediate: [{action: kubernetes/restart, target: web}]}\n  - {name: z, match: []}\n";
    let told = world.told(text);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].starts_with("r.yaml:1:41: error: `A` cannot be the name of a namespace"), "{told:?}");
}

#[test]
fn what_acts_needs_alertmanager_to_ask() {
    let mut world = World::with_everything();
    world.configured = false;
    let text = "defaults: {mode: ask}\nrules: [{name: a, match: [], mode: auto}]\n";
    let told = world.told(text);
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[1].contains("mode auto needs alertmanager.urls"), "{told:?}");
}

#[test]
fn rules_that_no_alert_reaches_are_told() {
    let world = World::with_everything();
    let text = "rules:\n  - {name: a, match: [x=1, y=2]}\n  - {name: b, match: [y=2, z=3, x=1]}\n  - {name: c, match: \
                [x=1]}\n  - {name: d, match: ['x=~\".*\"']}\n  - {name: e, match: [q=1]}\n";
    let told = world.told(text);
    assert_eq!(
        told,
        [
            "r.yaml:3:12: warning: no alert reaches `b`: `a` takes all of its alerts first\nhint: put it before `a` (r.yaml:2)",
            "r.yaml:6:12: warning: no alert reaches `e`: `d` takes all of its alerts first\nhint: put it before `d` (r.yaml:5)",
        ]
    );
}

#[test]
fn a_rule_that_picks_by_a_name_says_of_which_namespace() {
    let told = |matchers: &str, action: &str, target: &str| {
        let text = format!(
            "{TARGETS}rules:\n  - {{name: a, match: [a=1{matchers}], remediate: [{{action: {action}, target: {target}}}]}}\n  \
             - {{name: z, match: []}}\n"
        );
        World::with_everything().told(&text)
    };
    let hint = "hint: match `namespace = \"production\"`: for an alert of another namespace nothing is done";
    assert_eq!(
        told("", "kubernetes/delete_pod", "web"),
        [format!(
            "r.yaml:10:50: warning: alerts of every namespace are taken, and `pod` chooses in production alone\n{hint}"
        )]
    );
    let staging = told(", namespace=staging", "kubernetes/restart", "set");
    assert!(
        staging[0].contains("alerts of staging choose nothing in production, where `deployment` chooses"),
        "{staging:?}"
    );
    for (action, target) in [("kubernetes/delete_pod", "web"), ("kubernetes/restart", "set")] {
        assert_eq!(told(", namespace=production", action, target), Vec::<String>::new());
    }
    assert_eq!(told("", "kubernetes/restart", "web"), Vec::<String>::new(), "nothing is picked");
}

#[test]
fn rules_without_a_last_one_for_all_alerts_are_told() {
    let told = World::with_everything().told("rules: [{name: a, match: [x=1]}]\n");
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("r.yaml: warning: no rule takes every alert"), "{told:?}");
}

#[test]
fn ten_thousand_rules_are_read_and_one_more_is_refused() {
    let world = World::with_everything();
    let rule = |number: usize| format!("- {{name: r{number}, match: [env=production, alertname=A{number}]}}\n");
    let rules = |count: usize| (0..count).map(rule).collect::<String>();
    // One file is too large for so many, so they lie in two.
    let load = |first: usize, second: String| {
        let texts = [("a.yaml".to_owned(), format!("rules:\n{}", rules(first))), ("b.yaml".to_owned(), second)];
        check::texts(&texts, Vec::new(), &world.context())
    };
    let rest = |from: usize, to: usize| format!("rules:\n{}", (from..to).map(rule).collect::<String>());
    let loaded = load(5_000, rest(5_000, 10_000)).unwrap();
    assert_eq!(loaded.policy.rules.len(), 10_000);
    let problems = load(5_000, rest(5_000, 10_001)).unwrap_err();
    assert_eq!(problems[0].to_string(), "b.yaml:5002:3: error: more than 10000 rules");
}

#[test]
fn patterns_are_counted_before_they_are_compiled() {
    let world = World::with_everything();
    let matchers = ["'a=~\"(\"'"; 50].join(",");
    let rule = |number: usize| format!("- {{name: r{number}, match: [{matchers}]}}\n");
    let text = format!("rules:\n{}", (0..250).map(rule).collect::<String>());
    let told = world.told(&text);
    assert_eq!(
        told.last().unwrap(),
        "r.yaml: error: 9801 more problems are not shown",
        "one for all above ten thousand"
    );
}

#[test]
fn rules_made_to_be_compared_in_pairs_are_read_in_time() {
    let world = World::with_everything();
    // Every three of thirty labels: no rule covers another, and every label is as rare as the next.
    let labels: Vec<(usize, usize, usize)> = (0..30)
        .flat_map(|one| (one + 1..30).flat_map(move |two| (two + 1..30).map(move |three| (one, two, three))))
        .collect();
    let rule = |(place, (one, two, three)): (usize, &(usize, usize, usize))| {
        format!("- {{name: r{place}, match: [l{one}=v, l{two}=v, l{three}=v]}}\n")
    };
    let text: String = labels.iter().enumerate().map(rule).collect();
    let loaded = world.load(&format!("rules:\n{text}- {{name: rest, match: []}}\n")).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(loaded.policy.rules.len(), 4061);
}

#[test]
fn thousands_of_problems_are_cut_and_counted() {
    let text = format!("rules:\n{}", "  - {name: a, match: ['x']}\n".repeat(2_000));
    let told = World::with_everything().told(&text);
    assert_eq!(told.len(), 201);
    assert_eq!(told[200], "r.yaml: error: 3799 more problems are not shown");
}

/// Follows `$ref`s and says where a text has a key that the schema does not.
fn unknown_keys(root: &Value, schema: &Value, node: &Value, path: &str, found: &mut Vec<String>) {
    let mut schema = schema;
    while let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        schema = root.pointer(reference.trim_start_matches('#')).unwrap();
    }
    if let Some(options) = schema.get("anyOf").and_then(Value::as_array) {
        let fits = |option: &&Value| {
            let mut inner = Vec::new();
            unknown_keys(root, option, node, path, &mut inner);
            inner.is_empty() && option.get("type") != Some(&json!("null"))
        };
        if !options.iter().any(|option| fits(&option)) {
            found.push(format!("{path}: none of the forms fits"));
        }
        return;
    }
    match node {
        Value::Object(entries) => {
            for (key, value) in entries {
                let inner = schema
                    .pointer(&format!("/properties/{key}"))
                    .or_else(|| schema.get("additionalProperties").filter(|it| it.is_object()));
                let path = format!("{path}/{key}");
                match inner {
                    Some(inner) => unknown_keys(root, inner, value, &path, found),
                    None if schema.get("additionalProperties") == Some(&json!(true)) => {}
                    None => found.push(path),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                match schema.get("items") {
                    Some(inner) => unknown_keys(root, inner, item, path, found),
                    None => found.push(format!("{path}: a list")),
                }
            }
        }
        _ => {}
    }
}

#[test]
fn the_schema_knows_the_starter_rules_and_refuses_what_is_not_wired() {
    let schema = schema::schema();
    let starter: Value = {
        let (tree, _) = crate::config::yaml::tree(STARTER_NAME, STARTER).unwrap();
        crate::config::typed::read(&tree).unwrap()
    };
    let mut found = Vec::new();
    unknown_keys(&schema, &schema, &starter, "", &mut found);
    assert_eq!(found, Vec::<String>::new());
    let later = json!({"rules": [{"open_ticket": "5m"}], "targets": {"a": {"mysql": "b"}}});
    unknown_keys(&schema, &schema, &later, "", &mut found);
    found.sort();
    assert_eq!(found, ["/rules/open_ticket", "/targets/a/mysql"]);
}

#[test]
fn the_example_of_the_documentation_is_taken_as_it_is() {
    let text = include_str!("../../rules/README.md");
    let (_, example) = text.split_once("```yaml\ntargets:\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let loaded = World::with_everything().load(&format!("targets:\n{example}  - {{name: rest, match: []}}\n")).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let rung = &loaded.policy.rules[0].remediate[0];
    assert_eq!(rung.if_ineffective, IfIneffective::Keep);
    assert_eq!(rung.evidence.iter().map(|it| it.collect.as_str()).collect::<Vec<_>>(), ["postgres/connections"]);
}

#[test]
fn every_key_of_the_schema_says_what_it_is() {
    let schema = schema::schema();
    let mut silent = Vec::new();
    let definitions = schema["$defs"].as_object().unwrap().iter().map(|(name, of)| (name.as_str(), of));
    for (name, of) in definitions.chain([("file", &schema)]) {
        for (key, property) in of.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if property.get("description").is_none() {
                silent.push(format!("{name}.{key}"));
            }
        }
    }
    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn a_page_goes_to_the_pagerduty_service_of_whom_its_first_level_calls() {
    let world = World::with_everything();
    let text = "escalations:\n  worst: {severities: P0, levels: [{after: 0m, to: service}, {after: 5m, to: jo}]}\n  \
                urgent: {severities: P1, levels: [{after: 0m, to: jo}]}\nrules: [{name: rest, match: []}]\n";
    let policy = world.load(text).unwrap().policy;
    let pages_to: Vec<(&str, &str)> =
        policy.pagerduty.pages_to.iter().map(|(severity, name)| (severity.as_str(), name.as_str())).collect();
    assert_eq!(pages_to, [("P0", "service")]);
    assert!(policy.severities[0].mentions.is_empty(), "nobody of it is in Slack");
}
