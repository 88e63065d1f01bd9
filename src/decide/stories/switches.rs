use super::harness::Story;
use crate::model::{
    event::{Event, LadderEnd},
    input::{Command, Input},
    mode::Mode,
    reason::Reason,
    rung::IfIneffective,
    step::Phase,
    time::Span,
};

#[test]
fn after_a_restart_nothing_acts_before_the_settle_time() {
    let mut story = Story::begin();
    story.crashes();
    story.fires("WebIsSlow");
    let step = story.last_step();
    assert_eq!((story.phase(step), story.reason(step)), (Phase::Holding, "settling"));
    story.after(Span::seconds(61)).observes();
    assert_eq!(story.phase(step), Phase::Acting);
}

#[test]
fn an_observation_during_the_settle_time_starts_nothing() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    story.crashes();
    story.observes();
    let step = story.last_step();
    assert_eq!((story.phase(step), story.reason(step)), (Phase::Holding, "settling"));
}

#[test]
fn an_empty_journal_has_nothing_to_settle_and_shadow_does_not_wait() {
    let mut story = Story::begin();
    assert!(story.state.settling_until().is_none());
    let mut story2 = Story::with(|spec| spec.mode = Mode::Shadow);
    story2.crashes();
    story2.fires("WebIsSlow");
    assert_eq!(story2.phase(story2.last_step()), Phase::Observing);
    story.fires("WebIsSlow");
}

#[test]
fn a_pause_drops_what_has_not_started_and_pages() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    story.command("ann", Command::Pause { reason: "storm".into() });
    let step = story.last_step();
    assert_eq!((story.phase(step), story.reason(step)), (Phase::Dropped, "paused"));
    assert_eq!(story.pages(), 1);
    story.fires("ApiIsSlow");
    story.observes();
    assert_eq!(story.reason(story.last_step()), "paused");
    story.command("ann", Command::Resume { pause_file_present: false });
    // The backlog is dropped.
    story.after(Span::minutes(5)).observes();
    assert_eq!(story.starts_count(), 0);
}

#[test]
fn a_pause_survives_a_restart_and_a_pause_file_keeps_it() {
    let mut story = Story::begin();
    story.command("ann", Command::Pause { reason: String::new() });
    story.crashes();
    assert!(story.state.paused().is_some());
    let events = story.command("ann", Command::Resume { pause_file_present: true });
    assert!(matches!(&events[..], [Event::CommandRefused { .. }]));
    assert!(story.state.paused().is_some());
}

#[test]
fn while_paused_an_automatic_undo_waits_and_a_persons_undo_goes_on() {
    let mut story = Story::with(|spec| spec.rules[0].remediate[0].if_ineffective = IfIneffective::Undo);
    let step = story.acts_on("WebIsSlow");
    story.command("ann", Command::Pause { reason: String::new() });
    let reading = story.after(Span::minutes(5)).reading();
    story.measures(reading);
    // The ladder was not stopped: its step had started. The undo waits.
    story.observes();
    let undo = story.last_step();
    assert_eq!((story.phase(undo), story.reason(undo)), (Phase::Holding, "paused"));
    assert_eq!(story.replicas, 6);
    story.command("ann", Command::Resume { pause_file_present: false });
    story.observes();
    story.performs();
    assert_eq!(story.replicas, 4);
    let mut story = Story::begin();
    let step2 = story.acts_on("WebIsSlow");
    assert_eq!(step, step2);
    story.command("ann", Command::Pause { reason: String::new() });
    story.command("ann", Command::Undo { step: step2 });
    story.observes();
    story.performs();
    assert_eq!(story.replicas, 4);
}

#[test]
fn a_reload_that_changes_the_rule_hands_over_and_leaves_others_alone() {
    let mut story = Story::with(|spec| spec.max_concurrent = 5);
    story.acts_on("WebIsSlow");
    story.fires("ApiIsSlow");
    story.reloads(|spec| spec.rules[0].cooldown = Span::minutes(20));
    assert_eq!(story.ladder(1), Some(LadderEnd::HandedOver { reason: Reason::RulesChanged }));
    assert_eq!(story.ladder(2), None);
    // A started step is verified by its own text.
    story.after(Span::seconds(60)).resolves("WebIsSlow");
    let reading = story.after(Span::seconds(5)).reading();
    story.measures(reading);
    assert!(story.state.steps.values().any(|step| step.phase == Phase::Verified));
}

#[test]
fn a_reload_that_lowers_the_mode_hands_over() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    story.reloads(|spec| spec.mode = Mode::Ask);
    assert_eq!(story.reason(story.last_step()), "mode_lowered");
    assert_eq!(story.starts_count(), 0);
}

#[test]
fn a_clock_that_stepped_settles_anew() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    story.input(Input::ClockStepped { by: Span::hours(1) });
    story.observes();
    assert_eq!(story.reason(story.last_step()), "settling");
}

#[test]
fn a_damaged_journal_acts_on_nothing_until_a_person_resumes() {
    let mut story = Story::begin();
    let policy = story.policy.hash.clone();
    story.input(Input::Started {
        replica: "one".into(),
        version: "0".into(),
        policy,
        clean: false,
        damage: Some("its tail was cut".into()),
    });
    story.after(Span::minutes(2)).fires("WebIsSlow");
    story.observes();
    assert_eq!(story.reason(story.last_step()), "paused");
}

#[test]
fn a_wake_that_could_not_be_decided_does_not_come_for_ever() {
    let mut story = Story::with(|spec| spec.rules[0].fires_for = Span::seconds(30));
    story.fires("WebIsSlow");
    let timers = story.state.timers.len();
    let poisoned = Input::Poisoned {
        digest: "00".into(),
        cause: "wake".into(),
        message: "on purpose".into(),
        text: String::new(),
    };
    let events = story.input(poisoned);
    assert!(events.iter().any(|event| matches!(event, Event::PageReleased { .. })));
    assert_eq!(story.state.timers.len(), timers - 1);
}

#[test]
fn a_clock_that_went_forward_reads_no_call_back_while_it_may_still_land() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    story.observes();
    let step = story.last_step();
    story.now = story.now + Span::minutes(2);
    story.input(Input::ClockStepped { by: Span::minutes(2) });
    story.after(Span::seconds(20));
    assert_eq!(story.phase(step), Phase::Acting);
    story.performs();
    assert_eq!(story.phase(step), Phase::Verifying);
    // Nor is its verdict given early.
    story.now = story.now + Span::hours(1);
    story.input(Input::ClockStepped { by: Span::hours(1) });
    let reading = story.after(Span::seconds(20)).reading();
    story.measures(reading);
    assert_eq!(story.phase(step), Phase::Verifying);
}

#[test]
fn a_clock_that_went_forward_makes_no_blip_an_alert() {
    let mut story = Story::with(|spec| {
        spec.rules[0].fires_for = Span::minutes(5);
        spec.settle_after_start = Span::ZERO;
    });
    story.fires("WebIsSlow");
    story.now = story.now + Span::hours(1);
    story.input(Input::ClockStepped { by: Span::hours(1) });
    story.after(Span::seconds(43)).observes();
    assert_eq!((story.phase(story.last_step()), story.reason(story.last_step())), (Phase::Holding, "for"));
    assert_eq!(story.starts_count(), 0);
}
