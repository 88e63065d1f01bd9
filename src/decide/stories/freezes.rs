//! Freezes are said when they begin and when they end, each once, whatever happens in between.

use super::harness::Story;
use crate::model::{
    event::Event,
    freeze::{Freeze, Weekly, Window},
    input::Input,
    time::{Micros, Span},
};

fn dates(name: &str, from: Micros, to: Micros) -> Freeze {
    Freeze { name: name.into(), window: Window::Dates { from, to }, except: vec!["P0".into()] }
}

fn said(story: &Story) -> Vec<String> {
    story.posts().into_iter().filter(|text| text.starts_with("Freeze")).collect()
}

#[test]
fn a_freeze_is_announced_when_it_begins_and_when_it_ends() {
    let mut story = Story::begin();
    let from = story.now + Span::hours(2);
    story.reloads(|spec| spec.freezes = vec![dates("quarter-end", from, from + Span::hours(3))]);
    story.after(Span::minutes(119));
    assert_eq!(said(&story), Vec::<String>::new());
    story.after(Span::minutes(1));
    let until = (from + Span::hours(3)).in_zone(&story.policy.zone);
    let begins = format!(
        "Freeze quarter-end is on until {until}: nothing new acts but for P0. People are told and woken as ever."
    );
    assert_eq!(said(&story), std::slice::from_ref(&begins));
    story.after(Span::hours(30 * 24));
    assert_eq!(said(&story), [begins, "Freeze quarter-end is over.".into()]);
}

#[test]
fn the_end_of_one_freeze_in_another_is_said_to_be_just_that() {
    let mut story = Story::begin();
    let from = story.now + Span::hours(1);
    let long = from + Span::hours(9);
    story.reloads(|spec| {
        spec.freezes = vec![dates("short", from, from + Span::hours(1)), dates("long", from, long)];
    });
    story.after(Span::hours(3));
    let ends = format!("Freeze short is over; freeze long holds until {}.", long.in_zone(&story.policy.zone));
    assert_eq!(said(&story).pop(), Some(ends));
}

#[test]
fn one_that_is_on_when_the_first_rules_come_is_announced_once_also_over_crashes() {
    let mut story = Story::with(|spec| {
        let begin = Micros(0);
        spec.freezes = vec![dates("now", begin, Micros(1_780_000_000_000_000))];
    });
    assert_eq!(said(&story).len(), 1);
    story.crashes().crashes();
    story.reloads(|spec| spec.max_concurrent = 7);
    story.after(Span::hours(1));
    assert_eq!(said(&story).len(), 1);
    let watched = story.events().filter(|event| matches!(event, Event::FreezeWatched { .. })).count();
    assert_eq!(watched, 1, "what people know is not written down again");
}

#[test]
fn one_that_a_reload_took_away_is_not_announced() {
    let mut story = Story::begin();
    let from = story.now + Span::hours(2);
    story.reloads(|spec| spec.freezes = vec![dates("a", from, from + Span::hours(3))]);
    story.reloads(|spec| spec.freezes.clear());
    story.after(Span::hours(9));
    assert_eq!(said(&story), Vec::<String>::new());
    assert!(story.state.freezes.is_empty());
}

#[test]
fn one_that_a_reload_moved_is_announced_at_its_new_times_alone() {
    let mut story = Story::begin();
    let from = story.now + Span::hours(2);
    story.reloads(|spec| spec.freezes = vec![dates("a", from, from + Span::hours(3))]);
    let later = from + Span::hours(10);
    story.reloads(|spec| spec.freezes = vec![dates("a", later, later + Span::hours(1))]);
    story.after(Span::hours(11));
    assert!(said(&story).is_empty());
    story.after(Span::hours(1));
    assert_eq!(said(&story).len(), 1);
}

#[test]
fn what_passed_while_nightshift_was_away_is_not_announced_and_what_began_is() {
    let mut story = Story::begin();
    let from = story.now + Span::hours(2);
    story.reloads(|spec| {
        spec.freezes = vec![dates("short", from, from + Span::hours(1)), dates("long", from, from + Span::hours(100))];
    });
    story.now = story.now + Span::hours(20);
    story.starts();
    story.after(Span::minutes(1));
    let said = said(&story);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("Freeze long is on"));
}

#[test]
fn a_clock_that_is_stepped_over_a_beginning_announces_it() {
    let mut story = Story::begin();
    let from = story.now + Span::hours(2);
    story.reloads(|spec| spec.freezes = vec![dates("a", from, from + Span::hours(3))]);
    story.now = from + Span::minutes(1);
    story.input(Input::ClockStepped { by: Span::hours(2) });
    assert_eq!(said(&story).len(), 1);
    story.after(Span::hours(3));
    assert_eq!(said(&story).len(), 2);
}

/// The clocks go forward in Berlin on Sunday, 29 March 2026.
#[test]
fn weekly_ones_come_every_week_by_the_clock_on_the_wall() {
    let [from, to] = ["Fri 18:00", "Mon 06:00"].map(|text| Weekly::parse(text).unwrap());
    let mut story = Story::begin();
    story.now = Micros::parse("2026-03-16T12:00:00Z").unwrap();
    story.reloads(|spec| {
        spec.timezone = "Europe/Berlin".into();
        spec.freezes = vec![Freeze { name: "weekend".into(), window: Window::Weekly { from, to }, except: Vec::new() }];
    });
    let first = story.entries.len();
    story.after(Span::hours(21 * 24));
    let at: Vec<String> = story.entries[first..]
        .iter()
        .filter(|(_, _, _, events)| {
            events.iter().any(|event| matches!(event, crate::model::event::Event::FreezeWatched { .. }))
        })
        .map(|(at, ..)| at.in_zone(&jiff::tz::TimeZone::UTC))
        .collect();
    assert_eq!(
        at,
        [
            "2026-03-20 17:00:00 UTC",
            "2026-03-23 05:00:00 UTC",
            "2026-03-27 17:00:00 UTC",
            "2026-03-30 04:00:00 UTC",
            "2026-04-03 16:00:00 UTC",
            "2026-04-06 04:00:00 UTC",
        ]
    );
    assert_eq!(said(&story).len(), 6);
}

#[test]
fn a_freeze_that_a_reload_takes_away_is_said_to_be_over() {
    let mut story = Story::begin();
    let from = story.now + Span::hours(1);
    story.reloads(|spec| spec.freezes = vec![dates("quarter-end", from, from + Span::hours(3))]);
    story.after(Span::hours(2));
    story.reloads(|spec| spec.freezes.clear());
    assert!(
        said(&story).pop().is_some_and(|text| text.starts_with("Freeze quarter-end is over")),
        "{:?}",
        said(&story)
    );
}
