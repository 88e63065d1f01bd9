//! An incident's own channel, against a Slack that records: made once whatever becomes of the answers.

use super::super::{
    tests::{WITHIN, a_slack, note, notifier, place},
    tests_support::{
        fake::{CHANNEL, Fake, Trouble},
        views,
    },
};
use super::*;
use crate::{
    decide::state::DueLetter,
    model::{
        id::IncidentId,
        letter::{External, LetterKey, Note, Posted, Receiver, Slot, Told},
    },
    notify::Notifier,
};

const NAME: &str = "incident-2026-03-01-0314";

fn letter(slot: Slot, want: u64, note: Option<Note>, card: Option<Posted>) -> DueLetter {
    let key =
        LetterKey { receiver: Receiver::IncidentChannel { name: NAME.to_owned() }, incident: IncidentId(1042), slot };
    DueLetter { key, want, note, external: None, card: card.map(External::Posted), page: None }
}

fn card() -> DueLetter {
    letter(Slot::Card, 7, None, None)
}

fn is_somebody_elses(fake: &Fake, name: &str) {
    fake.kept().channels.push((name.to_owned(), "C0SOMEBODY".to_owned(), "U0SOMEBODY".to_owned()));
}

fn names(fake: &Fake) -> Vec<String> {
    fake.kept().channels.iter().map(|(name, ..)| name.clone()).collect()
}

#[tokio::test]
async fn it_is_made_with_its_first_message_which_is_then_updated_in_place() {
    let (fake, slack) = a_slack().await;
    let posted = place(slack.send(&card(), &views::acting(), WITHIN).await);
    assert_eq!(posted.channel, "C0INCIDENT1042");
    let again = letter(Slot::Card, 8, None, Some(posted.clone()));
    assert_eq!(place(slack.send(&again, &views::resolved(), WITHIN).await), posted);
    assert_eq!(fake.methods(), ["conversations.create", "chat.postMessage", "chat.update"]);
    let first = fake.kept().messages[0].clone();
    assert!(first.body["blocks"].to_string().contains("*Status* resolved"), "{}", first.body);
    fake.assert_nothing_wrong();
}

#[tokio::test]
async fn a_name_that_somebody_has_gets_a_number() {
    let (fake, slack) = a_slack().await;
    is_somebody_elses(&fake, NAME);
    place(slack.send(&card(), &views::acting(), WITHIN).await);
    assert_eq!(names(&fake), [NAME, "incident-2026-03-01-0314-2"]);
}

#[tokio::test]
async fn one_whose_answer_was_lost_is_found_and_not_made_twice() {
    let (fake, slack) = a_slack().await;
    for other in ["a", "b", "c"] {
        is_somebody_elses(&fake, other);
    }
    fake.next(Trouble::DoneBut("internal_error"));
    assert!(slack.send(&card(), &views::acting(), WITHIN).await.is_err());
    // A crash: nothing is remembered.
    let slack = notifier(&fake.url);
    let posted = place(slack.send(&card(), &views::acting(), WITHIN).await);
    assert_eq!((posted.channel.as_str(), names(&fake).len()), ("C0INCIDENT1045", 4));
    fake.assert_nothing_wrong();
}

#[tokio::test]
async fn where_it_may_not_look_a_taken_name_is_somebody_elses() {
    let (fake, slack) = a_slack().await;
    fake.kept().may_not_read = true;
    fake.next(Trouble::DoneBut("internal_error"));
    assert!(slack.send(&card(), &views::acting(), WITHIN).await.is_err());
    place(slack.send(&card(), &views::acting(), WITHIN).await);
    assert_eq!(names(&fake), [NAME, "incident-2026-03-01-0314-2"]);
}

#[tokio::test]
async fn a_first_message_that_failed_makes_no_second_channel() {
    let (fake, slack) = a_slack().await;
    let made = slack.incident_channel(NAME, Instant::now() + WITHIN).await.unwrap();
    fake.next(Trouble::Status(503));
    assert!(slack.send(&card(), &views::acting(), WITHIN).await.is_err());
    let posted = place(slack.send(&card(), &views::acting(), WITHIN).await);
    assert_eq!((posted.channel, names(&fake).len()), (made, 1));
}

#[tokio::test]
async fn who_may_not_make_channels_is_told_so_for_good() {
    let (fake, slack) = a_slack().await;
    for error in ["restricted_action", "missing_scope", "user_is_restricted"] {
        fake.next(Trouble::Error(error));
        let told = slack.send(&card(), &views::acting(), WITHIN).await;
        assert_eq!(told, Ok(Told::Failed { reason: error.to_owned() }));
    }
    fake.next(Trouble::Error("token_revoked"));
    assert!(slack.send(&card(), &views::acting(), WITHIN).await.is_err(), "a new token may");
    let update = letter(Slot::Update, 3, note("It fires still.", &[]), None);
    let told = slack.send(&update, &views::acting(), WITHIN).await;
    assert_eq!(told, Ok(Told::Failed { reason: "no_channel".to_owned() }));
}

#[tokio::test]
async fn each_update_is_a_message_of_its_own_and_none_is_sent_twice() {
    let (fake, slack) = a_slack().await;
    let posted = place(slack.send(&card(), &views::acting(), WITHIN).await);
    let update = |want| letter(Slot::Update, want, note("It fires still.", &[]), Some(posted.clone()));
    place(slack.send(&update(11), &views::acting(), WITHIN).await);
    fake.next(Trouble::DoneBut("fatal_error"));
    assert!(slack.send(&update(12), &views::acting(), WITHIN).await.is_err());
    place(slack.send(&update(12), &views::acting(), WITHIN).await);
    place(slack.send(&update(13), &views::acting(), WITHIN).await);
    let kept = fake.kept();
    let updates: Vec<_> = kept.messages.iter().skip(1).collect();
    assert_eq!(updates.len(), 3);
    assert!(updates.iter().all(|it| it.body["channel"] == "C0INCIDENT1042" && it.body["thread_ts"].is_null()));
    assert!(updates.iter().all(|it| it.body["channel"] != CHANNEL));
}
