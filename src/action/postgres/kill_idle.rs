//! `postgres/kill_idle`: ends sessions that do nothing, the ones that have done so longest first.
//!
//! `with: {idle_for, idle_in_transaction_for, database, user, application, client, max, keep, allow}`. Each session is told
//! to end by a statement of its own that checks again that it is as the plan saw it: one that was used since stays. How
//! many really ended is looked at afterwards. There is nothing to undo: a client connects again.

use super::{
    Counted, Sealed, Told, by_user, count, counted, deadline, ended_of, facts, gone, line, line_to_write, oldest,
    proposal, started_anew, with::With,
};
use crate::{
    action::{Action, Boxed, Observed},
    model::{
        observation::{DryRun, Ended, Facts, Holds, Outcome, Proposed, TargetReading},
        plan::{Plan, Proposal},
        rung::{Bounds, Rung},
        target::Object,
        time::{Micros, Span},
    },
    peer::postgres::{
        Databases, Line, Problem,
        sessions::{AllKilled, Filter, IdleFor, Session},
    },
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const NAME: &str = "postgres/kill_idle";
/// Version 14 writes its counts down twice a second.
const COUNTED_WITHIN: Duration = Duration::from_millis(1500);
const NOT_COUNTED: &str = "the server's count of ended sessions does not tell how many were ended";
const USED_SINCE: &str = "were used since, or are too few to end";

pub struct KillIdle {
    databases: Databases,
}

/// `with`, as used.
struct Wanted {
    filter: Filter,
    idle_for: IdleFor,
    max: u32,
    keep: u32,
}

/// What is wanted, and all that is wrong with it.
fn read(with: &Value) -> (Wanted, With<'_>) {
    let mut with = With::new(NAME, with, &["idle_for", "idle_in_transaction_for", "max", "keep", "allow"]);
    let mut filter = with.filter();
    filter.never_users = with.names("allow").unwrap_or_default();
    filter.never_applications = filter.never_users.clone();
    let unwell = with.problems.len();
    let idle_for = IdleFor { idle: with.span("idle_for"), in_transaction: with.span("idle_in_transaction_for") };
    if idle_for.idle.is_none() && idle_for.in_transaction.is_none() && with.problems.len() == unwell {
        with.problems.push(format!("{NAME} needs `with: {{idle_for: …}}`, or `idle_in_transaction_for`, or both"));
    }
    (Wanted { filter, idle_for, max: with.max(), keep: with.keep() }, with)
}

impl KillIdle {
    #[must_use]
    pub fn new(databases: Databases) -> KillIdle {
        KillIdle { databases }
    }

    async fn propose(&self, rung: &Rung, now: Micros, within: Duration) -> Result<Observed, String> {
        let (wanted, told) = read(&rung.with);
        if let Some(problem) = told.problems.into_iter().next() {
            return Err(problem);
        }
        let mut line = line(&self.databases, &rung.target.object, deadline(within)).await?;
        line.may_end_idle()?;
        let (sessions, all) = line.idle(&wanted.filter, wanted.idle_for, wanted.max).await?;
        let killed = line.killed(&sessions).await?;
        let facts = facts(&line, now);
        Ok(Observed { facts, proposal: propose(&line, wanted, sessions, killed, all, now) })
    }

    async fn still_holds(&self, plan: &Plan, now: Micros, within: Duration) -> Result<(Facts, Holds), String> {
        let sealed = Sealed::of(&plan.proposal)?;
        let mut line = line(&self.databases, &plan.target.object, deadline(within)).await?;
        line.may_end_idle()?;
        let facts = facts(&line, now);
        if let Some(difference) = started_anew(&line, &plan.proposal.uid) {
            return Ok((facts, Holds::Changed { difference }));
        }
        let left = line.still_idle(&sealed.sessions, &sealed.filter).await?;
        // Fewer are no harm: each was approved.
        let holds = match left.is_empty() {
            true => Holds::Changed { difference: none_left(&sealed.sessions) },
            false => Holds::Yes,
        };
        Ok((facts, holds))
    }

    async fn would(&self, target: &Object, proposal: &Proposal, within: Duration) -> Result<DryRun, String> {
        let sealed = Sealed::of(proposal)?;
        let mut line = line(&self.databases, target, deadline(within)).await?;
        line.may_end_idle()?;
        if let Some(why) = started_anew(&line, &proposal.uid) {
            return Ok(DryRun::Rejected { why });
        }
        let left = line.still_idle(&sealed.sessions, &sealed.filter).await?;
        Ok(if left.is_empty() { DryRun::Rejected { why: none_left(&sealed.sessions) } } else { DryRun::Accepted })
    }

    async fn end(&self, plan: &Plan, within: Duration) -> Outcome {
        let (sealed, keep) = match Sealed::of(&plan.proposal).and_then(|sealed| Ok((sealed, keep_of(plan)?))) {
            Ok(read) => read,
            Err(why) => return Outcome::NotApplied { why, changed_since: false },
        };
        let mut line = match line_to_write(&self.databases, plan, deadline(within)).await {
            Ok(line) => line,
            Err(outcome) => return outcome,
        };
        if let Err(problem) = line.may_end_idle() {
            return Outcome::NotApplied { why: problem.says, changed_since: false };
        }
        let planned = count(&sealed.sessions);
        // Counted right before, so that what others ended since the plan is not in it.
        let before = match line.killed(&sealed.sessions).await {
            Ok(before) => before,
            Err(problem) => return Outcome::NotApplied { why: problem.says, changed_since: false },
        };
        let told = match tell(&mut line, &sealed, keep).await {
            Ok(told) => told,
            Err((told, problem)) => return told.lost(planned, &problem),
        };
        if told.told.is_empty() {
            return told.nothing(&none_left(&sealed.sessions));
        }
        let (left, counted) = match until_gone(&mut line, &told.told, &before).await {
            Ok(seen) => seen,
            Err(problem) => return told.lost(planned, &problem),
        };
        let gone = count(&told.told).saturating_sub(left);
        let Some(Counted { ended: sessions @ 1.., .. }) = counted else {
            let there = format!("{left} are still there");
            let why = format!("{} sessions were told to end: {there}, {gone} are gone, and {NOT_COUNTED}", gone + left);
            return Outcome::Unknown { why };
        };
        let rest = with_left(told.rest(USED_SINCE, left), gone - sessions);
        Outcome::Ended { ended: Ended { planned, sessions, queries: 0, rest } }
    }

    async fn was_applied(&self, plan: &Plan, within: Duration) -> Result<Outcome, String> {
        let sealed = Sealed::of(&plan.proposal)?;
        let mut line = line(&self.databases, &plan.target.object, deadline(within)).await?;
        line.must_see()?;
        if let Some(why) = started_anew(&line, &plan.proposal.uid) {
            return Ok(Outcome::Unknown { why });
        }
        let left = line.still_there(&sealed.sessions).await?;
        let gone = gone(&sealed.sessions, &left);
        let planned = count(&sealed.sessions);
        if line.server.counts_late() {
            sleep_until(Instant::now() + COUNTED_WITHIN).await;
        }
        let counted = ended_of(&gone, &sealed.killed, &line.killed(&sealed.sessions).await?);
        Ok(found(planned, count(&gone), counted))
    }

    async fn read_target(&self, plan: &Plan, within: Duration) -> Result<TargetReading, String> {
        let mut line = line(&self.databases, &plan.target.object, deadline(within)).await?;
        Ok(has_room(&mut line).await?)
    }
}

/// The database answers, and lets ordinary clients in.
pub(super) async fn has_room(line: &mut Line) -> Result<TargetReading, Problem> {
    let connections = line.connections().await?;
    let says = connections.says();
    Ok(if connections.used < connections.usable() {
        TargetReading::Well { says }
    } else {
        TargetReading::NotYet { says: format!("it is full: {says}") }
    })
}

/// After a lost answer: what became of the plan's sessions, of which so many are gone.
fn found(planned: u32, gone: u32, counted: Option<Counted>) -> Outcome {
    let left = planned.saturating_sub(gone);
    match counted {
        _ if gone == 0 => {
            Outcome::NotApplied { why: format!("all of {planned} sessions are still there"), changed_since: false }
        }
        Some(Counted { ended: 0, .. }) => {
            let why = format!("{gone} of {planned} sessions left by themselves: nobody ended one");
            Outcome::NotApplied { why, changed_since: left == 0 }
        }
        Some(Counted { ended: sessions, others: false }) => {
            let rest = with_left((left > 0).then(|| format!("{left} are still there")), gone - sessions);
            Outcome::Ended { ended: Ended { planned, sessions, queries: 0, rest } }
        }
        Some(Counted { others: true, .. }) => {
            let why = format!(
                "{gone} of {planned} sessions are gone, and others were ended too: whose doing it was is not known"
            );
            Outcome::Unknown { why }
        }
        None => Outcome::Unknown { why: format!("{gone} of {planned} sessions are gone, and {NOT_COUNTED}") },
    }
}

/// With those that were gone before they were ended.
fn with_left(rest: Option<String>, by_themselves: u32) -> Option<String> {
    let left = (by_themselves > 0).then(|| format!("{by_themselves} left by themselves"));
    let words: Vec<String> = rest.into_iter().chain(left).collect();
    (!words.is_empty()).then(|| words.join("; "))
}

fn none_left(sessions: &[Session]) -> String {
    format!("none of {} is idle as it was", counted(count(sessions), "session", "sessions"))
}

fn propose(
    line: &Line,
    wanted: Wanted,
    mut sessions: Vec<Session>,
    killed: AllKilled,
    all: i64,
    now: Micros,
) -> Proposed {
    let Wanted { filter, idle_for, keep, .. } = wanted;
    let limits: Vec<String> = [("idle", idle_for.idle), ("idle in a transaction", idle_for.in_transaction)]
        .into_iter()
        .filter_map(|(words, limit)| limit.map(|limit| format!("{words} for {}", Span(limit))))
        .collect();
    let limits = limits.join(", or ");
    if sessions.is_empty() {
        return Proposed::Refused { why: format!("no session that may be ended is {limits}") };
    }
    let spare = all.saturating_sub(i64::from(keep));
    sessions.truncate(usize::try_from(spare).unwrap_or(0));
    if sessions.is_empty() {
        return Proposed::Refused { why: format!("there are {all} sessions, and {keep} are kept") };
    }
    let summary = format!(
        "end {} {limits} ({}), the longest for {}",
        counted(count(&sessions), "session", "sessions"),
        by_user(&sessions),
        oldest(&sessions, now)
    );
    let to = json!({"sessions": [], "keep": keep});
    Proposed::Made(Box::new(proposal(line, sessions, filter, killed, to, summary)))
}

fn keep_of(plan: &Plan) -> Result<u32, String> {
    let keep = plan.proposal.to.get("keep").and_then(Value::as_u64).and_then(|keep| u32::try_from(keep).ok());
    keep.ok_or_else(|| "the plan does not say how many sessions are kept".to_owned())
}

/// Tells them to end, one by one. An error is a lost answer.
async fn tell(line: &mut Line, sealed: &Sealed, keep: u32) -> Result<Told, (Told, Problem)> {
    let mut told = Told::default();
    for session in &sealed.sessions {
        if Instant::now() + super::LAST_LOOK > line.until() {
            told.stopped = Some("its time was over".to_owned());
            break;
        }
        match line.end_idle(session, &sealed.filter, keep, &told.told).await {
            Ok(true) => told.told.push(session.clone()),
            Ok(false) => told.changed += 1,
            Err(problem) if problem.is_certainly_not_done() => {
                told.stopped = Some(problem.says);
                break;
            }
            Err(problem) => return Err((told, problem)),
        }
    }
    Ok(told)
}

/// Waits until those that were told have ended and are counted, while there is time: how many are still there, and of the
/// others, how many were ended.
async fn until_gone(line: &mut Line, told: &[Session], before: &AllKilled) -> Result<(u32, Option<Counted>), Problem> {
    let until = Instant::now() + super::GONE_WITHIN;
    loop {
        let left = line.still_there(told).await?;
        let gone = gone(told, &left);
        let counted = ended_of(&gone, before, &line.killed(told).await?);
        let all = left.is_empty() && counted.is_none_or(|counted| counted.ended == count(&gone));
        let next = Instant::now() + super::LOOK_AGAIN;
        if all || next >= until {
            return Ok((count(&left), counted));
        }
        sleep_until(next).await;
    }
}

impl Action for KillIdle {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, with: &Value, target: &Object, _: Option<Bounds>) -> Vec<String> {
        let (_, mut with) = read(with);
        with.target(NAME, target);
        with.problems
    }

    fn may_destroy(&self, _: &Value) -> bool {
        true
    }

    fn has_undo(&self) -> bool {
        false
    }

    fn observe<'a>(
        &'a self,
        rung: &'a Rung,
        _: &'a [String],
        now: Micros,
        within: Duration,
    ) -> Boxed<'a, Result<Observed, String>> {
        Box::pin(self.propose(rung, now, within))
    }

    fn observe_undo<'a>(
        &'a self,
        plan: &'a Plan,
        _: Option<&'a Value>,
        now: Micros,
        within: Duration,
    ) -> Boxed<'a, Result<Observed, String>> {
        Box::pin(async move {
            let line = line(&self.databases, &plan.target.object, deadline(within)).await?;
            let why = "a session that was ended is not put back: its client connects again".to_owned();
            Ok(Observed { facts: facts(&line, now), proposal: Proposed::Refused { why } })
        })
    }

    fn holds<'a>(&'a self, plan: &'a Plan, now: Micros, within: Duration) -> Boxed<'a, Result<(Facts, Holds), String>> {
        Box::pin(self.still_holds(plan, now, within))
    }

    fn dry_run<'a>(
        &'a self,
        target: &'a Object,
        proposal: &'a Proposal,
        within: Duration,
    ) -> Boxed<'a, Result<DryRun, String>> {
        Box::pin(self.would(target, proposal, within))
    }

    fn apply<'a>(&'a self, plan: &'a Plan, within: Duration) -> Boxed<'a, Outcome> {
        Box::pin(self.end(plan, within))
    }

    fn read_back<'a>(&'a self, plan: &'a Plan, within: Duration) -> Boxed<'a, Outcome> {
        Box::pin(async move { self.was_applied(plan, within).await.unwrap_or_else(|why| Outcome::Unknown { why }) })
    }

    fn measure<'a>(&'a self, plan: &'a Plan, _: &'a Facts, within: Duration) -> Boxed<'a, TargetReading> {
        Box::pin(async move {
            let reading = self.read_target(plan, within).await;
            reading.unwrap_or_else(|problem| TargetReading::Unread { problem })
        })
    }
}
