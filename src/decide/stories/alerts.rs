use super::harness::{Story, rule};
use crate::model::{
    alert::Status,
    event::{Event, LadderEnd},
    firing::{Firing, FiringAnswer},
    id::{Fingerprint, IncidentId},
    input::{Command, Input},
    step::Phase,
    time::Span,
};

#[test]
fn a_known_alert_in_a_known_state_writes_nothing() {
    let mut story = Story::begin();
    let began = story.now;
    assert!(!story.fires("WebIsSlow").is_empty());
    assert!(story.fires_since("WebIsSlow", began).is_empty());
    // The API's milliseconds and a webhook's microseconds are the same instant.
    assert!(story.fires_since("WebIsSlow", began + Span(400)).is_empty());
}

#[test]
fn an_alert_that_no_rule_matches_opens_nothing_and_is_explained() {
    let mut story = Story::begin();
    let events = story.fires("Nobody");
    assert!(matches!(&events[..], [Event::AlertFired { rule: None, .. }]));
    assert!(story.state.incident_ids().is_empty());
    assert!(story.state.alert_view(&Fingerprint::new("Nobody-p1")).unwrap().rule.is_none());
}

#[test]
fn the_end_of_an_alert_never_heard_of_writes_nothing() {
    let mut story = Story::begin();
    assert!(story.resolves("WebIsSlow").is_empty());
}

#[test]
fn a_resolve_of_an_older_firing_does_not_count() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    let mut alert = story.alert("WebIsSlow", "p1", Status::Resolved, story.now - Span::hours(2));
    alert.ends_at = Some(story.now - Span::hours(1));
    let events = story.input(Input::Alert(Box::new(alert)));
    assert_eq!(events, vec![Event::AlertStale]);
    assert_eq!(story.incident_state(1), "open");
}

#[test]
fn a_firing_older_than_the_one_held_is_stale() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    let events = story.fires_since("WebIsSlow", story.now - Span::hours(1));
    assert_eq!(events, vec![Event::AlertStale]);
}

#[test]
fn a_refire_with_the_same_start_is_doubtful_and_acts_only_when_confirmed() {
    let mut story = Story::begin();
    let began = story.now;
    story.fires("WebIsSlow");
    story.after(Span::seconds(5)).resolves("WebIsSlow");
    let events = story.after(Span::seconds(5)).fires_since("WebIsSlow", began);
    assert!(matches!(events[0], Event::AlertFired { doubtful: true, .. }));
    let step = story.last_step();
    story.alertmanager = Some(story.answer(|_| Firing::Absent));
    story.observes();
    assert_eq!((story.phase(step), story.reason(step)), (Phase::Holding, "not_listed"));
    story.alertmanager = None;
    story.after(Span::seconds(10)).observes();
    assert_eq!(story.phase(step), Phase::Acting);
}

#[test]
fn alerts_with_the_same_key_join_one_incident_with_one_ladder() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    let other = story.alert("WebIsSlow", "p2", Status::Firing, story.now);
    story.input(Input::Alert(Box::new(other)));
    assert_eq!(story.state.incident_ids(), vec![IncidentId(1)]);
    assert_eq!(story.state.steps.len(), 1);
    let view = story.state.incident_view(&story.policy, IncidentId(1), story.now).unwrap();
    assert_eq!(view.firing, 2);
}

#[test]
fn group_by_tells_incidents_apart() {
    let mut story = Story::with(|spec| spec.rules[0].group_by = vec!["pod".into()]);
    story.fires("WebIsSlow");
    let other = story.alert("WebIsSlow", "p2", Status::Firing, story.now);
    story.input(Input::Alert(Box::new(other)));
    assert_eq!(story.state.incident_ids().len(), 2);
}

#[test]
fn a_more_severe_alert_raises_the_incident() {
    let mut story = Story::with(|spec| {
        spec.rules[0].severity = None;
    });
    for (pod, severity) in [("p1", "warning"), ("p2", "critical"), ("p3", "info")] {
        let mut alert = story.alert("WebIsSlow", pod, Status::Firing, story.now);
        alert.labels.insert("severity".into(), severity.into());
        story.input(Input::Alert(Box::new(alert)));
    }
    assert_eq!(story.state.incident_view(&story.policy, IncidentId(1), story.now).unwrap().severity, "P0");
}

#[test]
fn an_incident_is_monitored_then_resolved_after_its_quiet_time() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    story.after(Span::seconds(1)).resolves("WebIsSlow");
    assert_eq!(story.incident_state(1), "monitoring");
    story.after(Span::minutes(9));
    assert_eq!(story.incident_state(1), "monitoring");
    story.after(Span::minutes(2));
    assert_eq!(story.incident_state(1), "resolved");
    // It is kept while somebody is still owed a letter about it.
    story.after(Span::hours(49));
    assert!(!story.state.incident_ids().is_empty());
    story.mails();
    story.after(Span::hours(2));
    assert!(story.state.incident_ids().is_empty());
}

#[test]
fn a_resolve_before_the_start_drops_the_step_and_the_ladder() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    let step = story.last_step();
    story.after(Span::seconds(1)).resolves("WebIsSlow");
    assert_eq!((story.phase(step), story.reason(step)), (Phase::Dropped, "alert_resolved"));
    assert_eq!(story.ladder(1), Some(LadderEnd::NotNeeded));
    assert_eq!(story.pages(), 0);
}

#[test]
fn firing_again_while_monitored_reopens_the_same_incident_at_the_next_rung() {
    let mut story = Story::with(|spec| {
        spec.rules[0] = rule("web-is-slow", "WebIsSlow", &["web", "api"]);
        spec.rules[0].cooldown = Span::ZERO;
    });
    story.acts_on("WebIsSlow");
    story.after(Span::seconds(40)).resolves("WebIsSlow");
    let reading = story.after(Span::seconds(5)).reading();
    story.measures(reading);
    assert_eq!(story.ladder(1), Some(LadderEnd::Helped));
    story.after(Span::minutes(3)).fires("WebIsSlow");
    assert_eq!(story.incident_state(1), "open");
    let step = story.last_step();
    assert_eq!(story.step(step).rung_number, 1);
    assert_eq!(story.state.incident_ids(), vec![IncidentId(1)]);
}

#[test]
fn an_alert_that_nobody_confirms_is_lost_and_never_counted_resolved() {
    let mut story = Story::with(|spec| spec.rules[0].mode = crate::model::mode::Mode::Ask);
    story.fires("WebIsSlow");
    story.observes();
    let step = story.last_step();
    story.after(Span::minutes(29));
    assert_eq!(story.phase(step), Phase::Asking);
    story.after(Span::minutes(2));
    let fingerprint = Fingerprint::new("WebIsSlow-p1");
    let answer = FiringAnswer::Unreachable { problem: "no route".into() };
    let events = story.input(Input::Confirmed { fingerprint: fingerprint.clone(), delivered: None, answer });
    assert!(events.iter().any(|event| matches!(event, Event::AlertLost { .. })));
    assert!(events.iter().any(|event| matches!(event, Event::IncidentLostContact { .. })));
    assert_eq!(story.incident_state(1), "open");
    assert!(story.phase(step).is_terminal());
    assert!(story.state.locks.is_empty());
    story.after(Span::hours(2));
    assert_eq!(story.incident_state(1), "open");
    // It comes back: contact again, the same incident.
    story.fires("WebIsSlow");
    assert!(!story.state.incident_view(&story.policy, IncidentId(1), story.now).unwrap().lost_contact);
}

#[test]
fn a_delivery_that_wrote_nothing_still_keeps_an_alert_from_being_lost() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    story.after(Span::seconds(1)).resolves("WebIsSlow");
    story.after(Span::seconds(1)).fires("WebIsSlow");
    story.command("ann", Command::Acknowledge { incident: IncidentId(1) });
    story.after(Span::minutes(31));
    let fingerprint = Fingerprint::new("WebIsSlow-p1");
    let delivered = Some(story.now - Span::minutes(4));
    let answer = FiringAnswer::Unreachable { problem: "no route".into() };
    let events = story.input(Input::Confirmed { fingerprint, delivered, answer });
    assert!(matches!(&events[..], [Event::AlertConfirmed { .. }]));
}
