//! Rules that are right, and a night in which nobody would be called or could answer: told, and taken.

use super::World;
use crate::{
    config::{node::Place, settings::Approvers, yaml::Located},
    decide::policy::{PagerDutyUse, Person},
    model::{mode::Mode, problem::Problem},
    rules::{Context, check},
};
use std::collections::BTreeMap;

/// Each warning with its line and hint.
fn told(context: &Context<'_>, text: &str) -> Vec<String> {
    let loaded = check::texts(&[("r.yaml".to_owned(), text.to_owned())], Vec::new(), context);
    let problems = loaded.unwrap_or_else(|problems| panic!("{problems:#?}")).warnings;
    problems.iter().map(Problem::to_string).collect()
}

/// An escalation of P0 and P1, and rules in their own words.
fn escalating(rules: &str) -> String {
    format!(
        "escalations:\n  urgent: {{severities: P0..P1, levels: [{{after: 0m, to: platform-team}}, {{after: 5m, to: jo}}]}}\n\
         targets: {{drill: {{noop: {{}}}}}}\nrules:\n{rules}  - {{name: rest, match: [], severity: P3}}\n"
    )
}

fn rule(name: &str, more: &str) -> String {
    format!(
        "  - {{name: {name}, match: ['alertname = \"{name}\"']{}{more}}}\n",
        if more.is_empty() { "" } else { ", " }
    )
}

const ACTS: &str = "remediate: [{action: noop, target: drill}]";

#[test]
fn an_escalation_that_no_rule_calls_is_told_once_at_its_line() {
    let world = World::with_everything();
    let never = |of: &str| {
        format!(
            "r.yaml:2:24: warning: no rule of {of} acts, and only what acts pages people: `urgent` is never called for an \
             incident of {of}\nhint: Alertmanager pages for it as before; a rule acts that has `remediate` and mode ask or auto"
        )
    };
    let acting = rule("a", &format!("severity: P1, mode: ask, {ACTS}"));
    let idle = rule("idle", "severity: P0");
    assert_eq!(told(&world.context(), &escalating(&acting)), Vec::<String>::new(), "nothing is ever of P0");
    assert_eq!(told(&world.context(), &escalating(&(idle.clone() + &acting))), [never("P0")]);
    for other in [
        rule("a", &format!("severity: P1, {ACTS}")),
        rule("a", "severity: P1, mode: auto"),
        rule("a", "severity: P1, mode: auto, remediate: [{action: noop, target: drill, mode: shadow}]"),
        rule("a", ""),
    ] {
        assert_eq!(told(&world.context(), &escalating(&(idle.clone() + &other))), [never("P0 or P1")], "{other}");
    }
    let any = rule("a", &format!("mode: auto, {ACTS}"));
    assert_eq!(told(&world.context(), &escalating(&any)), Vec::<String>::new(), "its alerts may be of any severity");
    let acting = rule("a", &format!("severity: P1, service: claims, mode: auto, {ACTS}"));
    let joins = acting.clone() + &rule("b", "severity: P0, service: claims");
    assert_eq!(
        told(&world.context(), &escalating(&joins)),
        Vec::<String>::new(),
        "it makes an incident that paged more severe"
    );
    let asks = idle + &acting + "  - {name: b, match: ['nightshift_hold = \"true\"'], severity: P0}\n";
    assert_eq!(
        told(&world.context(), &escalating(&asks)),
        Vec::<String>::new(),
        "its alerts page unless they are held"
    );
}

#[test]
fn in_shadow_no_escalation_is_called() {
    let world = World::with_everything();
    let context = Context { mode: Mode::Shadow, ..world.context() };
    let told = told(&context, &escalating(&rule("a", &format!("severity: P1, mode: auto, {ACTS}"))));
    assert!(
        matches!(&told[..], [only] if only.ends_with(
        "hint: nightshift.yaml says `mode: shadow`: Alertmanager pages as before")),
        "{told:?}"
    );
}

#[test]
fn without_slack_levels_after_the_page_are_told_to_call_nobody() {
    let mut world = World::with_everything();
    let rules = escalating(&rule("a", &format!("mode: auto, {ACTS}")));
    let pages = PagerDutyUse { pages: true, ..PagerDutyUse::default() };
    let called = |world: &World, pages: &PagerDutyUse, slack: Option<&str>| {
        told(&Context { pagerduty: Some(pages), slack_channel: slack, ..world.context() }, &rules)
    };
    assert_eq!(called(&world, &pages, Some("#incidents")), Vec::<String>::new());
    let silent = |at: &str, to: &str| {
        format!(
            "r.yaml:2:{at}: warning: `{to}` is called in Slack, which is not set up: this level calls nobody\n\
             hint: set slack.channel and slack.bot_token_file; PagerDuty is called by the page alone, and has levels of its own"
        )
    };
    assert_eq!(called(&world, &pages, None), [silent("89", "jo")]);
    // Somebody else's service is no way to reach the first level.
    assert_eq!(called(&world, &PagerDutyUse::default(), None), [silent("57", "platform-team")]);
    // Nobody can be called at all: the settings' own warning says so.
    world.people.retain(|name, _| name != "service");
    assert_eq!(called(&world, &PagerDutyUse::default(), None), Vec::<String>::new());
}

#[test]
fn a_held_page_that_nobody_can_send_early_is_told() {
    let mut world = World::with_everything();
    world.people = BTreeMap::new();
    let held = "severity: P1, mode: auto, hold_page: 5m, remediate: [{action: noop, target: drill, verify: {settle: 30s, \
                resolved_within: 2m}}]";
    let text =
        format!("targets: {{drill: {{noop: {{}}}}}}\nrules:\n{}  - {{name: rest, match: []}}\n", rule("a", held));
    let none = PagerDutyUse::default();
    let some = PagerDutyUse { pages: true, ..PagerDutyUse::default() };
    let context = |pagerduty, slack_channel| Context { pagerduty: Some(pagerduty), slack_channel, ..world.context() };
    assert_eq!(
        told(&context(&none, None), &text),
        ["r.yaml:3:80: warning: neither PagerDuty nor Slack is set up: whatever comes of it, the page goes out with \
          Alertmanager's fuse\nhint: set pagerduty.routing_key_file (the service that Alertmanager pages), or slack, in \
          nightshift.yaml"]
    );
    for fine in [context(&some, None), context(&none, Some("#incidents"))] {
        assert_eq!(told(&fine, &text), Vec::<String>::new());
    }
    let person: BTreeMap<String, Person> = [("a".to_owned(), Person { slack: None, pagerduty: true })].into();
    assert_eq!(told(&Context { people: Some(&person), ..context(&none, None) }, &text), Vec::<String>::new());
}

#[test]
fn a_rule_that_asks_where_nobody_may_answer_in_slack_is_told() {
    let world = World::with_everything();
    let listed = |severities: &str| {
        let severities = Located { value: severities.to_owned(), place: Place::of("nightshift.yaml") };
        [Approvers { severities, ids: vec!["S0123ABC".to_owned()] }]
    };
    let text =
        |rules: &str| format!("targets: {{drill: {{noop: {{}}}}}}\nrules:\n{rules}  - {{name: rest, match: []}}\n");
    let asks = rule("a", &format!("severity: P2, mode: ask, {ACTS}")) + &rule("b", &format!("mode: ask, {ACTS}"));
    let lacks = |line: u32, name: &str, of: &str, first: &str| {
        format!(
            "r.yaml:{line}:12: warning: `{name}` asks, and nobody is listed under `approvers` for {of}: nobody may approve it in \
             Slack\nhint: add `{first}: [S0123ABC]` to `approvers` in nightshift.yaml; `nightshift approve` works"
        )
    };
    let with = |approvers: &[Approvers], buttons: bool, mode: Mode, rules: &str| {
        told(&Context { approvers, slack_buttons: buttons, mode, ..world.context() }, &text(rules))
    };
    let most = listed("P0..P1");
    assert_eq!(with(&most, true, Mode::Auto, &asks), [lacks(3, "a", "P2", "P2"), lacks(4, "b", "P3", "P3")]);
    assert_eq!(with(&most, false, Mode::Auto, &asks), Vec::<String>::new());
    assert_eq!(with(&listed("P0..P3"), true, Mode::Auto, &asks), Vec::<String>::new());
    assert_eq!(with(&[], true, Mode::Auto, &asks), Vec::<String>::new(), "the settings' own warning says so");
    let auto = rule("a", &format!("severity: P3, mode: auto, {ACTS}"));
    assert_eq!(with(&most, true, Mode::Auto, &auto), Vec::<String>::new());
    assert_eq!(with(&most, true, Mode::Ask, &auto), [lacks(3, "a", "P3", "P3")], "by the settings' mode");
    let rung = rule("a", "severity: P3, mode: auto, remediate: [{action: noop, target: drill, mode: ask}]");
    assert_eq!(with(&most, true, Mode::Auto, &rung), [lacks(3, "a", "P3", "P3")]);
}
