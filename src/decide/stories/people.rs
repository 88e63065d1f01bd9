use super::harness::{Story, rule};
use crate::model::{
    alert::Status,
    event::{Event, LadderEnd},
    id::{IncidentId, StepId},
    input::{Command, Input},
    mode::Mode,
    reason::Reason,
    step::Phase,
    time::{Micros, Span},
};

fn refused(events: &[Event]) -> bool {
    matches!(events, [Event::CommandRefused { .. }])
}

/// A step that waits for an approval.
fn asking() -> Story {
    let mut story = Story::with(|spec| spec.rules[0].mode = Mode::Ask);
    story.fires("WebIsSlow");
    story.observes();
    assert_eq!(story.phase(story.last_step()), Phase::Asking);
    story
}

fn approve(story: &mut Story) -> Vec<Event> {
    let step = story.last_step();
    let plan_hash = story.step(step).plan.as_ref().unwrap().hash.clone();
    story.command("ann", Command::Approve { step, plan_hash })
}

#[test]
fn an_approved_plan_that_still_holds_is_done() {
    let mut story = asking();
    approve(&mut story);
    story.observes();
    assert_eq!(story.phase(story.last_step()), Phase::Acting);
    story.performs();
    assert_eq!(story.replicas, 6);
}

#[test]
fn an_approval_of_another_plan_is_refused() {
    let mut story = asking();
    let step = story.last_step();
    let events = story.command("ann", Command::Approve { step, plan_hash: "0000".into() });
    assert!(refused(&events));
    assert_eq!(story.phase(step), Phase::Asking);
}

#[test]
fn two_people_who_approve_race_safely() {
    let mut story = asking();
    assert!(!refused(&approve(&mut story)));
    assert!(refused(&approve(&mut story)));
    assert_eq!(story.observes().iter().filter(|event| matches!(event, Event::StepStarted { .. })).count(), 1);
}

#[test]
fn what_changed_before_the_click_voids_the_approval_and_plans_anew() {
    let mut story = asking();
    story.replicas = 8;
    story.facts.generation += 1;
    let step = story.last_step();
    approve(&mut story);
    story.observes();
    assert_eq!((story.phase(step), story.reason(step)), (Phase::Dropped, "changed_since"));
    assert_eq!(story.starts_count(), 0);
    story.observes();
    assert_eq!(story.last_step().number, 2);
    assert_eq!(story.phase(story.last_step()), Phase::Asking);
}

#[test]
fn an_approval_that_nobody_gives_expires_and_pages() {
    let mut story = asking();
    story.after(Span::minutes(31));
    assert_eq!(story.reason(story.last_step()), "approval_expired");
    assert_eq!(story.pages(), 1);
    assert!(refused(&approve(&mut story)));
}

#[test]
fn an_approval_after_the_alert_resolved_is_void() {
    let mut story = asking();
    story.after(Span::seconds(1)).resolves("WebIsSlow");
    assert!(refused(&approve(&mut story)));
    assert_eq!(story.starts_count(), 0);
}

#[test]
fn a_reject_is_a_veto_until_the_incident_is_resolved() {
    let mut story = asking();
    let step = story.last_step();
    story.command("ann", Command::Reject { step });
    assert_eq!(story.ladder(1), Some(LadderEnd::Vetoed { by: "ann".into() }));
    assert_eq!(story.pages(), 0);
    assert_eq!(story.state.barred.len(), 1);
    story.after(Span::minutes(1)).resolves("WebIsSlow");
    story.after(Span::minutes(11));
    assert!(story.state.barred.is_empty());
}

#[test]
fn rearm_lifts_a_veto() {
    let mut story = asking();
    let step = story.last_step();
    story.command("ann", Command::Reject { step });
    assert!(refused(&story.command("ann", Command::Rearm { rule: "api-is-slow".into(), target: None })));
    story.command("ann", Command::Rearm { rule: "web-is-slow".into(), target: Some("web".into()) });
    assert!(story.state.barred.is_empty());
}

#[test]
fn after_an_acknowledge_the_running_step_is_verified_and_the_next_rung_needs_approval() {
    let mut story = Story::with(|spec| spec.rules[0] = rule("web-is-slow", "WebIsSlow", &["web", "api"]));
    story.acts_on("WebIsSlow");
    story.command("ann", Command::Acknowledge { incident: IncidentId(1) });
    assert!(refused(&story.command("bob", Command::Acknowledge { incident: IncidentId(1) })));
    let reading = story.after(Span::minutes(5)).reading();
    story.measures(reading);
    story.observes();
    let step = story.last_step();
    assert_eq!((step.number, story.phase(step)), (2, Phase::Asking));
}

#[test]
fn whoever_acknowledged_is_not_paged_again() {
    let mut story = Story::begin();
    story.acts_on("WebIsSlow");
    story.command("ann", Command::Acknowledge { incident: IncidentId(1) });
    let reading = story.after(Span::minutes(5)).reading();
    story.measures(reading);
    assert_eq!(story.ladder(1), Some(LadderEnd::Exhausted));
    assert_eq!(story.pages(), 0);
}

#[test]
fn a_persons_undo_puts_back_ends_the_ladder_and_bars_the_rule() {
    let mut story = Story::begin();
    let step = story.acts_on("WebIsSlow");
    story.command("ann", Command::Undo { step });
    assert_eq!(story.ladder(1), Some(LadderEnd::Vetoed { by: "ann".into() }));
    story.observes();
    story.performs();
    assert_eq!(story.replicas, 4);
    assert_eq!(story.state.barred.len(), 1);
    assert!(refused(&story.command("bob", Command::Undo { step })));
    let undo = story.last_step();
    assert!(refused(&story.command("bob", Command::Undo { step: undo })));
}

#[test]
fn a_veto_keeps_the_rule_away_from_the_target_in_every_incident_of_it() {
    let mut story = Story::with(|spec| {
        spec.rules[0].mode = Mode::Ask;
        spec.rules[0].group_by = vec!["pod".into()];
    });
    story.fires("WebIsSlow");
    story.observes();
    let step = story.last_step();
    story.command("ann", Command::Reject { step });
    let other = story.alert("WebIsSlow", "p2", Status::Firing, story.now);
    story.input(Input::Alert(Box::new(other)));
    story.observes();
    let step = story.last_step();
    assert_eq!((step.incident, story.phase(step), story.reason(step)), (IncidentId(2), Phase::Dropped, "barred"));
}

#[test]
fn an_undo_is_refused_after_its_window_and_of_what_never_acted() {
    let mut story = asking();
    let step = story.last_step();
    assert!(refused(&story.command("ann", Command::Undo { step })));
    let mut story = Story::begin();
    let step = story.acts_on("WebIsSlow");
    let offered = |story: &Story| {
        let view = story.state.incident_view(&story.policy, IncidentId(1), story.now).unwrap();
        let step = view.steps.into_iter().find(|view| view.id == step).unwrap();
        (step.undo_until.is_some(), step.commands.iter().any(|command| command.contains("undo")))
    };
    assert_eq!(offered(&story), (true, true));
    story.after(Span::minutes(61));
    assert!(refused(&story.command("ann", Command::Undo { step })));
    assert_eq!(offered(&story), (false, false));
}

#[test]
fn an_undo_of_what_somebody_changed_since_shows_the_difference() {
    let mut story = Story::begin();
    let step = story.acts_on("WebIsSlow");
    story.replicas = 9;
    story.command("ann", Command::Undo { step });
    story.observes();
    let undo = story.last_step();
    assert_eq!(story.phase(undo), Phase::Dropped);
    assert!(matches!(&story.step(undo).reason, Some(Reason::Refused { why }) if why.contains("9")));
    assert_eq!(story.replicas, 9);
}

#[test]
fn resolved_by_a_person_stays_closed_until_the_alert_fires_anew() {
    let mut story = Story::begin();
    let began = story.now;
    story.acts_on("WebIsSlow");
    story.command("ann", Command::Resolve { incident: IncidentId(1) });
    assert_eq!(story.incident_state(1), "resolved");
    assert!(story.fires_since("WebIsSlow", began).is_empty());
    story.after(Span::minutes(5)).resolves("WebIsSlow");
    assert_eq!(story.incident_state(1), "resolved");
    story.after(Span::minutes(1)).fires("WebIsSlow");
    assert_eq!(story.incident_state(2), "open");
}

#[test]
fn a_lease_is_extended_and_ended_by_command_after_the_verdict() {
    let mut story =
        Story::with(|spec| spec.rules[0].remediate[0].with = serde_json::json!({"replicas": "+2", "lease": "2h"}));
    let step = story.acts_on("WebIsSlow");
    let until = story.state.leases.values().next().unwrap().until;
    story.command("ann", Command::ExtendLease { step, by: Span::hours(1) });
    assert_eq!(story.state.leases.values().next().unwrap().until, until + Span::hours(1));
    assert!(refused(&story.command("ann", Command::ExtendLease { step, by: Span::hours(24 * 30) })));
    story.command("ann", Command::EndLease { step });
    // What the step did is still being measured: nothing else touches the target before the verdict.
    story.observes();
    assert_eq!(story.phase(story.last_step()), Phase::Holding);
    assert_eq!(story.reason(story.last_step()), "target_lock");
    let mut reading = story.after(Span::minutes(3)).reading();
    reading.at = story.now;
    story.measures(reading);
    assert!(story.phase(step).is_terminal());
    story.after(Span::minutes(1));
    story.observes();
    story.performs();
    assert_eq!(story.replicas, 4);
    assert!(story.state.leases.is_empty());
    assert!(refused(&story.command("ann", Command::EndLease { step })));
}

fn pod(story: &mut Story, pod: &str, status: Status, starts_at: Micros) {
    let alert = story.alert("WebIsSlow", pod, status, starts_at);
    story.input(Input::Alert(Box::new(alert)));
}

#[test]
fn a_veto_holds_as_long_as_its_own_incident_whoever_else_said_no() {
    let mut story = Story::with(|spec| {
        spec.rules[0].group_by = vec!["pod".into()];
        spec.rules[0].fires_for = Span::minutes(1);
    });
    let began = story.now;
    pod(&mut story, "p1", Status::Firing, began);
    pod(&mut story, "p2", Status::Firing, began);
    story.command("ann", Command::Reject { step: StepId { incident: IncidentId(1), number: 1 } });
    story.command("bob", Command::Reject { step: StepId { incident: IncidentId(2), number: 1 } });
    story.after(Span::minutes(2));
    pod(&mut story, "p2", Status::Resolved, began);
    story.after(Span::minutes(12));
    assert_eq!((story.incident_state(1), story.incident_state(2)), ("open", "resolved"));
    let now = story.now;
    pod(&mut story, "p3", Status::Firing, now);
    story.after(Span::seconds(61)).observes();
    story.performs();
    assert_eq!(
        story.starts_count(),
        0,
        "ann's no stands until incident 1 is resolved, and the rule acts on the target"
    );
}
