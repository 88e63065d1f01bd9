use super::harness::Story;
use crate::model::{
    event::{Event, LadderEnd},
    firing::{Firing, FiringAnswer},
    input::Op,
    mode::Mode,
    observation::{Ended, Outcome},
    reason::Reason,
    step::Phase,
    time::Span,
};

#[test]
fn an_alert_that_fires_long_enough_acts_once() {
    let mut story = Story::with(|spec| spec.rules[0].fires_for = Span::seconds(30));
    story.fires("WebIsSlow");
    let step = story.last_step();
    assert_eq!((story.phase(step), story.reason(step)), (Phase::Holding, "for"));
    story.after(Span::seconds(29));
    assert!(story.observes().is_empty());
    story.after(Span::seconds(1)).observes();
    assert_eq!(story.intents(), vec![step]);
    story.performs();
    assert_eq!(story.phase(step), Phase::Verifying);
    assert!(story.intents().is_empty());
}

#[test]
fn a_blip_shorter_than_for_never_acts() {
    let mut story = Story::with(|spec| spec.rules[0].fires_for = Span::minutes(1));
    story.fires("WebIsSlow");
    story.after(Span::seconds(43)).resolves("WebIsSlow");
    story.after(Span::minutes(5)).observes();
    assert_eq!(story.starts_count(), 0);
}

#[test]
fn shadow_says_what_it_would_do_and_writes_nothing() {
    let mut story = Story::with(|spec| spec.mode = Mode::Shadow);
    story.fires("WebIsSlow");
    let events = story.observes();
    assert!(events.iter().any(|event| matches!(event, Event::StepDropped { reason: Reason::Shadow, .. })));
    assert!(story.intents().is_empty());
    assert_eq!(story.ladder(1), Some(LadderEnd::WouldHave));
    assert_eq!(story.pages(), 0);
    // Its own counters: the live ones stay empty.
    assert!(story.state.starts.keys().all(|scope| scope.starts_with("shadow: ")));
}

#[test]
fn old_news_only_informs_also_in_shadow() {
    let mut story = Story::with(|spec| spec.mode = Mode::Shadow);
    story.fires("WebIsSlow");
    // Nobody is asked, and this process remembers no delivery: a start lies between.
    story.alertmanager = Some(FiringAnswer::NotAsked);
    story.observes();
    let step = story.last_step();
    assert_eq!((story.phase(step), story.reason(step)), (Phase::Dropped, "stale"));
    assert!(story.state.starts.is_empty());
}

#[test]
fn what_alertmanager_does_not_list_as_active_is_asked_again_then_handed_over() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    let step = story.last_step();
    story.alertmanager = Some(story.answer(|_| Firing::Absent));
    for wait in [10, 30, 60] {
        story.observes();
        assert_eq!(story.phase(step), Phase::Holding);
        story.after(Span::seconds(wait));
    }
    story.observes();
    assert_eq!(story.phase(step), Phase::Dropped);
    assert_eq!(story.starts_count(), 0);
    assert_eq!(story.pages(), 1);
}

#[test]
fn no_peer_of_alertmanager_means_no_action() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    story.alertmanager = Some(FiringAnswer::Unreachable { problem: "refused".into() });
    story.observes();
    assert_eq!(story.reason(story.last_step()), "firing_unknown");
}

#[test]
fn a_silence_made_between_decide_and_act_stops_it_and_wakes_nobody() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    story.alertmanager = Some(story.answer(|_| Firing::Suppressed { by: vec!["s1".into()] }));
    story.observes();
    let step = story.last_step();
    assert_eq!((story.phase(step), story.reason(step)), (Phase::Dropped, "silenced"));
    assert_eq!(story.pages(), 0);
}

#[test]
fn a_target_that_cannot_be_observed_is_not_touched() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    let step = story.last_step();
    for wait in [10, 30, 60] {
        story.cannot_observe();
        story.after(Span::seconds(wait));
    }
    story.cannot_observe();
    assert_eq!((story.phase(step), story.reason(step)), (Phase::Dropped, "not_observed"));
    assert_eq!(story.pages(), 1);
}

#[test]
fn old_facts_decide_nothing() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    let observe = story.state.work().into_iter().find_map(|work| match work {
        crate::decide::work::Work::Observe(observe) => Some(observe),
        _ => None,
    });
    let observe = observe.unwrap();
    let observation = story.observation(&observe);
    story.after(Span::seconds(31));
    story.input(crate::model::input::Input::Observed {
        step: observe.step,
        moment: crate::model::observation::Moment::ForPlan,
        result: Ok(Box::new(observation)),
    });
    assert_eq!(story.reason(observe.step), "observation_old");
}

#[test]
fn what_is_switched_off_stays_off() {
    let mut story = Story::begin();
    story.replicas = 0;
    story.fires("WebIsSlow");
    story.observes();
    assert_eq!(story.reason(story.last_step()), "switched_off");
}

#[test]
fn a_running_or_paused_rollout_is_not_disturbed() {
    let mut story = Story::begin();
    story.facts.rollout = Some("2 of 4 updated".into());
    story.fires("WebIsSlow");
    story.observes();
    assert_eq!(story.reason(story.last_step()), "rollout_running");
    let mut story = Story::begin();
    story.facts.paused = true;
    story.fires("WebIsSlow");
    story.observes();
    assert_eq!(story.reason(story.last_step()), "rollout_paused");
}

#[test]
fn a_field_of_another_controller_and_nightshift_itself_are_left_alone() {
    let mut story = Story::begin();
    story.facts.owner = Some("KEDA ScaledObject web".into());
    story.fires("WebIsSlow");
    story.observes();
    assert_eq!(story.reason(story.last_step()), "owned");
    let mut story = Story::begin();
    story.facts.is_itself = true;
    story.fires("WebIsSlow");
    story.observes();
    assert_eq!(story.reason(story.last_step()), "itself");
}

#[test]
fn no_plan_leaves_the_bounds() {
    let mut story = Story::begin();
    story.replicas = 19;
    story.fires("WebIsSlow");
    story.observes();
    assert_eq!(story.reason(story.last_step()), "bounds");
    assert_eq!(story.starts_count(), 0);
}

#[test]
fn a_second_alert_within_the_cooldown_is_held() {
    let mut story = Story::begin();
    story.acts_on("WebIsSlow");
    story.after(Span::seconds(40)).resolves("WebIsSlow");
    let reading = story.after(Span::seconds(5)).reading();
    story.measures(reading);
    story.after(Span::minutes(11));
    assert_eq!(story.incident_state(1), "resolved");
    story.fires("WebIsSlow");
    story.observes();
    let step = story.last_step();
    assert_eq!((story.phase(step), story.reason(step)), (Phase::Holding, "cooldown"));
    story.after(Span::minutes(5)).observes();
    assert_eq!(story.phase(step), Phase::Acting);
}

#[test]
fn over_the_limit_is_dropped_with_a_reason_not_queued() {
    let mut story = Story::with(|spec| {
        spec.rules[0].cooldown = Span::ZERO;
        spec.rules[0].quiet = Span::seconds(1);
        spec.targets.get_mut("web").unwrap().bounds = None;
    });
    for _ in 0..3 {
        story.acts_on("WebIsSlow");
        story.after(Span::seconds(40)).resolves("WebIsSlow");
        let reading = story.after(Span::seconds(5)).reading();
        story.measures(reading);
        story.after(Span::minutes(2));
    }
    assert_eq!(story.starts_count(), 3);
    story.fires("WebIsSlow");
    story.observes();
    let step = story.last_step();
    assert_eq!((story.phase(step), story.reason(step)), (Phase::Dropped, "limit"));
    assert_eq!(story.starts_count(), 3);
}

#[test]
fn two_incidents_never_work_on_one_target_at_a_time() {
    let mut story = Story::with(|spec| spec.max_concurrent = 5);
    let first = story.acts_on("WebIsSlow");
    story.fires("WebIsDown");
    story.observes();
    let second = story.last_step();
    assert_eq!((story.phase(second), story.reason(second)), (Phase::Holding, "target_lock"));
    story.after(Span::seconds(40)).resolves("WebIsSlow");
    let reading = story.after(Span::seconds(5)).reading();
    story.measures(reading);
    assert_eq!(story.phase(first), Phase::Verified);
    // Freed in the same entry: it is judged afresh.
    assert_eq!(story.phase(second), Phase::Observing);
}

#[test]
fn at_most_one_step_acts_at_a_time() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    story.fires("ApiIsSlow");
    story.observes();
    assert_eq!(story.intents().len(), 1);
    let waiting = story.last_step();
    assert_eq!((story.phase(waiting), story.reason(waiting)), (Phase::Holding, "concurrency"));
    story.performs();
    assert_eq!(story.phase(waiting), Phase::Observing);
}

#[test]
fn a_lost_answer_is_read_back_after_its_deadline_and_never_repeated() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    story.observes();
    let step = story.last_step();
    story.performed(step, Op::Apply, Outcome::Unknown { why: "time-out".into() });
    assert!(story.intents().is_empty());
    story.after(Span::seconds(24));
    assert_eq!(story.phase(step), Phase::Acting);
    story.after(Span::seconds(2));
    assert_eq!(story.phase(step), Phase::ReadBack);
    story.performed(step, Op::ReadBack, Outcome::Applied);
    assert_eq!(story.phase(step), Phase::Verifying);
    assert_eq!(story.starts_count(), 1);
}

#[test]
fn what_became_of_a_plans_sessions_is_recorded_and_told() {
    for op in [Op::Apply, Op::ReadBack] {
        let mut story = Story::begin();
        story.fires("WebIsSlow");
        story.observes();
        let step = story.last_step();
        if op == Op::ReadBack {
            story.performed(step, Op::Apply, Outcome::Unknown { why: "time-out".into() });
            story.after(Span::seconds(26));
        }
        let rest = Some("2 were used since".to_owned());
        let ended = Ended { planned: 12, sessions: 10, queries: 0, rest };
        let events = story.performed(step, op, Outcome::Ended { ended: ended.clone() });
        assert_eq!(story.phase(step), Phase::Verifying);
        let recorded = events.iter().find_map(|event| match event {
            Event::StepApplied { ended, .. } => ended.as_deref(),
            _ => None,
        });
        assert_eq!(recorded, Some(&ended));
        let posted = format!("Step {step}: 10 of 12 sessions are ended; 2 were used since.");
        let posts =
            events.iter().any(|event| matches!(event, Event::Tell { note: Some(note), .. } if note.text == posted));
        assert!(posts, "{events:#?}");
        let view = story.state.incident_view(&story.policy, step.incident, story.now).unwrap();
        let says = &view.steps[0].says;
        assert!(says.starts_with("10 of 12 sessions are ended; 2 were used since: done; being verified"), "{says}");
        story.crashes();
        assert_eq!(story.phase(step), Phase::Verifying);
    }
}

#[test]
fn an_outcome_that_stays_unknown_pages_and_keeps_the_lock() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    story.observes();
    let step = story.last_step();
    story.performed(step, Op::Apply, Outcome::Unknown { why: "time-out".into() });
    story.after(Span::seconds(30));
    story.performed(step, Op::ReadBack, Outcome::Unknown { why: "replicas are 9".into() });
    assert_eq!(story.phase(step), Phase::Unknown);
    assert_eq!(story.pages(), 1);
    assert_eq!(story.state.locks.len(), 1);
    story.fires("WebIsDown");
    story.observes();
    assert_eq!(story.reason(story.last_step()), "outcome_unknown");
    assert_eq!(story.pages(), 2, "nobody waits for what only a person frees");
    story.command("ann", crate::model::input::Command::Rearm { rule: "web-is-slow".into(), target: None });
    assert!(story.state.locks.is_empty());
}

#[test]
fn a_crash_between_intent_and_call_reads_back_and_never_writes_again() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    story.observes();
    let step = story.last_step();
    let epoch = story.state.epoch();
    story.crashes();
    // The intent is of the leadership before: the driver of this one does not perform it.
    let intent = story.state.work().into_iter().find_map(|work| match work {
        crate::decide::work::Work::Apply(intent) => Some(intent),
        _ => None,
    });
    assert_eq!(intent.unwrap().epoch(), epoch);
    assert_ne!(epoch, story.state.epoch());
    story.after(Span::seconds(30));
    assert_eq!(story.phase(step), Phase::ReadBack);
    story.performed(step, Op::ReadBack, Outcome::NotApplied { why: "replicas are 4".into(), changed_since: false });
    assert_eq!(story.phase(step), Phase::Failed);
    assert_eq!(story.pages(), 1);
}

#[test]
fn changed_since_plans_the_rung_again_at_most_three_times() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    for number in 1..=3 {
        story.observes();
        let step = story.last_step();
        assert_eq!(step.number, number);
        story.performed(step, Op::Apply, Outcome::NotApplied { why: "409".into(), changed_since: true });
        assert_eq!(story.phase(step), Phase::Failed);
    }
    assert_eq!(story.last_step().number, 3);
    assert_eq!(story.ladder(1), Some(LadderEnd::HandedOver { reason: Reason::ChangedTooOften { tries: 3 } }));
    assert_eq!(story.pages(), 1);
}

#[test]
fn an_action_that_refuses_says_why() {
    let mut story = Story::begin();
    story.refuses = Some("it has 20 replicas already".into());
    story.fires("WebIsSlow");
    story.observes();
    assert_eq!(story.reason(story.last_step()), "refused");
}

#[test]
fn every_step_shows_the_whole_trace() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    story.observes();
    let step = story.last_step();
    assert_eq!(story.step(step).trace.len(), crate::model::step::Guard::ALL.len());
}

#[test]
fn a_trace_without_an_observation_claims_nothing_about_the_target() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    story.cannot_observe();
    let step = story.last_step();
    let asked: Vec<&str> = story.step(step).trace.iter().map(|line| line.guard.word()).collect();
    assert!(asked.contains(&"observed") && asked.contains(&"limits"));
    for unseen in ["firing", "ownership", "bounds", "plan", "rollout"] {
        assert!(!asked.contains(&unseen), "{unseen} was not looked at");
    }
}
