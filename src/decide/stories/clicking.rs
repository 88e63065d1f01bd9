//! People who ask through Slack: each click once, and only from those who may.

use super::harness::Story;
use crate::model::{
    event::Event,
    id::IncidentId,
    input::{Command, Input, Via},
    mode::Mode,
    person::SlackPerson,
    step::Phase,
    time::Span,
};

/// A step of a P1 that waits for an approval; Ana is listed by name, and whoever belongs to S0ONCALL.
fn asking() -> Story {
    let mut story = Story::with(|spec| {
        spec.rules[0].mode = Mode::Ask;
        spec.approvers = [("P1".to_owned(), vec!["U0ANA".to_owned(), "S0ONCALL".to_owned()])].into();
    });
    story.fires("WebIsSlow");
    story.observes();
    assert_eq!(story.phase(story.last_step()), Phase::Asking);
    story
}

fn person(story: &Story, user: &str, groups: &[&str], once: &str) -> SlackPerson {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    SlackPerson { user: user.to_owned(), groups, asked_at: story.now, once: once.to_owned() }
}

fn clicks(story: &mut Story, person: &SlackPerson, command: Command) -> Vec<Event> {
    let via = Via::Slack(Box::new(person.clone()));
    story.input(Input::Command { by: person.user.clone(), via, command })
}

fn approves(story: &mut Story, person: &SlackPerson) -> Vec<Event> {
    let step = story.last_step();
    let plan_hash = story.step(step).plan.as_ref().unwrap().hash.clone();
    clicks(story, person, Command::Approve { step, plan_hash })
}

fn refusal(events: &[Event]) -> Option<&str> {
    events.iter().find_map(|event| match event {
        Event::CommandRefused { reason } => Some(reason.as_str()),
        _ => None,
    })
}

#[test]
fn whoever_is_listed_by_name_or_group_approves() {
    for (user, groups) in [("U0ANA", &[][..]), ("U0BEN", &["S0ONCALL"])] {
        let mut story = asking();
        let who = person(&story, user, groups, "click-1");
        assert_eq!(refusal(&approves(&mut story, &who)), None);
        story.observes();
        assert_eq!(story.phase(story.last_step()), Phase::Acting, "{user}");
    }
}

#[test]
fn nobody_else_approves_rejects_or_undoes() {
    let mut story = asking();
    let step = story.last_step();
    for (at, command) in
        [Command::Reject { step }, Command::Undo { step }, Command::EndLease { step }].iter().enumerate()
    {
        let who = person(&story, "U0EVE", &["S0OTHERS"], &format!("click-{at}"));
        let events = clicks(&mut story, &who, command.clone());
        assert_eq!(refusal(&events), Some("you are not among the `approvers` for P1"), "{command:?}");
    }
    let who = person(&story, "U0EVE", &[], "click-9");
    assert!(refusal(&approves(&mut story, &who)).is_some());
    assert_eq!(story.phase(step), Phase::Asking);
}

#[test]
fn where_nobody_is_listed_nobody_approves() {
    let mut story = asking();
    story.reloads(|spec| spec.approvers.clear());
    let who = person(&story, "U0ANA", &[], "click-1");
    let refused = approves(&mut story, &who);
    assert_eq!(refusal(&refused), Some("nobody is listed under `approvers` for P1"));
}

#[test]
fn a_membership_that_was_asked_long_ago_gives_no_right() {
    let mut story = asking();
    let who = person(&story, "U0BEN", &["S0ONCALL"], "click-1");
    story.after(Span::minutes(5) + Span::seconds(1));
    assert!(refusal(&approves(&mut story, &who)).unwrap().contains("too long ago"));
}

#[test]
fn whoever_may_not_any_more_when_it_runs_has_approved_nothing() {
    let mut story = asking();
    let step = story.last_step();
    let who = person(&story, "U0ANA", &[], "click-1");
    approves(&mut story, &who);
    story.reloads(|spec| spec.approvers = [("P1".to_owned(), vec!["U0BEN".to_owned()])].into());
    story.observes();
    assert_eq!((story.phase(step), story.reason(step)), (Phase::Dropped, "approver"));
    assert_eq!((story.pages(), story.replicas), (1, 4));
}

#[test]
fn an_approval_by_membership_does_not_outlive_what_slack_said() {
    let mut story = asking();
    let step = story.last_step();
    let who = person(&story, "U0BEN", &["S0ONCALL"], "click-1");
    approves(&mut story, &who);
    story.after(Span::minutes(5) + Span::seconds(1));
    story.observes();
    assert_eq!((story.phase(step), story.reason(step)), (Phase::Dropped, "approver"));
}

#[test]
fn the_same_click_is_taken_once_also_after_a_crash() {
    let mut story = asking();
    let who = person(&story, "U0ANA", &[], "click-1");
    let acknowledge = Command::Acknowledge { incident: IncidentId(1) };
    assert_eq!(refusal(&clicks(&mut story, &who, acknowledge)), None);
    assert_eq!(refusal(&approves(&mut story, &who)), Some("this was taken already: it is done once"));
    story.crashes();
    assert_eq!(refusal(&approves(&mut story, &who)), Some("this was taken already: it is done once"));
    assert_eq!(story.phase(story.last_step()), Phase::Asking);
    // Slack's own signature is void long before it is forgotten.
    story.after(Span::minutes(16));
    let late = person(&story, "U0ANA", &[], "click-2");
    approves(&mut story, &late);
    assert!(!story.state.clicks.contains_key("click-1"), "what cannot come again is forgotten");
}

#[test]
fn everybody_may_take_an_incident_and_stop_everything_and_few_may_go_on() {
    let mut story = asking();
    story.reloads(|spec| spec.approvers = [("P0".to_owned(), vec!["U0BOSS".to_owned()])].into());
    let acknowledge = Command::Acknowledge { incident: IncidentId(1) };
    let resume = || Command::Resume { pause_file_present: false };
    for (user, once, command, heard) in [
        ("U0EVE", "1", acknowledge, true),
        ("U0EVE", "2", Command::Pause { reason: "it is odd".into() }, true),
        ("U0EVE", "3", resume(), false),
        ("U0ANA", "4", resume(), false),
        ("U0BOSS", "5", resume(), true),
    ] {
        let who = person(&story, user, &[], once);
        let events = clicks(&mut story, &who, command);
        assert_eq!(refusal(&events).is_none(), heard, "{user} {once}: {events:?}");
    }
}
