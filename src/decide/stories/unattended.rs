//! What must not be left to nobody: somebody acts or somebody is paged, whatever crosses whatever. And what must not be
//! done unasked on the way there.

use super::harness::{Story, rule};
use crate::{
    decide::work::Work,
    model::{
        alert::Status,
        event::Event,
        firing::{Firing, FiringAnswer},
        id::{Fingerprint, IncidentId},
        input::{Command, Input, Op},
        letter::{Slot, Told},
        mode::Mode,
        observation::{Moment, Outcome, Proposed},
        step::Phase,
        time::Span,
    },
};

fn not_helped(story: &mut Story) {
    story.after(Span::seconds(65));
    let reading = story.after(Span::minutes(3)).reading();
    story.measures(reading);
}

#[test]
fn a_shadow_rung_after_one_that_acted_pages() {
    let mut story = Story::with(|spec| {
        spec.rules[0] = rule("web-is-slow", "WebIsSlow", &["web", "api"]);
        spec.rules[0].remediate[1].mode = Some(Mode::Shadow);
    });
    story.acts_on("WebIsSlow");
    not_helped(&mut story);
    story.observes();
    assert_eq!(story.pages(), 1, "it acted, did not help, nothing more will be done: people must know");
    let cools = |target: &str, shadow| {
        story.state.cooldowns.keys().any(|(_, key, of)| key.0.ends_with(target) && *of == shadow)
    };
    assert!(cools("/web", false), "{:?}", story.state.cooldowns);
}

#[test]
fn an_undo_after_the_incident_is_resolved_bars_nothing() {
    let mut story = Story::begin();
    story.acts_on("WebIsSlow");
    story.after(Span::seconds(40)).resolves("WebIsSlow");
    let reading = story.after(Span::seconds(5)).reading();
    story.measures(reading);
    story.after(Span::minutes(12));
    assert_eq!(story.incident_state(1), "resolved");
    let step = story.last_step();
    story.command("ann", Command::Undo { step });
    story.observes();
    story.performs();
    story.after(Span::minutes(1));
    let reading = story.reading();
    story.measures(reading);
    story.after(Span::hours(24)).mails();
    story.after(Span::hours(24 * 5));
    story.mails();
    assert!(!story.state.incidents.contains_key(&IncidentId(1)), "forgotten");
    story.replicas = 4;
    story.fires("WebIsSlow");
    story.observes();
    let step = story.last_step();
    assert_eq!((story.phase(step), story.reason(step)), (Phase::Acting, ""));
}

#[test]
fn two_ladders_that_wait_for_each_others_target_end_with_people() {
    let mut story = Story::with(|spec| {
        spec.max_concurrent = 2;
        spec.rules[0] = rule("web-is-slow", "WebIsSlow", &["web", "api"]);
        spec.rules[2] = rule("api-is-slow", "ApiIsSlow", &["api", "web"]);
    });
    story.fires("WebIsSlow");
    story.observes();
    story.performs();
    story.replicas = 4;
    story.fires("ApiIsSlow");
    story.observes();
    story.performs();
    assert_eq!(story.starts_count(), 2);
    for _ in 0..40 {
        story.after(Span::minutes(15));
        // Alertmanager goes on confirming both.
        for name in ["WebIsSlow", "ApiIsSlow"] {
            let fingerprint = Fingerprint::new(&format!("{name}-p1"));
            let answer = story.answer(|starts_at| Firing::Active { starts_at });
            story.input(Input::Confirmed { fingerprint, delivered: Some(story.now), answer });
        }
        let reading = story.reading();
        story.measures(reading);
        story.observes();
        story.performs();
    }
    assert!(story.pages() > 0, "ten hours, both fire, nothing acts, and nobody was paged");
}

#[test]
fn after_a_silence_what_fires_again_is_acted_on() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    story.alertmanager = Some(story.answer(|_| Firing::Suppressed { by: vec!["s1".into()] }));
    story.observes();
    assert_eq!((story.ladder(1).is_some(), story.pages()), (true, 0));
    story.alertmanager = None;
    story.after(Span::minutes(2)).resolves("WebIsSlow");
    story.after(Span::minutes(2)).fires("WebIsSlow");
    story.observes();
    assert_eq!(story.incident_state(1), "open");
    assert!(story.starts_count() > 0 || story.pages() > 0, "it fires, unsilenced: nothing acts and nobody is paged");
}

#[test]
fn what_fires_again_after_its_rule_is_gone_pages() {
    let mut story = Story::begin();
    story.acts_on("WebIsSlow");
    story.after(Span::seconds(40)).resolves("WebIsSlow");
    let reading = story.after(Span::seconds(5)).reading();
    story.measures(reading);
    story.reloads(|spec| drop(spec.rules.remove(0)));
    story.after(Span::minutes(3)).fires("WebIsSlow");
    assert_eq!(story.incident_state(1), "open");
    assert!(story.pages() > 0);
}

#[test]
fn a_restart_makes_no_alert_lost() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    story.observes();
    story.performs();
    // Webhooks came every five minutes, the last at 25 min; they wrote nothing. Then a restart.
    story.after(Span::minutes(29));
    story.crashes();
    story.after(Span::minutes(1) + Span::seconds(1));
    let asked = story.state.confirming.contains(&Fingerprint::new("WebIsSlow-p1"));
    assert!(asked);
    let answer = FiringAnswer::Unreachable { problem: "it starts too".into() };
    let events =
        story.input(Input::Confirmed { fingerprint: Fingerprint::new("WebIsSlow-p1"), delivered: None, answer });
    assert!(!events.iter().any(|event| matches!(event, Event::AlertLost { .. })), "confirmed 5 min ago: {events:?}");
}

#[test]
fn what_a_pause_kept_waiting_is_dropped_also_when_it_waits_for_its_age() {
    let mut story = Story::with(|spec| spec.rules[0].fires_for = Span::minutes(5));
    story.command("ann", Command::Pause { reason: "stop".into() });
    story.fires("WebIsSlow");
    story.observes();
    story.after(Span::minutes(2));
    story.command("ann", Command::Resume { pause_file_present: false });
    story.after(Span::minutes(4)).observes();
    let step = story.last_step();
    assert_ne!(story.phase(step), Phase::Acting, "what waited meanwhile was not dropped");
}

#[test]
fn a_page_goes_before_other_incidents_news() {
    let mut story = Story::with(|spec| {
        spec.rules[0].group_by = vec!["pod".into()];
        spec.rules[0].mode = Mode::Shadow;
    });
    for pod in 0..50 {
        let alert = story.alert("WebIsSlow", &format!("q{pod}"), Status::Firing, story.now);
        story.input(Input::Alert(Box::new(alert)));
    }
    story.fires("WebIsDown");
    story.facts.paused = true;
    story.observes();
    assert!(story.pages() > 0);
    let mut before = 0;
    loop {
        let letter = story.state.letters_due(1).into_iter().next().unwrap();
        if letter.note.as_ref().is_some_and(|note| !note.mentions.is_empty()) {
            break;
        }
        before += 1;
        let result = Told::Sent { external: None };
        story.input(Input::Told { letter: letter.key, up_to: letter.want, result });
    }
    assert!(before <= 2, "{before} letters go before the page");
}

#[test]
fn after_a_start_no_lease_ends_before_it_has_settled() {
    let mut story =
        Story::with(|spec| spec.rules[0].remediate[0].with = serde_json::json!({"replicas": "+2", "lease": "1h"}));
    story.acts_on("WebIsSlow");
    story.after(Span::seconds(40)).resolves("WebIsSlow");
    let reading = story.after(Span::seconds(5)).reading();
    story.measures(reading);
    let end = story.now + Span::hours(3);
    story.now = end;
    story.crashes();
    story.after(Span::seconds(1));
    story.observes();
    assert!(story.intents().is_empty(), "it writes one second after the start");
}

#[test]
fn pages_that_nobody_takes_do_not_grow_for_ever() {
    let mut story = Story::begin();
    for number in 0..150 {
        story.input(Input::Poisoned {
            digest: number.to_string(),
            cause: "alert".into(),
            message: "m".into(),
            text: String::new(),
        });
    }
    assert_eq!(story.state.pages_owed.len(), 100);
}

#[test]
fn the_page_of_an_input_that_cannot_be_decided_mentions_people() {
    let mut story = Story::begin();
    let events = story.input(Input::Poisoned {
        digest: "d".into(),
        cause: "alert".into(),
        message: "m".into(),
        text: String::new(),
    });
    let mentions =
        events.iter().any(|event| matches!(event, Event::Tell { note: Some(note), .. } if !note.mentions.is_empty()));
    assert!(mentions, "{events:#?}");
}

#[test]
fn what_could_leave_no_ready_pod_needs_an_approval() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    for work in story.state.work() {
        if let Work::Observe(observe) = work {
            let mut seen = story.observation(&observe);
            if let Proposed::Made(made) = &mut seen.proposal {
                made.effect.replicas = None;
                made.effect.min_ready_after = Some(0);
                made.effect.destroys = true;
                made.summary = "rolling restart of 4 pods (Recreate)".into();
            }
            story.input(Input::Observed { step: observe.step, moment: Moment::ForPlan, result: Ok(Box::new(seen)) });
        }
    }
    let step = story.last_step();
    assert_eq!(story.phase(step), Phase::Asking);
    let plan_hash = story.step(step).plan.clone().unwrap().hash;
    story.command("ann", Command::Approve { step, plan_hash });
    story.observes();
    assert_eq!(story.phase(step), Phase::Acting, "and is done once somebody wants it");
}

#[test]
fn who_waits_for_an_unknown_outcome_is_paged_too() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    story.observes();
    let step = story.last_step();
    story.performed(step, Op::Apply, Outcome::Unknown { why: "lost".into() });
    story.after(Span::seconds(30));
    story.performed(step, Op::ReadBack, Outcome::Unknown { why: "lost".into() });
    assert_eq!(story.pages(), 1);
    story.fires("WebIsDown");
    story.observes();
    for _ in 0..20 {
        story.after(Span::minutes(15));
        for name in ["WebIsSlow", "WebIsDown"] {
            let fingerprint = Fingerprint::new(&format!("{name}-p1"));
            let answer = story.answer(|starts_at| Firing::Active { starts_at });
            story.input(Input::Confirmed { fingerprint, delivered: Some(story.now), answer });
        }
        story.observes();
    }
    assert!(story.pages() > 1, "the second incident waits for hours, and nobody was paged for it");
}

#[test]
fn who_waited_already_when_an_outcome_became_unknown_is_paged_too() {
    let mut story = Story::with(|spec| spec.max_concurrent = 2);
    story.fires("WebIsSlow");
    story.observes();
    let step = story.last_step();
    story.fires("WebIsDown");
    story.observes();
    assert_eq!(story.reason(story.last_step()), "target_lock");
    story.performed(step, Op::Apply, Outcome::Unknown { why: "lost".into() });
    story.after(Span::seconds(30));
    story.performed(step, Op::ReadBack, Outcome::Unknown { why: "lost".into() });
    story.observes();
    assert_eq!((story.reason(story.last_step()), story.pages()), ("outcome_unknown", 2));
}

#[test]
fn a_silence_on_the_last_of_sixty_alerts_counts() {
    let mut story = Story::begin();
    for pod in 0..60 {
        let alert = story.alert("WebIsSlow", &format!("q{pod:02}"), Status::Firing, story.now);
        story.input(Input::Alert(Box::new(alert)));
    }
    for work in story.state.work() {
        if let Work::Observe(observe) = work {
            let mut seen = story.observation(&observe);
            // Alertmanager is asked about `alerts` alone; q59 is silenced.
            let asked = observe
                .alerts
                .iter()
                .map(|a| {
                    let firing = if a.fingerprint == Fingerprint::new("WebIsSlow-q59") {
                        Firing::Suppressed { by: vec!["s".into()] }
                    } else {
                        Firing::Active { starts_at: a.starts_at }
                    };
                    (a.fingerprint.clone(), firing)
                })
                .collect();
            seen.firing = FiringAnswer::Answered { at: story.now, alerts: asked };
            story.input(Input::Observed { step: observe.step, moment: Moment::ForPlan, result: Ok(Box::new(seen)) });
        }
    }
    assert_ne!(story.phase(story.last_step()), Phase::Acting);
}

#[test]
fn a_page_is_owed_however_much_else_is() {
    let mut story = Story::with(|spec| {
        for s in &mut spec.severities {
            s.mentions.clear();
        }
        spec.rules[0].cooldown = Span::ZERO;
    });
    for _ in 0..260 {
        story.fires("WebIsSlow");
        story.after(Span::seconds(20)).resolves("WebIsSlow");
        story.after(Span::seconds(20));
    }
    story.fires("WebIsSlow");
    story.facts.paused = true;
    let events = story.observes();
    assert!(events.iter().any(|e| matches!(e, Event::PageReleased { .. })));
    let told = events.iter().any(|e| matches!(e, Event::Tell { note: Some(note), .. } if note.text.contains("Page:")));
    assert!(told, "the page is in no letter");
}

#[test]
fn a_silence_that_ends_while_it_fires_lets_the_ladder_go_on() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    story.alertmanager = Some(story.answer(|_| Firing::Suppressed { by: vec!["s1".into()] }));
    story.observes();
    story.alertmanager = None;
    for _ in 0..12 {
        story.after(Span::minutes(5));
        let fingerprint = Fingerprint::new("WebIsSlow-p1");
        let answer = story.answer(|starts_at| Firing::Active { starts_at });
        story.input(Input::Confirmed { fingerprint, delivered: Some(story.now), answer });
        story.observes();
    }
    assert!(
        story.starts_count() > 0 || story.pages() > 0,
        "an hour unsilenced and firing: nothing acts, nobody is paged"
    );
}

#[test]
fn with_slack_down_two_hundred_posts_wait_and_what_was_told_is_not_kept() {
    let mut story = Story::begin();
    for _ in 0..150 {
        story.command("ann", Command::Pause { reason: "storm".into() });
        story.command("ann", Command::Resume { pause_file_present: false });
    }
    let posts = |story: &Story| story.state.letters.keys().filter(|key| matches!(key.slot, Slot::Post(_))).count();
    assert_eq!(posts(&story), crate::decide::tell::POSTS_OWED);
    story.mails();
    assert_eq!(posts(&story), 0);
}
