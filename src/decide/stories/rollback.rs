use super::harness::Story;
use crate::{
    decide::work::Work,
    model::{
        event::Event,
        input::Command,
        observation::{Edited, Forbidden, RollsBack, Runs},
        reason::Reason,
        step::{Guard, Phase},
        time::{Micros, Span},
    },
};
use serde_json::json;

/// A rule that rolls back what was deployed this long before its alert fires.
fn rolls_back(deployed: Span) -> Story {
    let mut story = Story::with(|spec| {
        let rung = &mut spec.rules[0].remediate[0];
        rung.action = "kubernetes/undo".into();
        rung.with = json!({"to": "previous", "deployed_within": "30m"});
    });
    let deployed_at = story.now - deployed;
    story.facts.rolls_back = Some(RollsBack { revision: 7, deployed_at, forbidden: None });
    story
}

fn edited(at: Micros) -> Option<Edited> {
    Some(Edited { by: "kubectl-edit".into(), at })
}

/// Fires, is observed; the step's phase and reason.
fn judged(story: &mut Story) -> (Phase, &'static str) {
    story.fires("WebIsSlow");
    story.observes();
    let step = story.last_step();
    (story.phase(step), story.reason(step))
}

/// What one guard saw of the last step that was judged.
fn line(story: &Story, guard: Guard) -> (String, String) {
    let judged = story.events().filter_map(|event| match event {
        Event::StepJudged { trace, .. } => Some(trace),
        _ => None,
    });
    let line = judged.last().unwrap().iter().find(|line| line.guard == guard).unwrap();
    (line.value.clone(), line.limit.clone())
}

fn says(story: &Story) -> String {
    let step = story.step(story.last_step());
    step.reason.as_ref().unwrap().says(&story.policy.zone)
}

#[test]
fn what_was_deployed_lately_is_rolled_back() {
    let mut story = rolls_back(Span::minutes(5));
    assert_eq!(judged(&mut story).0, Phase::Acting);
    let (value, limit) = line(&story, Guard::DeployedWithin);
    assert_eq!((value.as_str(), limit.as_str()), ("revision 7 5m ago", "30m ago at most, and before the alert"));
}

#[test]
fn a_revision_of_three_weeks_ago_is_not_taken_for_the_cause() {
    let mut story = rolls_back(Span::hours(21 * 24));
    assert_eq!(judged(&mut story), (Phase::Dropped, "deployed_within"));
    assert_eq!(says(&story), "revision 7 was deployed 21d ago, more than 30m: it is not taken for the cause");
    assert_eq!(story.pages(), 1);
}

#[test]
fn without_a_limit_of_its_own_it_is_an_hour() {
    for (minutes, phase) in [(60, Phase::Acting), (61, Phase::Dropped)] {
        let mut story = rolls_back(Span::minutes(minutes));
        let mut spec = story.policy.spec.clone();
        spec.rules[0].remediate[0].with = json!({});
        story.reloads(|same| *same = spec);
        assert_eq!(judged(&mut story).0, phase, "{minutes}");
    }
}

#[test]
fn what_was_deployed_after_the_alert_is_somebodys_answer_to_it() {
    let mut story = rolls_back(Span::minutes(5));
    story.fires_since("WebIsSlow", story.now - Span::minutes(6));
    story.observes();
    assert_eq!(story.reason(story.last_step()), "deployed_since");
    assert!(says(&story).contains("and the alert fired at"), "{}", says(&story));
    assert_eq!(story.starts_count(), 0);
}

#[test]
fn a_fix_deployed_while_an_approval_waits_is_not_rolled_back() {
    let mut story = rolls_back(Span::minutes(5));
    story.reloads(|spec| spec.rules[0].mode = crate::model::mode::Mode::Ask);
    assert_eq!(judged(&mut story).0, Phase::Asking);
    story.after(Span::minutes(2));
    // Somebody deploys revision 8, and it is rolled out when the click comes.
    story.replicas += 1;
    story.facts.rolls_back = Some(RollsBack { revision: 8, deployed_at: story.now, forbidden: None });
    let step = story.last_step();
    let plan_hash = story.step(step).plan.as_ref().unwrap().hash.clone();
    story.command("ann", Command::Approve { step, plan_hash });
    story.observes();
    story.observes();
    assert_eq!(story.reason(story.last_step()), "deployed_since");
    assert_eq!(story.starts_count(), 0);
}

#[test]
fn a_template_that_forbids_it_stays_and_its_reason_is_shown() {
    let mut story = rolls_back(Span::minutes(5));
    let forbidden = Some(Forbidden { revision: 6, why: "migration 42 went with it".into() });
    story.facts.rolls_back.as_mut().unwrap().forbidden = forbidden;
    assert_eq!(judged(&mut story), (Phase::Dropped, "no_rollback"));
    assert_eq!(says(&story), "revision 6 must not be rolled back: migration 42 went with it");
    assert_eq!(line(&story, Guard::NoRollback).0, "revision 6: migration 42 went with it");
    assert_eq!(story.starts_count(), 0);
}

#[test]
fn the_rollout_of_what_is_rolled_back_is_no_obstacle_and_a_later_one_is() {
    let mut story = rolls_back(Span::minutes(5));
    story.facts.rollout = Some("1 of 4 pods are updated".into());
    assert_eq!(judged(&mut story).0, Phase::Acting);
    assert!(line(&story, Guard::Rollout).0.starts_with("of revision 7, which is rolled back"));

    let mut story = rolls_back(Span::minutes(5));
    story.facts.rollout = Some("1 of 4 pods are updated".into());
    story.fires_since("WebIsSlow", story.now - Span::minutes(6));
    story.observes();
    assert_eq!(story.reason(story.last_step()), "rollout_running");

    // Paused, nothing would be rolled out.
    let mut story = rolls_back(Span::minutes(5));
    story.facts.paused = true;
    assert_eq!(judged(&mut story).1, "rollout_paused");
}

#[test]
fn a_persons_edit_a_moment_ago_asks() {
    let mut story = Story::begin();
    story.facts.edited = edited(story.now - Span::minutes(9));
    assert_eq!(judged(&mut story).0, Phase::Asking);
    let step = story.last_step();
    let (value, limit) = line(&story, Guard::Edited);
    assert!(value.starts_with("kubectl-edit at "), "{value}");
    assert_eq!(limit, "no person's edit within 10m");
    let asked = story.events().find_map(|event| match event {
        Event::StepJudged { verdict, .. } => verdict.reason().cloned(),
        _ => None,
    });
    assert!(matches!(asked, Some(Reason::EditedByPerson { .. })), "{asked:?}");
    // An approval is given knowing it.
    let plan_hash = story.step(step).plan.as_ref().unwrap().hash.clone();
    story.command("ann", Command::Approve { step, plan_hash });
    story.observes();
    assert_eq!(story.phase(step), Phase::Acting);
}

#[test]
fn an_edit_of_long_ago_does_not_ask() {
    let mut story = Story::begin();
    story.facts.edited = edited(story.now - Span::minutes(11));
    assert_eq!(judged(&mut story).0, Phase::Acting);
}

#[test]
fn the_edit_that_is_rolled_back_does_not_ask_and_a_later_one_does() {
    let mut story = rolls_back(Span::minutes(5));
    story.facts.edited = edited(story.now - Span::minutes(5));
    assert_eq!(judged(&mut story).0, Phase::Acting);
    assert!(line(&story, Guard::Edited).0.ends_with("which is rolled back"));

    let mut story = rolls_back(Span::minutes(5));
    story.facts.edited = edited(story.now - Span::minutes(4));
    assert_eq!(judged(&mut story).0, Phase::Asking);
}

/// What an observation would be told to be good there.
fn good(story: &mut Story) -> Vec<String> {
    story.fires("WebIsSlow");
    let observe = story.state.work().into_iter().find_map(|work| match work {
        Work::Observe(observe) => Some(observe),
        _ => None,
    });
    observe.unwrap().good
}

#[test]
fn what_ran_when_a_step_was_verified_is_remembered_for_the_next_rollback() {
    let mut story = Story::begin();
    story.runs = Some("v1".into());
    let step = story.acts_on("WebIsSlow");
    story.after(Span::minutes(1));
    story.resolves("WebIsSlow");
    story.after(Span::seconds(5));
    let reading = story.reading();
    story.measures(reading);
    assert_eq!(story.phase(step), Phase::Verified);
    story.after(Span::hours(2));
    assert_eq!(good(&mut story), ["v1"]);
    story.crashes();
    assert_eq!(good(&mut story), ["v1"], "the journal tells it after a crash");
}

#[test]
fn what_ran_when_a_step_did_not_help_is_not_verified() {
    let mut story = Story::begin();
    story.runs = Some("v1".into());
    let step = story.acts_on("WebIsSlow");
    story.after(Span::minutes(5));
    let reading = story.reading();
    story.measures(reading);
    assert_eq!(story.phase(step), Phase::Ineffective);
    story.after(Span::hours(2));
    story.resolves("WebIsSlow");
    story.after(Span::hours(1));
    assert_eq!(good(&mut story), Vec::<String>::new());
}

/// An observation of `web` that found this version so.
fn sees(story: &mut Story, version: &str, in_full: bool) {
    story.facts.runs = Some(Runs { version: version.into(), in_full });
    story.fires("WebIsSlow");
    story.observes();
    story.resolves("WebIsSlow");
    story.after(Span::minutes(30));
}

#[test]
fn what_was_seen_in_full_for_an_hour_is_good_and_what_was_not_never_is() {
    let mut story = Story::with(|spec| spec.mode = crate::model::mode::Mode::Shadow);
    sees(&mut story, "v1", true);
    sees(&mut story, "v1", true);
    assert_eq!(good(&mut story), Vec::<String>::new(), "half an hour");
    // It broke in between: the hour begins anew.
    sees(&mut story, "v1", false);
    sees(&mut story, "v1", true);
    sees(&mut story, "v1", true);
    assert_eq!(good(&mut story), Vec::<String>::new());
    sees(&mut story, "v1", true);
    assert_eq!(good(&mut story), ["v1"]);
    // All night, and never available.
    for _ in 0..6 {
        sees(&mut story, "v2", false);
    }
    assert_eq!(good(&mut story), ["v1"]);
    // Two short visits do not make a stay.
    sees(&mut story, "v3", true);
    sees(&mut story, "v4", false);
    sees(&mut story, "v4", false);
    sees(&mut story, "v3", true);
    assert_eq!(good(&mut story), ["v1"]);
    story.crashes();
    assert_eq!(good(&mut story), ["v1"], "the journal tells it after a crash");
}
