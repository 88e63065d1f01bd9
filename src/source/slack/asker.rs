//! Whether whoever asks is somebody: of our workspace, through our app, a full member; and which groups they belong to.

use super::payload::From;
use crate::{
    engine::Clock,
    model::{person::SlackPerson, time::Micros},
    peer::slack::{
        client::Failure,
        directory::{Directory, Unknown},
    },
    telemetry::text::{plain, shortened},
};
use std::sync::Arc;
use tokio::time::Instant;

const LONGEST_NAME_CHARS: usize = 40;

/// Who asks.
#[derive(Debug, Clone)]
pub struct Asker {
    /// As the journal names them: `Ana (U024BE7LH)`.
    pub name: String,
    pub person: SlackPerson,
}

/// Why nobody asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nobody {
    /// To be told and journalled.
    pub why: String,
    /// Slack could not be asked: it may well be somebody.
    pub in_doubt: bool,
}

/// Finds out who somebody is. `listed`: the users and groups whose membership matters for what they ask.
pub async fn asker(
    directory: &Directory,
    clock: &Arc<dyn Clock>,
    from: &From,
    listed: &[String],
    once: &str,
    deadline: Instant,
) -> Result<Asker, Nobody> {
    let now: Micros = clock.now();
    let nobody = |why: String| Nobody { why, in_doubt: false };
    let in_doubt = |failure: Failure| Nobody { why: not_asked(failure), in_doubt: true };
    let home = directory.home(deadline).await.map_err(in_doubt)?;
    if from.team != home.team {
        return Err(nobody("it came from another workspace".to_owned()));
    }
    if home.app.as_ref().is_some_and(|app| *app != from.app) {
        return Err(nobody("it came through another app".to_owned()));
    }
    let member = directory.member(&from.user, now, deadline).await.map_err(|unknown| match unknown {
        Unknown::NotAsked(failure) => in_doubt(failure),
        Unknown::Stranger(why) => nobody(why.to_owned()),
    })?;
    // Whoever is listed by name needs no group.
    let by_name = listed.contains(&member.user);
    let (groups, asked_at) = if by_name || listed.is_empty() {
        (Vec::new(), now)
    } else {
        let asked = directory.groups_of(&member.user, listed, now, deadline).await;
        asked.map_err(in_doubt)?
    };
    let name = format!("{} ({})", shortened(&plain(&member.name), LONGEST_NAME_CHARS), member.user);
    Ok(Asker { name, person: SlackPerson { user: member.user, groups, asked_at, once: once.to_owned() } })
}

/// Somebody about whom Slack could not be asked: their id is all that is known.
#[must_use]
pub fn unproven(from: &From, now: Micros, once: &str) -> Asker {
    let user = shortened(&plain(&from.user), LONGEST_NAME_CHARS);
    let person = SlackPerson { user, groups: Vec::new(), asked_at: now, once: once.to_owned() };
    Asker { name: unproven_name(&from.user), person }
}

/// What the journal calls somebody of whom only an id was sent.
#[must_use]
pub fn unproven_name(user: &str) -> String {
    format!("slack:{}", shortened(&plain(user), LONGEST_NAME_CHARS))
}

fn not_asked(failure: Failure) -> String {
    let reason = match failure {
        Failure::Transient { reason, .. } | Failure::Permanent { reason } => reason,
        Failure::Gone => "message_not_found",
        Failure::NoThread => "thread_not_found",
        Failure::NameTaken => "name_taken",
    };
    format!("Slack could not be asked who you are ({reason}): try again, or use the command line")
}
