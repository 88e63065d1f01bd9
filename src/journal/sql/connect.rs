//! Finding, opening and checking the database: what makes a commit durable is set or refused here.

use super::{Conn, Pool, Sql};
use crate::journal::{
    Error,
    head_file::{self, HeadCheck, HeadFile},
};
use sqlx::{
    ConnectOptions, Connection, Row as _,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{
    ffi::OsString,
    fmt,
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

/// Readers at a time: the page, the API, a snapshot's fold and one to spare.
const READERS: u32 = 4;
/// How long a reader waits for a connection, and a writer for another process's lock.
const WAIT: Duration = Duration::from_secs(5);
/// The longest that PostgreSQL may take for one statement of ours.
const STATEMENT_TIMEOUT: &str = "SET statement_timeout = '8s'";

static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("./migrations/sqlite");
static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("./migrations/postgres");

/// Where the journal is.
#[derive(Debug, Clone)]
pub struct Options {
    pub(super) place: Place,
    pub(super) head_file: Option<PathBuf>,
}

#[derive(Clone)]
pub(super) enum Place {
    Sqlite(Box<SqliteConnectOptions>),
    Postgres(Box<PgConnectOptions>),
}

/// Without what the URL says besides: it may hold a password.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(sqlite) => write!(f, "SQLite {}", sqlite.get_filename().display()),
            Self::Postgres(postgres) => {
                write!(f, "PostgreSQL {} {}", postgres.get_host(), postgres.get_database().unwrap_or_default())
            }
        }
    }
}

impl Options {
    /// From `sqlite:nightshift.db` or `postgres://user:password@host/database?sslmode=verify-full`. SQLite has its side
    /// file beside it (`nightshift.db.head`); PostgreSQL has none unless [`Options::head_file`] says where.
    /// TLS to PostgreSQL is as the URL says (`sslmode`, `sslrootcert`, `sslcert`, `sslkey`).
    ///
    /// # Errors
    /// `Refused`; never with the URL in it, which may hold a password.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let refused = |what: &str, hint: &str| Error::Refused { what: what.to_owned(), hint: hint.to_owned() };
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => {
                let options: SqliteConnectOptions =
                    url.parse().map_err(|error: sqlx::Error| refused(&error.to_string(), "write sqlite:PATH"))?;
                if url.contains(":memory:") || url.contains("mode=memory") {
                    return Err(refused("a journal in memory forgets everything", "write sqlite:PATH"));
                }
                let path = options.get_filename().to_path_buf();
                if path.as_os_str().is_empty() {
                    return Err(refused("the journal needs a file", "write sqlite:PATH"));
                }
                Ok(Self::sqlite(&path))
            }
            Some("postgres" | "postgresql") => {
                let options: PgConnectOptions = url.parse().map_err(|_| {
                    refused("the journal's PostgreSQL URL can't be read", "postgres://user:password@host:port/database")
                })?;
                Ok(Self { place: Place::Postgres(Box::new(options.application_name("nightshift"))), head_file: None })
            }
            _ => Err(refused("the journal is neither SQLite nor PostgreSQL", "write sqlite:PATH or postgres://…")),
        }
    }

    /// A SQLite file, with its side file beside it.
    #[must_use]
    pub fn sqlite(path: &Path) -> Self {
        let options = SqliteConnectOptions::new().filename(path).disable_statement_logging();
        Self { place: Place::Sqlite(Box::new(options)), head_file: Some(beside(path, ".head")) }
    }

    /// Puts the side file elsewhere.
    #[must_use]
    pub fn head_file(mut self, path: PathBuf) -> Self {
        self.head_file = Some(path);
        self
    }

    /// Where the side file is, for [`crate::journal::export::verify`].
    #[must_use]
    pub fn head_file_path(&self) -> Option<&Path> {
        self.head_file.as_deref()
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

/// A journal that was opened for writing.
#[derive(Debug)]
pub struct Opened {
    /// The journal.
    pub journal: Sql,
    /// What the side file says. On damage the file is left as it is, so that the next start finds the same: it is the
    /// operator who removes it after having looked. `Fine` where there is no side file (PostgreSQL).
    pub head_check: HeadCheck,
}

impl Sql {
    /// Opens for writing: creates and migrates what is missing.
    ///
    /// # Errors
    /// `Refused`: another process has this SQLite file open for writing; PostgreSQL would not make commits durable; a newer
    /// nightshift has migrated it. `Unavailable`, `Damaged` as anywhere.
    pub async fn open(options: &Options) -> Result<Opened, Error> {
        let (readers, lock) = match &options.place {
            Place::Sqlite(sqlite) => {
                let lock = lock(&beside(sqlite.get_filename(), ".lock"))?;
                let first = sqlite.as_ref().clone().create_if_missing(true);
                let mut conn = writer_options(first).connect().await.map_err(super::failed)?;
                SQLITE_MIGRATIONS.run_direct(None, &mut conn, false).await.map_err(not_migrated)?;
                conn.close().await.map_err(super::failed)?;
                (sqlite_readers(sqlite.as_ref().clone(), false), Some(lock))
            }
            Place::Postgres(postgres) => {
                // Migrating may take its time; being reached may not.
                let mut conn = super::in_time(postgres.connect()).await?;
                POSTGRES_MIGRATIONS.run_direct(None, &mut conn, false).await.map_err(not_migrated)?;
                conn.close().await.map_err(super::failed)?;
                (postgres_readers(postgres.as_ref().clone()), None)
            }
        };
        let mut journal = Self::new(options.place.clone(), readers, false, lock);
        journal.turn().await?.give_back();
        let head_check = match &options.head_file {
            None => HeadCheck::Fine,
            Some(path) => {
                let unusable = |error: std::io::Error| Error::Refused {
                    what: format!("the journal's side file {} can't be used: {error}", path.display()),
                    hint: "it must be a file that nightshift may write".to_owned(),
                };
                let check = head_file::compare(&journal, head_file::read(path).map_err(unusable)?).await?;
                if !check.is_damage() {
                    journal.head_file = Some(HeadFile::open(path).map_err(unusable)?);
                }
                check
            }
        };
        Ok(Opened { journal, head_check })
    }

    /// Opens for reading only, beside a running daemon if there is one. Nothing is created or migrated.
    ///
    /// # Errors
    /// `Refused` where there is no journal, `Damaged` where there is something else.
    pub async fn open_read_only(options: &Options) -> Result<Self, Error> {
        let readers = match &options.place {
            Place::Sqlite(sqlite) => {
                let path = sqlite.get_filename();
                if !path.is_file() {
                    let what = format!("there is no journal at {}", path.display());
                    return Err(Error::Refused { what, hint: "name the file that the daemon writes".to_owned() });
                }
                sqlite_readers(sqlite.as_ref().clone(), true)
            }
            Place::Postgres(postgres) => postgres_readers(postgres.as_ref().clone()),
        };
        let journal = Self::new(options.place.clone(), readers, true, None);
        journal.find_table().await?;
        Ok(journal)
    }

    /// A connection for writing, checked for durability.
    pub(super) async fn connect(&self) -> Result<Conn, Error> {
        match &self.place {
            // Without create: a file that went away under us must not come back empty.
            Place::Sqlite(sqlite) => {
                let conn = writer_options(sqlite.as_ref().clone()).connect().await.map_err(super::failed)?;
                Ok(Conn::Sqlite(conn))
            }
            Place::Postgres(postgres) => {
                let mut conn = postgres.connect().await.map_err(super::failed)?;
                let row = sqlx::query("SHOW synchronous_commit").fetch_one(&mut conn).await.map_err(super::failed)?;
                if row.try_get::<String, _>(0).map_err(super::failed)? == "off" {
                    return Err(Error::Refused {
                        what: "the journal's PostgreSQL has synchronous_commit=off: a crash would lose acknowledged alerts"
                            .to_owned(),
                        hint: "ALTER ROLE … SET synchronous_commit = on (or local), or set it in postgresql.conf"
                            .to_owned(),
                    });
                }
                sqlx::query(STATEMENT_TIMEOUT).execute(&mut conn).await.map_err(super::failed)?;
                Ok(Conn::Postgres(conn))
            }
        }
    }

    async fn find_table(&self) -> Result<(), Error> {
        use crate::journal::Journal as _;
        match self.extent().await {
            Err(Error::Unavailable { reason }) if reason.contains("journal") => Err(Error::Refused {
                what: format!("there is no journal in this database: {reason}"),
                hint: "name the database that the daemon writes".to_owned(),
            }),
            other => other.map(|_| ()),
        }
    }
}

/// WAL, each commit synced. The checkpoint stays at SQLite's 1000 pages: rarer ones make the worst commit longer.
fn writer_options(options: SqliteConnectOptions) -> SqliteConnectOptions {
    let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
    options.busy_timeout(WAIT).disable_statement_logging()
}

/// Opened when first used, not before. Beside a daemon's own pool nothing is written; a stand-alone reader opens
/// the file read-only as well.
fn sqlite_readers(options: SqliteConnectOptions, alone: bool) -> Pool {
    let options = options.busy_timeout(WAIT).read_only(alone).pragma("query_only", "ON").disable_statement_logging();
    let pool = SqlitePoolOptions::new().max_connections(READERS).acquire_timeout(WAIT);
    Pool::Sqlite(pool.connect_lazy_with(options))
}

fn postgres_readers(options: PgConnectOptions) -> Pool {
    let pool = PgPoolOptions::new().max_connections(READERS).acquire_timeout(WAIT);
    Pool::Postgres(pool.connect_lazy_with(options.disable_statement_logging()))
}

/// One writing process per SQLite file. The kernel frees it when the process dies, however it dies.
fn lock(path: &Path) -> Result<File, Error> {
    let unavailable = |error| Error::Unavailable { reason: format!("{}: {error}", path.display()) };
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(unavailable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Refused {
            what: format!("another nightshift is writing this journal (it holds {})", path.display()),
            hint: "one live instance per journal: stop it first, or give this one another file".to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(unavailable(error)),
    }
}

fn not_migrated(error: MigrateError) -> Error {
    let refused = |what: &str, hint: &str| Error::Refused { what: what.to_owned(), hint: hint.to_owned() };
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => super::failed(error),
        MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => refused(
            "a newer nightshift has written this journal",
            "run that version or a later one; an older one can't read it",
        ),
        other => {
            refused(&format!("the journal can't be migrated: {other}"), "restore it from a backup, or ask for help")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_commit_on_sqlite_is_synced_and_checkpoints_stay_frequent() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Sql::open(&Options::sqlite(&folder.path().join("nightshift.db"))).await.unwrap().journal;
        let mut turn = journal.turn().await.unwrap();
        let Conn::Sqlite(conn) = &mut turn.conn else { panic!() };
        for (pragma, wanted) in [("synchronous", 2), ("wal_autocheckpoint", 1_000), ("busy_timeout", 5_000)] {
            let text = sqlx::AssertSqlSafe(format!("PRAGMA {pragma}"));
            assert_eq!(sqlx::query_scalar::<_, i64>(text).fetch_one(&mut *conn).await.unwrap(), wanted, "{pragma}");
        }
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *conn).await.unwrap();
        assert_eq!(mode, "wal");
    }

    #[test]
    fn a_password_is_not_shown() {
        let options = Options::parse("postgres://u:hunter2@db.example/night?sslmode=require").unwrap();
        let shown = format!("{options:?}");
        assert!(shown.contains("db.example night") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_sqlite_url_names_its_file_and_the_side_file_beside_it() {
        for (url, path) in [("sqlite:nightshift.db", "nightshift.db"), ("sqlite:///var/lib/n.db", "/var/lib/n.db")] {
            let options = Options::parse(url).unwrap();
            assert!(
                matches!(&options.place, Place::Sqlite(sqlite) if sqlite.get_filename() == Path::new(path)),
                "{url}"
            );
            assert_eq!(options.head_file_path(), Some(Path::new(&format!("{path}.head"))));
        }
    }
}
