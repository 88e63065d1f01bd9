//! A clock that steps forward: what counts from a moment before keeps its length, for no time has passed.

use super::harness::Story;
use crate::{
    decide::policy::Limit,
    model::{input::Input, step::Phase, time::Span},
};

#[test]
fn a_clock_step_refills_no_budget_and_ends_no_cool_down() {
    let mut story = Story::with(|spec| spec.rules[0].limits = vec![Limit { count: 1, within: Span::hours(1) }]);
    let step = story.acts_on("WebIsSlow");
    story.after(Span::seconds(40)).resolves("WebIsSlow");
    let reading = story.after(Span::seconds(5)).reading();
    story.measures(reading);
    assert_eq!(story.phase(step), Phase::Verified);
    // NTP sets a clock right that was an hour behind: a minute has passed.
    story.now = story.now + Span::hours(1);
    story.input(Input::ClockStepped { by: Span::hours(1) });
    story.after(Span::seconds(61)).fires("WebIsSlow");
    story.observes();
    story.performs();
    assert_eq!(
        story.starts_count(),
        1,
        "two starts in two minutes; the limit is one an hour, the cool-down 15 minutes"
    );
}

#[test]
fn a_clock_step_is_no_uptime() {
    let mut story = Story::with(|spec| spec.unclean_starts = 3);
    // The story's own start was the first.
    for _ in 0..6 {
        story.after(Span::seconds(5)).crashes();
        // A machine that boots with a clock that is behind: NTP sets it right a moment later.
        story.now = story.now + Span::minutes(6);
        story.input(Input::ClockStepped { by: Span::minutes(6) });
        story.after(Span::ZERO);
    }
    assert!(story.state.paused().is_some(), "seven starts, five seconds apart, and it acts");
}
