//! Holding the page: each line of what it means.

use super::harness::{Story, rule};
use crate::{
    decide::policy::{Brake, Limit, PolicySpec},
    model::{
        alert::{Alert, HOLD_LABEL, Status},
        event::{Event, Spared},
        firing::{Firing, FiringAnswer},
        freeze::{Freeze, Window},
        id::{Fingerprint, IncidentId, StepId},
        input::{Command, Input, Op},
        letter::PageState,
        mode::Mode,
        observation::{Outcome, RuleReading},
        page::{DedupKey, dedup_key},
        peer::{PeerEvent, PeerIncident, PeerNews},
        reason::Reason,
        step::Phase,
        time::{Micros, Span},
    },
};

const GROUP: &str = "{}/{nightshift_hold=\"true\"}:{alertname=\"WebIsSlow\", nightshift_hold=\"true\", pod=\"p1\"}";

/// A rule whose first rung takes at most 2m30s, and whose page waits for 5m.
fn story() -> Story {
    with(|_| {})
}

fn with(change: impl FnOnce(&mut PolicySpec)) -> Story {
    Story::with(|spec| {
        spec.pagerduty.pages = true;
        for rule in &mut spec.rules {
            rule.hold_page = Some(Span::minutes(5));
        }
        change(spec);
    })
}

fn asking(story: &Story, name: &str, pod: &str, status: Status, starts_at: Micros) -> Alert {
    let mut alert = story.alert(name, pod, status, starts_at);
    alert.labels.insert(HOLD_LABEL.into(), "true".into());
    alert.group_key = GROUP.replace("p1", pod).replace("WebIsSlow", name);
    alert
}

/// An alert that asks to hold its page fires now.
fn asks(story: &mut Story, name: &str) -> Vec<Event> {
    asks_since(story, name, "p1", story.now)
}

fn asks_since(story: &mut Story, name: &str, pod: &str, starts_at: Micros) -> Vec<Event> {
    let alert = asking(story, name, pod, Status::Firing, starts_at);
    story.input(Input::Alert(Box::new(alert)))
}

fn resolves(story: &mut Story, name: &str, pod: &str) -> Vec<Event> {
    let starts_at = story.state.alerts[&Fingerprint::new(&format!("{name}-{pod}"))].starts_at;
    let alert = asking(story, name, pod, Status::Resolved, starts_at);
    story.input(Input::Alert(Box::new(alert)))
}

/// From the alert to a step that has been applied and is verified.
fn acts(story: &mut Story) -> StepId {
    asks(story, "WebIsSlow");
    story.observes();
    story.performs();
    let step = story.last_step();
    assert_eq!((story.phase(step), story.pages()), (Phase::Verifying, 0));
    step
}

/// Why people were woken, each time.
fn woken(story: &Story) -> Vec<&'static str> {
    let reasons = story.events().filter_map(|event| match event {
        Event::PageReleased { reason, .. } => Some(reason.word()),
        _ => None,
    });
    reasons.collect()
}

fn spared(story: &Story) -> Vec<Spared> {
    let spared = story.events().filter_map(|event| match event {
        Event::PageSpared { how, .. } => Some(how.clone()),
        _ => None,
    });
    spared.collect()
}

fn held_until(story: &Story) -> Option<Micros> {
    story.state.page_held_until(IncidentId(1))
}

/// What PagerDuty is owed: key and wanted state.
fn owed(story: &Story) -> Vec<(DedupKey, PageState)> {
    let due = story.state.letters_due(100).into_iter();
    due.filter_map(|letter| letter.page).filter_map(|page| Some((page.dedup_key, page.wants?))).collect()
}

#[test]
fn verified_in_time_nobody_is_woken_and_the_thread_says_so() {
    let mut story = story();
    let begin = story.now;
    acts(&mut story);
    assert_eq!(held_until(&story), Some(begin + Span::minutes(5)));
    assert_eq!(story.state.next_due(), Some(begin + Span::seconds(150)), "the verdict comes first");
    story.after(Span::minutes(1));
    resolves(&mut story, "WebIsSlow", "p1");
    assert_eq!((held_until(&story), woken(&story)), (Some(begin + Span::minutes(5)), vec![]), "resolved is not fixed");
    let reading = story.after(Span::seconds(10)).reading();
    story.measures(reading);
    assert_eq!((held_until(&story), woken(&story), spared(&story)), (None, vec![], vec![Spared::Helped]));
    let posts = story.posts();
    assert!(posts.iter().any(|post| post.starts_with("The page is held until ")), "{posts:?}");
    assert!(posts.contains(&"Nobody was woken: what nightshift did helped in time.".to_owned()), "{posts:?}");
    story.after(Span::hours(1));
    assert_eq!((woken(&story), owed(&story)), (vec![], vec![]));
}

#[test]
fn resolved_before_anything_was_done_nobody_is_woken() {
    let mut story = with(|spec| spec.rules[0].fires_for = Span::seconds(30));
    asks(&mut story, "WebIsSlow");
    assert!(held_until(&story).is_some(), "waiting for its age only, it is held");
    story.after(Span::seconds(10));
    resolves(&mut story, "WebIsSlow", "p1");
    assert_eq!((woken(&story), spared(&story)), (vec![], vec![Spared::Resolved]));
    story.after(Span::minutes(10));
    assert_eq!(woken(&story), Vec::<&str>::new());
}

#[test]
fn it_did_not_help_so_people_are_woken_at_once_though_the_ladder_goes_on() {
    let mut story = with(|spec| {
        spec.rules[0] = {
            let mut rule = rule("web-is-slow", "WebIsSlow", &["web", "web"]);
            rule.hold_page = Some(Span::minutes(5));
            rule
        }
    });
    acts(&mut story);
    let reading = story.after(Span::seconds(151)).reading();
    story.measures(reading);
    assert_eq!(woken(&story), ["did_not_help"]);
    assert_eq!(story.phase(story.last_step()), Phase::Observing, "the second rung");
    assert_eq!(owed(&story), [(dedup_key(GROUP), PageState::Triggered)], "Alertmanager's later page joins it");
    story.after(Span::minutes(10));
    assert_eq!(woken(&story), ["did_not_help"], "one page");
}

#[test]
fn no_verdict_by_the_end_of_the_hold_is_a_page_then() {
    let mut story = story();
    let begin = story.now;
    acts(&mut story);
    story.after(Span::millis(299_999));
    assert_eq!(woken(&story), Vec::<&str>::new());
    story.after(Span::millis(1));
    assert_eq!((woken(&story), story.now), (vec!["hold_over"], begin + Span::minutes(5)));
    assert_eq!(story.pages(), 1);
}

#[test]
fn prometheus_dies_while_it_is_verified_and_its_silence_is_not_taken_for_a_fix() {
    let mut story = story();
    acts(&mut story);
    // Nobody refreshes the alert: it resolves by itself.
    story.after(Span::minutes(1));
    resolves(&mut story, "WebIsSlow", "p1");
    let mut reading = story.after(Span::seconds(91)).reading();
    reading.rule = RuleReading::Unread { problem: "connection refused".into() };
    story.measures(reading);
    assert_eq!(woken(&story), ["could_not_measure"]);
    // It is not over because nothing fires: nobody knows.
    assert_eq!(owed(&story), [(dedup_key(GROUP), PageState::Triggered)]);
    story.after(Span::minutes(5));
    assert_eq!(owed(&story), [(dedup_key(GROUP), PageState::Triggered)]);
    story.after(Span::minutes(10));
    assert_eq!(story.incident_state(1), "resolved");
    assert_eq!(owed(&story), [(dedup_key(GROUP), PageState::Resolved)]);
}

#[test]
fn what_nightshift_triggered_early_it_resolves_once_nothing_of_the_group_fires() {
    let mut story = story();
    acts(&mut story);
    story.after(Span::minutes(5));
    assert_eq!(owed(&story), [(dedup_key(GROUP), PageState::Triggered)]);
    resolves(&mut story, "WebIsSlow", "p1");
    assert_eq!(owed(&story), [(dedup_key(GROUP), PageState::Resolved)]);
}

#[test]
fn an_alert_that_has_fired_for_longer_than_its_page_is_held_pages_at_once() {
    let mut story = story();
    let long_ago = story.now - Span::minutes(6);
    asks_since(&mut story, "WebIsSlow", "p1", long_ago);
    assert_eq!((woken(&story), held_until(&story)), (vec!["not_held"], None));
}

#[test]
fn an_alert_from_a_clock_that_is_ahead_holds_nothing_for_longer() {
    let mut story = story();
    let later = story.now + Span::minutes(20);
    asks_since(&mut story, "WebIsSlow", "p1", later);
    assert_eq!(held_until(&story), Some(story.now + Span::minutes(5)));
}

#[test]
fn an_alert_that_does_not_ask_is_not_held_and_pages_as_ever() {
    let mut story = story();
    story.acts_on("WebIsSlow");
    assert_eq!(held_until(&story), None);
    story.after(Span::minutes(10));
    let reading = story.reading();
    story.measures(reading);
    assert_eq!(woken(&story), ["exhausted"]);
}

/// Each of these acts at most after a person, or not at all: what a page would wait for is not there.
#[test]
fn whatever_does_not_act_by_itself_pages_at_once() {
    type Change = fn(&mut PolicySpec);
    let cases: [(&str, Change); 9] = [
        ("shadow", |spec| spec.rules[0].mode = Mode::Shadow),
        ("ask", |spec| spec.rules[0].mode = Mode::Ask),
        ("ask", |spec| spec.rules[0].remediate[0].mode = Some(Mode::Ask)),
        ("shadow", |spec| spec.mode = Mode::Shadow),
        ("not_held", |spec| spec.rules[0].hold_page = None),
        ("not_held", |spec| spec.rules[0].severity = Some("P0".into())),
        ("not_held", |spec| spec.rules[0].remediate.clear()),
        ("no_target", |spec| spec.rules[0].remediate[0].target = "elsewhere".into()),
        ("not_held", |spec| spec.severities[1].respond_within = None),
    ];
    for (word, change) in cases {
        let mut story = with(change);
        asks(&mut story, "WebIsSlow");
        assert_eq!((woken(&story), held_until(&story)), (vec![word], None));
        assert_eq!(owed(&story)[0], (dedup_key(GROUP), PageState::Triggered));
        let events = story.observes();
        assert!(!events.iter().any(|event| matches!(event, Event::PageReleased { .. })), "one page: {events:?}");
    }
}

/// Guards say no once the target was looked at: then, not at the end of the hold.
#[test]
fn what_the_guards_deny_or_want_a_person_for_pages_as_soon_as_they_say_so() {
    type Change = fn(&mut PolicySpec);
    let frozen = |spec: &mut PolicySpec| {
        let window = Window::Dates { from: Micros(0), to: Micros(i64::MAX) };
        spec.freezes = vec![Freeze { name: "always".into(), window, except: Vec::new() }];
    };
    let cases: [(&str, Change); 3] = [
        ("limit", |spec| spec.limits_all = vec![Limit { count: 0, within: Span::hours(1) }]),
        ("freeze", frozen),
        ("canary", |spec| spec.rules[0].canary = 1),
    ];
    for (word, change) in cases {
        let mut story = with(change);
        asks(&mut story, "WebIsSlow");
        assert_eq!(woken(&story), Vec::<&str>::new(), "{word}: it is observed");
        story.observes();
        assert_eq!((woken(&story), held_until(&story)), (vec![word], None));
    }
    let mut story = story();
    story.refuses = Some("it belongs to Argo CD".into());
    asks(&mut story, "WebIsSlow");
    story.observes();
    assert_eq!(woken(&story), ["refused"]);
}

#[test]
fn a_doubt_is_a_page_though_it_is_asked_again() {
    let mut story = story();
    asks(&mut story, "WebIsSlow");
    story.cannot_observe();
    assert_eq!((story.phase(story.last_step()), woken(&story)), (Phase::Holding, vec!["not_observed"]));

    let mut story = self::story();
    story.alertmanager = Some(FiringAnswer::Unreachable { problem: "timed out".into() });
    asks(&mut story, "WebIsSlow");
    story.observes();
    assert_eq!((story.phase(story.last_step()), woken(&story)), (Phase::Holding, vec!["firing_unknown"]));
}

#[test]
fn what_waits_for_a_lock_or_a_slot_pages_at_once() {
    let mut story = story();
    story.acts_on("WebIsDown");
    asks(&mut story, "WebIsSlow");
    story.observes();
    assert_eq!((story.reason(story.last_step()), woken(&story)), ("target_lock", vec!["target_lock"]));

    let mut story = self::story();
    story.fires("ApiIsSlow");
    story.observes();
    asks(&mut story, "WebIsSlow");
    story.observes();
    assert_eq!((story.reason(story.last_step()), woken(&story)), ("concurrency", vec!["concurrency"]));
}

#[test]
fn after_a_start_what_has_not_begun_pages_and_what_is_verified_goes_on() {
    let mut story = story();
    asks(&mut story, "WebIsSlow");
    story.crashes();
    assert_eq!(woken(&story), ["settling"]);

    let mut story = self::story();
    story.crashes();
    asks(&mut story, "WebIsSlow");
    assert_eq!(woken(&story), ["settling"], "what comes while it settles");

    // Its age outlasts the settle time, and still it would be the settle time that nobody knows the end of.
    let mut story = with(|spec| spec.rules[0].fires_for = Span::minutes(2));
    asks(&mut story, "WebIsSlow");
    story.crashes();
    assert_eq!(woken(&story), ["settling"]);

    let mut story = self::story();
    acts(&mut story);
    story.crashes();
    assert_eq!(woken(&story), Vec::<&str>::new());
    story.after(Span::minutes(1));
    resolves(&mut story, "WebIsSlow", "p1");
    let reading = story.after(Span::seconds(5)).reading();
    story.measures(reading);
    assert_eq!((woken(&story), spared(&story)), (vec![], vec![Spared::Helped]));

    let mut story = self::story();
    acts(&mut story);
    story.now = story.now + Span::minutes(6);
    story.crashes();
    assert_eq!(woken(&story).len(), 1, "its window and its hold passed while nobody was there");
}

#[test]
fn a_pause_pages_for_what_has_not_started() {
    let mut story = story();
    asks(&mut story, "WebIsSlow");
    story.command("ann", Command::Pause { reason: "storm".into() });
    assert_eq!(woken(&story), ["paused"]);

    let mut story = self::story();
    story.command("ann", Command::Pause { reason: "storm".into() });
    asks(&mut story, "WebIsSlow");
    assert_eq!(woken(&story), ["paused"]);

    // What is written already needs nothing but eyes.
    let mut story = self::story();
    acts(&mut story);
    story.command("ann", Command::Pause { reason: "storm".into() });
    assert_eq!(woken(&story), Vec::<&str>::new());
    let reading = story.after(Span::seconds(151)).reading();
    story.measures(reading);
    assert_eq!(woken(&story).len(), 1);
}

#[test]
fn a_disarmed_rule_pages() {
    let mut story = with(|spec| spec.rules[0].cooldown = Span::ZERO);
    for _ in 0..2 {
        story.acts_on("WebIsSlow");
        let reading = story.after(Span::seconds(151)).reading();
        story.measures(reading);
        story.resolves("WebIsSlow");
        story.after(Span::minutes(11));
    }
    let before = woken(&story).len();
    asks(&mut story, "WebIsSlow");
    story.observes();
    assert_eq!(woken(&story)[before..], ["disarmed"]);
}

#[test]
fn a_call_that_fails_and_one_whose_outcome_is_unknown_page() {
    let mut story = story();
    asks(&mut story, "WebIsSlow");
    story.observes();
    let outcome = Outcome::NotApplied { why: "403".into(), changed_since: false };
    story.performed(story.last_step(), Op::Apply, outcome);
    assert_eq!(woken(&story), ["call_failed"]);

    let mut story = self::story();
    asks(&mut story, "WebIsSlow");
    story.observes();
    let step = story.last_step();
    story.performed(step, Op::Apply, Outcome::Unknown { why: "timed out".into() });
    assert_eq!(woken(&story), Vec::<&str>::new(), "it is read back");
    story.after(Span::seconds(30));
    story.performed(step, Op::ReadBack, Outcome::Unknown { why: "timed out".into() });
    assert_eq!(woken(&story), ["outcome_unknown"]);
}

#[test]
fn somebody_elses_change_is_tried_anew_while_the_page_waits() {
    let mut story = story();
    asks(&mut story, "WebIsSlow");
    story.observes();
    let outcome = Outcome::NotApplied { why: "replicas 4 → 5".into(), changed_since: true };
    story.performed(story.last_step(), Op::Apply, outcome);
    assert_eq!((story.phase(story.last_step()), woken(&story)), (Phase::Observing, vec![]));
    assert!(held_until(&story).is_some());
}

#[test]
fn whoever_acknowledges_or_closes_it_is_awake() {
    let mut story = story();
    acts(&mut story);
    story.command("ann", Command::Acknowledge { incident: IncidentId(1) });
    assert_eq!((woken(&story), spared(&story)), (vec![], vec![Spared::Acknowledged { by: "ann".into() }]));
    story.after(Span::minutes(10));
    assert_eq!(woken(&story), Vec::<&str>::new());

    let mut story = self::story();
    acts(&mut story);
    story.command("ann", Command::Resolve { incident: IncidentId(1) });
    assert_eq!((woken(&story), spared(&story)), (vec![], vec![Spared::Closed { by: "ann".into() }]));
    story.after(Span::minutes(10));
    assert_eq!(woken(&story), Vec::<&str>::new());
}

#[test]
fn a_persons_undo_or_reject_ends_what_the_page_waited_for() {
    let mut story = story();
    let step = acts(&mut story);
    story.command("ann", Command::Undo { step });
    assert_eq!(woken(&story), ["undone"]);

    let mut story = with(|spec| spec.rules[0].fires_for = Span::minutes(1));
    asks(&mut story, "WebIsSlow");
    let step = story.last_step();
    story.command("ann", Command::Reject { step });
    assert_eq!(woken(&story), ["undone"]);
}

#[test]
fn what_alertmanager_silences_wakes_nobody_until_it_is_heard_again() {
    let mut story = story();
    let silenced = |_| Firing::Suppressed { by: vec!["ann's".into()] };
    story.alertmanager = None;
    asks(&mut story, "WebIsSlow");
    story.alertmanager = Some(story.answer(silenced));
    story.observes();
    assert_eq!((woken(&story), spared(&story)), (vec![], vec![Spared::Silenced]));
    story.after(Span::minutes(20));
    assert_eq!(woken(&story), Vec::<&str>::new());
    // The silence is over: Alertmanager sends it again.
    story.alertmanager = None;
    let starts_at = story.state.alerts[&Fingerprint::new("WebIsSlow-p1")].starts_at;
    asks_since(&mut story, "WebIsSlow", "p1", starts_at);
    assert_eq!(woken(&story), ["not_held"], "it has fired for twenty minutes");
}

#[test]
fn a_lost_alert_is_not_held() {
    let mut story = with(|spec| {
        spec.lost_after = Span::minutes(2);
        spec.rules[0].fires_for = Span::minutes(4);
    });
    asks(&mut story, "WebIsSlow");
    story.after(Span::minutes(2));
    let answer = story.answer(|_| Firing::Absent);
    story.input(Input::Confirmed { fingerprint: Fingerprint::new("WebIsSlow-p1"), delivered: None, answer });
    assert_eq!(woken(&story), ["lost_contact"]);
}

#[test]
fn fired_again_with_the_same_start_is_a_doubt() {
    let mut story = with(|spec| spec.rules[0].fires_for = Span::minutes(1));
    asks(&mut story, "WebIsSlow");
    let starts_at = story.now;
    story.after(Span::seconds(10));
    resolves(&mut story, "WebIsSlow", "p1");
    assert_eq!(woken(&story), Vec::<&str>::new());
    story.after(Span::seconds(10));
    asks_since(&mut story, "WebIsSlow", "p1", starts_at);
    assert_eq!(woken(&story), ["doubtful"]);
}

#[test]
fn the_earliest_alert_of_an_incident_counts() {
    let mut story = story();
    let begin = story.now;
    asks_since(&mut story, "WebIsSlow", "p1", begin - Span::minutes(1));
    assert_eq!(held_until(&story), Some(begin + Span::minutes(4)));
    asks_since(&mut story, "WebIsSlow", "p2", begin - Span::minutes(3));
    assert_eq!(held_until(&story), Some(begin + Span::minutes(2)));
    asks_since(&mut story, "WebIsSlow", "p3", begin);
    assert_eq!(held_until(&story), Some(begin + Span::minutes(2)));
    // And it stays so when that one is over.
    resolves(&mut story, "WebIsSlow", "p2");
    assert_eq!(held_until(&story), Some(begin + Span::minutes(2)));
    story.observes();
    story.performs();
    story.after(Span::minutes(2));
    assert_eq!(woken(&story), ["hold_over"]);
    story.after(Span::minutes(10));
    assert_eq!(story.events().filter(|event| matches!(event, Event::PageHeld { .. })).count(), 2);
}

#[test]
fn what_fires_again_is_held_afresh_only_while_the_ladder_goes_on() {
    let mut story = with(|spec| {
        spec.rules[0] = {
            let mut rule = rule("web-is-slow", "WebIsSlow", &["web", "web"]);
            (rule.hold_page, rule.cooldown) = (Some(Span::minutes(5)), Span::ZERO);
            rule
        }
    });
    acts(&mut story);
    story.after(Span::seconds(40));
    resolves(&mut story, "WebIsSlow", "p1");
    let reading = story.after(Span::seconds(1)).reading();
    story.measures(reading);
    story.after(Span::minutes(1));
    asks(&mut story, "WebIsSlow");
    assert_eq!((story.incident_state(1), held_until(&story)), ("open", Some(story.now + Span::minutes(5))));
    story.observes();
    story.performs();
    let reading = story.after(Span::seconds(151)).reading();
    story.measures(reading);
    assert_eq!(woken(&story), ["exhausted"]);
    resolves(&mut story, "WebIsSlow", "p1");
    story.after(Span::minutes(1));
    asks(&mut story, "WebIsSlow");
    assert_eq!(woken(&story)[1..], ["exhausted"], "nothing is left to try: at once, for this firing");
}

#[test]
fn what_fires_again_before_its_verdict_waits_no_longer_for_it() {
    let mut story = story();
    let begin = story.now;
    acts(&mut story);
    story.after(Span::minutes(1));
    resolves(&mut story, "WebIsSlow", "p1");
    story.after(Span::seconds(10));
    asks(&mut story, "WebIsSlow");
    assert_eq!(held_until(&story), Some(begin + Span::minutes(5)));
}

#[test]
fn a_reload_that_takes_the_rule_or_the_hold_away_pages() {
    let mut story = story();
    acts(&mut story);
    story.reloads(|spec| spec.rules[0].hold_page = None);
    assert_eq!(woken(&story), ["rules_changed"]);

    let mut story = self::story();
    acts(&mut story);
    story.reloads(|spec| spec.severities[1].respond_within = None);
    assert_eq!(woken(&story), ["not_held"]);

    let mut story = self::story();
    asks(&mut story, "WebIsSlow");
    story.reloads(|spec| spec.rules[2].cooldown = Span::minutes(1));
    assert_eq!((woken(&story), held_until(&story).is_some()), (vec![], true));
}

#[test]
fn becoming_as_severe_as_nothing_waits_for_pages() {
    let mut story = with(|spec| spec.rules[0].severity = None);
    let mut alert = asking(&story, "WebIsSlow", "p1", Status::Firing, story.now);
    alert.labels.insert("severity".into(), "warning".into());
    story.input(Input::Alert(Box::new(alert)));
    assert!(held_until(&story).is_some());
    let mut worse = story.alert("WebIsSlow", "p2", Status::Firing, story.now);
    worse.labels.insert("severity".into(), "critical".into());
    story.input(Input::Alert(Box::new(worse)));
    assert_eq!(woken(&story), ["not_held"]);
}

#[path = "holding_with_others.rs"]
mod with_others;
