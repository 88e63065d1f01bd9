//! PagerDuty's incidents and ours over time: a group that fires again, a page that two incidents share, an acknowledge that
//! ran out.

use super::{
    harness::Story,
    two_sources::{
        WEB, Word, acknowledged_by, incidents, key, news, of, owed, paged, said, story, takes, tells, waits, web,
    },
};
use crate::{
    model::{
        alert::Status,
        id::{Fingerprint, IncidentId},
        input::{Command, Input},
        letter::{External, PageState},
        mode::Mode,
        page::dedup_key,
        peer::PeerEvent,
        time::Span,
    },
    notify::pagerduty::{Call, next},
};

#[test]
fn what_alertmanager_pages_anew_belongs_to_the_incident_that_fires_not_to_one_that_is_over() {
    let mut story = paged();
    tells(&mut story, Word { key: &key(), ..of(PeerEvent::Triggered, "P1") });
    web(&mut story, Status::Resolved);
    tells(&mut story, Word { key: &key(), ..of(PeerEvent::Resolved, "P1") });
    story.after(Span::minutes(11));
    takes(&mut story);
    story.after(Span::hours(5));
    assert_eq!(story.incident_state(1), "resolved");
    web(&mut story, Status::Firing);
    assert_eq!(story.incident_state(2), "open");
    tells(&mut story, Word { key: &key(), ..of(PeerEvent::Triggered, "P2") });
    tells(&mut story, Word { key: &key(), by: Some("Ana"), ..of(PeerEvent::Acknowledged, "P2") });
    assert_eq!((incidents(&story), acknowledged_by(&story, 2)), (2, Some("pagerduty:Ana")));
}

#[test]
fn whoever_takes_here_what_ran_out_there_has_it_there_again() {
    // Ours, and Alertmanager's.
    for ours in [true, false] {
        let mut story = if ours { paged() } else { story() };
        if !ours {
            web(&mut story, Status::Firing);
        }
        tells(&mut story, Word { key: &key(), ..of(PeerEvent::Triggered, "P1") });
        tells(&mut story, Word { by: Some("Ana"), ..of(PeerEvent::Acknowledged, "P1") });
        takes(&mut story);
        story.after(Span::minutes(30));
        takes(&mut story);
        tells(&mut story, of(PeerEvent::Unacknowledged, "P1"));
        assert_eq!((acknowledged_by(&story, 1), owed(&story)), (None, vec![]));
        story.command("ann", Command::Acknowledge { incident: IncidentId(1) });
        assert_eq!(owed(&story), [(dedup_key(WEB), PageState::Acknowledged, ours)]);
        let letter = story.state.letters_due(9).into_iter().find(|letter| letter.key.is_page()).unwrap();
        let told = letter.external.as_ref().and_then(External::paged).map(|paged| paged.page);
        let call = next(PageState::Acknowledged, ours, told);
        assert_eq!(call, Some(Call::Acknowledge), "{told:?}");
    }
}

#[test]
fn what_somebody_closed_there_is_not_opened_there_again_by_an_acknowledge_here() {
    let mut story = paged();
    let mut other = story.alert("WebIsSlow", "p2", Status::Firing, story.now);
    other.group_key = WEB.replace("p1", "p2");
    story.input(Input::Alert(Box::new(other)));
    tells(&mut story, Word { key: &key(), ..of(PeerEvent::Triggered, "P1") });
    tells(&mut story, Word { by: Some("Ana"), ..of(PeerEvent::Resolved, "P1") });
    takes(&mut story);
    story.command("ann", Command::Acknowledge { incident: IncidentId(1) });
    for letter in story.state.letters_due(9).into_iter().filter(|letter| letter.key.is_page()) {
        let page = letter.page.unwrap();
        let told = letter.external.as_ref().and_then(External::paged).map(|paged| paged.page);
        let call = page.wants.and_then(|wants| next(wants, page.ours, told));
        assert_ne!(call, Some(Call::Trigger), "{told:?} {page:?}");
    }
}

/// Two incidents that were paged, of one group.
fn of_one_group() -> Story {
    let mut story = Story::with(|spec| {
        spec.pagerduty.pages = true;
        spec.rules[0].mode = Mode::Ask;
        spec.rules[0].group_by = vec!["pod".into()];
    });
    for pod in ["p1", "p2"] {
        of_pod(&mut story, pod, Status::Firing);
    }
    story.observes();
    story.after(Span::minutes(31));
    assert_eq!((incidents(&story), story.pages()), (2, 2));
    takes(&mut story);
    story
}

fn of_pod(story: &mut Story, pod: &str, status: Status) {
    let held = story.state.alerts.get(&Fingerprint::new(&format!("WebIsSlow-{pod}")));
    let starts_at = held.map_or(story.now, |held| held.starts_at);
    let mut alert = story.alert("WebIsSlow", pod, status, starts_at);
    alert.group_key = GROUP.into();
    story.input(Input::Alert(Box::new(alert)));
}

const GROUP: &str = "{}:{alertname=\"WebIsSlow\"}";

#[test]
fn closing_one_of_two_incidents_of_a_group_closes_no_page_that_the_other_needs() {
    let mut story = of_one_group();
    story.command("ann", Command::Resolve { incident: IncidentId(2) });
    assert_eq!(owed(&story), [], "incident 1 fires, and nobody has it");
    story.command("ann", Command::Resolve { incident: IncidentId(1) });
    assert_eq!(owed(&story), [(dedup_key(GROUP), PageState::Resolved, true)]);
}

#[test]
fn whoever_takes_one_of_two_incidents_of_a_group_takes_its_page_only_where_the_other_does_not_fire() {
    let mut story = of_one_group();
    story.command("ann", Command::Acknowledge { incident: IncidentId(2) });
    assert_eq!(owed(&story), [], "incident 1 fires, and nobody has it");
    of_pod(&mut story, "p1", Status::Resolved);
    assert_eq!(owed(&story), [(dedup_key(GROUP), PageState::Acknowledged, true)]);
}

#[test]
fn a_severe_incident_for_which_pagerduty_woke_people_owes_a_post_mortem() {
    let mut story = story();
    tells(&mut story, Word { priority: "P1", ..of(PeerEvent::Triggered, "P1") });
    tells(&mut story, Word { by: Some("Ana"), ..of(PeerEvent::Acknowledged, "P1") });
    story.after(Span::minutes(1));
    tells(&mut story, Word { by: Some("Ana"), ..of(PeerEvent::Resolved, "P1") });
    assert_eq!(story.incident_state(1), "resolved");
    assert!(said(&story, "post-mortem"), "{:?}", story.posts());
}

#[test]
fn a_page_that_comes_before_its_alert_is_not_taken_for_that_of_an_incident_that_is_over() {
    let mut story = paged();
    tells(&mut story, Word { key: &key(), ..of(PeerEvent::Triggered, "P1") });
    web(&mut story, Status::Resolved);
    story.after(Span::minutes(11));
    takes(&mut story);
    story.after(Span::hours(5));
    tells(&mut story, Word { key: &key(), ..of(PeerEvent::Triggered, "P2") });
    waits(&mut story, Span::seconds(5));
    web(&mut story, Status::Firing);
    waits(&mut story, Span::ZERO);
    tells(&mut story, Word { by: Some("Ana"), ..of(PeerEvent::Acknowledged, "P2") });
    assert_eq!((incidents(&story), acknowledged_by(&story, 2)), (2, Some("pagerduty:Ana")));
}

#[test]
fn an_incident_that_stayed_open_there_is_of_what_fires_of_its_group_now() {
    let mut story = story();
    web(&mut story, Status::Firing);
    tells(&mut story, Word { key: &key(), ..of(PeerEvent::Triggered, "P1") });
    story.after(Span::minutes(1));
    web(&mut story, Status::Resolved);
    story.after(Span::minutes(11));
    assert_eq!(story.incident_state(1), "resolved");
    web(&mut story, Status::Firing);
    tells(&mut story, Word { by: Some("Ana"), ..of(PeerEvent::Acknowledged, "P1") });
    assert_eq!((incidents(&story), acknowledged_by(&story, 2)), (2, Some("pagerduty:Ana")));
}

#[test]
fn what_somebody_has_there_when_it_is_first_heard_of_needs_an_approval() {
    let mut story = story();
    let mut escalated = news(&story, &of(PeerEvent::Escalated { to: "Ben".into() }, "P1"));
    escalated.incident.acknowledged = true;
    story.input(Input::Peer(Box::new(escalated)));
    story.observes();
    assert_eq!((acknowledged_by(&story, 1), story.starts_count()), (Some("pagerduty:somebody"), 0));
}
