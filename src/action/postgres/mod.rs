//! Actions on databases: ending idle sessions, cancelling slow queries.
//!
//! A plan lists the sessions, each with what names it for ever (pid and beginning) and with what was seen of it; every
//! write re-checks both. So a plan can be done twice and ends nobody but those that it lists. The connection, and the SQL
//! with what it never touches, are in [`crate::peer::postgres`].

pub mod cancel_slow;
pub mod kill_idle;
mod with;

use super::Registry;
use crate::{
    model::{
        observation::{Ended, Facts, Outcome},
        plan::{Effect, Plan, Proposal},
        target::Object,
        time::Micros,
    },
    peer::postgres::{
        Databases, Line, Problem,
        sessions::{Filter, Session},
    },
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;

const NAMES_A_DATABASE: &str = "needs a target with `postgres`";
/// Nothing more is begun when less than this is left: what was begun must still be looked at.
const LAST_LOOK: Duration = Duration::from_secs(4);
/// A session that is told to end, and one whose query is told to, does so at once unless something is wrong with it.
const GONE_WITHIN: Duration = Duration::from_secs(3);
/// How often it is looked whether what was told to end has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Users that a summary counts one by one.
const USERS_SHOWN: usize = 3;

/// Every action on databases.
pub fn register(registry: &mut Registry, databases: &Databases) {
    registry.add(Arc::new(kill_idle::KillIdle::new(databases.clone())));
    registry.add(Arc::new(cancel_slow::CancelSlow::new(databases.clone())));
}

/// A plan's `from`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Listed {
    sessions: Vec<Session>,
}

/// Travels with the write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Precondition {
    uid: String,
    filter: Filter,
}

/// A plan, read back.
struct Sealed {
    sessions: Vec<Session>,
    filter: Filter,
}

impl Sealed {
    fn of(proposal: &Proposal) -> Result<Sealed, String> {
        let listed = Listed::deserialize(&proposal.from).map_err(|error| format!("the plan's sessions: {error}"))?;
        let precondition = Precondition::deserialize(&proposal.precondition)
            .map_err(|error| format!("the plan's precondition: {error}"))?;
        Ok(Sealed { sessions: listed.sessions, filter: precondition.filter })
    }
}

fn deadline(within: Duration) -> Instant {
    Instant::now() + within
}

/// The connection to a target's server.
async fn line(databases: &Databases, target: &Object, until: Instant) -> Result<Line, String> {
    let Object::Database { name } = target else { return Err("the target is not a database".to_owned()) };
    Ok(databases.get(name)?.line(until).await?)
}

fn facts(line: &Line, now: Micros) -> Facts {
    Facts { uid: line.server.uid(), ..Facts::of_nothing(now) }
}

/// `what` it is that was started anew since the plan, where it was: its sessions are gone with it.
fn started_anew(line: &Line, plan_uid: &str) -> Option<String> {
    (line.server.uid() != plan_uid)
        .then(|| "the server was started anew since, and its sessions ended with it".to_owned())
}

/// `to`: what the plan leaves, for the seal.
fn proposal(line: &Line, sessions: Vec<Session>, filter: Filter, to: Value, summary: String) -> Proposal {
    let uid = line.server.uid();
    Proposal {
        uid: uid.clone(),
        generation: 0,
        from: json!(Listed { sessions }),
        to,
        undo: Value::Null,
        precondition: json!(Precondition { uid, filter }),
        effect: Effect {
            replicas: None,
            min_ready_after: None,
            touches: vec!["sessions".to_owned()],
            destroys: true,
            runs: None,
        },
        summary,
        undo_summary: None,
    }
}

/// `claims_app 10, report 2`: the users with the most first.
fn by_user(sessions: &[Session]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for session in sessions {
        *counts.entry(&session.user).or_default() += 1;
    }
    let users = counts.len();
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(user, count)| (std::cmp::Reverse(*count), *user));
    let shown: Vec<String> = counts
        .iter()
        .take(USERS_SHOWN)
        .map(|(user, count)| {
            let user: String = user.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            format!("{user} {count}")
        })
        .collect();
    let more = users.saturating_sub(USERS_SHOWN);
    let more = if more > 0 { format!(", {more} more users") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// How long ago the first of them began to be as it is, to the second.
fn oldest(sessions: &[Session], now: Micros) -> crate::model::time::Span {
    let since = sessions.iter().map(|session| session.since).min().unwrap_or(now);
    let ago = (now - since).0.max(0);
    crate::model::time::Span(ago - ago % 1_000_000)
}

fn count(sessions: &[Session]) -> u32 {
    u32::try_from(sessions.len()).unwrap_or(u32::MAX)
}

fn counted(count: u32, what: &str, many: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {many}") }
}

/// What telling sessions one by one came to.
#[derive(Default)]
struct Told {
    /// They took the signal.
    told: Vec<Session>,
    /// They had changed since, and were left alone.
    changed: u32,
    /// Why no more were told. Nothing was done to the one that it came of.
    stopped: Option<String>,
}

impl Told {
    /// None was told: what that means for the step.
    fn nothing(self, changed: &str) -> Outcome {
        match self.stopped {
            Some(why) => Outcome::NotApplied { why, changed_since: false },
            None => Outcome::NotApplied { why: changed.to_owned(), changed_since: true },
        }
    }

    /// Why the rest of the plan was left alone. `changed`: the words for those that were not as they had been seen.
    fn rest(&self, changed: &str, still_there: u32) -> Option<String> {
        let mut rest = Vec::new();
        if self.changed > 0 {
            rest.push(format!("{} {changed}", self.changed));
        }
        if still_there > 0 {
            rest.push(format!("{still_there} are still there"));
        }
        rest.extend(self.stopped.iter().map(|why| format!("the rest was not tried: {why}")));
        (!rest.is_empty()).then(|| rest.join("; "))
    }

    /// The answer to one of them was lost: whether it took the signal is not known.
    fn lost(&self, planned: u32, problem: &Problem) -> Outcome {
        let why = format!("{} of {planned} were told to end, then: {}", self.told.len(), problem.says);
        Outcome::Unknown { why }
    }
}

/// Before a write: the line, if it is still the server of the plan.
async fn line_to_write(databases: &Databases, plan: &Plan, until: Instant) -> Result<Line, Outcome> {
    let not_applied = |why, changed_since| Outcome::NotApplied { why, changed_since };
    let line = line(databases, &plan.target.object, until).await.map_err(|why| not_applied(why, false))?;
    match started_anew(&line, &plan.proposal.uid) {
        Some(why) => Err(not_applied(why, true)),
        None => Ok(line),
    }
}

/// After a lost answer: what became of the plan's sessions or queries, of which `left` are as they were.
fn found(planned: u32, left: u32, ended: impl FnOnce(u32) -> Ended, what: &str) -> Outcome {
    match planned.saturating_sub(left) {
        0 => Outcome::NotApplied { why: format!("all of {planned} {what}"), changed_since: false },
        gone => Outcome::Ended { ended: ended(gone) },
    }
}
