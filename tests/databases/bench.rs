//! One server of its own for a test, its clients, and an action in the hand.

use crate::support::{postgres::Postgres, wait_until};
use nightshift::{
    action::{Action, Observed, Registry, postgres},
    model::{
        mode::Mode,
        observation::{DryRun, Holds, Outcome, Proposed, TargetReading},
        plan::{Plan, Proposal},
        rung::{IfIneffective, Rung, Verify},
        target::{Object, Target},
        time::{Micros, Span},
    },
    peer::postgres::Databases,
};
use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

pub const WITHIN: Duration = Duration::from_secs(20);
pub const SOON: Duration = Duration::from_secs(30);
pub const TERMINATED: &str = "terminating connection due to administrator command";

/// A server with a database `claims`, the role `app` of its clients, and the role `watch` for nightshift, with plain
/// grants.
pub struct Bench {
    pub server: Postgres,
}

impl Bench {
    pub async fn new() -> Bench {
        Bench::with(&[]).await
    }

    pub async fn with(settings: &[&str]) -> Bench {
        let bench = Bench::bare(settings).await;
        bench.sql("CREATE ROLE watch LOGIN; GRANT pg_read_all_stats, pg_signal_backend TO watch");
        bench
    }

    /// Without the role for nightshift.
    pub async fn bare(settings: &[&str]) -> Bench {
        let server = Postgres::with(settings).await;
        server.sql("postgres", "CREATE DATABASE claims");
        let bench = Bench { server };
        bench.sql("CREATE ROLE app LOGIN");
        bench
    }

    /// As an independent superuser.
    pub fn sql(&self, statement: &str) -> String {
        self.server.sql("claims", statement)
    }

    pub async fn client(&self) -> Client {
        self.client_of("app", "app").await
    }

    pub async fn client_of(&self, role: &str, application: &str) -> Client {
        let url = self.server.url_of(role, "claims");
        Client::connect(&format!("{url}&application_name={application}")).await
    }

    /// Waits until an independent superuser sees the session like this.
    pub async fn sees(&self, client: &Client, condition: &str) {
        self.sees_pid(client.pid, condition).await;
    }

    pub async fn sees_pid(&self, pid: i32, condition: &str) {
        wait_until(condition, SOON, async || {
            let sql = format!("SELECT ({condition}), state FROM pg_stat_activity WHERE pid = {pid}");
            let seen = self.sql(&sql);
            if seen.starts_with("t|") { Ok(()) } else { Err(seen) }
        })
        .await;
    }

    /// All clients' sessions but those of the judge.
    pub fn pids(&self) -> BTreeSet<i32> {
        let sql = "SELECT pid FROM pg_stat_activity
                   WHERE backend_type IN ('client backend', 'walsender') AND application_name <> 'psql'
                     AND usename <> 'watch' AND usename <> 'nightshift'";
        self.sql(sql).lines().map(|line| line.parse().unwrap()).collect()
    }

    /// The pids that the server's log says were terminated.
    pub fn terminated(&self) -> BTreeSet<i32> {
        let log = self.server.process().log();
        log.lines().filter(|line| line.contains(TERMINATED)).map(pid_of).collect()
    }

    /// A function like the shipped one, that dawdles once it has done its work.
    pub fn slow_function(&self, dawdle: &str) {
        self.sql(&format!(
            "CREATE ROLE nightshift_signals IN ROLE pg_signal_backend;
             CREATE SCHEMA nightshift; GRANT USAGE ON SCHEMA nightshift TO watch;
             CREATE FUNCTION nightshift.end_idle_session(int, timestamptz, timestamptz) RETURNS bool
             LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
                 PERFORM pg_terminate_backend($1); PERFORM {dawdle}; RETURN true; END $$;
             ALTER FUNCTION nightshift.end_idle_session OWNER TO nightshift_signals"
        ));
    }

    pub fn hand(&self, action: &str, with: Value) -> Hand {
        Hand::at(&self.server.url_of("watch", "claims"), action, with)
    }
}

/// `2026-03-01 02:12:09.123 UTC [4711] FATAL: …`
fn pid_of(line: &str) -> i32 {
    let (_, rest) = line.split_once('[').unwrap();
    rest.split_once(']').unwrap().0.parse().unwrap()
}

/// One client and its session.
pub struct Client {
    pub connection: PgConnection,
    pub pid: i32,
}

impl Client {
    pub async fn connect(url: &str) -> Client {
        let mut connection = PgConnection::connect(url).await.unwrap();
        let pid = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await.unwrap();
        Client { connection, pid }
    }

    pub async fn runs(&mut self, sql: &'static str) {
        self.connection.execute(sql).await.unwrap();
    }

    pub async fn is_refused(&mut self, sql: &'static str) -> String {
        self.connection.execute(sql).await.unwrap_err().to_string()
    }

    /// Begins a statement and leaves it running; what it comes to.
    pub fn begins(mut self, sql: &'static str) -> Running {
        let pid = self.pid;
        let task = tokio::spawn(async move {
            let result = self.connection.execute(sql).await.map(|_| ()).map_err(|error| error.to_string());
            (self, result)
        });
        Running { pid, task }
    }

    pub async fn lives(&mut self) -> bool {
        self.connection.execute("SELECT 1").await.is_ok()
    }
}

pub struct Running {
    pub pid: i32,
    task: tokio::task::JoinHandle<(Client, Result<(), String>)>,
}

impl Running {
    pub async fn end(self) -> (Client, Result<(), String>) {
        self.task.await.unwrap()
    }
}

/// One action on the database.
pub struct Hand {
    pub action: Arc<dyn Action>,
    pub rung: Rung,
}

impl Hand {
    pub fn at(url: &str, action: &str, with: Value) -> Hand {
        Hand::on(&Databases::new([("claims-db", url)]).unwrap(), action, with)
    }

    /// Several hands on one connection.
    pub fn on(databases: &Databases, action: &str, with: Value) -> Hand {
        let mut registry = Registry::default();
        postgres::register(&mut registry, databases);
        let action = registry.get(action).unwrap().clone();
        let object = Object::Database { name: "claims-db".to_owned() };
        assert_eq!(action.check(&with, &object, None), Vec::<String>::new());
        let rung = Rung {
            member: None,
            action: action.name().to_owned(),
            target: Target { name: "claims-db".to_owned(), object },
            with,
            mode: Mode::Auto,
            verify: Verify { settle: Span::seconds(1), resolved_within: Span::minutes(1), query: None },
            if_ineffective: IfIneffective::Keep,
            bounds: None,
            evidence: Vec::new(),
        };
        Hand { action, rung }
    }

    pub async fn observe(&self) -> Result<Observed, String> {
        self.action.observe(&self.rung, &[], now(), WITHIN).await
    }

    pub fn seal(&self, proposal: Proposal) -> Plan {
        Plan::seal(self.action.name(), &self.rung.target, proposal, None, "rule", Micros(1))
    }

    /// Waits until it would act on so many.
    pub async fn plan(&self, sessions: usize) -> Plan {
        let proposal = wait_until(&format!("a plan for {sessions}"), SOON, async || {
            match self.observe().await.unwrap().proposal {
                Proposed::Made(proposal) if listed(&proposal).len() == sessions => Ok(proposal),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        self.seal(*proposal)
    }

    pub async fn refusal(&self) -> String {
        match self.observe().await.unwrap().proposal {
            Proposed::Refused { why } => why,
            other => panic!("{other:?}"),
        }
    }

    pub async fn apply(&self, plan: &Plan) -> Outcome {
        self.action.apply(plan, WITHIN).await
    }

    pub async fn read_back(&self, plan: &Plan) -> Outcome {
        self.action.read_back(plan, WITHIN).await
    }

    pub async fn holds(&self, plan: &Plan) -> Holds {
        self.action.holds(plan, now(), WITHIN).await.unwrap().1
    }

    pub async fn dry_run(&self, plan: &Plan) -> DryRun {
        self.action.dry_run(&plan.target.object, &plan.proposal, WITHIN).await.unwrap()
    }

    pub async fn measure(&self, plan: &Plan) -> TargetReading {
        let before = nightshift::model::observation::Facts::of_nothing(now());
        self.action.measure(plan, &before, WITHIN).await
    }
}

pub fn now() -> Micros {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Micros(i64::try_from(since.as_micros()).unwrap())
}

/// The pids of a plan, in its order.
pub fn listed(proposal: &Proposal) -> Vec<i32> {
    let sessions = proposal.from["sessions"].as_array().unwrap();
    sessions.iter().map(|session| i32::try_from(session["pid"].as_i64().unwrap()).unwrap()).collect()
}

pub fn pids<'a>(clients: impl IntoIterator<Item = &'a Client>) -> BTreeSet<i32> {
    clients.into_iter().map(|client| client.pid).collect()
}

/// Sessions and queries that an outcome says were ended, and why the rest was not.
pub fn ended(outcome: &Outcome) -> (u32, u32, Option<&str>) {
    match outcome {
        Outcome::Ended { ended } => (ended.sessions, ended.queries, ended.rest.as_deref()),
        other => panic!("{other:?}"),
    }
}

/// Nothing was done, because it is not as it was.
pub fn is_changed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::NotApplied { changed_since: true, .. })
}
