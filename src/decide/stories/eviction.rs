use super::harness::Story;
use crate::model::{step::Phase, time::Span};

fn forbidden(story: &mut Story) {
    let says = "a PodDisruptionBudget does not allow it now".to_owned();
    story.facts.disruption = Some(says);
}

#[test]
fn a_budget_that_says_no_is_waited_for_and_then_the_pod_goes() {
    let mut story = Story::begin();
    forbidden(&mut story);
    story.fires("WebIsSlow");
    story.observes();
    let step = story.last_step();
    assert_eq!((story.phase(step), story.reason(step)), (Phase::Holding, "disruption"));
    assert!(story.intents().is_empty());
    story.facts.disruption = None;
    story.after(Span::seconds(10)).observes();
    assert_eq!(story.intents(), vec![step]);
}

#[test]
fn a_budget_that_goes_on_saying_no_is_left_to_people() {
    let mut story = Story::begin();
    forbidden(&mut story);
    story.fires("WebIsSlow");
    let step = story.last_step();
    for wait in [10, 30, 60] {
        story.observes();
        assert_eq!(story.phase(step), Phase::Holding);
        story.after(Span::seconds(wait));
    }
    story.observes();
    assert_eq!((story.phase(step), story.reason(step)), (Phase::Dropped, "disruption"));
    assert_eq!((story.starts_count(), story.pages()), (0, 1));
}

#[test]
fn nothing_is_taken_away_when_it_is_paused_while_a_budget_is_waited_for() {
    let mut story = Story::begin();
    forbidden(&mut story);
    story.fires("WebIsSlow");
    story.observes();
    story.command("ann", crate::model::input::Command::Pause { reason: "look".into() });
    story.facts.disruption = None;
    story.after(Span::minutes(2)).observes();
    assert_eq!(story.starts_count(), 0);
}
