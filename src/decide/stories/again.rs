//! What is delivered again, with the start that is known: silenced until now, closed by a person, lost, or taken by
//! rules that are newer than it.

use super::harness::{Story, rule};
use crate::model::{
    alert::Status,
    event::LadderEnd,
    firing::{Firing, FiringAnswer},
    id::{Fingerprint, IncidentId},
    input::{Command, Input},
    reason::Reason,
    step::{Answer, Phase},
    time::Span,
};

#[test]
fn what_no_rule_took_is_taken_by_newer_rules_when_it_is_delivered_again() {
    let mut story = Story::begin();
    let began = story.now;
    story.fires("ApiIsDown");
    assert!(story.state.incident_ids().is_empty());
    assert!(story.fires_since("ApiIsDown", began).is_empty(), "known, and no rule has changed");
    story.reloads(|spec| spec.rules.push(rule("api-is-down", "ApiIsDown", &["api"])));
    story.after(Span::minutes(5)).fires_since("ApiIsDown", began);
    assert_eq!(story.incident_state(1), "open");
    story.observes();
    assert_eq!(story.phase(story.last_step()), Phase::Acting);
    assert!(story.after(Span::minutes(5)).fires_since("ApiIsDown", began).is_empty(), "it is taken once");
}

#[test]
fn what_is_delivered_after_a_silence_is_looked_at_again() {
    let mut story = Story::begin();
    let began = story.now;
    story.fires("WebIsSlow");
    story.alertmanager = Some(story.answer(|_| Firing::Suppressed { by: vec!["s1".into()] }));
    story.observes();
    assert!(matches!(story.ladder(1), Some(LadderEnd::HandedOver { reason: Reason::Silenced { .. } })));
    story.alertmanager = None;
    story.after(Span::minutes(5)).fires_since("WebIsSlow", began);
    story.observes();
    assert_eq!((story.ladder(1), story.starts_count()), (None, 1));
    assert!(story.after(Span::minutes(5)).fires_since("WebIsSlow", began).is_empty());
}

#[test]
fn what_a_person_closed_stays_closed_though_it_was_lost_for_days() {
    let mut story = Story::begin();
    let began = story.now;
    story.fires("WebIsSlow");
    story.command("ann", Command::Resolve { incident: IncidentId(1) });
    story.mails();
    story.after(Span::hours(24 * 3));
    let fingerprint = Fingerprint::new("WebIsSlow-p1");
    let answer = FiringAnswer::Unreachable { problem: "no route".into() };
    story.input(Input::Confirmed { fingerprint: fingerprint.clone(), delivered: None, answer });
    assert_eq!(story.state.alert_view(&fingerprint).unwrap().state, "lost");
    story.fires_since("WebIsSlow", began);
    assert_eq!(story.state.incident_ids(), [IncidentId(1)], "it fires since then: ann closed that");
    story.after(Span::minutes(5)).resolves("WebIsSlow");
    story.after(Span::minutes(5)).fires("WebIsSlow");
    assert_eq!(story.incident_state(2), "open");
    story.mails();
    story.after(Span::hours(24 * 3));
    assert!(!story.state.incident_ids().contains(&IncidentId(1)), "nothing of it fires: it is forgotten");
}

#[test]
fn what_fires_anew_in_another_incident_was_not_helped() {
    let mut story = Story::begin();
    let step = story.acts_on("WebIsSlow");
    story.command("ann", Command::Resolve { incident: IncidentId(1) });
    story.after(Span::seconds(40)).resolves("WebIsSlow");
    story.fires_since("WebIsSlow", story.now + Span::seconds(1));
    assert_eq!(story.incident_state(2), "open");
    let reading = story.after(Span::seconds(30)).reading();
    story.measures(reading);
    assert!(matches!(story.step(step).answer, Some(Answer::Inconclusive { .. })), "{:?}", story.step(step).answer);
}

#[test]
fn one_alert_that_fires_beside_a_silenced_one_begins_no_ladder_with_each_delivery() {
    let mut story = Story::begin();
    let begin = story.now;
    story.fires("WebIsSlow");
    let other = story.alert("WebIsSlow", "p2", Status::Firing, begin);
    story.input(Input::Alert(Box::new(other.clone())));
    let silenced = Fingerprint::new("WebIsSlow-p1");
    for _ in 0..12 {
        let FiringAnswer::Answered { at, mut alerts } = story.answer(|starts_at| Firing::Active { starts_at }) else {
            return;
        };
        alerts.insert(silenced.clone(), Firing::Suppressed { by: vec!["a silence".into()] });
        story.alertmanager = Some(FiringAnswer::Answered { at, alerts });
        story.observes();
        story.after(Span::minutes(5));
        story.input(Input::Alert(Box::new(other.clone())));
    }
    let said = story.posts().iter().filter(|post| post.starts_with("Not acting")).count();
    assert!(said <= 2, "{said} times");
}
