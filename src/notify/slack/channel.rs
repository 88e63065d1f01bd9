//! An incident's own channel: made once, by name.
//!
//! Slack has no idempotency key for that. A name that is taken may be ours, by a call whose answer was lost: whoever made
//! it says so, because no two incidents of ours are given one name. Somebody else's stays theirs, and ours gets a number.

use super::{Slack, lock, set_right};
use crate::peer::slack::client::{Call, Failure};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Names that are tried: `incident-…`, `incident-…-2` and so on.
const NAMES_TRIED: u32 = 9;
/// Pages of a thousand channels that are looked through.
const PAGES: usize = 20;

/// There are more channels than are looked through.
const TOO_MANY: &str = "too_many_channels";

/// Words about the token itself: once it is another one, the channel can be made.
const OF_THE_TOKEN: [&str; 6] =
    ["not_authed", "invalid_auth", "account_inactive", "token_revoked", "token_expired", "org_login_required"];

/// A channel that may not be made, or that people have archived, is not waited for: everything is told elsewhere too.
pub(super) fn given_up(failure: Failure) -> Failure {
    match failure {
        Failure::Permanent { reason } if OF_THE_TOKEN.contains(&reason) => set_right(reason),
        other => other,
    }
}

impl Slack {
    /// The id of the channel that was made under this name, or is made now.
    pub(super) async fn incident_channel(&self, name: &str, deadline: Instant) -> Result<String, Failure> {
        let key = format!("made:{name}");
        if let Some(id) = lock(&self.channel_ids).get(&key).cloned() {
            return Ok(id);
        }
        for number in 1..=NAMES_TRIED {
            let tried = if number == 1 { name.to_owned() } else { format!("{name}-{number}") };
            let body = json!({"name": tried, "is_private": false});
            let id = match self.client.write(Call::Create, "", &body, deadline).await {
                Ok(answer) => answer.pointer("/channel/id").and_then(Value::as_str).map(str::to_owned),
                Err(Failure::NameTaken) => self.own_channel(&tried, deadline).await?,
                Err(failure) => return Err(failure),
            };
            if let Some(id) = id {
                self.learn(&key, &id);
                return Ok(id);
            }
        }
        Err(Failure::Permanent { reason: "name_taken" })
    }

    /// The channel of this name, if our bot made it and it is not archived.
    async fn own_channel(&self, name: &str, deadline: Instant) -> Result<Option<String>, Failure> {
        let us = self.client.write(Call::Test, "", &json!({}), deadline).await?;
        let Some(us) = us.get("user_id").and_then(Value::as_str) else { return Ok(None) };
        let found = self.listed(name, deadline).await?;
        let is_ours = found.as_ref().and_then(|found| found.get("creator")?.as_str()) == Some(us);
        Ok(found.filter(|_| is_ours).and_then(|found| found.get("id")?.as_str().map(str::to_owned)))
    }

    /// The id of a channel as configured: of a name that Slack has not answered with one yet, if it is a public channel's.
    pub(super) async fn id_of(&self, channel: &str, deadline: Instant) -> Result<Option<String>, Failure> {
        if let Some(id) = self.channel_id(channel) {
            return Ok(Some(id));
        }
        let found = match self.listed(channel.trim_start_matches('#'), deadline).await {
            // Too many channels to look through in time: the message is rather posted twice than never.
            Err(Failure::Transient { reason: "paced", .. }) => None,
            listed => listed?,
        };
        let id = found.and_then(|found| found.get("id")?.as_str().map(str::to_owned));
        if let Some(id) = &id {
            self.learn(channel, id);
        }
        Ok(id)
    }

    /// The public channel of this name that is not archived, where the token may look.
    async fn listed(&self, name: &str, deadline: Instant) -> Result<Option<Value>, Failure> {
        match self.search(name, deadline).await {
            // It may not look.
            Err(failure) if !matches!(failure, Failure::Transient { .. }) => Ok(None),
            found => found,
        }
    }

    /// The same, with why it could not be looked for.
    pub(super) async fn search(&self, name: &str, deadline: Instant) -> Result<Option<Value>, Failure> {
        let mut cursor = String::new();
        for _ in 0..PAGES {
            let query = [
                ("types", "public_channel"),
                ("exclude_archived", "true"),
                ("limit", "1000"),
                ("cursor", cursor.as_str()),
            ];
            let answer = self.client.read(Call::Channels, "", &query, deadline).await?;
            let channels = answer.get("channels").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            if let Some(found) = channels.iter().find(|channel| channel.get("name").is_some_and(|it| it == name)) {
                return Ok(Some(found.clone()));
            }
            match answer.pointer("/response_metadata/next_cursor").and_then(Value::as_str) {
                Some(next) if !next.is_empty() => cursor = next.to_owned(),
                _ => return Ok(None),
            }
        }
        Err(Failure::Permanent { reason: TOO_MANY })
    }
}

#[cfg(test)]
#[path = "channel_tests.rs"]
mod tests;
