//! Storms that hide something: that come slowly, over a whole set, over a later rung's targets, behind another alert, or with
//! something worse in them.

use super::{
    braking::{BRAKE, braked, fires, fleet, member, the_storm},
    harness::{Story, rule},
};
use crate::{
    decide::policy::{Brake, PolicySpec},
    model::{
        alert::Status,
        event::Event,
        id::IncidentId,
        input::{Command, Input},
        mode::Mode,
        time::Span,
    },
};

const FLEET: [Option<&str>; 1] = [Some("fleet")];

fn is_braked_for_the_set(story: &Story) -> bool {
    story.state.counts().braked.iter().map(Option::as_deref).eq(FLEET)
}

fn acts_and_does_not_help(story: &mut Story) {
    story.observes();
    story.performs();
    let reading = story.after(Span::minutes(3)).reading();
    story.measures(reading);
}

/// Another alert on the same member, whatever rule takes it.
fn another(story: &mut Story, name: &str, number: u32, status: Status, starts_at: crate::model::time::Micros) {
    let mut alert = story.alert(name, &format!("m{number}"), status, starts_at);
    alert.labels.insert("deployment".into(), format!("m{number}"));
    story.input(Input::Alert(Box::new(alert)));
}

#[test]
fn a_set_that_turns_red_slowly_is_left_alone_when_all_of_it_fires() {
    let mut story = fleet(|_| {});
    story.facts.members = Some(4);
    for number in 1..=4 {
        assert!(braked(&story).is_empty());
        fires(&mut story, number);
        acts_and_does_not_help(&mut story);
        story.after(Span::minutes(4));
    }
    assert!(is_braked_for_the_set(&story));
    assert_eq!((story.starts_count(), story.state.incidents[&the_storm(&story)].pages), (3, 1));
}

#[test]
fn members_that_got_well_meanwhile_are_not_counted_as_red() {
    let mut story = fleet(|_| {});
    story.facts.members = Some(4);
    for number in 1..=4 {
        let began = story.now;
        fires(&mut story, number);
        acts_and_does_not_help(&mut story);
        story.after(Span::minutes(4));
        if number == 1 {
            member(&mut story, number, Status::Resolved, began);
        }
    }
    assert!(braked(&story).is_empty());
    assert_eq!(story.starts_count(), 4);
}

#[test]
fn a_set_of_two_that_is_counted_when_its_first_is_observed_is_red_with_its_second() {
    let mut story = fleet(|_| {});
    story.facts.members = Some(2);
    for number in 1..=2 {
        fires(&mut story, number);
        story.observes();
        story.performs();
        story.after(Span::minutes(20));
    }
    assert!(is_braked_for_the_set(&story));
    assert_eq!(story.starts_count(), 1);
}

#[test]
fn a_set_of_two_that_fires_in_one_delivery_is_red_before_the_first_write() {
    let mut story = fleet(|_| {});
    story.facts.members = Some(2);
    fires(&mut story, 1);
    fires(&mut story, 2);
    for _ in 0..2 {
        acts_and_does_not_help(&mut story);
    }
    assert_eq!((story.starts_count(), is_braked_for_the_set(&story)), (0, true));
}

#[test]
fn the_brake_stays_on_while_its_storm_fires_though_another_alert_on_its_targets_is_over() {
    let mut story = fleet(|spec| {
        let mut odd = rule("member-is-odd", "MemberIsOdd", &["fleet"]);
        odd.group_by = vec!["deployment".into()];
        spec.rules.push(odd);
        spec.lost_after = Span::hours(10);
    });
    let began = story.now;
    for number in 1..=5 {
        fires(&mut story, number);
    }
    let odd = story.after(Span::minutes(2)).now;
    for number in 1..=5 {
        another(&mut story, "MemberIsOdd", number, Status::Firing, odd);
    }
    story.after(Span::minutes(1));
    for number in 1..=5 {
        another(&mut story, "MemberIsOdd", number, Status::Resolved, odd);
    }
    story.after(Span::minutes(40));
    assert!(is_braked_for_the_set(&story), "all five are still slow");
    for number in 1..=3 {
        member(&mut story, number, Status::Resolved, began);
    }
    story.after(Span::minutes(17));
    assert!(braked(&story).is_empty());
}

#[test]
fn a_storm_that_lasts_for_days_is_not_forgotten() {
    let mut story = fleet(|spec| spec.lost_after = Span::hours(24 * 10));
    for number in 1..=3 {
        fires(&mut story, number);
    }
    story.after(Span::hours(24 * 4)).fires("WebIsSlow");
    story.after(Span::minutes(30));
    assert!(is_braked_for_the_set(&story));
}

#[test]
fn what_is_over_is_forgotten() {
    let mut story = fleet(|_| {});
    for number in 1..=2 {
        let began = story.now;
        fires(&mut story, number);
        story.after(Span::seconds(1));
        member(&mut story, number, Status::Resolved, began);
    }
    story.after(Span::minutes(30)).mails();
    story.after(Span::hours(24 * 3));
    let left = serde_json::to_string(&story.state.fleet).unwrap();
    assert_eq!(left, serde_json::to_string(&crate::decide::fleet::Fleet::default()).unwrap());
}

/// First what they share, then the member itself.
fn in_two_rungs(spec: &mut PolicySpec) {
    let mut member = rule("member-is-slow", "MemberIsSlow", &["web", "fleet"]);
    member.group_by = vec!["deployment".into()];
    *spec.rules.last_mut().unwrap() = member;
}

#[test]
fn a_storm_over_a_later_rungs_set_stops_that_rung() {
    let mut story = fleet(in_two_rungs);
    for number in 1..=10 {
        fires(&mut story, number);
    }
    assert!(braked(&story).contains(&Some("fleet".to_owned())));
    for _ in 0..40 {
        story.observes();
        story.performs();
        let reading = story.after(Span::seconds(30)).reading();
        story.measures(reading);
    }
    let on_members =
        |event: &&Event| matches!(event, Event::StepStarted { plan, .. } if plan.target.key().0.contains("/m"));
    assert_eq!(story.events().filter(on_members).count(), 0);
}

#[test]
fn more_than_five_targets_of_later_rungs_stop_everything() {
    let mut story = fleet(|spec| {
        in_two_rungs(spec);
        spec.brake = Some(Brake { at_least: 100, ..BRAKE });
    });
    for number in 1..=6 {
        assert!(braked(&story).is_empty());
        fires(&mut story, number);
    }
    assert_eq!(braked(&story), [None]);
}

#[test]
fn one_ladder_over_many_targets_is_no_storm() {
    let mut story = Story::with(|spec| {
        spec.rules =
            vec![rule("web-is-slow", "WebIsSlow", &["web", "api"]), rule("api-is-slow", "ApiIsSlow", &["api"])];
        spec.brake = Some(Brake { all: 1, ..BRAKE });
    });
    story.fires("WebIsSlow");
    assert!(braked(&story).is_empty(), "one alert");
    story.observes();
    assert_eq!(story.starts_count(), 1);
    story.fires("ApiIsSlow");
    assert_eq!(braked(&story), [None]);
}

/// A P3 storm over everything; a P0 of another rule would act.
fn mild_storm(mode: Mode) -> Story {
    let mut story = fleet(|spec| {
        for severity in &mut spec.severities {
            severity.mentions = vec![format!("S{}", severity.name)];
        }
        spec.rules.last_mut().unwrap().severity = Some("P3".into());
        spec.rules[1].severity = Some("P0".into());
        spec.rules[1].mode = mode;
        spec.brake = Some(Brake { at_least: 1_000, ..BRAKE });
    });
    for number in 1..=6 {
        fires(&mut story, number);
    }
    assert_eq!((braked(&story), story.pages()), (vec![None], 1));
    story.after(Span::minutes(4));
    story
}

/// Pages that mention the people of this severity.
fn woken(story: &Story, severity: &str) -> usize {
    let people = format!("S{severity}");
    let pages = |event: &&Event| matches!(event, Event::Tell { note: Some(note), .. } if note.page && note.mentions.contains(&people));
    story.events().filter(pages).count()
}

fn severity(story: &Story, incident: IncidentId) -> String {
    story.state.incidents[&incident].severity.clone()
}

#[test]
fn what_is_more_severe_than_its_storm_wakes_its_severitys_people_once() {
    let mut story = mild_storm(Mode::Auto);
    story.fires("WebIsDown");
    story.observes();
    assert_eq!(story.starts_count(), 0);
    assert_eq!((woken(&story, "P0"), severity(&story, the_storm(&story)).as_str()), (1, "P0"));
    story.fires("WebIsSlow");
    story.after(Span::minutes(60));
    assert_eq!((woken(&story, "P0"), story.pages()), (1, 2));
}

#[test]
fn who_took_the_storm_for_less_severe_has_it_no_more() {
    let mut story = mild_storm(Mode::Auto);
    let storm = the_storm(&story);
    story.command("ann", Command::Acknowledge { incident: storm });
    story.fires("WebIsDown");
    assert_eq!((woken(&story, "P0"), story.state.incidents[&storm].acknowledged_by.clone()), (1, None));
    story.command("ann", Command::Acknowledge { incident: storm });
    fires(&mut story, 7);
    assert_eq!((story.pages(), story.state.incidents[&storm].acknowledged_by.as_deref()), (2, Some("ann")));
}

#[test]
fn what_becomes_more_severe_after_it_was_left_to_the_storm_raises_it_too() {
    let mut story = fleet(|spec| {
        for severity in &mut spec.severities {
            severity.mentions = vec![format!("S{}", severity.name)];
        }
        let member = spec.rules.last_mut().unwrap();
        member.severity = None;
        member.group_by = vec!["deployment".into()];
    });
    let as_severe = |story: &mut Story, number: u32, pod: &str, severity: &str| {
        let mut alert = story.alert("MemberIsSlow", pod, Status::Firing, story.now);
        alert.labels.extend([("deployment".into(), format!("m{number}")), ("severity".into(), severity.into())]);
        story.input(Input::Alert(Box::new(alert)));
    };
    for number in 1..=4 {
        as_severe(&mut story, number, &format!("m{number}"), "P3");
    }
    assert_eq!((is_braked_for_the_set(&story), story.pages(), woken(&story, "P0")), (true, 1, 0));
    as_severe(&mut story, 4, "m4-b", "P0");
    assert_eq!((story.pages(), woken(&story, "P0"), severity(&story, the_storm(&story)).as_str()), (2, 1, "P0"));
}

#[test]
fn what_would_not_have_acted_raises_no_storm() {
    let mut story = mild_storm(Mode::Shadow);
    story.fires("WebIsDown");
    assert_eq!((woken(&story, "P0"), severity(&story, the_storm(&story)).as_str()), (0, "P3"));
}
