//! What is written, each in one transaction on the writer's connection.

use super::{
    Sql, counted, failed, on, stored,
    text::{Dialect, PARAMETERS, tuples},
};
use crate::journal::{AppendError, Error, Hash, Lead, Row, Snapshot};
use sqlx::{AssertSqlSafe, query, query_as, query_scalar};

/// Columns of a journal row.
const COLUMNS: usize = 7;
/// An INSERT of more rows is prepared anew each time: SQLite takes nearly a kilobyte for each row of a prepared one, and
/// there is one for every size of a batch. Powers of two stay: a full batch is one.
const PREPARED_ROWS: usize = 64;
/// Entries removed in one transaction: some 2 MB, a few milliseconds in which no append can go in.
const PRUNE_ROWS: i64 = 1_000;

/// Runs one statement in a transaction of its own. A connection on which it failed is not used again.
macro_rules! write {
    ($journal:expr, $make:expr, $run:ident) => {{
        let mut turn = $journal.turn().await?;
        let done = $journal
            .within(async { on!(&mut turn.conn, Conn, conn => $make.$run(&mut *conn).await) })
            .await?;
        turn.give_back();
        done
    }};
}

/// As `write!`, for statements that give nothing back: the number of rows touched.
macro_rules! execute {
    ($journal:expr, $make:expr) => {{
        let mut turn = $journal.turn().await?;
        let done = $journal
            .within(async {
                on!(&mut turn.conn, Conn, conn => $make.execute(&mut *conn).await.map(|done| done.rows_affected()))
            })
            .await?;
        turn.give_back();
        done
    }};
}

/// Why an append failed.
enum Failed {
    Clash,
    Other(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// A row's numbers as the databases have them.
struct Numbers {
    seq: i64,
    epoch: i64,
    incident: Option<i64>,
}

impl Numbers {
    fn of(row: &Row) -> Result<Self, Error> {
        let incident = row.incident.map(stored).transpose()?;
        Ok(Self { seq: stored(row.seq)?, epoch: stored(row.epoch)?, incident })
    }
}

impl Sql {
    pub(super) async fn add(&self, rows: &[Row], inbox_ids: &[u64]) -> Result<(), AppendError> {
        if rows.is_empty() && inbox_ids.is_empty() {
            return Ok(());
        }
        match self.try_add(rows, inbox_ids).await {
            Ok(()) => {
                if let Some(last) = rows.last() {
                    self.remember(last.head());
                }
                Ok(())
            }
            Err(Failed::Clash) => Err(AppendError::Clash),
            Err(Failed::Other(Error::Unavailable { reason })) => Err(AppendError::Unavailable { reason }),
            Err(Failed::Other(other)) => Err(AppendError::Unavailable { reason: other.to_string() }),
        }
    }

    /// All of it or nothing. The usual batch is one INSERT, which is a transaction by itself: sqlx costs a hand-over
    /// between threads for each statement, BEGIN and COMMIT included.
    async fn try_add(&self, rows: &[Row], inbox_ids: &[u64]) -> Result<(), Failed> {
        let dialect = self.dialect();
        // A deferred transaction that reads first can't be upgraded on SQLite; this one takes the lock at once.
        let begin = if dialect == Dialect::Sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" };
        let numbers = rows.iter().map(Numbers::of).collect::<Result<Vec<_>, _>>()?;
        let ids = inbox_ids.iter().map(|id| stored(*id)).collect::<Result<Vec<_>, _>>()?;
        let chunk = PARAMETERS.div_euclid(COLUMNS);
        let is_one_statement = rows.len() <= chunk && ids.is_empty();
        let mut turn = self.turn().await?;
        // A connection on which this fails is not given back: closing it undoes what was not committed.
        let done = self
            .within(async {
                Ok(on!(&mut turn.conn, Conn, conn => async {
                    if !is_one_statement {
                        query(begin).execute(&mut *conn).await?;
                    }
                    for (rows, numbers) in rows.chunks(chunk).zip(numbers.chunks(chunk)) {
                        let text = format!(
                            "INSERT INTO journal (seq, at, epoch, incident, cause, body, hash) VALUES {}",
                            tuples(dialect, rows.len(), COLUMNS)
                        );
                        let kept = rows.len() <= PREPARED_ROWS || rows.len().is_power_of_two();
                        let mut insert = query(AssertSqlSafe(text)).persistent(kept);
                        for (row, number) in rows.iter().zip(numbers) {
                            insert = insert.bind(number.seq).bind(row.at).bind(number.epoch).bind(number.incident);
                            insert = insert.bind(row.cause.as_str()).bind(row.body.as_str()).bind(row.hash.0.as_slice());
                        }
                        insert.execute(&mut *conn).await?;
                    }
                    for ids in ids.chunks(PARAMETERS) {
                        let text = format!("DELETE FROM inbox WHERE id IN {}", tuples(dialect, 1, ids.len()));
                        let mut delete = query(AssertSqlSafe(text));
                        for id in ids {
                            delete = delete.bind(*id);
                        }
                        delete.execute(&mut *conn).await?;
                    }
                    if !is_one_statement {
                        query("COMMIT").execute(&mut *conn).await?;
                    }
                    Ok(())
                }
                .await))
            })
            .await?;
        match done {
            Ok(()) => {
                turn.give_back();
                Ok(())
            }
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Err(Failed::Clash),
            Err(error) => Err(Failed::Other(failed(error))),
        }
    }

    pub(super) async fn write_policy(&self, hash: Hash, text: &str) -> Result<(), Error> {
        let insert = "INSERT INTO policy (hash, text) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING";
        execute!(self, query(insert).bind(hash.0.to_vec()).bind(text));
        Ok(())
    }

    pub(super) async fn write_snapshot(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let (seq, version) = (stored(snapshot.seq)?, stored(snapshot.version)?);
        let insert = "INSERT INTO snapshot (seq, version, hash, state, digest) VALUES ($1, $2, $3, $4, $5)
                      ON CONFLICT (seq) DO UPDATE SET version = excluded.version, hash = excluded.hash,
                      state = excluded.state, digest = excluded.digest";
        let (hash, digest) = (snapshot.hash.0.as_slice(), snapshot.digest.0.as_slice());
        execute!(self, query(insert).bind(seq).bind(version).bind(hash).bind(snapshot.state.as_slice()).bind(digest));
        Ok(())
    }

    pub(super) async fn delete_snapshot(&self, seq: u64) -> Result<bool, Error> {
        let delete = "DELETE FROM snapshot WHERE seq = $1
                      AND EXISTS (SELECT 1 FROM journal) AND seq <> (SELECT MIN(seq) - 1 FROM journal)";
        let seq = stored(seq)?;
        Ok(execute!(self, query(delete).bind(seq)) > 0)
    }

    pub(super) async fn write_evidence(&self, digest: Hash, body: &[u8], until: i64) -> Result<(), Error> {
        let insert = "INSERT INTO evidence (digest, body, until) VALUES ($1, $2, $3) ON CONFLICT (digest) DO UPDATE
                      SET until = excluded.until WHERE evidence.until < excluded.until";
        execute!(self, query(insert).bind(digest.0.as_slice()).bind(body).bind(until));
        Ok(())
    }

    pub(super) async fn delete_evidence(&self, now: i64) -> Result<u64, Error> {
        Ok(execute!(self, query("DELETE FROM evidence WHERE until <= $1").bind(now)))
    }

    pub(super) async fn write_inbox(&self, at: i64, body: &str) -> Result<u64, Error> {
        let insert = "INSERT INTO inbox (at, body) VALUES ($1, $2) RETURNING id";
        // All rows are fetched, not the first one only: the statement has to run to its end to be committed.
        let ids = write!(self, query_scalar::<_, i64>(insert).bind(at).bind(body), fetch_all);
        let id = ids.first().ok_or(Error::Unavailable { reason: "the inbox gave no id".to_owned() })?;
        counted(*id, "an inbox id")
    }

    pub(super) async fn write_lead(&self, holder: &str, now: i64, until: i64) -> Result<Lead, Error> {
        // The journal's last epoch counts too: a leader row that was lost must not give an old epoch out again.
        let take = "INSERT INTO leader (one, holder, epoch, until)
                    VALUES (1, $1, COALESCE((SELECT epoch FROM journal ORDER BY seq DESC LIMIT 1), 0) + 1, $2)
                    ON CONFLICT (one) DO UPDATE SET holder = excluded.holder, until = excluded.until,
                    epoch = CASE WHEN excluded.epoch > leader.epoch THEN excluded.epoch ELSE leader.epoch + 1 END
                    WHERE leader.until <= $3 OR leader.holder = $1
                    RETURNING epoch";
        let taken = write!(self, query_scalar::<_, i64>(take).bind(holder).bind(until).bind(now), fetch_all);
        if let Some(epoch) = taken.first() {
            return Ok(Lead::Taken { epoch: counted(*epoch, "the epoch")? });
        }
        let held = "SELECT holder, until FROM leader WHERE one = 1";
        match write!(self, query_as::<_, (String, i64)>(held), fetch_all).pop() {
            Some((by, until)) => Ok(Lead::Held { by, until }),
            None => Err(Error::Unavailable { reason: "the leadership changed hands meanwhile".to_owned() }),
        }
    }

    pub(super) async fn prolong_lead(&self, holder: &str, epoch: u64, until: i64) -> Result<bool, Error> {
        let epoch = stored(epoch)?;
        let update = "UPDATE leader SET until = $1 WHERE one = 1 AND holder = $2 AND epoch = $3";
        Ok(execute!(self, query(update).bind(until).bind(holder).bind(epoch)) > 0)
    }

    pub(super) async fn delete_rows(&self, up_to: u64) -> Result<u64, Error> {
        let up_to = i64::try_from(up_to).unwrap_or(i64::MAX);
        let anchor = "SELECT MAX(seq) FROM snapshot WHERE seq <= $1";
        let anchor = write!(self, query_scalar::<_, Option<i64>>(anchor).bind(up_to), fetch_one);
        let Some(anchor) = anchor else { return Ok(0) };
        let mut removed = 0_u64;
        // The oldest first, so that what is left has no gap. Bounded by what is there: each round removes some or ends.
        let delete = "DELETE FROM journal WHERE seq <= $1 AND seq < (SELECT MIN(seq) FROM journal) + $2";
        loop {
            let piece = execute!(self, query(delete).bind(anchor).bind(PRUNE_ROWS));
            if piece == 0 {
                break;
            }
            removed = removed.saturating_add(piece);
        }
        execute!(self, query("DELETE FROM snapshot WHERE seq < $1").bind(anchor));
        Ok(removed)
    }
}
