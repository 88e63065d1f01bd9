//! Where two things cross: evidence that is asked for, an undo and a new firing, a lease and its renewal, lost and found.

use super::harness::{Story, rule};
use crate::{
    decide::{policy::CollectorSpec, work::Work},
    model::{
        alert::Status,
        event::{Event, LadderEnd, LeaseEnd},
        firing::FiringAnswer,
        id::{Fingerprint, IncidentId, StepId},
        input::{Command, Gathered, Input, Op},
        letter::Told,
        observation::Outcome,
        reason::Reason,
        rung::IfIneffective,
        step::Phase,
        time::Span,
    },
};

fn gathers(story: &Story) -> Vec<Input> {
    let work = story.state.work().into_iter();
    work.filter_map(|work| match work {
        Work::Gather { incident, collector } => Some(Input::Gathered {
            incident,
            collector: collector.collect.clone(),
            target: collector.target.key().0,
            result: Ok(Gathered { digest: "00".into(), bytes: 1, summary: "one pod".into() }),
        }),
        _ => None,
    })
    .collect()
}

#[test]
fn evidence_that_came_is_not_asked_for_again() {
    let mut story = Story::with(|spec| {
        spec.rules[0].evidence = vec![CollectorSpec {
            collect: "kubernetes/pods".into(),
            target: "web".into(),
            with: serde_json::json!({}),
        }];
    });
    story.fires("WebIsSlow");
    let wanted = gathers(&story);
    assert_eq!(wanted.len(), 1);
    for input in wanted {
        story.input(input);
    }
    assert!(gathers(&story).is_empty(), "the driver would collect it every second for as long as the incident lives");
}

fn live_fixes(story: &Story) -> usize {
    story.state.steps.values().filter(|step| step.purpose.is_fix() && !step.phase.is_terminal()).count()
}

/// Scaled 4 → 6, verified, monitored; it holds for `lease`.
fn helped_with_a_lease(story: &mut Story, name: &str) -> StepId {
    let step = story.acts_on(name);
    story.after(Span::seconds(40)).resolves(name);
    let reading = story.after(Span::seconds(5)).reading();
    story.measures(reading);
    assert_eq!(story.phase(step), Phase::Verified);
    step
}

fn leased(lease: &str) -> Story {
    Story::with(|spec| {
        for rule in &mut spec.rules {
            rule.remediate[0].with = serde_json::json!({"replicas": "+2", "lease": lease});
            rule.undo_within = Span::hours(5);
        }
    })
}

#[test]
fn an_automatic_undo_that_has_not_started_ends_with_the_alert_and_never_makes_two_steps_of_a_rung() {
    let mut story = Story::with(|spec| {
        spec.rules[0] = rule("web-is-slow", "WebIsSlow", &["web", "api"]);
        spec.rules[0].remediate[0].if_ineffective = IfIneffective::Undo;
    });
    story.acts_on("WebIsSlow");
    let reading = story.after(Span::minutes(4)).reading();
    story.measures(reading);
    let undo = story.last_step();
    story.resolves("WebIsSlow");
    assert_eq!(story.phase(undo), Phase::Dropped);
    assert_eq!(story.ladder(1), Some(LadderEnd::NotNeeded));
    story.after(Span::minutes(1)).fires("WebIsSlow");
    for _ in 0..3 {
        story.observes();
        story.performs();
        let reading = story.after(Span::seconds(5)).reading();
        story.measures(reading);
        assert!(live_fixes(&story) <= 1);
    }
    assert_eq!(story.replicas, 8, "the next rung acted once");
}

#[test]
fn a_ladder_ends_with_its_alert_also_while_a_lease_is_put_back() {
    let mut story = Story::with(|spec| {
        spec.rules[0] = rule("web-is-slow", "WebIsSlow", &["web", "api"]);
        spec.rules[0].remediate[0].with = serde_json::json!({"replicas": "+2", "lease": "5m"});
    });
    helped_with_a_lease(&mut story, "WebIsSlow");
    story.after(Span::minutes(6)).observes();
    story.performs();
    let back = story.last_step();
    assert_eq!((story.phase(back), story.replicas), (Phase::Verifying, 4));
    story.fires("WebIsSlow");
    assert_eq!(live_fixes(&story), 1);
    story.after(Span::seconds(1)).resolves("WebIsSlow");
    assert_eq!(live_fixes(&story), 0);
    assert_eq!(story.ladder(1), Some(LadderEnd::NotNeeded), "a ladder without a step would never act and never page");
}

#[test]
fn the_end_of_a_lease_that_was_renewed_meanwhile_puts_nothing_back() {
    let mut story = leased("1h");
    let first = helped_with_a_lease(&mut story, "WebIsSlow");
    let until = story.state.leases.values().next().unwrap().until;
    // Another incident acts on the target when the lease ends; its alert has resolved already.
    story.after(Span((until - story.now).0 - Span::seconds(10).0));
    story.fires("WebIsDown");
    story.observes();
    story.after(Span::seconds(1)).resolves("WebIsDown");
    story.after(Span::seconds(10)).observes();
    let back = StepId { number: first.number + 1, ..first };
    assert_eq!((story.phase(back), story.reason(back)), (Phase::Holding, "target_lock"));
    story.performs();
    assert_eq!(story.replicas, 8);
    let reading = story.after(Span::seconds(40)).reading();
    story.measures(reading);
    story.observes();
    story.performs();
    assert_eq!(story.replicas, 8, "the new lease has an hour to go");
    assert_eq!(story.phase(back), Phase::Dropped);
    // At its own end it goes back to what was there before both.
    story.after(Span::hours(2)).observes();
    story.performs();
    assert_eq!(story.replicas, 4);
}

#[test]
fn undoing_a_step_that_renewed_a_lease_leaves_the_first_one_to_end() {
    let mut story = leased("2h");
    helped_with_a_lease(&mut story, "WebIsSlow");
    let second = story.acts_on("WebIsDown");
    assert_eq!(story.replicas, 8);
    story.command("ann", Command::Undo { step: second });
    story.observes();
    story.performs();
    assert_eq!(story.replicas, 6);
    story.after(Span::seconds(1)).resolves("WebIsDown");
    let reading = story.after(Span::seconds(5)).reading();
    story.measures(reading);
    story.after(Span::hours(3)).observes();
    story.performs();
    assert_eq!(story.replicas, 4, "what was lent first is still put back");
    assert!(story.state.leases.is_empty());
}

#[test]
fn a_lease_that_waits_to_be_put_back_does_not_outlive_a_persons_undo() {
    let mut story = leased("1h");
    let step = helped_with_a_lease(&mut story, "WebIsSlow");
    story.command("ann", Command::Pause { reason: String::new() });
    story.after(Span::hours(1)).observes();
    let back = story.last_step();
    assert_eq!((story.phase(back), story.reason(back)), (Phase::Holding, "paused"));
    story.command("ann", Command::Undo { step });
    story.observes();
    story.performs();
    assert_eq!(story.replicas, 4);
    story.command("ann", Command::Resume { pause_file_present: false });
    assert!(story.phase(back).is_terminal(), "nothing would ever observe for it");
}

#[test]
fn while_paused_a_person_may_do_what_waits_to_be_done_by_itself() {
    let mut story = Story::with(|spec| spec.rules[0].remediate[0].if_ineffective = IfIneffective::Undo);
    let step = story.acts_on("WebIsSlow");
    story.command("ann", Command::Pause { reason: String::new() });
    let reading = story.after(Span::minutes(5)).reading();
    story.measures(reading);
    story.observes();
    let waits = story.last_step();
    story.command("ann", Command::Undo { step });
    story.observes();
    story.performs();
    assert_eq!((story.replicas, story.phase(waits)), (4, Phase::Dropped));

    let mut story = leased("1h");
    let step = helped_with_a_lease(&mut story, "WebIsSlow");
    story.command("ann", Command::Pause { reason: String::new() });
    story.after(Span::hours(2)).observes();
    let waits = story.last_step();
    story.command("ann", Command::EndLease { step });
    story.observes();
    story.performs();
    assert_eq!((story.replicas, story.phase(waits)), (4, Phase::Dropped));
    assert!(story.events().any(|event| matches!(event, Event::LeaseEnded { how: LeaseEnd::PutBack, .. })));
}

fn loses_contact(story: &mut Story) {
    story.after(Span::minutes(31));
    let fingerprint = Fingerprint::new("WebIsSlow-p1");
    let answer = FiringAnswer::Unreachable { problem: "no route".into() };
    story.input(Input::Confirmed { fingerprint, delivered: None, answer });
    assert!(story.state.incident_view(&story.policy, IncidentId(1), story.now).unwrap().lost_contact);
}

#[test]
fn what_was_lost_and_is_heard_to_have_resolved_is_monitored_and_not_lost() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    loses_contact(&mut story);
    story.resolves("WebIsSlow");
    let view = story.state.incident_view(&story.policy, IncidentId(1), story.now).unwrap();
    assert_eq!((view.state.as_str(), view.lost_contact), ("monitoring", false));
}

#[test]
fn what_resolves_last_does_not_hide_what_was_lost_before() {
    let mut story = Story::with(|spec| {
        spec.rules[0].mode = crate::model::mode::Mode::Ask;
        spec.lost_after = Span::minutes(15);
    });
    story.fires("WebIsSlow");
    story.observes();
    let step = story.last_step();
    story.after(Span::minutes(10));
    let other = story.alert("WebIsSlow", "p2", Status::Firing, story.now);
    story.input(Input::Alert(Box::new(other.clone())));
    story.after(Span::minutes(6));
    assert_eq!(story.phase(step), Phase::Asking);
    let fingerprint = Fingerprint::new("WebIsSlow-p1");
    let answer = FiringAnswer::Unreachable { problem: "no route".into() };
    story.input(Input::Confirmed { fingerprint, delivered: None, answer });
    let resolved = story.alert("WebIsSlow", "p2", Status::Resolved, other.starts_at);
    story.input(Input::Alert(Box::new(resolved)));
    assert_eq!(story.ladder(1), Some(LadderEnd::HandedOver { reason: Reason::LostContact }));
    assert_eq!(live_fixes(&story), 0, "nobody can approve what nothing fires for");
    assert_eq!((story.incident_state(1), story.pages()), ("open", 0));
    // Another alert of it: contact again, and lost again.
    story.fires("WebIsSlow");
    assert_eq!(live_fixes(&story), 1);
    loses_contact(&mut story);
    assert_eq!(live_fixes(&story), 0);
}

#[test]
fn with_contact_again_the_ladder_goes_on() {
    let mut story = Story::begin();
    let began = story.now;
    story.fires("WebIsSlow");
    loses_contact(&mut story);
    assert_eq!(live_fixes(&story), 0);
    story.fires_since("WebIsSlow", began);
    assert_eq!(live_fixes(&story), 1, "it fires, and neither people nor nightshift would do anything");
    story.observes();
    story.performs();
    assert_eq!(story.replicas, 6);
}

#[test]
fn contact_that_returns_while_a_step_is_verified_starts_no_second_one() {
    let mut story = Story::with(|spec| {
        spec.rules[0] = rule("web-is-slow", "WebIsSlow", &["web", "api"]);
        spec.rules[0].remediate[0].verify.resolved_within = Span::hours(2);
    });
    let step = story.acts_on("WebIsSlow");
    loses_contact(&mut story);
    story.fires("WebIsSlow");
    assert_eq!(live_fixes(&story), 1);
    let reading = story.after(Span::hours(2)).reading();
    story.measures(reading);
    assert_eq!(story.phase(step), Phase::Ineffective);
    assert_eq!(live_fixes(&story), 1, "its verdict leads to the next rung");
}

#[test]
fn an_incident_whose_alerts_are_lost_stays_open_until_a_person_resolves_it() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    loses_contact(&mut story);
    story.after(Span::hours(24 * 20));
    assert_eq!(story.incident_state(1), "open");
    let by_person = Command::Resolve { incident: IncidentId(1) };
    story.command("ann", by_person);
    story.mails();
    story.after(Span::hours(24 * 8));
    assert_eq!(story.state.counts().alerts_known, 0);
    assert!(story.state.incident_ids().is_empty());
}

#[test]
fn a_page_mentions_the_people_of_the_severity_it_has_now() {
    let mut story = Story::with(|spec| {
        spec.rules[0].severity = None;
        spec.severities[0].mentions = vec!["S0MOST".into()];
    });
    for (pod, severity) in [("p1", "warning"), ("p2", "critical")] {
        let mut alert = story.alert("WebIsSlow", pod, Status::Firing, story.now);
        alert.labels.insert("severity".into(), severity.into());
        story.input(Input::Alert(Box::new(alert)));
    }
    story.refuses = Some("no".into());
    story.observes();
    let mentioned = story.events().find_map(|event| match event {
        Event::PageReleased { mentions, .. } => Some(mentions.clone()),
        _ => None,
    });
    assert_eq!(mentioned, Some(vec!["S0MOST".to_owned()]));
}

#[test]
fn a_letter_that_failed_for_good_does_not_take_the_newer_wish_with_it() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    let card = story.state.letters_due(1).remove(0);
    story.command("ann", Command::Acknowledge { incident: IncidentId(1) });
    let result = Told::Failed { reason: "msg_too_long".into() };
    story.input(Input::Told { letter: card.key.clone(), up_to: card.want, result });
    assert_eq!(story.state.letters_due(1).remove(0).key, card.key, "the card still shows it unacknowledged");
}

#[test]
fn what_nobody_knows_is_not_called_unchanged() {
    let mut story = Story::begin();
    story.fires("WebIsSlow");
    story.observes();
    let step = story.last_step();
    story.after(Span::minutes(1));
    story.performed(step, Op::ReadBack, Outcome::Unknown { why: "it was made anew".into() });
    assert_eq!(story.phase(step), Phase::Unknown);
    let events = story.command("ann", Command::Undo { step });
    let Some(Event::CommandRefused { reason }) = events.first() else { panic!("{events:?}") };
    assert!(!reason.contains("changed nothing"), "{reason}");
}
