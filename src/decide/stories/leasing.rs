//! Leases: what is put back, when, and what is left alone because somebody else set it.

use super::harness::Story;
use crate::model::{
    firing::FiringAnswer,
    id::{Fingerprint, IncidentId, StepId},
    input::{Command, Input},
    step::Phase,
    time::Span,
};
use std::collections::BTreeMap;

fn leased(lease: &str) -> Story {
    Story::with(|spec| {
        for rule in &mut spec.rules {
            rule.remediate[0].with = serde_json::json!({"replicas": "+2", "lease": lease});
            rule.undo_within = Span::hours(5);
        }
    })
}

fn helped(story: &mut Story, name: &str) -> StepId {
    let step = story.acts_on(name);
    story.after(Span::seconds(40)).resolves(name);
    let reading = story.after(Span::seconds(5)).reading();
    story.measures(reading);
    assert_eq!(story.phase(step), Phase::Verified);
    step
}

fn lease_ends(story: &mut Story, after: Span) {
    let end = story.now + after;
    while story.now < end {
        story.after(Span::minutes(1));
        story.observes();
        story.performs();
        let reading = story.after(Span::seconds(5)).reading();
        story.measures(reading);
    }
}

#[test]
fn what_a_person_set_between_two_leases_is_not_taken_away_by_the_second() {
    let mut story = leased("2h");
    helped(&mut story, "WebIsSlow");
    assert_eq!(story.replicas, 6, "4 → 6, lent until two hours are over");
    // Half an hour later a person decides that ten are needed, for good.
    story.after(Span::minutes(30));
    story.replicas = 10;
    story.facts.generation += 1;
    // Long after that edit the alert fires again: 10 → 12, lent.
    story.after(Span::minutes(20));
    helped(&mut story, "WebIsSlow");
    assert_eq!(story.replicas, 12);
    lease_ends(&mut story, Span::hours(3));
    assert_eq!(story.replicas, 10, "what the person set is what is put back");
}

#[test]
fn a_lease_does_not_end_as_if_it_were_resolved_when_contact_with_the_alert_was_lost() {
    let mut story = leased("45m");
    story.acts_on("WebIsSlow");
    assert_eq!(story.replicas, 6);
    let reading = story.after(Span::minutes(4)).reading();
    story.measures(reading);
    // Alertmanager answers with nothing (it was restarted), and no webhook comes: the alert is lost, not resolved.
    story.after(Span::minutes(28));
    let fingerprint = Fingerprint::new("WebIsSlow-p1");
    let answer = FiringAnswer::Answered { at: story.now, alerts: BTreeMap::new() };
    story.input(Input::Confirmed { fingerprint: fingerprint.clone(), delivered: None, answer });
    assert_eq!(story.state.alerts[&fingerprint].held, crate::decide::state::Held::Lost);
    assert_eq!(story.incident_state(1), "open");
    lease_ends(&mut story, Span::minutes(30));
    assert_eq!(
        story.replicas, 6,
        "two pods were taken away in an incident that is open, and of whose alert nothing is known"
    );
}

#[test]
fn a_lease_does_not_end_under_a_firing_alert_because_a_person_closed_its_incident() {
    let mut story = leased("20m");
    story.acts_on("WebIsSlow");
    let reading = story.after(Span::minutes(4)).reading();
    story.measures(reading);
    story.command("ann", Command::Resolve { incident: IncidentId(1) });
    let firing = story.state.alerts.values().filter(|it| it.held == crate::decide::state::Held::Firing).count();
    assert_eq!(firing, 1);
    lease_ends(&mut story, Span::minutes(22));
    assert_eq!(story.replicas, 6, "the alert still fires");
}
