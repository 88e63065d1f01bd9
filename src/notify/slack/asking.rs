//! Whether Slack will take what it is sent, asked beforehand, without a message: the token, and each channel.
//!
//! A channel's id says it with `conversations.info`, or with its history where that may not be read. A name says it only of a
//! public channel: Slack shows no private one to `channels:read`.

use super::Slack;
use crate::peer::slack::{
    client::{Call, Failure},
    errors::is_wrong_channel,
    standing::NOT_LISTED,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tokio::time::Instant;

/// What there is to say of a channel.
enum Found {
    Well,
    Wrong(&'static str),
    /// Slack does not say.
    Unknown,
}

impl Slack {
    /// Others are not written to any more.
    pub fn writes_only_to(&self, channels: &BTreeSet<String>) {
        if let Some(standing) = &self.standing {
            standing.forgets_others(channels);
        }
    }

    /// `false`: something is refused, or nobody answered.
    pub async fn ask(&self, channels: &BTreeSet<String>, deadline: Instant) -> bool {
        let Some(standing) = &self.standing else { return true };
        match self.client.write(Call::Test, "", &json!({}), deadline).await {
            Ok(_) => standing.takes(None),
            Err(Failure::Permanent { reason }) => {
                standing.refuses("", reason);
                return false;
            }
            // Slack is not there: that is no word about the token, and letters say it too.
            Err(failure) => {
                tracing::debug!(?failure, "Slack was not asked about the bot token");
                return false;
            }
        }
        let mut all = true;
        // Where a message was taken, nothing has to be asked.
        for channel in channels.iter().filter(|channel| !standing.has_taken(channel)) {
            match self.wrong_with(channel, deadline).await {
                Ok(Found::Well) => standing.finds(channel),
                Ok(Found::Unknown) => {}
                Ok(Found::Wrong(reason)) => {
                    standing.refuses(channel, reason);
                    all = false;
                }
                Err(failure) => {
                    tracing::debug!(?failure, channel, "Slack was not asked about a channel");
                    all = false;
                }
            }
        }
        all
    }

    async fn wrong_with(&self, channel: &str, deadline: Instant) -> Result<Found, Failure> {
        if let Some(id) = self.channel_id(channel) {
            return match self.client.read(Call::Info, &id, &[("channel", &id)], deadline).await {
                Ok(answer) => Ok(answer.get("channel").map_or(Found::Unknown, found)),
                Err(Failure::Permanent { .. }) => self.wrong_with_history(&id, deadline).await,
                Err(failure) => Err(failure),
            };
        }
        // Somebody's own messages.
        let Some(name) = channel.strip_prefix('#') else { return Ok(Found::Unknown) };
        match self.search(name, deadline).await {
            Ok(Some(listed)) => {
                if let Some(id) = listed.get("id").and_then(Value::as_str) {
                    self.learn(channel, id);
                }
                Ok(found(&listed))
            }
            Ok(None) => Ok(Found::Wrong(NOT_LISTED)),
            // There are too many to look through, or it may not.
            Err(Failure::Transient { reason: "paced", .. } | Failure::Permanent { .. }) => Ok(Found::Unknown),
            Err(failure) => Err(failure),
        }
    }

    /// A private channel's history may be read where the channel itself may not be shown.
    async fn wrong_with_history(&self, id: &str, deadline: Instant) -> Result<Found, Failure> {
        match self.client.read(Call::History, id, &[("channel", id), ("limit", "1")], deadline).await {
            Err(Failure::Permanent { reason }) if is_wrong_channel(reason) => Ok(Found::Wrong(reason)),
            Err(failure @ Failure::Transient { .. }) => Err(failure),
            Err(_) => Ok(Found::Unknown),
            Ok(_) => Ok(Found::Well),
        }
    }
}

fn found(channel: &Value) -> Found {
    let is = |name: &str| channel.get(name).and_then(Value::as_bool);
    if is("is_archived") == Some(true) {
        return Found::Wrong("is_archived");
    }
    match is("is_member") {
        Some(false) => Found::Wrong("not_in_channel"),
        Some(true) | None => Found::Well,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        notify::slack::{
            tests::notifier,
            tests_support::fake::{CHANNEL, Fake, Trouble},
        },
        peer::slack::standing::Standing,
    };
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    struct Asked {
        slack: Slack,
        fake: Fake,
        said: Arc<Mutex<Vec<String>>>,
    }

    impl Asked {
        async fn begin() -> Asked {
            let fake = Fake::start().await;
            let said: Arc<Mutex<Vec<String>>> = Arc::default();
            let heard = Arc::clone(&said);
            let standing = Standing::new(move |lines, _| *heard.lock().unwrap() = lines);
            Asked { slack: notifier(&fake.url).watched_by(Arc::new(standing)), fake, said }
        }

        async fn ask(&self, channel: &str) -> (bool, Vec<String>) {
            let channels = [channel.to_owned()].into();
            let is_well = self.slack.ask(&channels, Instant::now() + Duration::from_secs(5)).await;
            self.fake.assert_nothing_wrong();
            assert!(self.fake.kept().messages.is_empty(), "nothing is written");
            (is_well, self.said.lock().unwrap().clone())
        }
    }

    #[tokio::test]
    async fn a_channel_that_takes_nothing_is_found_out_before_a_message_needs_it() {
        for (answer, begins) in [
            (
                r#"{"ok":true,"channel":{"is_archived":true,"is_member":true}}"#,
                "Slack's channel C0PRIVATE1 is archived",
            ),
            (
                r#"{"ok":true,"channel":{"is_archived":false,"is_member":false}}"#,
                "Slack refuses channel C0PRIVATE1 (not_in",
            ),
        ] {
            let asked = Asked::begin().await;
            asked.fake.next(Trouble::Body(r#"{"ok":true}"#));
            asked.fake.next(Trouble::Body(answer));
            let (is_well, said) = asked.ask("C0PRIVATE1").await;
            assert!(!is_well && said.len() == 1 && said[0].starts_with(begins), "{said:?}");
            // Somebody has set it right.
            assert_eq!(asked.ask(CHANNEL).await.1.len(), 1, "another channel says nothing of it");
            asked.fake.next(Trouble::Body(r#"{"ok":true}"#));
            asked.fake.next(Trouble::Body(r#"{"ok":true,"channel":{"is_member":true}}"#));
            assert_eq!(asked.ask("C0PRIVATE1").await, (true, vec![]));
        }
    }

    #[tokio::test]
    async fn what_was_wrong_with_a_channel_goes_with_the_channel_and_not_for_want_of_an_answer() {
        let asked = Asked::begin().await;
        asked.slack.standing.as_ref().unwrap().refuses("#private", "not_in_channel");
        asked.fake.kept().may_not_read = true;
        assert_eq!(asked.ask("#private").await.1.len(), 1, "Slack did not say that it is well");
        asked.slack.writes_only_to(&["#private".to_owned()].into());
        assert_eq!(asked.said.lock().unwrap().len(), 1);
        asked.slack.writes_only_to(&["#other".to_owned()].into());
        assert_eq!(asked.said.lock().unwrap().len(), 0);
    }

    #[tokio::test]
    async fn a_private_channel_that_may_not_be_shown_is_asked_for_its_history() {
        for (history, is_there) in [("missing_scope", true), ("channel_not_found", false), ("not_in_channel", false)] {
            let asked = Asked::begin().await;
            asked.fake.next(Trouble::Body(r#"{"ok":true}"#));
            asked.fake.next(Trouble::Error("channel_not_found"));
            asked.fake.next(Trouble::Error(history));
            assert_eq!(asked.ask("C0PRIVATE1").await.0, is_there, "{history}");
        }
        let asked = Asked::begin().await;
        asked.fake.next(Trouble::Body(r#"{"ok":true}"#));
        asked.fake.next(Trouble::Error("channel_not_found"));
        assert_eq!(asked.ask(CHANNEL).await, (true, vec![]), "its history is there");
    }

    #[tokio::test]
    async fn a_name_is_looked_for_among_the_public_channels_where_that_may_be() {
        let asked = Asked::begin().await;
        for name in ["one", "two", "security"] {
            asked.fake.kept().channels.push((
                name.to_owned(),
                format!("C0{}", name.to_uppercase()),
                "U0ADMIN".to_owned(),
            ));
        }
        assert_eq!(asked.ask("#security").await, (true, vec![]));
        let (is_well, said) = asked.ask("#secruity").await;
        assert!(!is_well && said[0].starts_with("Slack lists no public channel #secruity"), "{said:?}");
        asked.fake.kept().may_not_read = true;
        assert!(asked.ask("#unknown").await.0, "it may not look");
    }

    #[tokio::test]
    async fn where_a_message_was_taken_nothing_is_asked() {
        let asked = Asked::begin().await;
        asked.slack.standing.as_ref().unwrap().takes(Some("#private"));
        assert_eq!(asked.ask("#private").await, (true, vec![]));
        asked.slack.standing.as_ref().unwrap().refuses("#private", "is_archived");
        assert!(!asked.ask("#private").await.0);
    }

    #[tokio::test]
    async fn a_refused_token_is_one_sentence_and_no_answer_is_none() {
        let asked = Asked::begin().await;
        asked.fake.next(Trouble::Error("invalid_auth"));
        let (is_well, said) = asked.ask("#incidents").await;
        assert!(!is_well && said.len() == 1 && said[0].starts_with("Slack refuses the bot token"), "{said:?}");
        asked.fake.next(Trouble::Status(503));
        assert_eq!(asked.ask("#incidents").await, (false, said));
    }
}
