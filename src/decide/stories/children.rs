//! Incidents of one service that begin together are one story: one message, one escalation, each its own ladder.

use super::{
    escalating::{ONE, acknowledge, called, notes, paged, unasked},
    harness::Story,
};
use crate::{
    decide::policy::PolicySpec,
    model::{
        event::{Event, LadderEnd},
        id::{IncidentId, StepId},
        input::{Command, Input},
        letter::{LetterKey, Slot},
        step::Phase,
        time::Span,
    },
};

const TWO: IncidentId = IncidentId(2);

fn one_service(spec: &mut PolicySpec) {
    spec.rules.iter_mut().for_each(|rule| rule.service = Some("claims".into()));
}

/// A slow API a minute after a slow web, both of one service.
fn parent_and_child() -> Story {
    let mut story = Story::with(one_service);
    story.after(Span::minutes(2));
    story.fires("WebIsSlow");
    story.after(Span::minutes(1)).fires("ApiIsSlow");
    story
}

fn parent_of(story: &Story, id: IncidentId) -> Option<IncidentId> {
    story.state.incidents[&id].parent
}

fn cards(events: &[Event]) -> Vec<IncidentId> {
    let cards = events.iter().filter_map(|event| match event {
        Event::Tell { letter: LetterKey { incident, slot: Slot::Card, .. }, .. } => Some(*incident),
        _ => None,
    });
    cards.collect()
}

#[test]
fn what_opens_within_ten_minutes_of_an_open_incident_of_its_service_is_its_child() {
    let mut story = Story::with(one_service);
    story.after(Span::minutes(2));
    let opened = story.fires("WebIsSlow");
    assert_eq!(cards(&opened), [ONE]);
    let opened = story.after(Span::minutes(10)).fires("ApiIsSlow");
    assert_eq!((parent_of(&story, TWO), cards(&opened)), (Some(ONE), vec![ONE]), "one message for both");
    let said: Vec<_> = notes(&story).into_iter().map(|(key, note)| (key.incident, note.text.clone())).collect();
    assert_eq!(said, [(ONE, "Incident 2 (ApiIsSlow): It belongs to this one: opened by rule api-is-slow, P1.".into())]);
    // The next one is too late, also for the child, which is nobody's parent.
    story.after(Span::millis(1)).fires("WebIsDown");
    assert_eq!(parent_of(&story, IncidentId(3)), None);
}

#[test]
fn another_service_none_and_one_that_is_over_have_no_children() {
    let mut story = Story::with(|spec| {
        one_service(spec);
        spec.rules[1].service = None;
        spec.rules[2].service = Some("billing".into());
    });
    story.after(Span::minutes(2));
    for name in ["WebIsSlow", "WebIsDown", "ApiIsSlow"] {
        story.fires(name);
    }
    assert!((1..=3).all(|id| parent_of(&story, IncidentId(id)).is_none()));
    let mut story = Story::with(one_service);
    story.fires("WebIsSlow");
    story.command("ann", Command::Resolve { incident: ONE });
    story.after(Span::minutes(1)).fires("ApiIsSlow");
    assert_eq!(parent_of(&story, TWO), None);
}

#[test]
fn a_child_keeps_its_own_ladder_and_speaks_in_the_parents_thread() {
    let mut story = parent_and_child();
    // One step acts at a time.
    for _ in 0..2 {
        story.observes();
        story.performs();
    }
    let step = *story.state.steps.keys().find(|step| step.incident == TWO).unwrap();
    assert_eq!(story.phase(step), Phase::Verifying);
    let reading = story.after(Span::minutes(3)).reading();
    story.measures(reading);
    assert_eq!(story.ladder(2), Some(LadderEnd::Exhausted));
    let of_two = notes(&story).into_iter().filter(|(key, _)| key.incident == TWO).count();
    assert_eq!(of_two, 0, "nothing is said outside of the parent's thread");
    let page =
        notes(&story).into_iter().find(|(_, note)| note.page && note.text.starts_with("Incident 2 (ApiIsSlow): Page"));
    let (key, note) = page.expect("the child's page is in the parent's thread");
    assert_eq!((key.incident, note.mentions.as_slice()), (ONE, &["S0123ABC".to_owned()][..]));
    let view = story.state.incident_view(&story.policy, ONE, story.now).unwrap();
    assert_eq!((view.children.len(), view.children[0].id, view.children[0].steps.len()), (1, TWO, 1));
    assert_eq!(story.state.incident_view(&story.policy, TWO, story.now).unwrap().parent, Some(ONE));
}

#[test]
fn a_childs_page_escalates_in_the_parent_and_nowhere_else() {
    let mut story = Story::with(|spec| {
        unasked(spec);
        one_service(spec);
        spec.rules[0].remediate.clear();
    });
    story.after(Span::minutes(2));
    story.fires("WebIsSlow");
    story.refuses = Some("somebody forbids it".into());
    story.fires("ApiIsSlow");
    story.observes();
    let page = story.now;
    assert_eq!(story.pages(), 1);
    story.resolves("WebIsSlow");
    story.after(Span::minutes(6));
    assert_eq!(called(&story, page), [(1, "lead".to_owned(), Span::minutes(5))], "the child fires still");
    let of = |event: &&Event| matches!(event, Event::Escalated { incident: ONE, .. });
    assert_eq!(story.events().filter(of).count(), 1);
}

#[test]
fn whoever_has_the_parent_has_its_children_and_what_opens_under_it() {
    let mut story = parent_and_child();
    story.command("ann", Command::Acknowledge { incident: TWO });
    let had_by = |story: &Story, id: u64| story.state.incidents[&IncidentId(id)].acknowledged_by.clone();
    assert_eq!((had_by(&story, 1), had_by(&story, 2)), (Some("ann".into()), Some("ann".into())));
    story.fires("WebIsDown");
    assert_eq!(had_by(&story, 3), Some("ann".into()));
    story.observes();
    assert_eq!(story.starts_count(), 0, "each new step needs an approval");
}

#[test]
fn a_child_that_is_more_severe_raises_the_parent_and_voids_its_acknowledge() {
    let mut story = paged(|spec| {
        unasked(spec);
        one_service(spec);
        spec.rules[2].severity = Some("P0".into());
        spec.severities[0].mentions = vec!["U0CTO0001".into()];
    });
    acknowledge(&mut story, None);
    story.after(Span::minutes(3));
    story.refuses = None;
    story.fires("ApiIsSlow");
    let raised = story.now;
    let parent = &story.state.incidents[&ONE];
    assert_eq!((parent.severity.as_str(), parent.acknowledged_by.as_deref()), ("P0", None));
    let said = "It is P0 now: incident 2 belongs to it. ann had it as something less severe: who has it now?";
    assert!(story.posts().iter().any(|text| text == said), "{:?}", story.posts());
    let (_, page) = notes(&story).into_iter().rfind(|(_, note)| note.page).unwrap();
    assert_eq!(page.mentions, ["U0CTO0001"]);
    story.after(Span::minutes(11));
    assert_eq!(called(&story, raised).pop(), Some((1, "war-room".to_owned(), Span::minutes(10))));
}

#[test]
fn where_somebody_has_had_the_wheel_a_new_step_needs_an_approval_though_their_acknowledge_is_void() {
    let mut story = Story::with(|spec| {
        one_service(spec);
        spec.rules[2].severity = Some("P0".into());
        spec.max_concurrent = 2;
    });
    story.after(Span::minutes(2));
    story.fires("WebIsSlow");
    acknowledge(&mut story, None);
    story.fires("ApiIsSlow");
    assert_eq!(story.state.incidents[&ONE].acknowledged_by, None);
    story.observes();
    let [theirs, ours] = [ONE, TWO].map(|incident| StepId { incident, number: 1 });
    assert_eq!(story.phase(theirs), Phase::Asking);
    assert_eq!(story.phase(ours), Phase::Acting, "nobody was at work on this one");
}

#[test]
fn an_acknowledge_that_is_void_is_void_for_the_whole_family() {
    let mut story = paged(|spec| {
        unasked(spec);
        one_service(spec);
        spec.rules[2].severity = Some("P0".into());
    });
    story.fires("WebIsDown");
    acknowledge(&mut story, None);
    let had_by = |story: &Story, id: u64| story.state.incidents[&IncidentId(id)].acknowledged_by.clone();
    assert_eq!((had_by(&story, 1), had_by(&story, 2)), (Some("ann".into()), Some("ann".into())));
    story.fires("ApiIsSlow");
    assert_eq!([1, 2, 3].map(|id| had_by(&story, id)), [None, None, None]);
}

#[test]
fn raising_a_parent_that_woke_nobody_wakes_nobody_yet() {
    let mut story = Story::with(|spec| {
        one_service(spec);
        spec.rules[2].severity = Some("P0".into());
    });
    story.after(Span::minutes(2));
    story.fires("WebIsSlow");
    story.fires("ApiIsSlow");
    assert_eq!((story.pages(), story.state.incidents[&ONE].severity.as_str()), (0, "P0"));
}

#[test]
fn the_parent_stays_monitored_until_its_last_child_is_over() {
    let mut story = parent_and_child();
    story.after(Span::minutes(1)).resolves("WebIsSlow");
    story.after(Span::hours(3));
    assert_eq!((story.incident_state(1), story.incident_state(2)), ("monitoring", "open"));
    assert!(story.state.next_due().is_none_or(|due| due > story.now), "nothing spins");
    story.resolves("ApiIsSlow");
    story.after(Span::minutes(9));
    assert_eq!(story.incident_state(1), "monitoring");
    story.after(Span::minutes(1));
    assert_eq!((story.incident_state(1), story.incident_state(2)), ("resolved", "resolved"));
    assert!(story.posts().iter().any(|text| text.starts_with("Incident 2 (ApiIsSlow): Resolved:")));
}

#[test]
fn a_child_that_is_over_ends_no_quiet_time_of_its_parent() {
    let mut story = parent_and_child();
    story.after(Span::minutes(1)).resolves("WebIsSlow");
    story.after(Span::minutes(1)).command("ann", Command::Resolve { incident: TWO });
    assert_eq!((story.incident_state(1), story.incident_state(2)), ("monitoring", "resolved"));
    story.after(Span::minutes(9));
    assert_eq!(story.incident_state(1), "resolved");
}

#[test]
fn a_parent_that_fires_again_while_it_waits_for_a_child_is_reopened() {
    let mut story = parent_and_child();
    story.after(Span::minutes(1)).resolves("WebIsSlow");
    story.after(Span::hours(1)).fires("WebIsSlow");
    assert_eq!(story.incident_state(1), "open");
    story.resolves("ApiIsSlow");
    story.after(Span::minutes(11));
    assert_eq!((story.incident_state(1), story.incident_state(2)), ("open", "resolved"));
}

#[test]
fn a_person_who_resolves_the_parent_resolves_the_story_and_one_who_resolves_a_child_that_child() {
    let mut story = parent_and_child();
    story.command("ann", Command::Resolve { incident: TWO });
    assert_eq!((story.incident_state(1), story.incident_state(2)), ("open", "resolved"));
    let mut story = parent_and_child();
    story.command("ann", Command::Resolve { incident: ONE });
    assert_eq!((story.incident_state(1), story.incident_state(2)), ("resolved", "resolved"));
    assert!(story.state.live_steps().next().is_none());
}

#[test]
fn a_parent_is_remembered_as_long_as_its_children() {
    let mut story = parent_and_child();
    story.mails();
    story.command("ann", Command::Resolve { incident: ONE });
    story.mails();
    story.after(Span::minutes(1)).resolves("WebIsSlow");
    story.resolves("ApiIsSlow");
    story.after(Span::hours(47));
    story.mails();
    story.after(Span::hours(4));
    assert!(story.state.incidents.is_empty(), "{:?}", story.state.incident_ids());
    assert!(story.state.roots.is_empty());
}

#[test]
fn an_old_journal_has_no_children() {
    let text = r#"{"incident_opened":{"incident":7,"rule":"r","key":"[]","severity":"P1","rank":1,"title":"t","service":"claims","runbook":null,"quiet":600000000,"receiver":"slack:\#incidents","mentions":[]}}"#;
    let event: Event = serde_json::from_str(&text.replace("\\#", "#")).unwrap();
    assert!(matches!(event, Event::IncidentOpened { parent: None, impact: None, security: None, .. }));
    let _ = Input::Wake;
}
