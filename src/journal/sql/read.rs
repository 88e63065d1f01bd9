//! What is read, in bounded pages, on the readers' pool. A value that can't be right is named by its entry.

use super::{Sql, counted, failed, on, stored};
use crate::journal::{Error, Extent, GENESIS, Hash, Head, InboxItem, PAGE_ROWS, Row, Snapshot, evidence_checked};
use sqlx::{ColumnIndex, Decode, Type, query, query_as, query_scalar};

/// Reads `$sql` with its parameters by `$fetch` from whichever database it is.
macro_rules! fetch {
    ($journal:expr, $make:expr, $fetch:ident) => {
        $journal.within(async { on!(&$journal.readers, Pool, pool => $make.$fetch(pool).await) }).await
    };
}

/// Reads entries.
macro_rules! entries {
    ($journal:expr, $make:expr) => {
        $journal
            .within(async {
                Ok(on!(&$journal.readers, Pool, pool => {
                    $make.fetch_all(pool).await?.iter().map(entry).collect::<Result<Vec<_>, _>>()
                }))
            })
            .await?
    };
}

impl Sql {
    pub(super) async fn read_head(&self) -> Result<Head, Error> {
        let last = "SELECT seq, hash FROM journal ORDER BY seq DESC LIMIT 1";
        let anchor = "SELECT seq, hash FROM snapshot ORDER BY seq DESC LIMIT 1";
        for text in [last, anchor] {
            if let Some((seq, hash)) = fetch!(self, query_as::<_, (i64, Vec<u8>)>(text), fetch_optional)? {
                let seq = counted(seq, "the last seq")?;
                return Ok(Head { seq, hash: hash_of(&hash, seq)? });
            }
        }
        Ok(GENESIS)
    }

    pub(super) async fn read_extent(&self) -> Result<Option<Extent>, Error> {
        let text = "SELECT (SELECT MIN(seq) FROM journal), (SELECT MAX(seq) FROM journal)";
        match fetch!(self, query_as::<_, (Option<i64>, Option<i64>)>(text), fetch_one)? {
            (Some(oldest), Some(newest)) => {
                Ok(Some(Extent { oldest: counted(oldest, "a seq")?, newest: counted(newest, "a seq")? }))
            }
            _ => Ok(None),
        }
    }

    pub(super) async fn read_row(&self, seq: u64) -> Result<Option<Row>, Error> {
        let seq = stored(seq)?;
        let text = "SELECT seq, at, epoch, incident, cause, body, hash FROM journal WHERE seq = $1";
        Ok(entries!(self, query(text).bind(seq))?.pop())
    }

    pub(super) async fn read_rows(&self, from_seq: u64, limit: u64) -> Result<Vec<Row>, Error> {
        let (from_seq, limit) = (stored(from_seq)?, stored(limit.min(PAGE_ROWS))?);
        let text =
            "SELECT seq, at, epoch, incident, cause, body, hash FROM journal WHERE seq >= $1 ORDER BY seq LIMIT $2";
        entries!(self, query(text).bind(from_seq).bind(limit))
    }

    pub(super) async fn read_rows_of_incident(&self, incident: u64, from: u64, limit: u64) -> Result<Vec<Row>, Error> {
        let (incident, from, limit) = (stored(incident)?, stored(from)?, stored(limit.min(PAGE_ROWS))?);
        let text = "SELECT seq, at, epoch, incident, cause, body, hash FROM journal
                    WHERE incident = $1 AND seq >= $2 ORDER BY seq LIMIT $3";
        entries!(self, query(text).bind(incident).bind(from).bind(limit))
    }

    pub(super) async fn read_policy(&self, hash: Hash) -> Result<Option<String>, Error> {
        let text = "SELECT text FROM policy WHERE hash = $1";
        fetch!(self, query_scalar::<_, String>(text).bind(hash.0.to_vec()), fetch_optional)
    }

    pub(super) async fn read_snapshot(&self, seq: u64) -> Result<Option<Snapshot>, Error> {
        let seq = stored(seq)?;
        let text = "SELECT seq, version, hash, state, digest FROM snapshot WHERE seq = $1";
        let found = fetch!(self, query_as::<_, SnapshotColumns>(text).bind(seq), fetch_optional)?;
        found.map(snapshot).transpose()
    }

    pub(super) async fn read_latest_snapshot(&self, version: u64) -> Result<Option<Snapshot>, Error> {
        let version = stored(version)?;
        let text =
            "SELECT seq, version, hash, state, digest FROM snapshot WHERE version = $1 ORDER BY seq DESC LIMIT 1";
        let found = fetch!(self, query_as::<_, SnapshotColumns>(text).bind(version), fetch_optional)?;
        found.map(snapshot).transpose()
    }

    pub(super) async fn read_snapshots(&self) -> Result<Vec<u64>, Error> {
        let found = fetch!(self, query_scalar::<_, i64>("SELECT seq FROM snapshot ORDER BY seq"), fetch_all)?;
        found.into_iter().map(|seq| counted(seq, "a snapshot's seq")).collect()
    }

    pub(super) async fn read_evidence(&self, digest: Hash) -> Result<Option<Vec<u8>>, Error> {
        let text = "SELECT body FROM evidence WHERE digest = $1";
        let found = fetch!(self, query_scalar::<_, Vec<u8>>(text).bind(digest.0.to_vec()), fetch_optional)?;
        found.map(|body| evidence_checked(digest, body)).transpose()
    }

    pub(super) async fn read_inbox(&self, limit: u64) -> Result<Vec<InboxItem>, Error> {
        let limit = stored(limit.min(PAGE_ROWS))?;
        let text = "SELECT id, at, body FROM inbox ORDER BY id LIMIT $1";
        let found = fetch!(self, query_as::<_, (i64, i64, String)>(text).bind(limit), fetch_all)?;
        found.into_iter().map(|(id, at, body)| Ok(InboxItem { id: counted(id, "an inbox id")?, at, body })).collect()
    }
}

type SnapshotColumns = (i64, i64, Vec<u8>, Vec<u8>, Vec<u8>);

fn snapshot((seq, version, hash, state, digest): SnapshotColumns) -> Result<Snapshot, Error> {
    let seq = counted(seq, "a snapshot's seq")?;
    let version = counted(version, "a snapshot's version")?;
    Snapshot { seq, version, hash: hash_of(&hash, seq)?, state, digest: hash_of(&digest, seq)? }.checked()
}

fn hash_of(bytes: &[u8], seq: u64) -> Result<Hash, Error> {
    Hash::try_from(bytes).map_err(|what| Error::Damaged { seq: Some(seq), what })
}

/// An entry from its columns. Column by column, so that one that can't be read is named.
fn entry<'r, R>(row: &'r R) -> Result<Row, Error>
where
    R: sqlx::Row,
    usize: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    Option<i64>: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
{
    let seq = counted(row.try_get(0).map_err(failed)?, "a seq")?;
    let unreadable = |column: &str, error: sqlx::Error| Error::Damaged {
        seq: Some(seq),
        what: format!("its {column} can't be read: {error}"),
    };
    let number = |column: &str, number: i64| {
        u64::try_from(number)
            .map_err(|_| Error::Damaged { seq: Some(seq), what: format!("its {column} is negative: {number}") })
    };
    let incident: Option<i64> = row.try_get(3).map_err(|error| unreadable("incident", error))?;
    Ok(Row {
        seq,
        at: row.try_get(1).map_err(|error| unreadable("time", error))?,
        epoch: number("epoch", row.try_get(2).map_err(|error| unreadable("epoch", error))?)?,
        incident: incident.map(|incident| number("incident", incident)).transpose()?,
        cause: row.try_get(4).map_err(|error| unreadable("cause", error))?,
        body: row.try_get(5).map_err(|error| unreadable("body", error))?,
        hash: hash_of(&row.try_get::<Vec<u8>, _>(6).map_err(|error| unreadable("hash", error))?, seq)?,
    })
}
