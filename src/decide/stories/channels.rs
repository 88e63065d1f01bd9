//! An incident's own channel: who follows it reads how it stands there, and nothing waits for it.

use super::{
    escalating::{ONE, notes},
    harness::Story,
};
use crate::model::{
    event::Event,
    input::{Command, Input},
    letter::{External, LetterKey, Posted, Receiver, Slot, Told},
    time::Span,
};

fn with_channels() -> Story {
    let mut story = Story::with(|spec| {
        spec.incident_channels = vec!["P0".into(), "P1".into()];
        spec.severities[1].update_every = Some(Span::minutes(15));
        spec.rules[0].service = None;
        spec.rules[0].impact = Some("users cannot submit claims".into());
    });
    story.after(Span::minutes(2));
    story.fires("WebIsSlow");
    story
}

fn channel(story: &Story) -> Receiver {
    Receiver::IncidentChannel { name: story.state.incidents[&ONE].channel.clone().unwrap() }
}

fn updates(story: &Story) -> Vec<(Span, String)> {
    let begin = story.state.incidents[&ONE].opened_at;
    let to = |key: &LetterKey| matches!(key.receiver, Receiver::IncidentChannel { .. });
    let told = notes(story).into_iter().filter(|(key, _)| to(key));
    told.map(|(key, note)| {
        assert_eq!(key.slot, Slot::Update);
        (note.at - begin, note.text.clone())
    })
    .collect()
}

/// The courier brings what is owed to the incident's channel.
fn told(story: &mut Story, result: Told) -> Vec<Event> {
    let letter = LetterKey { receiver: channel(story), incident: ONE, slot: Slot::Card };
    let up_to = story.state.letters[&letter].want;
    story.input(Input::Told { letter, up_to, result })
}

#[test]
fn it_opens_with_the_incident_in_the_settings_zone_and_is_told_every_so_often_until_the_end() {
    let mut story = with_channels();
    assert_eq!(channel(&story).to_string(), "channel:incident-2026-02-02-0242");
    story.after(Span::minutes(31)).resolves("WebIsSlow");
    story.after(Span::minutes(30));
    let told = updates(&story);
    let at: Vec<Span> = told.iter().map(|(at, _)| *at).collect();
    assert_eq!(at, [15, 30, 41].map(Span::minutes));
    assert!(told[0].1.starts_with("P1 since 02:42 UTC. 1 alert fires."), "{}", told[0].1);
    assert!(told[2].1.starts_with("Resolved: "), "{}", told[2].1);
}

#[test]
fn severities_that_have_none_get_none() {
    let mut story = Story::with(|spec| spec.incident_channels = vec!["P0".into()]);
    story.fires("WebIsSlow");
    assert_eq!(story.state.incidents[&ONE].channel, None);
}

#[test]
fn once_it_is_there_the_incidents_card_says_so() {
    let mut story = with_channels();
    let external = External::Posted(Posted { channel: "C0INCIDENT".into(), ts: "1.000001".into() });
    let events = told(&mut story, Told::Sent { external: Some(external) });
    let main = Receiver::Slack { channel: "#incidents".into() };
    let tells_main = |event: &Event| matches!(event, Event::Tell { letter, .. } if letter.receiver == main);
    assert!(events.iter().any(tells_main));
    let view = story.state.incident_view(&story.policy, ONE, story.now).unwrap();
    assert_eq!(view.channel.map(|posted| posted.channel), Some("C0INCIDENT".into()));
    assert_eq!(view.impact.as_deref(), Some("users cannot submit claims"));
}

#[test]
fn one_that_slack_does_not_make_is_said_in_the_thread_and_asked_for_once() {
    let mut story = with_channels();
    told(&mut story, Told::Failed { reason: "restricted_action".into() });
    let said = "Slack did not make the channel #incident-2026-02-02-0242 (restricted_action): how it stands is told here alone.";
    assert!(story.posts().iter().any(|text| text == said), "{:?}", story.posts());
    story.after(Span::hours(1));
    story.command("ann", Command::Acknowledge { incident: ONE });
    assert!(updates(&story).is_empty());
    assert_eq!(story.events().filter(|event| matches!(event, Event::ChannelOpened { .. })).count(), 1);
}

#[test]
fn two_of_one_minute_have_names_of_their_own() {
    let mut story = with_channels();
    story.fires("ApiIsSlow");
    let names: Vec<&str> = story.state.incidents.values().filter_map(|it| it.channel.as_deref()).collect();
    assert_eq!(names, ["incident-2026-02-02-0242", "incident-2026-02-02-0242-incident-2"]);
}

#[test]
fn while_contact_is_lost_its_channel_is_not_told_the_same_for_weeks() {
    let mut story = with_channels();
    story.after(Span::minutes(30));
    let answer = crate::model::firing::FiringAnswer::Unreachable { problem: "down".into() };
    let fingerprint = crate::model::id::Fingerprint::new("WebIsSlow-p1");
    story.input(Input::Confirmed { fingerprint, delivered: None, answer });
    assert!(story.state.incidents[&ONE].lost_contact);
    let before = updates(&story).len();
    story.after(Span::hours(3 * 24));
    let later = updates(&story);
    assert_eq!(later.len(), before + 1);
    assert!(later[before].1.contains("Nobody confirms its alerts any more"), "{}", later[before].1);
    story.fires("WebIsSlow");
    story.after(Span::minutes(16));
    assert_eq!(updates(&story).len(), before + 2);
}
