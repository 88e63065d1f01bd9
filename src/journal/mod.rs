//! The journal: one append-only, hash-chained table of entries, and the few small tables that live beside it.
//!
//! It keeps text. What a body means (inputs, events, state) is the business of [`crate::model`] and [`crate::decide`];
//! that is why it can be verified by somebody who has neither. It never decides who leads: the key `seq` is the fence,
//! the `leader` row only says who is alive.
//!
//! - [`chain`] — the hash over an entry, and following a chain.
//! - [`sql`] — the real one: SQLite (one machine) or PostgreSQL (several), one text of SQL for both.
//! - [`memory`] — its twin for tests and the simulator, with faults to inject. Both pass the same contract tests.
//! - [`head_file`] — tells a journal whose tail was cut.
//! - [`export`] — verify and export a whole journal, beside a running daemon.
//!
//! # How the engine uses it
//! ```text
//! let opened = sql::Sql::open(&options).await?;             // migrates; opened.head_check says whether the tail is there
//! let journal: Handle = Arc::new(opened.journal);
//! let Lead::Taken { epoch } = journal.take_lead(holder, now, until).await? else { refuse to start };
//! let mut head = journal.head().await?;                       // GENESIS when empty
//! …  let row = Row::sealed(&head.hash, head.seq + 1, now, epoch, incident, cause, body);
//! match journal.append(&rows, &inbox_ids).await {
//!     Ok(())                               => durable: answer,
//!     Err(AppendError::Unavailable { .. }) => keep the same rows, retry; nothing is known about the commit,
//!     Err(AppendError::Clash)              => journal.row(seq): our hash = it was committed, another's = somebody else leads,
//! }
//! ```
//! A retry of the same rows is always safe: committed or not, they go in once.

pub mod chain;
#[cfg(test)]
mod contract;
pub mod export;
pub mod head_file;
pub mod memory;
pub mod sql;

pub use chain::{Damage, GENESIS, Hash, Head};
use serde::{Deserialize, Serialize};
use std::{pin::Pin, sync::Arc};

/// What engine and readers hold: clones share one journal.
pub type Handle = Arc<dyn Journal>;

/// What every operation returns. Dropping it leaves the journal usable; whether a write happened is then unknown.
pub type Answer<'a, T, E = Error> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

/// The most rows one read gives: 2 kB each, so about 2 MB.
pub const PAGE_ROWS: u64 = 1_000;

/// One entry: an input and every event that it caused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Counts from 1 without gaps.
    pub seq: u64,
    /// Microseconds UTC, never decreasing: the `now` that the entry was decided with.
    pub at: i64,
    /// The leadership that wrote it.
    pub epoch: u64,
    /// The incident it concerns, counted from 1.
    pub incident: Option<u64>,
    /// The input's tag.
    pub cause: String,
    /// Input and events, as text. No NUL (PostgreSQL refuses it; JSON has none).
    pub body: String,
    /// [`chain::seal`] of all of the above and the hash of the entry before.
    pub hash: Hash,
}

impl Row {
    /// An entry chained to the one whose hash is `previous`.
    #[must_use]
    pub fn sealed(
        previous: &Hash,
        seq: u64,
        at: i64,
        epoch: u64,
        incident: Option<u64>,
        cause: String,
        body: String,
    ) -> Self {
        let hash = chain::seal(previous, seq, at, epoch, incident, &cause, &body);
        Self { seq, at, epoch, incident, cause, body, hash }
    }

    /// The hash it should have behind `previous`.
    #[must_use]
    pub fn seal(&self, previous: &Hash) -> Hash {
        chain::seal(previous, self.seq, self.at, self.epoch, self.incident, &self.cause, &self.body)
    }

    /// Its place in the chain.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash }
    }
}

/// State folded up to and with entry `seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The last entry folded in.
    pub seq: u64,
    /// Of the shape of `state`.
    pub version: u64,
    /// Of entry `seq`: anchors the entries behind it once it and the older ones are gone.
    pub hash: Hash,
    /// Opaque here.
    pub state: Vec<u8>,
    /// SHA-256 over seq, version (8 bytes big-endian each), hash and state. A snapshot that does not fit it is never given.
    pub digest: Hash,
}

impl Snapshot {
    /// A snapshot with its digest.
    #[must_use]
    pub fn sealed(at: Head, version: u64, state: Vec<u8>) -> Self {
        let mut snapshot = Self { seq: at.seq, version, hash: at.hash, state, digest: at.hash };
        snapshot.digest = snapshot.digest_of_content();
        snapshot
    }

    /// Its place in the chain.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash }
    }

    fn digest_of_content(&self) -> Hash {
        let mut bytes = Vec::with_capacity(48 + self.state.len());
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.version.to_be_bytes());
        bytes.extend(self.hash.0);
        bytes.extend(&self.state);
        chain::digest(&bytes)
    }

    /// The snapshot as read, or what is wrong with it.
    fn checked(self) -> Result<Self, Error> {
        if self.digest == self.digest_of_content() {
            return Ok(self);
        }
        Err(Error::Damaged { seq: Some(self.seq), what: "the snapshot does not fit its digest".to_owned() })
    }
}

/// A delivery taken in by a replica that does not lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxItem {
    /// Names it in [`Journal::append`]. Never used twice; not in the order of commits.
    pub id: u64,
    /// When it was received, microseconds UTC.
    pub at: i64,
    /// Opaque here.
    pub body: String,
}

/// Which entries are held. There are no gaps between the two in a journal that is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Extent {
    /// 1, or more once older entries were pruned.
    pub oldest: u64,
    /// The last one.
    pub newest: u64,
}

impl Extent {
    /// How many entries there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.newest.saturating_sub(self.oldest).saturating_add(1)
    }
}

/// The answer to [`Journal::take_lead`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lead {
    /// This holder leads; `epoch` is higher than any before.
    Taken {
        /// To be written into every entry.
        epoch: u64,
    },
    /// Another one is alive.
    Held {
        /// Who.
        by: String,
        /// Until when unless it renews, microseconds UTC.
        until: i64,
    },
}

/// Why rows did not go in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The first seq, or a later one, is taken. Nothing of the batch was written by *this* call. Somebody else leads, or
    /// an earlier commit of ours whose answer was lost went through: `row(seq)` tells by its hash.
    #[error("the seq of an entry is taken")]
    Clash,
    /// I/O, full disk, connection lost, too slow. Whether the batch was committed is unknown: retry the same rows.
    #[error("the journal can't be written: {reason}")]
    Unavailable {
        /// For people.
        reason: String,
    },
}

/// Why a journal could not be opened, read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// I/O, full disk, connection lost, too slow. Worth another try.
    #[error("the journal can't be reached: {reason}")]
    Unavailable {
        /// For people.
        reason: String,
    },
    /// What is stored can't be right. Not worth another try.
    #[error("the journal is damaged{}: {what}", .seq.map(|seq| format!(" at entry {seq}")).unwrap_or_default())]
    Damaged {
        /// The entry or snapshot, where it can be told.
        seq: Option<u64>,
        /// For people.
        what: String,
    },
    /// It must not be used as it is set up.
    #[error("{what}\nhint: {hint}")]
    Refused {
        /// For people.
        what: String,
        /// What to do about it.
        hint: String,
    },
}

impl Error {
    /// Whether trying again later may help.
    #[must_use]
    pub fn retry(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// One word of a closed list, for metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::Damaged { .. } => "damaged",
            Self::Refused { .. } => "refused",
        }
    }
}

/// Evidence as read, or that it is not what was kept.
fn evidence_checked(digest: Hash, body: Vec<u8>) -> Result<Vec<u8>, Error> {
    if chain::digest(&body) == digest {
        return Ok(body);
    }
    Err(Error::Damaged { seq: None, what: format!("the evidence {digest} does not fit its digest") })
}

/// The operations. One writer, any number of readers; every operation may be called from any task.
pub trait Journal: Send + Sync + 'static {
    /// Adds `rows` and removes exactly the inbox items named, in one transaction: all of it or nothing. Durable when it
    /// returns. `rows` are consecutive and sealed by the caller (not checked here; [`export::verify`] does).
    /// No rows and no ids: nothing is done.
    fn append<'a>(&'a self, rows: &'a [Row], inbox_ids: &'a [u64]) -> Answer<'a, (), AppendError>;

    /// The last entry; where none is held the newest snapshot's; [`GENESIS`] for an empty journal.
    fn head(&self) -> Answer<'_, Head>;

    /// The entries held; `None` when there are none.
    fn extent(&self) -> Answer<'_, Option<Extent>>;

    /// One entry.
    fn row(&self, seq: u64) -> Answer<'_, Option<Row>>;

    /// Up to `limit` (at most [`PAGE_ROWS`]) entries from `from_seq` on, in order. Empty: there are no more.
    fn rows(&self, from_seq: u64, limit: u64) -> Answer<'_, Vec<Row>>;

    /// As [`Journal::rows`], of one incident.
    fn rows_of_incident(&self, incident: u64, from_seq: u64, limit: u64) -> Answer<'_, Vec<Row>>;

    /// Keeps a policy under its hash. Again with the same hash: nothing changes.
    fn put_policy<'a>(&'a self, hash: Hash, text: &'a str) -> Answer<'a, ()>;

    /// The policy's text, not checked against `hash` (how it is computed is not known here).
    fn policy(&self, hash: Hash) -> Answer<'_, Option<String>>;

    /// Keeps a snapshot; one of the same seq is replaced. It stays until [`Journal::prune`] or [`Journal::drop_snapshot`].
    fn put_snapshot<'a>(&'a self, snapshot: &'a Snapshot) -> Answer<'a, ()>;

    /// The newest snapshot whose state has this version. [`Error::Damaged`] if it does not fit its digest.
    fn latest_snapshot(&self, version: u64) -> Answer<'_, Option<Snapshot>>;

    /// The snapshot of this seq. [`Error::Damaged`] if it does not fit its digest.
    fn snapshot(&self, seq: u64) -> Answer<'_, Option<Snapshot>>;

    /// The seqs of all snapshots, oldest first.
    fn snapshots(&self) -> Answer<'_, Vec<u64>>;

    /// Forgets a snapshot that is no longer wanted. The one that anchors a pruned journal stays; true if it went.
    fn drop_snapshot(&self, seq: u64) -> Answer<'_, bool>;

    /// Keeps evidence under its digest ([`chain::digest`] of `body`) until `until`; again: the later `until` counts.
    fn put_evidence<'a>(&'a self, digest: Hash, body: &'a [u8], until: i64) -> Answer<'a, ()>;

    /// The evidence. [`Error::Damaged`] if it does not fit its digest.
    fn evidence(&self, digest: Hash) -> Answer<'_, Option<Vec<u8>>>;

    /// Removes evidence whose `until` is at or before `now`; how many.
    fn prune_evidence(&self, now: i64) -> Answer<'_, u64>;

    /// Takes in a delivery for whoever leads. Durable when it returns; the id. As in a row, no NUL in `body`.
    fn push_inbox<'a>(&'a self, at: i64, body: &'a str) -> Answer<'a, u64>;

    /// Up to `limit` (at most [`PAGE_ROWS`]) items by id. Ids may appear below ones already seen: always read all that
    /// is there, and remove by naming ids in [`Journal::append`].
    fn inbox(&self, limit: u64) -> Answer<'_, Vec<InboxItem>>;

    /// Takes the leadership until `until`, unless another holder's is in the future at `now`. The same holder may take it
    /// again at once, with a new epoch: `holder` must name one instance that can't run twice.
    fn take_lead<'a>(&'a self, holder: &'a str, now: i64, until: i64) -> Answer<'a, Lead>;

    /// Prolongs a leadership; false: it was lost.
    fn renew_lead<'a>(&'a self, holder: &'a str, epoch: u64, until: i64) -> Answer<'a, bool>;

    /// Gives a leadership back so that another holder need not wait. One already lost stays as it is.
    fn release_lead<'a>(&'a self, holder: &'a str, epoch: u64) -> Answer<'a, ()>;

    /// Removes the entries that the newest snapshot at or below `up_to` has folded in (its own included), and the
    /// snapshots before it. That snapshot's hash then anchors the chain. How many entries went; 0 without such a snapshot.
    /// Works in pieces so that appends go on between them; stopped half-way it is finished by the next call.
    fn prune(&self, up_to: u64) -> Answer<'_, u64>;
}
