//! What every journal must do, run against each of them; and what only a database can get wrong.
//!
//! - [`cases`] — the contract: memory, SQLite, PostgreSQL.
//! - [`damage`] — bit flips, cut tails, forged snapshots: noticed and named.
//! - [`failure`] — full disk, kill, lost connections, settings that would lose commits.
//! - [`postgres`] — where the tests' PostgreSQL comes from.

mod cases;
mod damage;
mod failure;
mod postgres;

use super::{
    GENESIS, Handle, Hash, Journal, Row,
    memory::Memory,
    sql::{Options, Sql},
};
use std::sync::Arc;
use tempfile::TempDir;

/// A setting of the tests.
#[expect(clippy::disallowed_methods, reason = "tests choose their PostgreSQL by environment")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Whether what is not installed may be left out.
fn hermetic() -> bool {
    setting("NIGHTSHIFT_TESTS").as_deref() == Some("hermetic")
}

/// A database of its own for one test.
struct Site {
    options: Options,
    url: String,
    _folder: TempDir,
}

impl Site {
    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/nightshift.db", folder.path().display());
        Self { options: Options::parse(&url).unwrap(), url, _folder: folder }
    }

    async fn postgres() -> Option<Self> {
        let url = postgres::database().await?;
        let folder = tempfile::tempdir().unwrap();
        let options = Options::parse(&url).unwrap().head_file(folder.path().join("head"));
        Some(Self { options, url, _folder: folder })
    }

    async fn open(&self) -> Sql {
        Sql::open(&self.options).await.unwrap().journal
    }

    fn is_sqlite(&self) -> bool {
        self.url.starts_with("sqlite:")
    }

    /// Does behind the journal's back what a broken disk or a person does.
    async fn execute(&self, text: &str) {
        use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection, query};
        let text = AssertSqlSafe(text.to_owned());
        if self.is_sqlite() {
            let mut conn = SqliteConnection::connect(&self.url).await.unwrap();
            assert!(query(text).execute(&mut conn).await.unwrap().rows_affected() > 0);
            conn.close().await.unwrap();
        } else {
            let mut conn = PgConnection::connect(&self.url).await.unwrap();
            query(text).execute(&mut conn).await.unwrap();
            conn.close().await.unwrap();
        }
    }

    /// Bytes as this database writes them in SQL.
    fn bytes(&self, bytes: &[u8]) -> String {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if self.is_sqlite() { format!("X'{digits}'") } else { format!("'\\x{digits}'") }
    }
}

/// `count` entries behind `previous`, one second and one leadership each; every second one of incident 1042.
fn rows_after(previous: Hash, from: u64, count: u64) -> Vec<Row> {
    let mut previous = previous;
    (from..from + count)
        .map(|seq| {
            let at = 1_767_225_600_000_000 + i64::try_from(seq).unwrap() * 1_000_000;
            let incident = seq.is_multiple_of(2).then_some(1042);
            let body = format!(r#"{{"v":1,"input":{{"alert":"PoolNearlyFull-{seq}"}},"text":"é\u0000 ☂"}}"#);
            let row = Row::sealed(&previous, seq, at, 3, incident, "alert".to_owned(), body);
            previous = row.hash;
            row
        })
        .collect()
}

fn rows(count: u64) -> Vec<Row> {
    rows_after(GENESIS.hash, 1, count)
}

async fn filled(journal: &dyn Journal, count: u64) -> Vec<Row> {
    let rows = rows(count);
    journal.append(&rows, &[]).await.unwrap();
    rows
}

/// One test per journal and case.
macro_rules! contract {
    ($($case:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $case() {
                super::cases::$case(super::Arc::new(super::Memory::new())).await;
            })*
        }
        mod sqlite {
            $(#[tokio::test] async fn $case() {
                let site = super::Site::sqlite();
                super::cases::$case(super::Arc::new(site.open().await)).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test] async fn $case() {
                let Some(site) = super::Site::postgres().await else { return };
                super::cases::$case(super::Arc::new(site.open().await)).await;
            })*
        }
    };
}

contract!(
    an_empty_journal_begins_at_genesis,
    what_was_appended_is_read_back,
    a_taken_seq_clashes_and_nothing_of_the_batch_goes_in,
    a_retry_after_a_lost_answer_is_told_by_the_hash,
    an_append_removes_exactly_the_inbox_items_it_names,
    a_large_batch_goes_in_whole,
    pages_are_bounded,
    one_incident_is_read_by_itself,
    policies_are_kept_once,
    the_latest_snapshot_of_a_version_is_given,
    evidence_is_kept_until_its_time,
    a_second_leader_is_refused_until_the_first_is_gone,
    epochs_only_grow,
    pruning_keeps_the_chain_whole,
    pruning_everything_keeps_the_head,
    an_export_verifies_elsewhere,
    concurrent_writers_never_share_a_seq,
);
