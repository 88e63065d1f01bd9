//! `postgres/cancel_slow`: cancels queries that run for too long, the oldest first.
//!
//! `with: {longer_than, database, user, application, client, max, terminate, never_users}`. A cancelled query fails and its
//! session lives on. With `terminate: true`, one that does not heed is ended with its session, if after a wait it is still
//! the same query. Texts of queries are in no plan: they hold what must not be in a journal.

use super::{
    Counted, Sealed, Told, by_user, count, counted, deadline, ended_of, facts, gone, kill_idle::has_room, line,
    line_to_write, oldest, proposal, started_anew, with::With,
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
        queries::Stop,
        sessions::{AllKilled, Filter, Session},
    },
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const NAME: &str = "postgres/cancel_slow";
const OVER_SINCE: &str = "were over since";

pub struct CancelSlow {
    databases: Databases,
}

/// `with`, as used.
struct Wanted {
    filter: Filter,
    longer_than: i64,
    max: u32,
    terminate: bool,
}

/// What is wanted, and all that is wrong with it.
fn read(with: &Value) -> (Wanted, With<'_>) {
    let mut with = With::new(NAME, with, &["longer_than", "max", "terminate", "never_users"]);
    let mut filter = with.filter();
    filter.never_users = with.names("never_users").unwrap_or_default();
    let unwell = with.problems.len();
    let longer_than = with.span("longer_than");
    if longer_than.is_none() && with.problems.len() == unwell {
        with.problems.push(format!("{NAME} needs `with: {{longer_than: …}}`"));
    }
    let (max, terminate) = (with.max(), with.flag("terminate"));
    (Wanted { filter, longer_than: longer_than.unwrap_or(i64::MAX), max, terminate }, with)
}

fn terminates(proposal: &Proposal) -> bool {
    proposal.to.get("terminate").and_then(Value::as_bool).unwrap_or(false)
}

impl CancelSlow {
    #[must_use]
    pub fn new(databases: Databases) -> CancelSlow {
        CancelSlow { databases }
    }

    async fn propose(&self, rung: &Rung, now: Micros, within: Duration) -> Result<Observed, String> {
        let (wanted, told) = read(&rung.with);
        if let Some(problem) = told.problems.into_iter().next() {
            return Err(problem);
        }
        let mut line = line(&self.databases, &rung.target.object, deadline(within)).await?;
        line.may_stop_queries(wanted.terminate)?;
        let queries = line.slow(&wanted.filter, wanted.longer_than, wanted.max).await?;
        let killed = line.killed(&queries).await?;
        let facts = facts(&line, now);
        Ok(Observed { facts, proposal: propose(&line, wanted, queries, killed, now) })
    }

    /// Those of a plan's queries that still run; Err: what is in the way.
    async fn left(
        &self,
        target: &Object,
        proposal: &Proposal,
        within: Duration,
    ) -> Result<(Line, Result<(), String>), String> {
        let sealed = Sealed::of(proposal)?;
        let mut line = line(&self.databases, target, deadline(within)).await?;
        line.may_stop_queries(terminates(proposal))?;
        if let Some(why) = started_anew(&line, &proposal.uid) {
            return Ok((line, Err(why)));
        }
        let left = line.still_running(&sealed.sessions, &sealed.filter).await?;
        let some = if left.is_empty() { Err(none_left(&sealed.sessions)) } else { Ok(()) };
        Ok((line, some))
    }

    async fn stop(&self, plan: &Plan, within: Duration) -> Outcome {
        let sealed = match Sealed::of(&plan.proposal) {
            Ok(sealed) => sealed,
            Err(why) => return Outcome::NotApplied { why, changed_since: false },
        };
        let mut line = match line_to_write(&self.databases, plan, deadline(within)).await {
            Ok(line) => line,
            Err(outcome) => return outcome,
        };
        let terminate = terminates(&plan.proposal);
        if let Err(problem) = line.may_stop_queries(terminate) {
            return Outcome::NotApplied { why: problem.says, changed_since: false };
        }
        let planned = count(&sealed.sessions);
        let cancelled = match tell(&mut line, &sealed.sessions, &sealed.filter, Stop::Cancel).await {
            Ok(told) => told,
            Err((told, problem)) => return told.lost(planned, &problem),
        };
        if cancelled.told.is_empty() {
            return cancelled.nothing(&none_left(&sealed.sessions));
        }
        match self.after_cancel(&mut line, &sealed, &cancelled, terminate).await {
            Ok((queries, sessions, left)) if queries + sessions == 0 => {
                Outcome::Unknown { why: format!("{left} queries were told to stop and still run") }
            }
            Ok((queries, sessions, left)) => {
                Outcome::Ended { ended: Ended { planned, sessions, queries, rest: cancelled.rest(OVER_SINCE, left) } }
            }
            Err(problem) => cancelled.lost(planned, &problem),
        }
    }

    /// Of those that were told: how many were cancelled, how many ended with their sessions, how many still run.
    async fn after_cancel(
        &self,
        line: &mut Line,
        sealed: &Sealed,
        cancelled: &Told,
        terminate: bool,
    ) -> Result<(u32, u32, u32), Problem> {
        let stubborn = until_over(line, &cancelled.told, &sealed.filter).await?;
        let queries = count(&cancelled.told).saturating_sub(count(&stubborn));
        if !terminate || stubborn.is_empty() {
            return Ok((queries, 0, count(&stubborn)));
        }
        let ended = match tell(line, &stubborn, &sealed.filter, Stop::End).await {
            Ok(told) => told,
            Err((_, problem)) => return Err(problem),
        };
        let left = count(&until_over(line, &ended.told, &sealed.filter).await?);
        // Those that were over by themselves in the meantime were cancelled after all.
        let queries = queries + ended.changed;
        let sessions = count(&ended.told).saturating_sub(left);
        Ok((queries, sessions, count(&cancelled.told).saturating_sub(queries + sessions)))
    }

    async fn was_applied(&self, plan: &Plan, within: Duration) -> Result<Outcome, String> {
        let sealed = Sealed::of(&plan.proposal)?;
        let mut line = line(&self.databases, &plan.target.object, deadline(within)).await?;
        line.must_see()?;
        if let Some(why) = started_anew(&line, &plan.proposal.uid) {
            return Ok(Outcome::Unknown { why });
        }
        let left = count(&line.still_running(&sealed.sessions, &sealed.filter).await?);
        let gone = gone(&sealed.sessions, &line.still_there(&sealed.sessions).await?);
        let counted = ended_of(&gone, &sealed.killed, &line.killed(&sealed.sessions).await?);
        Ok(found(count(&sealed.sessions), left, counted.filter(|_| terminates(&plan.proposal))))
    }

    async fn read_target(&self, plan: &Plan, within: Duration) -> Result<TargetReading, String> {
        let sealed = Sealed::of(&plan.proposal)?;
        let mut line = line(&self.databases, &plan.target.object, deadline(within)).await?;
        line.must_see()?;
        let left = count(&line.still_running(&sealed.sessions, &sealed.filter).await?);
        if left > 0 {
            let says = format!("{left} of the {} still run", counted(count(&sealed.sessions), "query", "queries"));
            return Ok(TargetReading::NotYet { says });
        }
        Ok(has_room(&mut line).await?)
    }
}

/// After a lost answer: what became of the plan's queries, of which `left` still run. Whether one that is over was cancelled
/// or was done the server counts nowhere; sessions that were ended it does.
fn found(planned: u32, left: u32, sessions: Option<Counted>) -> Outcome {
    let over = planned.saturating_sub(left);
    if over == 0 {
        return Outcome::NotApplied { why: format!("all of {planned} queries still run"), changed_since: false };
    }
    match sessions {
        Some(Counted { ended: sessions @ 1.., others: false }) => {
            let untold = over.saturating_sub(sessions);
            let still = (left > 0).then(|| format!("{left} still run"));
            let over = (untold > 0).then(|| format!("{untold} are over, cancelled or done"));
            let rest: Vec<String> = still.into_iter().chain(over).collect();
            let rest = (!rest.is_empty()).then(|| rest.join("; "));
            Outcome::Ended { ended: Ended { planned, sessions, queries: 0, rest } }
        }
        _ => {
            Outcome::Unknown { why: format!("{over} of {planned} queries are over: cancelled or done, nothing tells") }
        }
    }
}

fn none_left(queries: &[Session]) -> String {
    format!("none of {} still runs", counted(count(queries), "query", "queries"))
}

fn propose(line: &Line, wanted: Wanted, queries: Vec<Session>, killed: AllKilled, now: Micros) -> Proposed {
    let longer_than = Span(wanted.longer_than);
    if queries.is_empty() {
        return Proposed::Refused { why: format!("no query that may be cancelled runs for longer than {longer_than}") };
    }
    let or_end = if wanted.terminate { ", and end the sessions of those that go on" } else { "" };
    let summary = format!(
        "cancel {} that run for more than {longer_than} ({}), the longest for {}{or_end}",
        counted(count(&queries), "query", "queries"),
        by_user(&queries),
        oldest(&queries, now)
    );
    let to = json!({"sessions": [], "terminate": wanted.terminate});
    Proposed::Made(Box::new(proposal(line, queries, wanted.filter, killed, to, summary)))
}

/// Tells them to stop, one by one. An error is a lost answer.
async fn tell(line: &mut Line, queries: &[Session], filter: &Filter, stop: Stop) -> Result<Told, (Told, Problem)> {
    let mut told = Told::default();
    for query in queries {
        if Instant::now() + super::LAST_LOOK > line.until() {
            told.stopped = Some("its time was over".to_owned());
            break;
        }
        match line.stop_query(query, filter, stop).await {
            Ok(true) => told.told.push(query.clone()),
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

/// Waits until none of them runs, while there is time: those that still do.
async fn until_over(line: &mut Line, told: &[Session], filter: &Filter) -> Result<Vec<Session>, Problem> {
    let until = Instant::now() + super::GONE_WITHIN;
    loop {
        let left = line.still_running(told, filter).await?;
        let next = Instant::now() + super::LOOK_AGAIN;
        if left.is_empty() || next >= until {
            return Ok(left);
        }
        sleep_until(next).await;
    }
}

impl Action for CancelSlow {
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
            let why = "a query that was cancelled is not put back: its client asks again".to_owned();
            Ok(Observed { facts: facts(&line, now), proposal: Proposed::Refused { why } })
        })
    }

    fn holds<'a>(&'a self, plan: &'a Plan, now: Micros, within: Duration) -> Boxed<'a, Result<(Facts, Holds), String>> {
        Box::pin(async move {
            let (line, left) = self.left(&plan.target.object, &plan.proposal, within).await?;
            // Fewer are no harm: each was approved.
            let holds = left.map_or_else(|difference| Holds::Changed { difference }, |()| Holds::Yes);
            Ok((facts(&line, now), holds))
        })
    }

    fn dry_run<'a>(
        &'a self,
        target: &'a Object,
        proposal: &'a Proposal,
        within: Duration,
    ) -> Boxed<'a, Result<DryRun, String>> {
        Box::pin(async move {
            let (_, left) = self.left(target, proposal, within).await?;
            Ok(left.map_or_else(|why| DryRun::Rejected { why }, |()| DryRun::Accepted))
        })
    }

    fn apply<'a>(&'a self, plan: &'a Plan, within: Duration) -> Boxed<'a, Outcome> {
        Box::pin(self.stop(plan, within))
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
