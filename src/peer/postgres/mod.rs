//! PostgreSQL servers that steps act on: one connection each, kept open, so that a full server can still be helped.
//!
//! [`Database::line`] gives the connection for one piece of work, with one deadline. It reads which server it is on, so
//! that a lost connection is noticed and replaced before anything is sent; after that nothing is retried: a lost answer
//! is the caller's to read back. The SQL is in [`sessions`], [`queries`] and [`crowd`], all of it with bind parameters.

pub mod crowd;
mod problem;
pub mod queries;
pub mod sessions;

pub use problem::{Class, Problem};

use crate::model::time::Micros;
use sqlx::{
    ConnectOptions, PgConnection, Postgres, Row,
    postgres::{PgArguments, PgConnectOptions, PgRow},
    query::Query,
};
use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::{Instant, sleep, timeout_at},
};

/// Our sessions are known by it, and never touched.
pub const APPLICATION: &str = "nightshift";
/// The oldest PostgreSQL that is known: `pg_stat_activity` and the rights are as they are since then.
const OLDEST_VERSION: i32 = 140_000;
/// A connection that is not there after this is not coming; every deadline of a step is longer.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A kept connection that does not answer after this is given up, and another one is made.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// The server gives up a statement of ours after this.
const STATEMENT_TIMEOUT: &str = "5s";
/// ... and we do, somewhat later.
const STATEMENT_WITHIN: Duration = Duration::from_secs(7);
/// How often a kept connection is looked after.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Set when the connection is made. A pooler between us and the server refuses or drops them, and we notice: what we do
/// there would not be what we think. Read-only, because ending sessions is no write to any table.
const OPTIONS: [(&str, &str); 6] = [
    ("statement_timeout", STATEMENT_TIMEOUT),
    ("lock_timeout", "2s"),
    ("idle_in_transaction_session_timeout", "10s"),
    ("idle_session_timeout", "0"),
    ("default_transaction_read_only", "on"),
    ("search_path", "pg_catalog"),
];

/// The first statement on every line: which server, whether it is the server itself, and what we may do there.
/// Functions are looked up in the catalog, because naming one in a schema without rights is an error. Only one that runs
/// as its owner is used: another could not do more than we can, and would run with our rights. And only where nobody but
/// a superuser could have made it or can replace it: anybody else's may do nothing and say that it did.
const HELLO: &str = "
    WITH found AS (
        SELECT p.proname::text AS name,
            p.prosecdef AND p.prorettype = 'bool'::regtype AND owner.rolname = 'nightshift_signals'
                AND NOT owner.rolcanlogin AND holder.rolsuper AS ours
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        JOIN pg_roles owner ON owner.oid = p.proowner JOIN pg_roles holder ON holder.oid = n.nspowner
        WHERE n.nspname = 'nightshift' AND p.proname IN ('end_idle_session', 'cancel_query', 'end_query')
          AND p.proargtypes = '23 1184 1184'::oidvector
          AND has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE')),
    ours AS (SELECT name FROM found WHERE ours)
    SELECT current_setting('server_version_num')::int,
        (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint,
        current_setting('statement_timeout') = $1 AND current_setting('default_transaction_read_only') = 'on'
            AND current_setting('application_name') = $2,
        quote_ident(current_user::text),
        pg_has_role('pg_read_all_stats', 'USAGE'),
        pg_has_role('pg_signal_backend', 'USAGE'),
        EXISTS (SELECT FROM ours WHERE name = 'end_idle_session'),
        EXISTS (SELECT FROM ours WHERE name = 'cancel_query'),
        EXISTS (SELECT FROM ours WHERE name = 'end_query'),
        (SELECT string_agg('nightshift.' || name, ', ' ORDER BY name) FROM found WHERE NOT ours)";

/// The databases of the settings, by name.
#[derive(Clone, Default)]
pub struct Databases(Arc<BTreeMap<String, Database>>);

impl Databases {
    /// From names and URLs. Nothing is connected to yet.
    pub fn new<'a>(urls: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Databases, String> {
        let named = |(name, url): (&'a str, &'a str)| Ok((name.to_owned(), Database::new(name, url)?));
        Ok(Databases(Arc::new(urls.into_iter().map(named).collect::<Result<_, String>>()?)))
    }

    pub fn get(&self, name: &str) -> Result<&Database, String> {
        self.0.get(name).ok_or_else(|| format!("nightshift.yaml names no database `{name}` under `postgres`"))
    }

    pub fn all(&self) -> impl Iterator<Item = &Database> {
        self.0.values()
    }
}

/// One server, through one database of it.
#[derive(Clone)]
pub struct Database {
    name: Arc<str>,
    options: Arc<PgConnectOptions>,
    kept: Arc<Mutex<Option<PgConnection>>>,
}

impl Database {
    /// TLS is as the URL says. Errors never have the URL in them: it may hold a password.
    pub fn new(name: &str, url: &str) -> Result<Database, String> {
        let options: PgConnectOptions =
            url.parse().map_err(|_| format!("the URL of PostgreSQL `{name}` cannot be read"))?;
        let options = options.application_name(APPLICATION).options(OPTIONS).disable_statement_logging();
        Ok(Database { name: name.into(), options: Arc::new(options), kept: Arc::default() })
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The connection, for one piece of work until then. Others wait for it.
    pub async fn line(&self, until: Instant) -> Result<Line, Problem> {
        let mut slot = timeout_at(until, Arc::clone(&self.kept).lock_owned()).await.map_err(|_| {
            let says = format!("nightshift's connection to PostgreSQL `{}` is in use", self.name);
            Problem::new(Class::InUse, says)
        })?;
        if let Some(open) = slot.take() {
            match self.hello(open, until.min(Instant::now() + ANSWER_WITHIN)).await {
                Ok((open, server)) => return Ok(Line::on(self, slot, open, server, until)),
                // Only a question was sent on it: a new connection may be made.
                Err(Problem { class: Class::NoAnswer, .. }) => {}
                Err(problem) => return Err(problem),
            }
        }
        let open = self.connect(until.min(Instant::now() + CONNECT_WITHIN)).await?;
        let (open, server) = self.hello(open, until).await?;
        Ok(Line::on(self, slot, open, server, until))
    }

    async fn connect(&self, until: Instant) -> Result<PgConnection, Problem> {
        match timeout_at(until, self.options.connect()).await {
            Ok(answer) => answer.map_err(|error| Problem::of_connecting(&self.name, &error)),
            Err(_) => {
                let says = format!("cannot connect to PostgreSQL `{}`: no answer in time", self.name);
                Err(Problem::new(Class::NotSent, says))
            }
        }
    }

    /// Which server it is, and whether it can be worked with.
    async fn hello(&self, open: PgConnection, until: Instant) -> Result<(PgConnection, Server), Problem> {
        let hello = sqlx::query(HELLO).bind(STATEMENT_TIMEOUT).bind(APPLICATION);
        let (open, rows) = ask(&self.name, open, hello, until).await.map_err(|(_, problem)| problem)?;
        let server = rows.first().ok_or(sqlx::Error::RowNotFound).and_then(Server::read);
        let server = server.map_err(|error| Problem::unreadable(&self.name, &error))?;
        let name = &self.name;
        if server.version < OLDEST_VERSION {
            let (version, oldest) = (server.version / 10_000, OLDEST_VERSION / 10_000);
            let says = format!("PostgreSQL `{name}` is version {version}: {oldest} is the oldest that is known");
            return Err(Problem::new(Class::NotUsable, says));
        }
        if !server.is_itself {
            let says = format!(
                "something between nightshift and PostgreSQL `{name}` drops settings of the connection, as a pooler \
                 does: the URL must name the server itself"
            );
            return Err(Problem::new(Class::NotUsable, says));
        }
        Ok((open, server))
    }

    /// Keeps the connection open until `stop`, and says when it is lost and when it is there again.
    pub async fn keep_open(&self, stop: impl Future<Output = ()> + Send) {
        let mut stop = std::pin::pin!(stop);
        // What is ignored, or what is wrong.
        let mut told: Option<Result<Option<String>, String>> = None;
        loop {
            let state = match self.line(Instant::now() + CONNECT_WITHIN + ANSWER_WITHIN).await {
                Ok(line) => Some(line.server.lacks(&self.name).map_or_else(|| Ok(line.server.ignores()), Err)),
                // Somebody works on it: that is no news.
                Err(Problem { class: Class::InUse, .. }) => None,
                Err(problem) => Some(Err(problem.says)),
            };
            if state.is_some() && told != state {
                match &state {
                    Some(Err(problem)) => {
                        tracing::warn!(database = &*self.name, problem, "steps on this database will fail");
                    }
                    Some(Ok(Some(ignored))) => {
                        tracing::warn!(
                            database = &*self.name,
                            ignored,
                            "connected to PostgreSQL, with strange functions"
                        );
                    }
                    Some(Ok(None)) | None => tracing::info!(database = &*self.name, "connected to PostgreSQL"),
                }
                told = state;
            }
            tokio::select! {
                () = &mut stop => return,
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }
}

/// What a line is connected to.
#[derive(Debug, Clone)]
pub struct Server {
    /// `server_version_num`: 150014.
    pub version: i32,
    pub started: Micros,
    is_itself: bool,
    /// Our role, as SQL writes it.
    role: String,
    sees: bool,
    signals: bool,
    ends_idle: bool,
    cancels: bool,
    ends_queries: bool,
    /// Functions that are there under the names of ours, and are not to be trusted.
    strange: Option<String>,
}

impl Server {
    fn read(row: &PgRow) -> Result<Server, sqlx::Error> {
        Ok(Server {
            version: row.try_get(0)?,
            started: Micros(row.try_get(1)?),
            is_itself: row.try_get(2)?,
            role: row.try_get(3)?,
            sees: row.try_get(4)?,
            signals: row.try_get(5)?,
            ends_idle: row.try_get(6)?,
            cancels: row.try_get(7)?,
            ends_queries: row.try_get(8)?,
            strange: row.try_get(9)?,
        })
    }

    /// Names the running server: sessions are its own, and end with it.
    #[must_use]
    pub fn uid(&self) -> String {
        format!("started at {}", self.started.0)
    }

    /// What ended is in the statistics later than it is gone from the list of sessions.
    #[must_use]
    pub fn counts_late(&self) -> bool {
        self.version < 150_000
    }

    /// What our role may not do and should. It is looked at on every line: rights change while we are connected.
    fn lacks(&self, name: &str) -> Option<String> {
        let by_functions = self.ends_idle && self.cancels && self.ends_queries;
        self.lacks_sight(name).or_else(|| self.lacks_signal(name, by_functions))
    }

    fn lacks_sight(&self, name: &str) -> Option<String> {
        let role = &self.role;
        (!self.sees).then(|| {
            format!(
                "role {role} cannot see other sessions of PostgreSQL `{name}`: GRANT pg_read_all_stats TO {role}; \
                 deploy/postgres/role.sql does it"
            )
        })
    }

    fn lacks_signal(&self, name: &str, by_function: bool) -> Option<String> {
        let role = &self.role;
        let strange = self.ignores().map(|says| format!(" ({says})")).unwrap_or_default();
        (!self.signals && !by_function).then(|| {
            format!(
                "role {role} cannot end other sessions of PostgreSQL `{name}`: GRANT pg_signal_backend TO {role}, or \
                 make the functions of deploy/postgres/role.sql in its database{strange}"
            )
        })
    }

    /// Which functions are left alone, and why.
    fn ignores(&self) -> Option<String> {
        let strange = self.strange.as_ref()?;
        Some(format!(
            "not used: {strange}, because what deploy/postgres/role.sql makes runs as nightshift_signals, is its own, and \
             is in a schema of a superuser"
        ))
    }
}

/// The connection while it is in use. It goes back to be kept unless an answer to it was lost.
pub struct Line {
    slot: OwnedMutexGuard<Option<PgConnection>>,
    open: Option<PgConnection>,
    name: Arc<str>,
    until: Instant,
    pub server: Server,
}

impl Line {
    fn on(
        database: &Database,
        slot: OwnedMutexGuard<Option<PgConnection>>,
        open: PgConnection,
        server: Server,
        until: Instant,
    ) -> Line {
        Line { slot, open: Some(open), name: Arc::clone(&database.name), until, server }
    }

    /// When the work on it must be over.
    #[must_use]
    pub fn until(&self) -> Instant {
        self.until
    }

    /// Other sessions can be seen: without that, none would seem idle.
    pub fn must_see(&self) -> Result<(), Problem> {
        self.server.lacks_sight(&self.name).map_or(Ok(()), |says| Err(Problem::new(Class::Forbidden, says)))
    }

    fn must_signal(&self, by_function: bool) -> Result<(), Problem> {
        let lacks = self.server.lacks_signal(&self.name, by_function);
        lacks.map_or(Ok(()), |says| Err(Problem::new(Class::Forbidden, says)))
    }

    /// One statement, sent once. While it is under way the connection is not ours to keep.
    async fn rows(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<Vec<PgRow>, Problem> {
        let Some(open) = self.open.take() else {
            return Err(Problem::new(Class::NotSent, format!("the connection to PostgreSQL `{}` was lost", self.name)));
        };
        let within = self.until.min(Instant::now() + STATEMENT_WITHIN);
        match ask(&self.name, open, query, within).await {
            Ok((open, rows)) => {
                self.open = Some(open);
                Ok(rows)
            }
            Err((open, problem)) => {
                self.open = open;
                Err(problem)
            }
        }
    }

    /// Rows, each read by `read`.
    async fn read<T>(
        &mut self,
        query: Query<'_, Postgres, PgArguments>,
        read: impl Fn(&PgRow) -> Result<T, sqlx::Error>,
    ) -> Result<Vec<T>, Problem> {
        let rows = self.rows(query).await?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(|error| Problem::unreadable(&self.name, &error))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        *self.slot = self.open.take();
    }
}

/// One statement and its answer. The connection comes back where the answer was whole, an error among them.
async fn ask(
    name: &str,
    mut open: PgConnection,
    query: Query<'_, Postgres, PgArguments>,
    within: Instant,
) -> Result<(PgConnection, Vec<PgRow>), (Option<PgConnection>, Problem)> {
    // Unnamed, so that nothing is left on the server.
    match timeout_at(within, query.persistent(false).fetch_all(&mut open)).await {
        Ok(Ok(rows)) => Ok((open, rows)),
        Ok(Err(error)) => {
            let problem = Problem::of_statement(name, &error);
            let whole = problem.class != Class::NoAnswer;
            Err((whole.then_some(open), problem))
        }
        Err(_) => Err((None, Problem::no_answer(name))),
    }
}
