use super::harness::Story;
use crate::{
    decide::{
        letters::DueLetter,
        policy::{Component, PolicySpec, StatusPage, Wish},
    },
    model::{
        alert::{HOLD_LABEL, Status},
        event::Event,
        id::IncidentId,
        input::{Command, Input},
        letter::{External, PublicStatus, Published, Receiver, Told},
        public::{ComponentStatus, LeftAlone, PublicView, Publish, Sentences},
        time::Span,
    },
};

use ComponentStatus::{DegradedPerformance, MajorOutage, PartialOutage};
use PublicStatus::{Identified, Investigating, Monitoring, Resolved};

fn sentences() -> Sentences {
    let says = |word: &str| format!("The owner's words for {word}.");
    Sentences {
        title: "Claims are slow".into(),
        investigating: says("investigating"),
        identified: says("identified"),
        monitoring: says("monitoring"),
        resolved: says("resolved"),
    }
}

/// Every rule concerns customers of claims, from P0 to P1; people act, so that what is identified is theirs to say.
fn page(spec: &mut PolicySpec, publish: Publish) {
    let component = Component { sentences: sentences(), shows: [].into() };
    spec.statuspage = Some(StatusPage { publish, components: [("claims".into(), component)].into() });
    for rule in &mut spec.rules {
        let severities = vec!["P0".into(), "P1".into()];
        rule.statuspage = Some(Wish { component: "claims".into(), severities });
    }
}

fn published_by(change: impl FnOnce(&mut PolicySpec)) -> Story {
    Story::with(|spec| {
        page(spec, Publish::Auto);
        change(spec);
    })
}

/// Nothing is remedied: people have to.
fn for_people(spec: &mut PolicySpec) {
    for rule in &mut spec.rules {
        rule.remediate.clear();
    }
}

fn due(story: &Story) -> Option<DueLetter> {
    let is_public = |letter: &DueLetter| matches!(letter.key.receiver, Receiver::Statuspage { .. });
    story.state.letters_due(100).into_iter().find(is_public)
}

fn shown(story: &Story, id: u64) -> Option<PublicView> {
    story.state.incident_view(&story.policy, IncidentId(id), story.now).and_then(|view| view.public)
}

/// The courier brings what is due, as Statuspage takes it. None: nothing is due.
fn brings(story: &mut Story) -> Option<(u64, PublicStatus, ComponentStatus)> {
    let letter = due(story)?;
    let public = shown(story, letter.key.incident.0).unwrap();
    assert_eq!(public.sentence, sentences().of(public.status));
    let over = public.status == Resolved && letter.external.is_none();
    let component = if public.status == Resolved { ComponentStatus::Operational } else { public.shows };
    let published = Published {
        status_incident: format!("page-{}", letter.key.incident),
        status: public.status,
        component: Some(component),
        left_alone: Vec::new(),
    };
    let external = (!over).then_some(External::Published(published));
    let incident = letter.key.incident.0;
    story.input(Input::Told { letter: letter.key, up_to: letter.want, result: Told::Sent { external } });
    Some((incident, public.status, public.shows))
}

fn refused(events: &[Event]) -> Option<&str> {
    events.iter().find_map(|event| match event {
        Event::CommandRefused { reason } => Some(reason.as_str()),
        _ => None,
    })
}

#[test]
fn customers_read_of_the_whole_incident_and_its_end() {
    let mut story = published_by(|_| {});
    story.fires("WebIsSlow");
    assert_eq!(brings(&mut story), Some((1, Investigating, PartialOutage)));
    assert_eq!(brings(&mut story), None, "nothing is told twice");
    story.observes();
    assert_eq!(brings(&mut story), Some((1, Identified, PartialOutage)), "a fix has started");
    story.performs();
    story.after(Span::minutes(1)).resolves("WebIsSlow");
    assert_eq!(brings(&mut story), Some((1, Monitoring, PartialOutage)), "nothing fires, and it is being verified");
    let reading = story.after(Span::minutes(1)).reading();
    story.measures(reading);
    assert_eq!(brings(&mut story), None);
    story.after(Span::minutes(12));
    assert_eq!(story.incident_state(1), "resolved");
    assert_eq!(brings(&mut story), Some((1, Resolved, PartialOutage)));
    assert_eq!(shown(&story, 1), None, "it is over");
    let said: Vec<String> = story.posts().into_iter().filter(|post| post.contains("Status page")).collect();
    assert_eq!(
        said,
        [
            "Status page, claims: investigating, published; the component is partial outage now.",
            "Status page, claims: identified, published.",
            "Status page, claims: monitoring, published.",
            "Status page, claims: resolved, published; the component is operational now.",
        ]
    );
}

#[test]
fn only_what_the_rule_asks_for_concerns_customers() {
    let mut story = published_by(|spec| {
        spec.rules[0].severity = Some("P2".into());
        spec.rules[1].statuspage = None;
    });
    story.fires("WebIsSlow");
    story.fires("WebIsDown");
    assert_eq!((due(&story), shown(&story, 1), shown(&story, 2)), (None, None, None));
    let events = story.command("ann", Command::Publish { incident: IncidentId(1) });
    assert_eq!(refused(&events), Some("nothing of incident 1 waits to be published"));
    let events = story.command("ann", Command::Publish { incident: IncidentId(9) });
    assert_eq!(refused(&events), Some("there is no incident 9"));
    let mut story = Story::with(|spec| {
        page(spec, Publish::Auto);
        spec.statuspage = None;
    });
    story.fires("WebIsSlow");
    assert_eq!(due(&story), None, "there is no status page");
}

#[test]
fn what_becomes_severe_enough_is_told_from_then_on_and_as_bad_as_it_is() {
    let mut story = published_by(|spec| {
        for_people(spec);
        spec.rules[0].severity = None;
    });
    let fires = |story: &mut Story, pod: &str, severity: &str| {
        let mut alert = story.alert("WebIsSlow", pod, Status::Firing, story.now);
        alert.labels.insert("severity".into(), severity.into());
        story.input(Input::Alert(Box::new(alert)));
    };
    fires(&mut story, "p1", "P2");
    assert_eq!(due(&story), None);
    fires(&mut story, "p2", "P1");
    assert_eq!(brings(&mut story), Some((1, Investigating, PartialOutage)));
    story.command("ann", Command::Acknowledge { incident: IncidentId(1) });
    assert_eq!(brings(&mut story), Some((1, Identified, PartialOutage)), "somebody has it");
    fires(&mut story, "p3", "P0");
    assert_eq!(brings(&mut story), Some((1, Identified, MajorOutage)), "it got worse, and is not less known");
}

#[test]
fn the_settings_may_say_how_bad_a_severity_is() {
    let mut story = published_by(|spec| {
        let component = spec.statuspage.as_mut().unwrap().components.get_mut("claims").unwrap();
        component.shows.insert("P1".into(), DegradedPerformance);
    });
    story.fires("WebIsSlow");
    assert_eq!(brings(&mut story), Some((1, Investigating, DegradedPerformance)));
}

#[test]
fn what_fires_again_goes_back_on_the_same_incident_of_the_page() {
    let mut story = published_by(for_people);
    story.fires("WebIsSlow");
    brings(&mut story);
    story.after(Span::minutes(1)).resolves("WebIsSlow");
    assert_eq!(brings(&mut story), Some((1, Monitoring, PartialOutage)));
    story.after(Span::minutes(1)).fires("WebIsSlow");
    assert_eq!(brings(&mut story), Some((1, Investigating, PartialOutage)));
    story.after(Span::minutes(1)).resolves("WebIsSlow");
    story.after(Span::minutes(11));
    assert_eq!(brings(&mut story), Some((1, Resolved, PartialOutage)));
}

#[test]
fn superseded_news_is_folded_into_the_last() {
    let mut story = published_by(for_people);
    story.fires("WebIsSlow");
    brings(&mut story);
    story.command("ann", Command::Acknowledge { incident: IncidentId(1) });
    story.after(Span::minutes(1)).resolves("WebIsSlow");
    story.after(Span::minutes(11));
    assert_eq!(brings(&mut story), Some((1, Resolved, PartialOutage)));
    assert_eq!(brings(&mut story), None);
}

#[test]
fn two_incidents_of_a_component_are_one_for_customers() {
    let mut story = published_by(|spec| {
        for_people(spec);
        spec.rules[2].severity = Some("P0".into());
    });
    story.fires("WebIsSlow");
    brings(&mut story);
    story.command("ann", Command::Acknowledge { incident: IncidentId(1) });
    brings(&mut story);
    story.after(Span::minutes(1)).fires("ApiIsSlow");
    assert_eq!(
        brings(&mut story),
        Some((1, Identified, MajorOutage)),
        "the most severe counts, and it never goes back"
    );
    assert!(story.posts().contains(&"Status page: incident 1 speaks for claims.".to_owned()));
    story.after(Span::minutes(1)).resolves("WebIsSlow");
    story.after(Span::minutes(11));
    assert_eq!(story.incident_state(1), "resolved");
    assert_eq!(brings(&mut story), None, "the other one still fires");
    // The first is remembered for as long as customers read of it.
    story.after(Span::hours(60));
    assert_eq!(story.incident_state(1), "resolved");
    story.resolves("ApiIsSlow");
    assert_eq!(brings(&mut story), Some((1, Monitoring, MajorOutage)));
    story.after(Span::minutes(11));
    assert_eq!(brings(&mut story), Some((1, Resolved, MajorOutage)));
    story.after(Span::minutes(1)).fires("WebIsSlow");
    assert_eq!(brings(&mut story), Some((3, Investigating, PartialOutage)), "another story");
}

#[test]
fn while_its_end_is_not_told_the_next_incident_goes_on_with_the_same_one() {
    let mut story = published_by(for_people);
    story.fires("WebIsSlow");
    brings(&mut story);
    story.after(Span::minutes(1)).resolves("WebIsSlow");
    story.after(Span::minutes(11));
    // Statuspage has been down since.
    assert!(due(&story).is_some());
    story.fires("ApiIsSlow");
    assert_eq!(brings(&mut story), Some((1, Investigating, PartialOutage)));
    assert_eq!(shown(&story, 2).unwrap().incident, IncidentId(1));
}

#[test]
fn lost_contact_is_never_resolved_to_customers_until_a_person_says_so() {
    let mut story = published_by(for_people);
    story.fires("WebIsSlow");
    brings(&mut story);
    story.after(Span::minutes(31));
    let confirmed = story.state.work().into_iter().find_map(|work| match work {
        crate::decide::work::Work::Confirm { alert } => Some(alert.fingerprint),
        _ => None,
    });
    let fingerprint = confirmed.unwrap();
    let answer = story.answer(|_| crate::model::firing::Firing::Absent);
    story.input(Input::Confirmed { fingerprint, delivered: None, answer });
    assert!(story.posts().iter().any(|post| post.contains("The status page stays as it is")), "{:?}", story.posts());
    story.command("ann", Command::Acknowledge { incident: IncidentId(1) });
    story.after(Span::hours(24));
    assert_eq!(brings(&mut story), None, "it stays as it is");
    story.command("ann", Command::Resolve { incident: IncidentId(1) });
    assert_eq!(brings(&mut story), Some((1, Resolved, PartialOutage)));
}

#[test]
fn an_answer_to_what_was_told_before_its_end_does_not_stand_for_its_end() {
    let mut story = published_by(for_people);
    story.fires("WebIsSlow");
    brings(&mut story);
    story.after(Span::minutes(1)).resolves("WebIsSlow");
    let before = due(&story).unwrap();
    story.after(Span::minutes(11));
    let published = Published {
        status_incident: "page-1".into(),
        status: Monitoring,
        component: Some(PartialOutage),
        left_alone: Vec::new(),
    };
    let result = Told::Sent { external: Some(External::Published(published)) };
    story.input(Input::Told { letter: before.key, up_to: before.want, result });
    assert_eq!(brings(&mut story), Some((1, Resolved, PartialOutage)));
}

#[test]
fn customers_do_not_read_of_a_child_beside_its_parent() {
    let mut story = published_by(|spec| {
        for_people(spec);
        spec.rules.iter_mut().for_each(|rule| rule.service = Some("shop".into()));
        spec.rules[0].statuspage = None;
    });
    story.fires("WebIsSlow");
    story.fires("ApiIsSlow");
    assert_eq!(story.state.incidents[&IncidentId(2)].parent, Some(IncidentId(1)));
    assert_eq!((due(&story), shown(&story, 2)), (None, None));
}

#[test]
fn what_holds_its_page_is_told_to_customers_with_the_page_and_not_before() {
    let mut story = published_by(|spec| spec.rules[0].hold_page = Some(Span::minutes(5)));
    let mut alert = story.alert("WebIsSlow", "p1", Status::Firing, story.now);
    alert.labels.insert(HOLD_LABEL.into(), "true".into());
    story.input(Input::Alert(Box::new(alert)));
    story.observes();
    story.performs();
    assert_eq!((story.pages(), due(&story)), (0, None));
    story.after(Span::minutes(5));
    assert_eq!((story.pages(), brings(&mut story)), (1, Some((1, Identified, PartialOutage))));
}

#[test]
fn a_draft_waits_for_one_tap_and_then_follows_by_itself() {
    let mut story = Story::with(|spec| {
        page(spec, Publish::Draft);
        for_people(spec);
    });
    story.fires("WebIsSlow");
    assert_eq!(due(&story), None);
    let public = shown(&story, 1).unwrap();
    assert!(public.waits && public.sentence == sentences().investigating);
    assert!(
        story.posts().contains(&"Status page: claims waits to be published. To do it: nightshift publish 1".into())
    );
    story.command("ann", Command::Acknowledge { incident: IncidentId(1) });
    assert_eq!(due(&story), None);
    let events = story.command("bob", Command::Publish { incident: IncidentId(1) });
    let journalled = events.iter().any(|event| matches!(event, Event::StatusPublished { by, .. } if by == "bob"));
    assert!(journalled, "{events:?}");
    assert_eq!(brings(&mut story), Some((1, Identified, PartialOutage)), "what is, not what was");
    let again = story.command("ann", Command::Publish { incident: IncidentId(1) });
    assert_eq!(refused(&again), Some("bob has published it already"));
    story.after(Span::minutes(1)).resolves("WebIsSlow");
    assert_eq!(brings(&mut story), Some((1, Monitoring, PartialOutage)), "the rest follows by itself");
    story.after(Span::minutes(11));
    assert_eq!(brings(&mut story), Some((1, Resolved, PartialOutage)));
}

#[test]
fn a_draft_that_nobody_lets_out_is_gone_with_its_incident() {
    let mut story = Story::with(|spec| {
        page(spec, Publish::Draft);
        for_people(spec);
    });
    story.fires("WebIsSlow");
    story.after(Span::minutes(1)).resolves("WebIsSlow");
    story.after(Span::minutes(11));
    assert_eq!((due(&story), shown(&story, 1)), (None, None));
    let events = story.command("ann", Command::Publish { incident: IncidentId(1) });
    assert!(refused(&events).is_some());
    story.after(Span::minutes(1)).fires("WebIsSlow");
    assert!(shown(&story, 2).unwrap().waits, "each waits for its own tap");
}

#[test]
fn what_goes_out_by_itself_needs_no_tap() {
    let mut story = published_by(for_people);
    story.fires("WebIsSlow");
    let events = story.command("ann", Command::Publish { incident: IncidentId(1) });
    assert_eq!(refused(&events), Some("incident 1 is published by itself: nothing waits"));
}

#[test]
fn a_refusal_is_said_in_the_thread_and_what_follows_is_tried_anew() {
    let mut story = published_by(for_people);
    story.fires("WebIsSlow");
    let letter = due(&story).unwrap();
    let result = Told::Failed { reason: "not_authorized: Could not authenticate".into() };
    story.input(Input::Told { letter: letter.key, up_to: letter.want, result });
    let said = "Status page, claims: customers were not told: not_authorized: Could not authenticate. A person has to look there.";
    assert!(story.posts().iter().any(|post| post == said), "{:?}", story.posts());
    assert_eq!(due(&story), None);
    story.command("ann", Command::Acknowledge { incident: IncidentId(1) });
    assert_eq!(brings(&mut story), Some((1, Identified, PartialOutage)));
}

#[test]
fn what_a_person_changed_there_is_said_once() {
    let mut story = published_by(for_people);
    story.fires("WebIsSlow");
    let is_left = vec![LeftAlone::Component { is: MajorOutage }];
    for _ in 0..2 {
        let letter = due(&story).unwrap();
        let status = shown(&story, 1).unwrap().status;
        let published =
            Published { status_incident: "page-1".into(), status, component: None, left_alone: is_left.clone() };
        let result = Told::Sent { external: Some(External::Published(published)) };
        story.input(Input::Told { letter: letter.key, up_to: letter.want, result });
        story.command("ann", Command::Acknowledge { incident: IncidentId(1) });
    }
    let said = story.posts().into_iter().filter(|post| post.contains("left alone")).count();
    assert_eq!(said, 1, "{:?}", story.posts());
}

#[test]
fn a_crash_forgets_neither_what_waits_nor_what_was_told() {
    let mut story = Story::with(|spec| {
        page(spec, Publish::Draft);
        for_people(spec);
    });
    story.fires("WebIsSlow");
    story.crashes();
    assert!(shown(&story, 1).unwrap().waits);
    story.command("ann", Command::Publish { incident: IncidentId(1) });
    story.crashes();
    assert_eq!(brings(&mut story), Some((1, Investigating, PartialOutage)));
    story.crashes();
    assert_eq!(brings(&mut story), None);
}

#[test]
fn a_reload_that_takes_the_wish_away_still_tells_the_end() {
    let mut story = published_by(for_people);
    story.fires("WebIsSlow");
    brings(&mut story);
    story.reloads(|spec| spec.rules[0].statuspage = None);
    story.after(Span::minutes(1)).resolves("WebIsSlow");
    story.after(Span::minutes(11));
    assert_eq!(brings(&mut story), Some((1, Resolved, PartialOutage)));
}

#[test]
fn what_customers_read_changes_no_plan() {
    let mut story = published_by(|_| {});
    story.fires("WebIsSlow");
    story.observes();
    let before = story.policy.rule_hash("web-is-slow").unwrap().to_owned();
    story.reloads(|spec| spec.rules[0].statuspage = None);
    assert_eq!(story.policy.rule_hash("web-is-slow"), Some(before.as_str()));
    assert_eq!(story.ladder(1), None, "nobody is handed anything");
}
