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
        observation::{Facts, Outcome},
        plan::{Effect, Plan, Proposal},
        target::Object,
        time::Micros,
    },
    peer::postgres::{
        Databases, Line, Problem,
        sessions::{AllKilled, Filter, Session},
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
    /// What the server had counted before, to tell those that we ended from those that left.
    #[serde(default)]
    killed: AllKilled,
}

/// A plan, read back.
struct Sealed {
    sessions: Vec<Session>,
    filter: Filter,
    killed: AllKilled,
}

impl Sealed {
    fn of(proposal: &Proposal) -> Result<Sealed, String> {
        let listed = Listed::deserialize(&proposal.from).map_err(|error| format!("the plan's sessions: {error}"))?;
        let precondition = Precondition::deserialize(&proposal.precondition)
            .map_err(|error| format!("the plan's precondition: {error}"))?;
        let Precondition { filter, killed, .. } = precondition;
        Ok(Sealed { sessions: listed.sessions, filter, killed })
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

/// `killed`: as counted now. `to`: what the plan leaves, for the seal.
fn proposal(
    line: &Line,
    sessions: Vec<Session>,
    filter: Filter,
    killed: AllKilled,
    to: Value,
    summary: String,
) -> Proposal {
    let uid = line.server.uid();
    Proposal {
        uid: uid.clone(),
        generation: 0,
        from: json!(Listed { sessions }),
        to,
        undo: Value::Null,
        precondition: json!(Precondition { uid, filter, killed }),
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

/// Of sessions that are gone: how many were ended since `before`, as far as the server's own count tells. None: it does not.
/// What others ended meanwhile is in the count too, so it is never more than are gone.
fn ended_of(gone: &[Session], before: &AllKilled, after: &AllKilled) -> Option<Counted> {
    let mut by_database: BTreeMap<&str, u32> = BTreeMap::new();
    for session in gone {
        *by_database.entry(&session.database).or_default() += 1;
    }
    let mut counted = Counted { ended: 0, others: false };
    for (database, gone) in by_database {
        let (before, after) = (before.get(database)?, after.get(database)?);
        let rose = after.count.checked_sub(before.count).filter(|_| before.since == after.since);
        let rose = u32::try_from(rose?).ok()?;
        counted.ended += rose.min(gone);
        counted.others |= rose > gone;
    }
    Some(counted)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counted {
    ended: u32,
    /// More were ended than are gone of ours: whose the ended ones are is not known.
    others: bool,
}

fn gone(of: &[Session], left: &[Session]) -> Vec<Session> {
    let is_left =
        |one: &Session| left.iter().any(|left| left.pid == one.pid && left.backend_start == one.backend_start);
    of.iter().filter(|one| !is_left(one)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::postgres::sessions::Killed;

    fn session(pid: i32, database: &str) -> Session {
        Session {
            pid,
            backend_start: Micros(1),
            since: Micros(1),
            state: "idle".to_owned(),
            user: "app".to_owned(),
            database: database.to_owned(),
            application: String::new(),
        }
    }

    fn killed(counts: &[(&str, i64, i64)]) -> AllKilled {
        let one = |(name, count, since): &(&str, i64, i64)| {
            ((*name).to_owned(), Killed { count: *count, since: Some(Micros(*since)) })
        };
        counts.iter().map(one).collect()
    }

    #[test]
    fn what_the_server_did_not_count_was_not_ended() {
        let gone = [session(1, "a"), session(2, "a"), session(3, "b")];
        let before = killed(&[("a", 5, 0), ("b", 0, 0)]);
        let ended = |after: &[(&str, i64, i64)]| ended_of(&gone, &before, &killed(after));
        assert_eq!(ended(&[("a", 7, 0), ("b", 1, 0)]), Some(Counted { ended: 3, others: false }));
        assert_eq!(ended(&[("a", 6, 0), ("b", 0, 0)]), Some(Counted { ended: 1, others: false }));
        assert_eq!(ended(&[("a", 5, 0), ("b", 0, 0)]), Some(Counted { ended: 0, others: false }));
        assert_eq!(ended(&[("a", 9, 0), ("b", 1, 0)]), Some(Counted { ended: 3, others: true }));
        assert_eq!(ended(&[("a", 7, 9), ("b", 1, 0)]), None, "its statistics were reset");
        assert_eq!(ended(&[("a", 4, 0), ("b", 1, 0)]), None);
        assert_eq!(ended(&[("a", 7, 0)]), None, "a database is gone");
        assert_eq!(ended_of(&gone, &AllKilled::new(), &before), None, "a plan of an earlier version");
    }
}
