//! What comes of an incident: its post-mortem, and whom it concerns beside those who handle it.

use super::{
    escalating::{ONE, acknowledge, notes, paged, unasked},
    harness::Story,
};
use crate::model::{input::Command, letter::Receiver, time::Span};

fn about_the_postmortem(story: &Story) -> Vec<(String, Vec<String>)> {
    let about = notes(story).into_iter().filter(|(_, note)| note.text.contains("post-mortem"));
    about.map(|(_, note)| (note.text.clone(), note.mentions.clone())).collect()
}

#[test]
fn a_severe_incident_that_woke_people_owes_a_post_mortem_and_one_reminder() {
    let mut story = paged(unasked);
    acknowledge(&mut story, Some("U0ANA0001"));
    story.after(Span::minutes(1)).resolves("WebIsSlow");
    story.after(Span::minutes(10));
    let due = (story.now + Span::hours(24)).in_zone(&story.policy.zone);
    let said = format!("Its post-mortem is due by {due}. What happened: nightshift why 1");
    assert_eq!(about_the_postmortem(&story), [(said, Vec::new())]);
    story.after(Span::minutes(20 * 60 - 1));
    assert_eq!(about_the_postmortem(&story).len(), 1);
    story.after(Span::minutes(1));
    let reminder = format!("The post-mortem of incident 1 is due by {due}. ann had the incident.");
    assert_eq!(about_the_postmortem(&story).pop(), Some((reminder, vec!["U0ANA0001".into()])));
    story.after(Span::hours(27));
    assert_eq!(about_the_postmortem(&story).len(), 2);
}

#[test]
fn what_was_only_told_or_is_less_severe_owes_none() {
    let mut story = Story::with(|spec| spec.rules[0].remediate.clear());
    story.fires("WebIsSlow");
    story.command("ann", Command::Resolve { incident: ONE });
    assert!(about_the_postmortem(&story).is_empty());
    let mut story = paged(|spec| {
        unasked(spec);
        spec.rules[0].severity = Some("P2".into());
    });
    story.command("ann", Command::Resolve { incident: ONE });
    assert!(about_the_postmortem(&story).is_empty());
}

#[test]
fn what_was_acted_on_owes_one_though_nobody_was_woken() {
    let mut story = Story::begin();
    story.after(Span::minutes(2));
    story.acts_on("WebIsSlow");
    story.command("ann", Command::Resolve { incident: ONE });
    assert_eq!((story.pages(), about_the_postmortem(&story).len()), (0, 1));
}

#[test]
fn a_security_incident_is_told_in_that_channel_too_when_it_opens_pages_and_ends() {
    let mut story = paged(|spec| {
        unasked(spec);
        spec.security_channel = Some("#security".into());
        spec.rules[0].security = true;
    });
    story.fires("ApiIsSlow");
    story.command("ann", Command::Resolve { incident: ONE });
    let security = Receiver::Slack { channel: "#security".into() };
    let told: Vec<String> = notes(&story)
        .into_iter()
        .filter(|(key, _)| key.receiver == security)
        .map(|(_, note)| note.text.clone())
        .collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[0], "P1: WebIsSlow. It has begun.");
    assert!(told[1].starts_with("P1: WebIsSlow. Page: "), "{}", told[1]);
    assert_eq!(told[2], "P1: WebIsSlow. Resolved: by ann.");
}
