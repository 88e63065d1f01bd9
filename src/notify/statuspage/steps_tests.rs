use super::*;
use crate::model::{id::IncidentId, time::Micros};

fn desired(status: PublicStatus, shows: ComponentStatus) -> Desired {
    Desired {
        status,
        shows,
        title: "Claims are slow".to_owned(),
        sentence: format!("What the owner says while it is {}.", status.word()),
        component: "8kbf7d35c070".to_owned(),
        notifies: true,
    }
}

fn key() -> Key {
    Key { incident: IncidentId(1042), opened_at: Micros(1_770_000_000_000_000) }
}

fn ours(status: PublicStatus, component: Option<ComponentStatus>) -> Ours {
    Ours { key: key(), status, component }
}

/// As we left it.
fn there(status: PublicStatus, component: Option<ComponentStatus>) -> Seen {
    let impact_override = component.map(|component| component.impact().to_owned());
    Seen { id: "p31z".to_owned(), status: Some(status), impact_override, ours: Some(ours(status, component)) }
}

use ComponentStatus::{DegradedPerformance, MajorOutage, Operational, PartialOutage, UnderMaintenance};
use PublicStatus::{Identified, Investigating, Monitoring, Resolved};

fn write<'a>(step: &'a Step<'_>) -> &'a Write<'a> {
    match step {
        Step::Open(write) | Step::Update { write, .. } => write,
        Step::Nothing | Step::Keep { .. } => panic!("{step:?} writes nothing"),
    }
}

#[test]
fn a_call_is_needed_where_what_was_told_is_not_what_should_be_read() {
    let told =
        |status, component| Published { status_incident: "p31z".to_owned(), status, component, left_alone: Vec::new() };
    let wants = desired(Identified, PartialOutage);
    assert_eq!(next(&wants, None), Some(Call::Open));
    assert_eq!(next(&wants, Some(&told(Investigating, Some(PartialOutage)))), Some(Call::Update));
    assert_eq!(next(&wants, Some(&told(Identified, Some(PartialOutage)))), None);
    assert_eq!(next(&wants, Some(&told(Identified, Some(DegradedPerformance)))), Some(Call::Update), "it got worse");
    assert_eq!(next(&wants, Some(&told(Identified, None))), None, "the component is not ours to set");
    let over = desired(Resolved, PartialOutage);
    assert_eq!(next(&over, Some(&told(Resolved, Some(PartialOutage)))), Some(Call::Update));
    assert_eq!(next(&over, Some(&told(Resolved, Some(Operational)))), None);
}

#[test]
fn opening_says_everything_and_names_who_is_mailed() {
    let wants = desired(Investigating, MajorOutage);
    let (step, left) = step(&wants, &key(), None, Some(Operational));
    assert!(left.is_empty() && matches!(step, Step::Open(_)));
    let body = write(&step).body();
    assert_eq!(
        body,
        serde_json::json!({"incident": {
            "name": "Claims are slow",
            "status": "investigating",
            "body": "What the owner says while it is investigating.",
            "impact_override": "critical",
            "components": {"8kbf7d35c070": "major_outage"},
            "component_ids": ["8kbf7d35c070"],
            "deliver_notifications": true,
            "metadata": {"nightshift": {
                "incident": "1042", "opened_at": "1770000000000000", "status": "investigating",
                "component": "major_outage",
            }},
        }})
    );
}

#[test]
fn a_component_that_somebody_else_has_set_is_left_alone_from_beginning_to_end() {
    let wants = desired(Investigating, PartialOutage);
    for is in [UnderMaintenance, DegradedPerformance, MajorOutage] {
        let (step, left) = step(&wants, &key(), None, Some(is));
        assert_eq!(left, [LeftAlone::Component { is }]);
        let body = write(&step).body();
        assert!(body["incident"].get("components").is_none(), "{body}");
        assert_eq!(body["incident"]["component_ids"], serde_json::json!(["8kbf7d35c070"]));
        assert_eq!(write(&step).leaves.component, None);
    }
    let wants = desired(Resolved, PartialOutage);
    let before = there(Monitoring, None);
    assert!(!asks_for_component(&wants, Some(&before)));
    let (step, _) = step(&wants, &key(), Some(&before), None);
    assert_eq!(write(&step).sets, None);
}

#[test]
fn what_goes_on_is_said_once_and_mails_nobody() {
    let wants = desired(Identified, PartialOutage);
    let before = there(Investigating, Some(PartialOutage));
    assert!(!asks_for_component(&wants, Some(&before)));
    let (step, left) = step(&wants, &key(), Some(&before), None);
    assert!(left.is_empty());
    let incident = &write(&step).body()["incident"];
    assert_eq!((&incident["status"], &incident["deliver_notifications"]), (&"identified".into(), &false.into()));
    assert!(incident.get("components").is_none() && incident.get("name").is_none());
}

#[test]
fn an_update_whose_answer_was_lost_is_not_said_again() {
    let wants = desired(Identified, PartialOutage);
    let (step, left) = step(&wants, &key(), Some(&there(Identified, Some(PartialOutage))), None);
    let is = ours(Identified, Some(PartialOutage));
    assert_eq!((step, left), (Step::Keep { incident: "p31z".to_owned(), is }, Vec::new()));
}

#[test]
fn when_it_is_over_the_component_is_put_back_only_where_it_is_what_we_set() {
    let wants = desired(Resolved, PartialOutage);
    let before = there(Monitoring, Some(PartialOutage));
    assert!(asks_for_component(&wants, Some(&before)));
    let over = |is| step(&wants, &key(), Some(&before), is);
    let (step, left) = over(Some(PartialOutage));
    let body = write(&step).body();
    assert_eq!(body["incident"]["components"], serde_json::json!({"8kbf7d35c070": "operational"}));
    assert_eq!(body["incident"]["deliver_notifications"], true);
    assert!(left.is_empty() && body["incident"].get("impact_override").is_none());
    let (step, left) = over(Some(MajorOutage));
    assert_eq!((write(&step).sets, left), (None, vec![LeftAlone::Component { is: MajorOutage }]));
    assert_eq!(write(&step).body()["incident"]["status"], "resolved");
    let (step, left) = over(Some(Operational));
    assert_eq!((write(&step).sets, left), (None, Vec::new()), "somebody was faster");
    assert_eq!(write(&step).leaves.component, Some(Operational));
    let (step, _) = over(None);
    assert_eq!(write(&step).sets, None, "a word that nobody knows is not ours");
}

#[test]
fn what_gets_worse_is_set_and_never_what_a_person_chose() {
    let wants = desired(Identified, MajorOutage);
    let before = there(Identified, Some(PartialOutage));
    let (worse, _) = step(&wants, &key(), Some(&before), Some(PartialOutage));
    let incident = &write(&worse).body()["incident"];
    assert_eq!(incident["components"], serde_json::json!({"8kbf7d35c070": "major_outage"}));
    assert_eq!(incident["impact_override"], "critical");
    assert!(incident.get("body").is_none() && incident.get("status").is_none(), "no sentence is said twice");
    assert_eq!(incident["deliver_notifications"], false);
    let chosen = Seen { impact_override: Some("none".to_owned()), ..before.clone() };
    let (worse, _) = step(&wants, &key(), Some(&chosen), Some(PartialOutage));
    assert!(write(&worse).body()["incident"].get("impact_override").is_none());
    let (kept, left) = step(&wants, &key(), Some(&before), Some(DegradedPerformance));
    assert!(matches!(kept, Step::Keep { .. }));
    assert_eq!(left, [LeftAlone::Component { is: DegradedPerformance }]);
}

#[test]
fn a_person_who_is_further_is_not_set_back_and_one_who_is_not_is_followed_up() {
    let by_a_person = |is| Seen { status: Some(is), ..there(Investigating, Some(PartialOutage)) };
    let wants = desired(Identified, PartialOutage);
    for is in [Monitoring, Resolved] {
        let (step, left) = step(&wants, &key(), Some(&by_a_person(is)), None);
        assert!(matches!(step, Step::Keep { .. }), "{step:?}");
        assert_eq!(left, [LeftAlone::Incident { is }]);
    }
    let over = desired(Resolved, PartialOutage);
    let (step_on, left) = step(&over, &key(), Some(&by_a_person(Identified)), Some(PartialOutage));
    assert_eq!((write(&step_on).body()["incident"]["status"].as_str(), left), (Some("resolved"), Vec::new()));
    let (done, left) = step(&over, &key(), Some(&by_a_person(Resolved)), Some(PartialOutage));
    assert_eq!(write(&done).says, None, "a person said so already");
    assert_eq!((write(&done).sets, left), (Some(("8kbf7d35c070", Operational)), Vec::new()));
}

#[test]
fn what_fires_again_is_open_again_where_we_had_moved_it_on() {
    for from in [Monitoring, Resolved] {
        let component = if from == Resolved { Operational } else { PartialOutage };
        let wants = desired(Investigating, PartialOutage);
        let (step, left) = step(&wants, &key(), Some(&there(from, Some(component))), Some(component));
        assert!(left.is_empty());
        let body = write(&step).body();
        assert_eq!(body["incident"]["status"], "investigating");
        assert_eq!(body["incident"].get("components").is_some(), from == Resolved);
    }
}

#[test]
fn what_was_never_published_and_is_over_stays_unpublished() {
    let wants = desired(Resolved, PartialOutage);
    let (step, left) = step(&wants, &key(), None, None);
    assert_eq!((step, left), (Step::Nothing, Vec::new()));
}

#[test]
fn what_the_service_does_not_remember_the_journal_does() {
    let last = Published {
        status_incident: "p31z".to_owned(),
        status: Investigating,
        component: Some(PartialOutage),
        left_alone: Vec::new(),
    };
    let bare = Seen { id: "p31z".to_owned(), status: Some(Investigating), impact_override: None, ours: None };
    let known = remembered(bare, &key(), &last);
    assert_eq!(known.ours, Some(ours(Investigating, Some(PartialOutage))));
}
