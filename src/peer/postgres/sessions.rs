//! Sessions of other clients: who is idle, ending one, who is still there, how full the server is.
//!
//! A session is named by its pid and when it began, because pids are used again, and by when its state last changed: a
//! session that was used since is another matter. Which sessions may be touched at all is [`TOUCHABLE`]; it is part of
//! every statement that ends something.

use super::{Line, Problem};
use crate::model::time::Micros;
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Postgres, Row, postgres::PgArguments, postgres::PgRow, query::Query};
use std::collections::{BTreeMap, BTreeSet};

/// Client backends alone, and of these never ours, a superuser's, one of replication, or one that holds a slot.
pub(super) const TOUCHABLE: &str = "
    a.backend_type = 'client backend' AND a.leader_pid IS NULL AND a.pid <> pg_backend_pid()
    AND a.application_name IS DISTINCT FROM 'nightshift'
    AND NOT r.rolsuper AND NOT r.rolreplication
    AND NOT EXISTS (SELECT FROM pg_replication_slots s WHERE s.active_pid = a.pid)";

/// Every session with its role. One whose role is gone is in no list.
pub(super) const SESSIONS: &str = "pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid";

/// `$1` to `$6`: see [`Filter`].
pub(super) const WANTED: &str = "
    ($1::text[] IS NULL OR a.datname = ANY ($1)) AND ($2::text[] IS NULL OR a.usename = ANY ($2))
    AND ($3::text[] IS NULL OR a.application_name = ANY ($3))
    AND ($4::text[] IS NULL OR EXISTS (SELECT FROM unnest($4) AS c(client)
        WHERE CASE WHEN c.client = 'local' THEN a.client_addr IS NULL ELSE a.client_addr <<= c.client::inet END))
    AND NOT a.usename = ANY ($5::text[]) AND NOT a.application_name = ANY ($6::text[])";

const IDLE: &str = "(a.state = 'idle' AND a.xact_start IS NULL AND a.backend_xid IS NULL \
                    OR a.state IN ('idle in transaction', 'idle in transaction (aborted)'))";

/// Which sessions are meant. None: all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub databases: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applications: Option<Vec<String>>,
    /// Addresses, networks, or `local` for a socket of the server's own machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<Vec<String>>,
    #[serde(default)]
    pub never_users: Vec<String>,
    #[serde(default)]
    pub never_applications: Vec<String>,
}

/// How long a session must have been idle, in microseconds. None: such sessions are left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdleFor {
    pub idle: Option<i64>,
    pub in_transaction: Option<i64>,
}

/// One session, or one query of it, as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub pid: i32,
    pub backend_start: Micros,
    /// When its state last changed, or its query began.
    pub since: Micros,
    pub state: String,
    pub user: String,
    pub database: String,
    /// Clients give it themselves: for people, never for trust.
    pub application: String,
}

/// Sessions of one database that somebody ended, as the server counts them: one that left by itself is none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Killed {
    pub count: i64,
    /// When the count began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Micros>,
}

/// By database.
pub type AllKilled = BTreeMap<String, Killed>;

/// How full a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Connections {
    /// By clients.
    pub used: i64,
    pub max_connections: i64,
    /// Of those, kept for superusers and for roles with pg_use_reserved_connections.
    pub reserved: i64,
}

impl Connections {
    /// What ordinary roles may use.
    #[must_use]
    pub fn usable(&self) -> i64 {
        self.max_connections - self.reserved
    }

    #[must_use]
    pub fn says(&self) -> String {
        let Connections { used, max_connections, reserved } = self;
        format!("{used} of {max_connections} connections are used ({reserved} are reserved)")
    }
}

/// Microseconds since 1970, exactly: since version 14 `extract` gives a numeric.
pub(super) fn micros(column: &str) -> String {
    format!("(extract(epoch FROM {column}) * 1000000)::bigint")
}

/// The columns of a [`Session`].
pub(super) fn columns(since: &str) -> String {
    let (start, since) = (micros("a.backend_start"), micros(since));
    format!("a.pid, {start}, {since}, a.state, a.usename::text, COALESCE(a.datname::text, ''), a.application_name")
}

pub(super) fn session(row: &PgRow) -> Result<Session, sqlx::Error> {
    Ok(Session {
        pid: row.try_get(0)?,
        backend_start: Micros(row.try_get(1)?),
        since: Micros(row.try_get(2)?),
        state: row.try_get(3)?,
        user: row.try_get(4)?,
        database: row.try_get(5)?,
        application: row.try_get(6)?,
    })
}

/// A statement of ours: put together from constants, so that no value is ever part of its text.
pub(super) fn filtered(sql: String, filter: &Filter) -> Query<'_, Postgres, PgArguments> {
    sqlx::query(AssertSqlSafe(sql))
        .bind(&filter.databases)
        .bind(&filter.users)
        .bind(&filter.applications)
        .bind(&filter.clients)
        .bind(&filter.never_users)
        .bind(&filter.never_applications)
}

/// pids and beginnings, as two arrays.
pub(super) fn names(sessions: &[Session]) -> (Vec<i32>, Vec<i64>) {
    sessions.iter().map(|session| (session.pid, session.backend_start.0)).unzip()
}

impl Line {
    /// Rights to see sessions, and to end idle ones.
    pub fn may_end_idle(&self) -> Result<(), Problem> {
        self.must_see()?;
        self.must_signal(self.server.ends_idle)
    }

    /// At most `most` sessions that have been idle for so long, those first that have been so the longest, and how many
    /// sessions there are that the filter means, whatever they do.
    pub async fn idle(
        &mut self,
        filter: &Filter,
        idle_for: IdleFor,
        most: u32,
    ) -> Result<(Vec<Session>, i64), Problem> {
        let columns = columns("a.state_change");
        let sql = format!(
            "SELECT {columns}, (SELECT count(*) FROM {SESSIONS} WHERE {TOUCHABLE} AND {WANTED})
             FROM {SESSIONS}
             WHERE {TOUCHABLE} AND {WANTED} AND {IDLE}
               AND a.state_change <= clock_timestamp()
                   - CASE WHEN a.state = 'idle' THEN $7::bigint ELSE $8::bigint END * interval '1 microsecond'
             ORDER BY a.state_change, a.pid LIMIT $9"
        );
        let query = filtered(sql, filter).bind(idle_for.idle).bind(idle_for.in_transaction).bind(i64::from(most));
        let rows = self.read(query, |row| Ok((session(row)?, row.try_get::<i64, _>(7)?))).await?;
        let all = rows.first().map_or(0, |(_, all)| *all);
        Ok((rows.into_iter().map(|(session, _)| session).collect(), all))
    }

    /// Those of the sessions that are still as they were seen.
    pub async fn still_idle(&mut self, sessions: &[Session], filter: &Filter) -> Result<Vec<Session>, Problem> {
        let (state_change, start) = (micros("a.state_change"), micros("a.backend_start"));
        let columns = columns("a.state_change");
        let sql = format!(
            "SELECT {columns} FROM {SESSIONS}
             JOIN unnest($7::int[], $8::bigint[], $9::bigint[], $10::text[]) AS p(pid, started, since, state)
               ON p.pid = a.pid AND p.started = {start} AND p.since = {state_change} AND p.state = a.state
             WHERE {TOUCHABLE} AND {WANTED} AND {IDLE}"
        );
        let (pids, starts) = names(sessions);
        let since: Vec<i64> = sessions.iter().map(|session| session.since.0).collect();
        let states: Vec<&str> = sessions.iter().map(|session| session.state.as_str()).collect();
        self.read(filtered(sql, filter).bind(pids).bind(starts).bind(since).bind(states), session).await
    }

    /// Ends one session if it is still as it was seen, and if more than `keep` of those that the filter means stay
    /// (`ended` ones count as gone). True: it was told to end. False: it, or the number, had changed.
    pub async fn end_idle(
        &mut self,
        one: &Session,
        filter: &Filter,
        keep: u32,
        ended: &[Session],
    ) -> Result<bool, Problem> {
        let end = if self.server.ends_idle {
            "nightshift.end_idle_session(a.pid, a.backend_start, a.state_change)"
        } else {
            "pg_terminate_backend(a.pid)"
        };
        let (state_change, start) = (micros("a.state_change"), micros("a.backend_start"));
        let sql = format!(
            "SELECT {end} FROM {SESSIONS}
             WHERE a.pid = $7 AND {start} = $8 AND {state_change} = $9 AND a.state = $10
               AND {TOUCHABLE} AND {WANTED} AND {IDLE}
               AND $11 < (SELECT count(*) FROM {SESSIONS} WHERE {TOUCHABLE} AND {WANTED} AND NOT EXISTS (
                   SELECT FROM unnest($12::int[], $13::bigint[]) AS e(pid, started)
                   WHERE e.pid = a.pid AND e.started = {start}))"
        );
        let (pids, starts) = names(ended);
        let query = filtered(sql, filter)
            .bind(one.pid)
            .bind(one.backend_start.0)
            .bind(one.since.0)
            .bind(&one.state)
            .bind(i64::from(keep))
            .bind(pids)
            .bind(starts);
        let answers = self.read(query, |row| row.try_get::<Option<bool>, _>(0)).await?;
        Ok(answers.first() == Some(&Some(true)))
    }

    /// Those of the sessions that have not ended, whatever they do now.
    pub async fn still_there(&mut self, sessions: &[Session]) -> Result<Vec<Session>, Problem> {
        const SQL: &str = "
            SELECT p.place FROM unnest($1::int[], $2::bigint[]) WITH ORDINALITY AS p(pid, started, place)
            JOIN pg_stat_activity a
              ON a.pid = p.pid AND (extract(epoch FROM a.backend_start) * 1000000)::bigint = p.started";
        let (pids, starts) = names(sessions);
        let places = self.read(sqlx::query(SQL).bind(pids).bind(starts), |row| row.try_get::<i64, _>(0)).await?;
        let place = |place: &i64| usize::try_from(place - 1).ok().and_then(|place| sessions.get(place));
        Ok(places.iter().filter_map(place).cloned().collect())
    }

    /// How many sessions were ended in the databases of these so far. One that is gone meanwhile is not in it.
    pub async fn killed(&mut self, sessions: &[Session]) -> Result<AllKilled, Problem> {
        const SQL: &str = "
            SELECT d.datname::text, d.sessions_killed, (extract(epoch FROM d.stats_reset) * 1000000)::bigint
            FROM pg_stat_database d WHERE d.datname = ANY ($1::text[])";
        let databases: BTreeSet<&str> = sessions.iter().map(|session| session.database.as_str()).collect();
        let databases: Vec<&str> = databases.into_iter().collect();
        let read = |row: &PgRow| {
            let killed = Killed { count: row.try_get(1)?, since: row.try_get::<Option<i64>, _>(2)?.map(Micros) };
            Ok((row.try_get(0)?, killed))
        };
        Ok(self.read(sqlx::query(SQL).bind(databases), read).await?.into_iter().collect())
    }

    pub async fn connections(&mut self) -> Result<Connections, Problem> {
        // reserved_connections came with version 16. Without rights to see more, every row with a user is a client's.
        const SQL: &str = "
            SELECT (SELECT count(*) FROM pg_stat_activity a
                    WHERE COALESCE(a.backend_type = 'client backend', a.usesysid IS NOT NULL)),
                current_setting('max_connections')::bigint,
                current_setting('superuser_reserved_connections')::bigint
                    + COALESCE(current_setting('reserved_connections', true)::bigint, 0)";
        let read = |row: &PgRow| {
            Ok(Connections { used: row.try_get(0)?, max_connections: row.try_get(1)?, reserved: row.try_get(2)? })
        };
        let rows = self.read(sqlx::query(SQL), read).await?;
        rows.into_iter().next().ok_or_else(|| Problem::unreadable(&self.name, &sqlx::Error::RowNotFound))
    }
}
