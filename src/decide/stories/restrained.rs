//! What holds a rule back though its alert fires: freezes, flapping, failures, first runs, a crash loop.

use super::harness::{Story, rule};
use crate::{
    decide::{policy::Limit, work::Work},
    model::{
        event::Event,
        freeze::{Freeze, Window},
        id::{IncidentId, StepId},
        input::{Command, Input, Op},
        mode::Mode,
        observation::{Moment, Outcome, Proposed},
        plan::Replicas,
        rung::Bounds,
        step::Phase,
        target::TargetKey,
        time::Span,
    },
};

fn frozen(story: &mut Story, lasts: Span, except: &[&str]) {
    let window = Window::Dates { from: story.now, to: story.now + lasts };
    let except = except.iter().map(|word| (*word).to_owned()).collect();
    story.reloads(|spec| spec.freezes = vec![Freeze { name: "quarter-end".into(), window, except }]);
}

/// The alert's next firing, acted on, and found not to have helped.
fn fails(story: &mut Story, name: &str) -> StepId {
    let step = story.acts_on(name);
    story.after(Span::seconds(65));
    let reading = story.after(Span::minutes(3)).reading();
    story.measures(reading);
    assert_eq!(story.phase(step), Phase::Ineffective);
    story.after(Span::minutes(1)).resolves(name);
    story.after(Span::minutes(30));
    story.replicas = 4;
    step
}

fn told(story: &Story, words: &str) -> bool {
    let mut notes = story.events().filter_map(|event| match event {
        Event::Tell { note: Some(note), .. } => Some(&note.text),
        _ => None,
    });
    notes.any(|text| text.contains(words))
}

#[test]
fn nothing_acts_in_a_freeze_and_people_are_woken() {
    let mut story = Story::begin();
    frozen(&mut story, Span::hours(2), &[]);
    story.fires("WebIsSlow");
    story.observes();
    let step = story.last_step();
    assert_eq!((story.phase(step), story.reason(step), story.pages()), (Phase::Dropped, "freeze", 1));
    let held = story.step(step).reason.as_ref().unwrap();
    assert_eq!(held.until(), Some(story.now + Span::hours(2)));
}

#[test]
fn a_freeze_lets_through_what_it_excepts_and_ends() {
    let mut story = Story::begin();
    frozen(&mut story, Span::hours(2), &["P0", "P1"]);
    story.fires("WebIsSlow");
    story.observes();
    assert_eq!(story.phase(story.last_step()), Phase::Acting);
    let mut story = Story::begin();
    frozen(&mut story, Span::hours(2), &[]);
    story.after(Span::hours(2)).fires("WebIsSlow");
    story.observes();
    assert_eq!(story.phase(story.last_step()), Phase::Acting);
}

#[test]
fn an_approval_does_not_outlast_the_beginning_of_a_freeze() {
    let mut story = Story::with(|spec| spec.rules[0].mode = Mode::Ask);
    story.fires("WebIsSlow");
    story.observes();
    let step = story.last_step();
    let plan_hash = story.step(step).plan.as_ref().unwrap().hash.clone();
    // The rule itself is as it was: only the freeze is new.
    frozen(&mut story, Span::hours(1), &[]);
    story.command("ann", Command::Approve { step, plan_hash });
    story.observes();
    assert_eq!((story.phase(step), story.reason(step)), (Phase::Dropped, "freeze"));
}

#[test]
fn a_lease_ends_in_a_freeze() {
    let mut story =
        Story::with(|spec| spec.rules[0].remediate[0].with = serde_json::json!({"replicas": "+2", "lease": "2h"}));
    story.acts_on("WebIsSlow");
    story.after(Span::seconds(40)).resolves("WebIsSlow");
    let reading = story.after(Span::seconds(5)).reading();
    story.measures(reading);
    frozen(&mut story, Span::hours(24), &[]);
    story.after(Span::hours(2));
    story.observes();
    story.performs();
    assert_eq!((story.replicas, story.state.leases.len()), (4, 0));
}

#[test]
fn what_comes_and_goes_is_left_to_people() {
    let mut story = Story::with(|spec| {
        spec.rules[0].flapping = Some(Limit { count: 3, within: Span::minutes(30) });
        spec.rules[0].mode = Mode::Shadow;
    });
    for _ in 0..2 {
        story.fires("WebIsSlow");
        story.observes();
        assert_ne!(story.reason(story.last_step()), "flapping");
        story.after(Span::seconds(30)).resolves("WebIsSlow");
        story.after(Span::seconds(30));
    }
    story.fires("WebIsSlow");
    story.observes();
    assert_eq!(story.reason(story.last_step()), "flapping");
    // Half an hour later it is news again.
    story.after(Span::seconds(30)).resolves("WebIsSlow");
    story.after(Span::minutes(45)).fires("WebIsSlow");
    story.observes();
    assert_ne!(story.reason(story.last_step()), "flapping");
}

#[test]
fn six_hours_of_flapping_act_a_few_times_at_most() {
    let mut story = Story::with(|spec| {
        spec.rules[0].flapping = Some(Limit { count: 5, within: Span::minutes(30) });
        spec.rules[0].limits = vec![Limit { count: 100, within: Span::hours(1) }];
        spec.rules[0].cooldown = Span::minutes(1);
    });
    for _ in 0..6 * 60 {
        story.fires("WebIsSlow");
        story.observes();
        story.performs();
        story.after(Span::seconds(30)).resolves("WebIsSlow");
        let reading = story.after(Span::seconds(30)).reading();
        story.measures(reading);
        story.replicas = 4;
    }
    assert!(story.starts_count() <= 4, "{} starts", story.starts_count());
    assert!(story.pages() >= 1, "people know of it");
    assert_eq!(story.state.incident_ids().len(), 1, "one incident, reopened");
}

#[test]
fn two_failures_in_a_row_disarm_the_rule_for_the_target() {
    let mut story = Story::begin();
    fails(&mut story, "WebIsSlow");
    fails(&mut story, "WebIsSlow");
    assert!(told(&story, "rule web-is-slow failed 2 times in a row on production/Deployment/web"));
    story.fires("WebIsSlow");
    story.observes();
    let step = story.last_step();
    assert_eq!((story.phase(step), story.reason(step)), (Phase::Dropped, "disarmed"));
    // Another rule is another question.
    story.after(Span::minutes(1)).fires("WebIsDown");
    story.observes();
    assert_eq!(story.phase(story.last_step()), Phase::Acting);
}

#[test]
fn rearmed_it_acts_again_and_a_success_forgives_one_failure() {
    let mut story = Story::begin();
    fails(&mut story, "WebIsSlow");
    fails(&mut story, "WebIsSlow");
    let rearm = |target: Option<&str>| Command::Rearm { rule: "web-is-slow".into(), target: target.map(str::to_owned) };
    assert!(matches!(story.command("ann", rearm(Some("api")))[..], [Event::CommandRefused { .. }]));
    story.command("ann", rearm(Some("web")));
    let step = story.acts_on("WebIsSlow");
    story.after(Span::seconds(40)).resolves("WebIsSlow");
    let reading = story.after(Span::seconds(5)).reading();
    story.measures(reading);
    assert_eq!(story.phase(step), Phase::Verified);
    story.after(Span::minutes(30));
    story.replicas = 4;
    fails(&mut story, "WebIsSlow");
    story.fires("WebIsSlow");
    story.observes();
    assert_eq!(story.phase(story.last_step()), Phase::Acting, "one failure since the success");
}

#[test]
fn an_unknown_outcome_is_a_failure_and_what_somebody_changed_is_none() {
    let mut story = Story::begin();
    for _ in 0..2 {
        story.fires("WebIsSlow");
        story.observes();
        let step = story.last_step();
        let why = "it is 7 now".to_owned();
        story.performed(step, Op::Apply, Outcome::NotApplied { why, changed_since: true });
        story.after(Span::seconds(1)).resolves("WebIsSlow");
        story.after(Span::minutes(61));
    }
    assert!(!told(&story, "in a row"), "nothing was tried");
    for _ in 0..2 {
        story.fires("WebIsSlow");
        story.observes();
        let step = story.last_step();
        story.performed(step, Op::Apply, Outcome::NotApplied { why: "forbidden".into(), changed_since: false });
        story.after(Span::seconds(1)).resolves("WebIsSlow");
        story.after(Span::minutes(61));
    }
    let web = TargetKey("production/Deployment/web".into());
    assert!(story.state.records.disarmed("web-is-slow", &web).is_some());
}

#[test]
fn a_rule_that_fails_half_the_time_is_disarmed_everywhere() {
    let mut story = Story::with(|spec| {
        spec.rules[0].limits = vec![Limit { count: 100, within: Span::hours(1) }];
        spec.rules.push(rule("web-and-api", "Both", &["web"]));
    });
    for round in 0..9 {
        story.fires("WebIsSlow");
        story.observes();
        story.performs();
        let step = story.last_step();
        assert_eq!(story.phase(step), Phase::Verifying, "round {round}");
        if round % 2 == 0 {
            story.after(Span::seconds(65));
            let reading = story.after(Span::minutes(3)).reading();
            story.measures(reading);
        }
        story.after(Span::seconds(40)).resolves("WebIsSlow");
        let reading = story.after(Span::seconds(5)).reading();
        story.measures(reading);
        story.after(Span::minutes(30));
        story.replicas = 4;
    }
    assert!(told(&story, "5 of the last 9 steps of rule web-is-slow failed"));
    story.fires("WebIsSlow");
    story.observes();
    assert_eq!(story.reason(story.last_step()), "disarmed");
    let one = Command::Rearm { rule: "web-is-slow".into(), target: Some("web".into()) };
    let refused = story.command("ann", one);
    assert!(matches!(&refused[..], [Event::CommandRefused { reason }] if reason.contains("as a whole")), "{refused:?}");
    story.command("ann", Command::Rearm { rule: "web-is-slow".into(), target: None });
    story.after(Span::seconds(1)).resolves("WebIsSlow");
    story.after(Span::minutes(30)).fires("WebIsSlow");
    story.observes();
    assert_eq!(story.phase(story.last_step()), Phase::Acting);
}

#[test]
fn the_first_runs_of_a_rule_ask_and_so_do_those_after_a_change() {
    let mut story = Story::with(|spec| spec.rules[0].canary = 1);
    let approves = |story: &mut Story| {
        story.fires("WebIsSlow");
        story.observes();
        let step = story.last_step();
        assert_eq!(story.phase(step), Phase::Asking);
        let plan_hash = story.step(step).plan.as_ref().unwrap().hash.clone();
        story.command("ann", Command::Approve { step, plan_hash });
        story.observes();
        story.performs();
        assert_eq!(story.phase(step), Phase::Verifying);
        story.after(Span::seconds(40)).resolves("WebIsSlow");
        let reading = story.after(Span::seconds(5)).reading();
        story.measures(reading);
        story.after(Span::minutes(30));
        story.replicas = 4;
    };
    approves(&mut story);
    story.fires("WebIsSlow");
    story.observes();
    assert_eq!(story.phase(story.last_step()), Phase::Acting, "the second run needs nobody");
    story.performs();
    story.after(Span::seconds(40)).resolves("WebIsSlow");
    let reading = story.after(Span::seconds(5)).reading();
    story.measures(reading);
    story.after(Span::minutes(30));
    story.replicas = 4;
    story.reloads(|spec| spec.rules[0].cooldown = Span::minutes(16));
    approves(&mut story);
}

#[test]
fn a_crash_loop_ends_in_observing_only() {
    let mut story = Story::with(|spec| spec.unclean_starts = 3);
    // The first start came without a clean stop, too: the harness says so.
    story.crashes();
    assert!(story.state.paused.is_none());
    story.after(Span::minutes(1)).crashes();
    assert!(story.state.paused.is_some(), "three, and less than five minutes between them");
    story.after(Span::minutes(5)).fires("WebIsSlow");
    story.observes();
    assert_eq!(story.starts_count(), 0);
    assert!(told(&story, "nightshift only observes"));
    story.command("ann", Command::Resume { pause_file_present: false });
    assert!(story.state.paused.is_none());
}

#[test]
fn crashes_far_apart_and_clean_stops_are_no_loop() {
    let mut story = Story::with(|spec| spec.unclean_starts = 3);
    for _ in 0..5 {
        story.after(Span::minutes(6)).crashes();
    }
    assert!(story.state.paused.is_none());
    for _ in 0..5 {
        story.input(Input::Stopped);
        let policy = story.policy.hash.clone();
        story.input(Input::Started { replica: "one".into(), version: "0".into(), policy, clean: true, damage: None });
    }
    assert!(story.state.paused.is_none());
    assert_eq!(story.incident_state_if_any(IncidentId(1)), None);
}

/// The world as it is, and an action that would end every pod.
fn proposes_zero(story: &mut Story) {
    for work in story.state.work() {
        let Work::Observe(observe) = work else { continue };
        let mut observation = story.observation(&observe);
        if let Proposed::Made(proposal) = &mut observation.proposal {
            proposal.to = serde_json::json!(0);
            proposal.effect.replicas = Some(Replicas { from: story.replicas, to: 0 });
            proposal.effect.min_ready_after = Some(0);
        }
        let moment = if observation.holds.is_some() { Moment::BeforeStart } else { Moment::ForPlan };
        story.input(Input::Observed { step: observe.step, moment, result: Ok(Box::new(observation)) });
    }
}

fn isolated(severity: &str, may_scale_to_zero: bool) -> Story {
    let mut story = Story::with(|spec| {
        spec.rules[0].severity = Some(severity.into());
        spec.targets.get_mut("web").unwrap().bounds = Some(Bounds { min: 2, max: 20, may_scale_to_zero });
    });
    story.fires("WebIsSlow");
    proposes_zero(&mut story);
    story
}

#[test]
fn only_a_target_that_says_so_goes_to_zero_for_the_most_severe_and_approved() {
    for (severity, may, reason) in [("P0", false, "bounds"), ("P1", true, "zero_only_for_worst")] {
        let story = isolated(severity, may);
        let step = story.last_step();
        assert_eq!((story.phase(step), story.reason(step)), (Phase::Dropped, reason), "{severity} {may}");
    }
    let mut story = isolated("P0", true);
    let step = story.last_step();
    assert_eq!(story.phase(step), Phase::Asking, "the mode is auto, and it asks");
    let plan_hash = story.step(step).plan.as_ref().unwrap().hash.clone();
    story.command("ann", Command::Approve { step, plan_hash });
    proposes_zero(&mut story);
    assert_eq!(story.phase(step), Phase::Acting);
}

#[test]
fn a_first_run_that_changed_nothing_is_no_run() {
    let mut story = Story::with(|spec| spec.rules[0].canary = 1);
    story.fires("WebIsSlow");
    story.observes();
    let first = story.last_step();
    assert_eq!(story.phase(first), Phase::Asking);
    let plan_hash = story.step(first).plan.as_ref().unwrap().hash.clone();
    story.command("ann", Command::Approve { step: first, plan_hash });
    story.observes();
    assert_eq!(story.phase(first), Phase::Acting);
    // Somebody was faster: the write's `test` fails, and nothing is written.
    story.replicas = 8;
    story.facts.generation += 1;
    let why = "replicas are 8, the plan found 4".to_owned();
    story.performed(first, Op::Apply, Outcome::NotApplied { why, changed_since: true });
    assert_eq!(story.phase(first), Phase::Failed);
    story.observes();
    let second = story.last_step();
    assert_ne!(first, second);
    assert_eq!(
        story.phase(second),
        Phase::Asking,
        "nobody has approved {:?}, and the rule has never run",
        story.step(second).plan.as_ref().map(|plan| &plan.proposal.summary)
    );
}
