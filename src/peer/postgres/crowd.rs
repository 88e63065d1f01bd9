//! Who is connected, counted: for people to look at before sessions end.

use super::{Line, Problem};
use serde::Serialize;
use sqlx::Row;

/// Groups asked for; a person reads no more.
const MOST_GROUPS: i64 = 200;

/// Sessions that are alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    pub sessions: i64,
    /// None: our role may not see it, or it has none.
    pub state: Option<String>,
    pub user: Option<String>,
    pub database: Option<String>,
    /// Clients give it themselves.
    pub application: Option<String>,
    pub client: Option<String>,
    pub backend_type: Option<String>,
    /// How long the one that has been in this state the longest has been so.
    pub oldest_seconds: Option<i64>,
}

impl Line {
    /// Every session in groups, the largest first, at most [`MOST_GROUPS`] of them.
    pub async fn groups(&mut self) -> Result<Vec<Group>, Problem> {
        const SQL: &str = "
            SELECT count(*), a.state, a.usename::text, a.datname::text, a.application_name, host(a.client_addr),
                a.backend_type, extract(epoch FROM clock_timestamp() - min(a.state_change))::bigint
            FROM pg_stat_activity a WHERE a.pid <> pg_backend_pid()
            GROUP BY a.state, a.usename, a.datname, a.application_name, a.client_addr, a.backend_type
            ORDER BY count(*) DESC, 3, 4, 2 LIMIT $1";
        self.read(sqlx::query(SQL).bind(MOST_GROUPS), |row| {
            Ok(Group {
                sessions: row.try_get(0)?,
                state: row.try_get(1)?,
                user: row.try_get(2)?,
                database: row.try_get(3)?,
                application: row.try_get(4)?,
                client: row.try_get(5)?,
                backend_type: row.try_get(6)?,
                oldest_seconds: row.try_get(7)?,
            })
        })
        .await
    }
}
