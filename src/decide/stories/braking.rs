//! The brake: a storm over a set, over everything, how it is told, and when it is over.

use super::harness::{Story, rule};
use crate::{
    decide::policy::{Brake, Choice, TargetSpec},
    model::{
        alert::Status,
        event::Event,
        id::IncidentId,
        input::{Command, Input},
        mode::Mode,
        step::Phase,
        target::Kind,
        time::{Micros, Span},
    },
};
use std::collections::BTreeSet;

const BRAKE: Brake =
    Brake { share_percent: 20, at_least: 3, all: 5, within: Span::minutes(5), cooldown: Span::minutes(15) };

/// A set `fleet`, whose members alert one by one.
fn fleet(change: impl FnOnce(&mut crate::decide::policy::PolicySpec)) -> Story {
    Story::with(|spec| {
        let choice = Choice::Set {
            namespace: "production".into(),
            kind: Kind::Deployment,
            selector: "managed=true".into(),
            pick: "deployment".into(),
        };
        spec.targets.insert("fleet".into(), TargetSpec { choice, bounds: None });
        let mut member = rule("member-is-slow", "MemberIsSlow", &["fleet"]);
        member.group_by = vec!["deployment".into()];
        spec.rules.push(member);
        spec.brake = Some(BRAKE);
        spec.max_concurrent = 100;
        change(spec);
    })
}

fn member(story: &mut Story, number: u32, status: Status, starts_at: Micros) -> Vec<Event> {
    let mut alert = story.alert("MemberIsSlow", &format!("m{number}"), status, starts_at);
    alert.labels.insert("deployment".into(), format!("m{number}"));
    story.input(Input::Alert(Box::new(alert)))
}

fn fires(story: &mut Story, number: u32) {
    member(story, number, Status::Firing, story.now);
}

fn braked(story: &Story) -> Vec<Option<String>> {
    story.state.counts().braked
}

/// As if the set had been observed to have so many members.
fn counted(story: &mut Story, members: u32) {
    story.facts.members = Some(members);
    fires(story, 1_000);
    story.observes();
    let began = story.now;
    story.after(Span::seconds(1));
    member(story, 1_000, Status::Resolved, began);
    story.after(Span::minutes(31));
}

#[test]
fn the_third_member_of_a_set_trips_the_brake_for_the_set() {
    let mut story = fleet(|_| {});
    fires(&mut story, 1);
    story.observes();
    story.performs();
    fires(&mut story, 2);
    assert!(braked(&story).is_empty());
    fires(&mut story, 3);
    assert_eq!(braked(&story), [Some("fleet".to_owned())]);
    story.observes();
    story.performs();
    assert_eq!(story.starts_count(), 1, "the second had not started, the third never will");
    assert_eq!(story.phase(crate::model::id::StepId { incident: IncidentId(1), number: 1 }), Phase::Verifying);
    assert_eq!(story.pages(), 1, "one page for the storm");
    // What is not of the set goes on.
    story.fires("WebIsSlow");
    story.observes();
    assert_eq!(story.starts_count(), 2);
}

#[test]
fn what_opens_under_the_brake_is_told_in_the_storms_incident() {
    let mut story = fleet(|spec| spec.brake = Some(Brake { all: 1_000, ..BRAKE }));
    for number in 1..=50 {
        fires(&mut story, number);
    }
    assert_eq!((story.pages(), story.starts_count()), (1, 0));
    let ids = story.state.incident_ids();
    assert_eq!((ids.len(), cards(&story).len()), (51, 4), "three that tripped it, and the storm's own");
    let storm = story.events().find_map(|event| match event {
        Event::Braked { incident, .. } => Some(*incident),
        _ => None,
    });
    let posts = story
        .events()
        .filter(|event| matches!(event, Event::Tell { letter, note: Some(_) } if Some(letter.incident) == storm));
    assert!(posts.count() < 20, "fifty messages help nobody");
}

#[test]
fn of_a_large_set_a_fifth_trips_it() {
    let mut story = fleet(|spec| spec.brake = Some(Brake { all: 1_000, ..BRAKE }));
    counted(&mut story, 200);
    for number in 1..40 {
        fires(&mut story, number);
    }
    assert!(braked(&story).is_empty());
    fires(&mut story, 40);
    assert_eq!(braked(&story), [Some("fleet".to_owned())]);
}

#[test]
fn a_small_set_that_is_first_counted_when_all_of_it_alerts_trips_it() {
    let mut story = fleet(|spec| spec.rules.iter_mut().for_each(|rule| rule.fires_for = Span::seconds(45)));
    fires(&mut story, 1);
    fires(&mut story, 2);
    assert!(braked(&story).is_empty(), "nobody has counted yet");
    story.facts.members = Some(2);
    story.after(Span::seconds(45)).observes();
    story.performs();
    assert_eq!(braked(&story), [Some("fleet".to_owned())]);
    assert_eq!((story.starts_count(), story.pages()), (0, 1));
}

#[test]
fn a_small_set_that_is_wholly_red_trips_it() {
    let mut story = fleet(|_| {});
    counted(&mut story, 2);
    fires(&mut story, 1);
    assert!(braked(&story).is_empty());
    fires(&mut story, 2);
    assert_eq!(braked(&story), [Some("fleet".to_owned())]);
}

#[test]
fn alarms_far_apart_trip_nothing_and_one_target_counts_once() {
    let mut story = fleet(|_| {});
    for number in 1..=6 {
        fires(&mut story, number);
        story.after(Span::minutes(3));
    }
    assert!(braked(&story).is_empty());
    for _ in 0..6 {
        fires(&mut story, 9);
        let began = story.now;
        story.after(Span::seconds(5));
        member(&mut story, 9, Status::Resolved, began);
        story.after(Span::seconds(5));
    }
    assert!(braked(&story).is_empty());
}

#[test]
fn more_than_five_targets_of_any_rules_stop_everything() {
    let mut story = fleet(|spec| spec.brake = Some(Brake { at_least: 100, ..BRAKE }));
    story.fires("WebIsSlow");
    story.fires("ApiIsSlow");
    for number in 1..=3 {
        fires(&mut story, number);
    }
    assert!(braked(&story).is_empty());
    fires(&mut story, 4);
    assert_eq!(braked(&story), [None]);
    story.observes();
    assert_eq!((story.starts_count(), story.pages()), (0, 1));
    story.after(Span::minutes(20)).fires("WebIsDown");
    story.observes();
    assert_eq!(story.starts_count(), 0, "they still fire");
}

#[test]
fn a_wider_storm_is_the_same_storm() {
    let mut story = fleet(|_| {});
    for number in 1..=3 {
        fires(&mut story, number);
    }
    story.fires("WebIsSlow");
    story.fires("ApiIsSlow");
    fires(&mut story, 4);
    assert_eq!(braked(&story), [None, Some("fleet".to_owned())]);
    assert_eq!(story.pages(), 1);
    let storms = story.state.incidents.values().filter(|it| it.rule == crate::decide::brake::RULE).count();
    assert_eq!(storms, 1);
}

#[test]
fn acting_goes_on_when_it_has_been_calm_for_the_cool_down() {
    let mut story = fleet(|_| {});
    let began = story.now;
    for number in 1..=3 {
        fires(&mut story, number);
    }
    story.after(Span::minutes(40));
    assert!(!braked(&story).is_empty(), "they still fire: that is not calm");
    for number in 1..=3 {
        member(&mut story, number, Status::Resolved, began);
    }
    story.after(Span::minutes(14));
    assert!(!braked(&story).is_empty());
    story.after(Span::minutes(3));
    assert!(braked(&story).is_empty());
    let storm = story.state.incidents.values().find(|it| it.rule == crate::decide::brake::RULE).unwrap();
    assert_eq!(storm.phase.word(), "resolved");
    fires(&mut story, 7);
    story.observes();
    assert_eq!(story.phase(story.last_step()), Phase::Acting);
}

#[test]
fn calm_that_does_not_last_is_none() {
    let mut story = fleet(|_| {});
    let began = story.now;
    for number in 1..=3 {
        fires(&mut story, number);
    }
    story.after(Span::seconds(1));
    for number in 1..=3 {
        member(&mut story, number, Status::Resolved, began);
    }
    story.after(Span::minutes(12));
    let again = story.now;
    for number in 4..=6 {
        fires(&mut story, number);
    }
    story.after(Span::seconds(1));
    for number in 4..=6 {
        member(&mut story, number, Status::Resolved, again);
    }
    story.after(Span::minutes(10));
    assert!(!braked(&story).is_empty());
    story.after(Span::minutes(20));
    assert!(braked(&story).is_empty());
}

#[test]
fn in_shadow_nobody_is_woken_for_a_storm() {
    let mut story = fleet(|spec| spec.mode = Mode::Shadow);
    for number in 1..=3 {
        fires(&mut story, number);
    }
    assert_eq!((braked(&story).len(), story.pages()), (1, 0));
}

/// The incidents that have a message of their own.
fn cards(story: &Story) -> BTreeSet<IncidentId> {
    let cards = story.events().filter_map(|event| match event {
        Event::Tell { letter, note: None } => Some(letter.incident),
        _ => None,
    });
    cards.collect()
}

fn the_storm(story: &Story) -> IncidentId {
    let mut storms = story.state.incidents.iter().filter(|(_, it)| it.rule == crate::decide::brake::RULE);
    *storms.next().unwrap().0
}

#[test]
fn whoever_would_have_acted_is_paged_for_though_shadow_began_the_storm() {
    let mut story = fleet(|spec| {
        spec.rules.last_mut().unwrap().mode = Mode::Shadow;
        spec.brake = Some(Brake { at_least: 100, ..BRAKE });
    });
    for number in 1..=6 {
        fires(&mut story, number);
    }
    assert_eq!((braked(&story), story.pages()), (vec![None], 0));
    story.fires("WebIsSlow");
    story.observes();
    assert_eq!((story.starts_count(), story.pages()), (0, 1), "nothing acts, and nobody knew");
    story.fires("ApiIsSlow");
    assert_eq!(story.pages(), 1, "one page for the storm");
}

#[test]
fn a_storm_that_a_person_closed_hides_nothing_new() {
    let mut story = fleet(|_| {});
    for number in 1..=3 {
        fires(&mut story, number);
    }
    let incident = the_storm(&story);
    story.command("ann", Command::Resolve { incident });
    fires(&mut story, 4);
    let new = *story.state.incident_ids().first().unwrap();
    assert_eq!((story.starts_count(), story.pages()), (0, 2), "the brake is still on");
    assert!(cards(&story).contains(&new));
}

#[test]
fn whoever_has_the_storm_is_not_called_again_and_again() {
    let mut story = fleet(|spec| spec.mode = Mode::Shadow);
    for number in 1..=3 {
        fires(&mut story, number);
    }
    let incident = the_storm(&story);
    story.command("ann", Command::Acknowledge { incident });
    story.reloads(|spec| spec.mode = Mode::Auto);
    for number in 4..=20 {
        fires(&mut story, number);
    }
    assert_eq!((story.starts_count(), story.pages()), (0, 0));
    let called =
        |event: &&Event| matches!(event, Event::Tell { note: Some(note), .. } if note.text.contains("Over to you"));
    assert_eq!(story.events().filter(called).count(), 0);
}

#[test]
fn what_a_storm_told_of_speaks_for_itself_when_it_is_over_and_is_acted_on_when_it_fires_again() {
    let mut story = fleet(|spec| spec.rules.last_mut().unwrap().quiet = Span::hours(2));
    let began = story.now;
    for number in 1..=4 {
        fires(&mut story, number);
    }
    let folded = *story.state.incident_ids().first().unwrap();
    assert!(!cards(&story).contains(&folded));
    story.after(Span::seconds(1));
    for number in 1..=3 {
        member(&mut story, number, Status::Resolved, began);
    }
    story.after(Span::minutes(30));
    assert!(braked(&story).is_empty());
    assert!(cards(&story).contains(&folded), "it still fires");
    member(&mut story, 4, Status::Resolved, began);
    story.after(Span::minutes(1));
    fires(&mut story, 4);
    story.observes();
    assert_eq!((story.incident_state(folded.0), story.starts_count()), ("open", 1));
}

#[test]
fn a_brake_outlives_a_crash() {
    let mut story = fleet(|_| {});
    for number in 1..=3 {
        fires(&mut story, number);
    }
    story.crashes();
    assert_eq!(braked(&story), [Some("fleet".to_owned())]);
    story.after(Span::minutes(2));
    fires(&mut story, 4);
    story.observes();
    assert_eq!((story.starts_count(), story.pages()), (0, 1));
}
