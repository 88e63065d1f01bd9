//! A server of its own with the clients whose sessions are ended, or whose queries are cancelled, behind a proxy that picks
//! calls.

use crate::{
    stage::{MEASURED_SOON, Written},
    support::{failing::Failing, postgres::Postgres, postgres_proxy::PostgresProxy, wait_until},
};
use nightshift::model::alert::Labels;
use sqlx::{Connection, Executor, PgConnection};
use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

const SOON: Duration = Duration::from_secs(40);
/// A backend that was told says so in the log.
const SAID_WITHIN: Duration = Duration::from_millis(150);
/// What each plan takes ...
const CLIENTS: usize = 2;
/// ... of so many, which are made ahead: a session must have been idle for a while.
const MADE_AHEAD: usize = 10;
const TOLD: [&str; 2] =
    ["terminating connection due to administrator command", "canceling statement due to user request"];

pub struct Database {
    server: Postgres,
    proxy: PostgresProxy,
    cancels: bool,
    clients: Vec<Client>,
    done_before: usize,
}

/// A session, idle or in the middle of a query.
struct Client {
    pid: i32,
    _idle: Option<PgConnection>,
    running: Option<tokio::task::JoinHandle<()>>,
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

impl Database {
    pub async fn set(action: &str) -> Database {
        let server = Postgres::with(&[]).await;
        server.sql("postgres", "CREATE DATABASE claims");
        server.sql("claims", "CREATE ROLE app LOGIN");
        server.sql("claims", "CREATE ROLE watch LOGIN; GRANT pg_read_all_stats, pg_signal_backend TO watch");
        let proxy = PostgresProxy::start(([127, 0, 0, 1], server.port()).into());
        Database { server, proxy, cancels: action == "postgres/cancel_slow", clients: Vec::new(), done_before: 0 }
    }

    pub fn written(&self, folder: &Path) -> Written {
        let url = self.server.url_of("watch", "claims");
        let url = url.replace(&format!(":{}/", self.server.port()), &format!(":{}/", self.proxy.address().port()));
        let file = folder.join("url");
        std::fs::write(&file, url).unwrap();
        let with = if self.cancels { "{longer_than: 1s, max: 2}" } else { "{idle_for: 1s, max: 2}" };
        let settings = format!("postgres: {{claims-db: {{url_file: '{}'}}}}\n", file.display());
        Written { settings, target: "{postgres: claims-db}".to_owned(), with, verify: MEASURED_SOON }
    }

    pub fn failing(&self) -> &Arc<Failing> {
        &self.proxy.failing
    }

    pub async fn ready(&mut self) -> Labels {
        let alive = self.of_clients("state IN ('idle', 'active')");
        self.clients.retain(|client| alive.contains(&client.pid));
        while self.clients.len() < MADE_AHEAD {
            let client = self.client().await;
            self.clients.push(client);
        }
        let state = if self.cancels { "state = 'active' AND query_start" } else { "state = 'idle' AND state_change" };
        wait_until("clients are as the action wants them", SOON, async || {
            let seen = self.of_clients(&format!("{state} < clock_timestamp() - interval '1.1 s'"));
            if seen.len() >= CLIENTS { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
        self.done_before = self.told().len();
        Labels::new()
    }

    async fn client(&self) -> Client {
        let mut connection = PgConnection::connect(&self.server.url_of("app", "claims")).await.unwrap();
        let pid = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await.unwrap();
        if !self.cancels {
            return Client { pid, _idle: Some(connection), running: None };
        }
        // A cancelled query is not asked again: the session ends.
        let running = tokio::spawn(async move {
            let _ = connection.execute("SELECT pg_sleep(600)").await;
        });
        Client { pid, _idle: None, running: Some(running) }
    }

    fn of_clients(&self, condition: &str) -> BTreeSet<i32> {
        let sql = format!("SELECT pid FROM pg_stat_activity WHERE usename = 'app' AND {condition}");
        self.server.sql("claims", &sql).lines().map(|line| line.parse().unwrap()).collect()
    }

    /// The sessions that the server's log says were told to end, or to cancel.
    fn told(&self) -> Vec<i32> {
        let log = self.server.process().log();
        let lines = log.lines().filter(|line| TOLD.iter().any(|told| line.contains(told)));
        lines.map(|line| line.split_once('[').unwrap().1.split_once(']').unwrap().0.parse().unwrap()).collect()
    }

    pub async fn done(&self) -> usize {
        // A backend says that it was told a moment later.
        tokio::time::sleep(SAID_WITHIN).await;
        let mut told = BTreeSet::new();
        for pid in &self.told()[self.done_before..] {
            assert!(told.insert(*pid), "session {pid} was told twice");
        }
        told.len()
    }

    pub async fn state(&self) -> String {
        format!("{:?}", self.of_clients("true"))
    }
}
