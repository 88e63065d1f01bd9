//! The journal in SQLite or PostgreSQL: all the SQL there is, the same text for both.
//!
//! Everything is written through one connection, in turn: on SQLite there can be no more, and on PostgreSQL a leader that
//! can't append should not be able to renew its leadership either. A connection that answered with an error is closed
//! and not used again: what state it was in need not be known. Readers have a pool of their own and never wait for it.

mod connect;
mod read;
mod text;
mod write;

pub use connect::{Opened, Options};

use super::{
    Answer, AppendError, Error, Extent, Hash, Head, InboxItem, Journal, Lead, Row, Snapshot, head_file::HeadFile,
};
use connect::Place;
use sqlx::{PgConnection, PgPool, SqliteConnection, SqlitePool};
use std::{fs::File, time::Duration};
use text::Dialect;
use tokio::sync::{Mutex, MutexGuard};

/// The longest that PostgreSQL may take for one transaction or read of ours. Then the connection is given up; a commit
/// that was under way may still go through. SQLite has none: its file is local, and a disk that hangs hangs everything.
const POSTGRES_DEADLINE: Duration = Duration::from_secs(10);

/// Runs the same body on either database.
macro_rules! on {
    ($which:expr, $kind:ident, $name:ident => $body:expr) => {
        match $which {
            $crate::journal::sql::$kind::Sqlite($name) => $body,
            $crate::journal::sql::$kind::Postgres($name) => $body,
        }
    };
}
use on;

/// A journal in a database.
#[derive(Debug)]
pub struct Sql {
    place: Place,
    writer: Mutex<Option<Conn>>,
    readers: Pool,
    read_only: bool,
    head_file: Option<HeadFile>,
    /// Held while this lives, so that no second process writes.
    _lock: Option<File>,
}

#[derive(Debug)]
enum Conn {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

#[derive(Debug)]
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// The writer's connection, taken out for one operation. Unless it is given back it is closed.
struct Turn<'a> {
    place: MutexGuard<'a, Option<Conn>>,
    conn: Conn,
}

impl Turn<'_> {
    fn give_back(mut self) {
        *self.place = Some(self.conn);
    }
}

impl Sql {
    fn new(place: Place, readers: Pool, read_only: bool, lock: Option<File>) -> Self {
        Self { place, writer: Mutex::new(None), readers, read_only, head_file: None, _lock: lock }
    }

    /// Closes all connections in order; SQLite then folds its WAL into the file.
    pub async fn close(self) {
        on!(&self.readers, Pool, pool => pool.close().await);
        if let Some(conn) = self.writer.lock().await.take() {
            let closed = match conn {
                Conn::Sqlite(conn) => sqlx::Connection::close(conn).await,
                Conn::Postgres(conn) => sqlx::Connection::close(conn).await,
            };
            if let Err(error) = closed {
                tracing::debug!(%error, "closing the journal's connection");
            }
        }
    }

    fn dialect(&self) -> Dialect {
        match self.place {
            Place::Sqlite(_) => Dialect::Sqlite,
            Place::Postgres(_) => Dialect::Postgres,
        }
    }

    async fn turn(&self) -> Result<Turn<'_>, Error> {
        if self.read_only {
            return Err(Error::Refused {
                what: "this journal was opened for reading".to_owned(),
                hint: "only the daemon writes".to_owned(),
            });
        }
        let mut place = self.writer.lock().await;
        let conn = match place.take() {
            Some(conn) => conn,
            None => self.within(async { Ok(self.connect().await) }).await??,
        };
        Ok(Turn { place, conn })
    }

    async fn within<T>(&self, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Error> {
        match self.dialect() {
            Dialect::Sqlite => work.await.map_err(failed),
            Dialect::Postgres => in_time(work).await,
        }
    }

    fn remember(&self, head: Head) {
        let Some(file) = &self.head_file else { return };
        if let Err(error) = file.write(head) {
            tracing::warn!(%error, seq = head.seq, "the journal's side file could not be written; a cut tail may go unnoticed");
        }
    }
}

/// Bounds what PostgreSQL, or the way to it, may take.
async fn in_time<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(POSTGRES_DEADLINE, work).await {
        Ok(answer) => answer.map_err(failed),
        Err(_) => Err(Error::Unavailable { reason: "PostgreSQL did not answer in time".to_owned() }),
    }
}

/// An error of sqlx in our words.
fn failed(error: sqlx::Error) -> Error {
    let damaged = match &error {
        sqlx::Error::Database(database) => match database.code().as_deref() {
            // SQLite: CORRUPT and its kin, NOTADB. PostgreSQL: data_corrupted, index_corrupted.
            Some("XX001" | "XX002") => true,
            Some(code) => code.parse::<i64>().is_ok_and(|code| matches!(code & 0xff, 11 | 26)) && code.len() < 5,
            None => false,
        },
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => true,
        _ => false,
    };
    let what = error.to_string();
    if damaged { Error::Damaged { seq: None, what } } else { Error::Unavailable { reason: what } }
}

/// As the databases have integers: signed.
fn stored(number: u64) -> Result<i64, Error> {
    i64::try_from(number)
        .map_err(|_| Error::Unavailable { reason: format!("{number} is beyond the journal's integers") })
}

fn counted(number: i64, what: &str) -> Result<u64, Error> {
    u64::try_from(number).map_err(|_| Error::Damaged { seq: None, what: format!("{what} is negative: {number}") })
}

impl Journal for Sql {
    fn append<'a>(&'a self, rows: &'a [Row], inbox_ids: &'a [u64]) -> Answer<'a, (), AppendError> {
        Box::pin(self.add(rows, inbox_ids))
    }
    fn head(&self) -> Answer<'_, Head> {
        Box::pin(self.read_head())
    }
    fn extent(&self) -> Answer<'_, Option<Extent>> {
        Box::pin(self.read_extent())
    }
    fn row(&self, seq: u64) -> Answer<'_, Option<Row>> {
        Box::pin(self.read_row(seq))
    }
    fn rows(&self, from_seq: u64, limit: u64) -> Answer<'_, Vec<Row>> {
        Box::pin(self.read_rows(from_seq, limit))
    }
    fn rows_of_incident(&self, incident: u64, from_seq: u64, limit: u64) -> Answer<'_, Vec<Row>> {
        Box::pin(self.read_rows_of_incident(incident, from_seq, limit))
    }
    fn put_policy<'a>(&'a self, hash: Hash, text: &'a str) -> Answer<'a, ()> {
        Box::pin(self.write_policy(hash, text))
    }
    fn policy(&self, hash: Hash) -> Answer<'_, Option<String>> {
        Box::pin(self.read_policy(hash))
    }
    fn put_snapshot<'a>(&'a self, snapshot: &'a Snapshot) -> Answer<'a, ()> {
        Box::pin(self.write_snapshot(snapshot))
    }
    fn latest_snapshot(&self, version: u64) -> Answer<'_, Option<Snapshot>> {
        Box::pin(self.read_latest_snapshot(version))
    }
    fn snapshot(&self, seq: u64) -> Answer<'_, Option<Snapshot>> {
        Box::pin(self.read_snapshot(seq))
    }
    fn snapshots(&self) -> Answer<'_, Vec<u64>> {
        Box::pin(self.read_snapshots())
    }
    fn drop_snapshot(&self, seq: u64) -> Answer<'_, bool> {
        Box::pin(self.delete_snapshot(seq))
    }
    fn put_evidence<'a>(&'a self, digest: Hash, body: &'a [u8], until: i64) -> Answer<'a, ()> {
        Box::pin(self.write_evidence(digest, body, until))
    }
    fn evidence(&self, digest: Hash) -> Answer<'_, Option<Vec<u8>>> {
        Box::pin(self.read_evidence(digest))
    }
    fn prune_evidence(&self, now: i64) -> Answer<'_, u64> {
        Box::pin(self.delete_evidence(now))
    }
    fn push_inbox<'a>(&'a self, at: i64, body: &'a str) -> Answer<'a, u64> {
        Box::pin(self.write_inbox(at, body))
    }
    fn inbox(&self, limit: u64) -> Answer<'_, Vec<InboxItem>> {
        Box::pin(self.read_inbox(limit))
    }
    fn take_lead<'a>(&'a self, holder: &'a str, now: i64, until: i64) -> Answer<'a, Lead> {
        Box::pin(self.write_lead(holder, now, until))
    }
    fn renew_lead<'a>(&'a self, holder: &'a str, epoch: u64, until: i64) -> Answer<'a, bool> {
        Box::pin(self.prolong_lead(holder, epoch, until))
    }
    fn release_lead<'a>(&'a self, holder: &'a str, epoch: u64) -> Answer<'a, ()> {
        Box::pin(async move { self.prolong_lead(holder, epoch, 0).await.map(|_| ()) })
    }
    fn prune(&self, up_to: u64) -> Answer<'_, u64> {
        Box::pin(self.delete_rows(up_to))
    }
}
