use super::harness::{Story, rule};
use crate::model::{
    event::{Event, LadderEnd, LeaseEnd},
    firing::FiringAnswer,
    id::IncidentId,
    observation::{QueryReading, RuleReading, TargetReading},
    rung::IfIneffective,
    step::{Answer, Phase},
    time::Span,
};

/// Acted, and nothing was measured yet; the alert resolved after a while if `resolves`.
fn acted(story: &mut Story, resolves: bool) {
    story.acts_on("WebIsSlow");
    story.after(Span::seconds(60));
    if resolves {
        story.resolves("WebIsSlow");
    }
    story.after(Span::seconds(5));
}

#[test]
fn helped_is_resolved_and_reads_back_well_and_the_rule_was_evaluated_since() {
    let mut story = Story::begin();
    acted(&mut story, true);
    let mut reading = story.reading();
    reading.rule = RuleReading::Evaluated { at: story.now - Span::seconds(30) };
    story.measures(reading);
    assert_eq!(story.phase(story.last_step()), Phase::Verifying);
    let mut reading = story.reading();
    reading.target = TargetReading::NotYet { says: "5 of 6 ready".into() };
    story.measures(reading);
    assert_eq!(story.phase(story.last_step()), Phase::Verifying);
    let reading = story.reading();
    story.measures(reading);
    assert_eq!(story.phase(story.last_step()), Phase::Verified);
    assert_eq!(story.ladder(1), Some(LadderEnd::Helped));
    assert!(story.state.locks.is_empty());
    assert_eq!(story.pages(), 0);
}

#[test]
fn nothing_is_measured_before_the_settle_time() {
    let mut story = Story::begin();
    story.acts_on("WebIsSlow");
    story.resolves("WebIsSlow");
    let reading = story.after(Span::seconds(20)).reading();
    story.measures(reading);
    assert_eq!(story.phase(story.last_step()), Phase::Verifying);
}

#[test]
fn resolved_with_prometheus_gone_is_not_helped() {
    let mut story = Story::begin();
    acted(&mut story, true);
    story.after(Span::minutes(3));
    let mut reading = story.reading();
    reading.rule = RuleReading::Unread { problem: "connection refused".into() };
    story.measures(reading);
    let step = story.last_step();
    assert_eq!(story.phase(step), Phase::Inconclusive);
    assert!(matches!(story.step(step).answer, Some(Answer::CouldNotMeasure { .. })));
    assert_eq!(story.pages(), 1);
}

#[test]
fn resolved_without_a_rule_evaluation_since_is_inconclusive() {
    let mut story = Story::begin();
    acted(&mut story, true);
    let resolved_at = story.now;
    story.after(Span::minutes(3));
    let mut reading = story.reading();
    reading.rule = RuleReading::Evaluated { at: resolved_at - Span::seconds(20) };
    story.measures(reading);
    assert!(matches!(story.step(story.last_step()).answer, Some(Answer::Inconclusive { .. })));
}

#[test]
fn a_query_without_data_is_inconclusive() {
    let mut story = Story::begin();
    acted(&mut story, true);
    story.after(Span::minutes(3));
    let mut reading = story.reading();
    reading.query = QueryReading::Empty;
    story.measures(reading);
    assert!(matches!(story.step(story.last_step()).answer, Some(Answer::Inconclusive { .. })));
}

#[test]
fn still_firing_at_the_end_of_the_window_did_not_help_and_goes_to_the_next_rung() {
    let mut story = Story::with(|spec| spec.rules[0] = rule("web-is-slow", "WebIsSlow", &["web", "api"]));
    acted(&mut story, false);
    let reading = story.reading();
    story.measures(reading);
    assert_eq!(story.phase(story.last_step()), Phase::Verifying);
    let reading = story.after(Span::minutes(3)).reading();
    story.measures(reading);
    let step = story.last_step();
    assert_eq!((step.number, story.step(step).rung_number), (2, 1));
    assert_eq!(story.phase(step), Phase::Observing);
    assert_eq!(story.pages(), 0);
}

#[test]
fn rungs_tried_are_counted_even_where_two_have_one_target() {
    let mut story = Story::with(|spec| spec.rules[0] = rule("web-is-slow", "WebIsSlow", &["web", "web"]));
    let says = |story: &Story| story.state.incident_view(&story.policy, IncidentId(1), story.now).unwrap().ladder;
    acted(&mut story, false);
    assert_eq!(says(&story), "working on it: 1 of 2 rungs tried");
    let reading = story.after(Span::minutes(3)).reading();
    story.measures(reading);
    assert_eq!(says(&story), "working on it: 1 of 2 rungs tried", "the second has not started");
    story.observes();
    assert_eq!(story.phase(story.last_step()), Phase::Acting);
    assert_eq!(says(&story), "working on it: 2 of 2 rungs tried");
}

#[test]
fn the_end_of_the_ladder_goes_to_people() {
    let mut story = Story::begin();
    acted(&mut story, false);
    let reading = story.after(Span::minutes(3)).reading();
    story.measures(reading);
    assert_eq!(story.ladder(1), Some(LadderEnd::Exhausted));
    assert_eq!(story.pages(), 1);
}

#[test]
fn still_firing_but_nobody_can_confirm_it_could_not_be_measured() {
    let mut story = Story::begin();
    acted(&mut story, false);
    story.after(Span::minutes(3));
    let mut reading = story.reading();
    reading.firing = FiringAnswer::Unreachable { problem: "refused".into() };
    story.measures(reading);
    assert!(matches!(story.step(story.last_step()).answer, Some(Answer::CouldNotMeasure { .. })));
}

#[test]
fn what_did_not_help_is_undone_once_where_the_rule_says_so() {
    let mut story = Story::with(|spec| {
        spec.rules[0] = rule("web-is-slow", "WebIsSlow", &["web", "api"]);
        spec.rules[0].remediate[0].if_ineffective = IfIneffective::Undo;
    });
    acted(&mut story, false);
    let reading = story.after(Span::minutes(3)).reading();
    story.measures(reading);
    let undo = story.last_step();
    assert_eq!(undo.number, 2);
    story.observes();
    story.performs();
    assert_eq!(story.replicas, 4);
    let reading = story.after(Span::seconds(5)).reading();
    story.measures(reading);
    assert_eq!(story.phase(undo), Phase::Verified);
    // The ladder goes on; the undo itself is never undone.
    assert_eq!(story.step(story.last_step()).rung_number, 1);
}

#[test]
fn an_undo_that_somebody_crossed_is_refused_and_goes_to_people() {
    let mut story = Story::with(|spec| spec.rules[0].remediate[0].if_ineffective = IfIneffective::Undo);
    acted(&mut story, false);
    let reading = story.after(Span::minutes(3)).reading();
    story.measures(reading);
    story.replicas = 9;
    story.observes();
    assert_eq!(story.phase(story.last_step()), Phase::Dropped);
    assert_eq!(story.replicas, 9);
    assert_eq!(story.pages(), 1);
}

#[test]
fn an_alert_that_joins_while_verifying_must_resolve_too() {
    let mut story = Story::begin();
    acted(&mut story, false);
    let other = story.alert("WebIsSlow", "p2", crate::model::alert::Status::Firing, story.now);
    story.input(crate::model::input::Input::Alert(Box::new(other)));
    story.resolves("WebIsSlow");
    let reading = story.after(Span::seconds(5)).reading();
    story.measures(reading);
    assert_eq!(story.phase(story.last_step()), Phase::Verifying);
}

#[test]
fn a_window_that_passed_while_nobody_was_here_is_inconclusive() {
    let mut story = Story::begin();
    story.acts_on("WebIsSlow");
    story.now = story.now + Span::hours(1);
    story.crashes();
    let step = story.last_step();
    assert_eq!(story.phase(step), Phase::Inconclusive);
    assert_eq!(story.pages(), 1);
}

#[test]
fn a_lease_puts_back_what_it_held_when_nothing_fires() {
    let mut story =
        Story::with(|spec| spec.rules[0].remediate[0].with = serde_json::json!({"replicas": "+2", "lease": "2h"}));
    acted(&mut story, true);
    let reading = story.reading();
    story.measures(reading);
    assert_eq!(story.replicas, 6);
    story.after(Span::hours(3)).observes();
    story.performs();
    assert_eq!(story.replicas, 4);
    assert!(story.events().any(|event| matches!(event, Event::LeaseEnded { how: LeaseEnd::PutBack, .. })));
    let reading = story.reading();
    story.measures(reading);
    assert!(story.state.locks.is_empty());
}

#[test]
fn a_lease_leaves_alone_what_somebody_changed() {
    let mut story =
        Story::with(|spec| spec.rules[0].remediate[0].with = serde_json::json!({"replicas": "+2", "lease": "2h"}));
    acted(&mut story, true);
    let reading = story.reading();
    story.measures(reading);
    story.replicas = 11;
    story.after(Span::hours(3)).observes();
    story.performs();
    assert_eq!(story.replicas, 11);
    assert!(story.events().any(|event| matches!(event, Event::LeaseEnded { how: LeaseEnd::LeftAlone { .. }, .. })));
    assert!(story.state.leases.is_empty());
}

#[test]
fn a_lease_is_extended_while_it_fires_four_times_then_people_are_asked() {
    let mut story = Story::with(|spec| {
        spec.rules[0].remediate[0].with = serde_json::json!({"replicas": "+2", "lease": "10m"});
        spec.lost_after = Span::hours(24);
    });
    acted(&mut story, false);
    let reading = story.after(Span::minutes(3)).reading();
    story.measures(reading);
    story.after(Span::hours(3));
    let extended = story.events().filter(|event| matches!(event, Event::LeaseExtended { .. })).count();
    assert_eq!(extended, 4);
    story.observes();
    assert_eq!(story.phase(story.last_step()), Phase::Asking);
    assert_eq!(story.replicas, 6);
    // Nobody answers: it is left as it is, and people are paged.
    story.after(Span::hours(1));
    assert!(story.state.leases.is_empty());
    assert_eq!(story.replicas, 6);
}
