//! Queries of other clients that run for long: which they are, cancelling one, ending one with its session.
//!
//! A query is named by its session and by when it began. What may be touched is what [`super::sessions`] says; that a
//! worker of autovacuum, one to prevent wraparound above all, is no client's backend is part of it.

use super::{
    Line, Problem,
    sessions::{Filter, SESSIONS, Session, TOUCHABLE, WANTED, columns, filtered, micros, names, session},
};
use sqlx::Row;

const RUNS: &str = "a.state = 'active'";

/// What is done to a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    Cancel,
    /// With its session.
    End,
}

impl Line {
    /// Rights to see sessions, and to cancel their queries; with `end`, to end them too.
    pub fn may_stop_queries(&self, end: bool) -> Result<(), Problem> {
        self.must_see()?;
        self.must_signal(self.server.cancels && (!end || self.server.ends_queries))
    }

    /// At most `most` queries that run for longer than so many microseconds, the oldest first.
    pub async fn slow(&mut self, filter: &Filter, longer_than: i64, most: u32) -> Result<Vec<Session>, Problem> {
        let columns = columns("a.query_start");
        let sql = format!(
            "SELECT {columns} FROM {SESSIONS}
             WHERE {TOUCHABLE} AND {WANTED} AND {RUNS}
               AND a.query_start <= clock_timestamp() - $7::bigint * interval '1 microsecond'
             ORDER BY a.query_start, a.pid LIMIT $8"
        );
        self.read(filtered(sql, filter).bind(longer_than).bind(i64::from(most)), session).await
    }

    /// Those of the queries that still run.
    pub async fn still_running(&mut self, queries: &[Session], filter: &Filter) -> Result<Vec<Session>, Problem> {
        let (query_start, start) = (micros("a.query_start"), micros("a.backend_start"));
        let columns = columns("a.query_start");
        let sql = format!(
            "SELECT {columns} FROM {SESSIONS}
             JOIN unnest($7::int[], $8::bigint[], $9::bigint[]) AS p(pid, started, since)
               ON p.pid = a.pid AND p.started = {start} AND p.since = {query_start}
             WHERE {TOUCHABLE} AND {WANTED} AND {RUNS}"
        );
        let (pids, starts) = names(queries);
        let since: Vec<i64> = queries.iter().map(|query| query.since.0).collect();
        self.read(filtered(sql, filter).bind(pids).bind(starts).bind(since), session).await
    }

    /// Stops one query if it still runs. True: it was told to. False: it was over, or another one.
    pub async fn stop_query(&mut self, one: &Session, filter: &Filter, stop: Stop) -> Result<bool, Problem> {
        let how = match (stop, self.server.cancels, self.server.ends_queries) {
            (Stop::Cancel, true, _) => "nightshift.cancel_query(a.pid, a.backend_start, a.query_start)",
            (Stop::Cancel, false, _) => "pg_cancel_backend(a.pid)",
            (Stop::End, _, true) => "nightshift.end_query(a.pid, a.backend_start, a.query_start)",
            (Stop::End, _, false) => "pg_terminate_backend(a.pid)",
        };
        let (query_start, start) = (micros("a.query_start"), micros("a.backend_start"));
        let sql = format!(
            "SELECT {how} FROM {SESSIONS}
             WHERE a.pid = $7 AND {start} = $8 AND {query_start} = $9 AND {TOUCHABLE} AND {WANTED} AND {RUNS}"
        );
        let query = filtered(sql, filter).bind(one.pid).bind(one.backend_start.0).bind(one.since.0);
        let answers = self.read(query, |row| row.try_get::<Option<bool>, _>(0)).await?;
        Ok(answers.first() == Some(&Some(true)))
    }
}
