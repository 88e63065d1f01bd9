//! What the engine says after each commit, for who waits for it: the work, that letters changed, the head, its health.

use crate::{
    decide::work::Work,
    model::{event::Event, input::Input, time::Micros},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use tokio::sync::watch;

/// Watched by driver, courier, followers of the journal.
pub struct Published {
    pub(super) work: watch::Sender<Arc<Vec<Work>>>,
    pub(super) letters: watch::Sender<u64>,
    pub(super) head: watch::Sender<u64>,
    pub(super) epoch: AtomicU64,
    pub(super) lead: u64,
    pub(super) journal_down: AtomicBool,
    pub(super) poisoned: AtomicU64,
    pub(super) ended: AtomicBool,
}

/// The engine's own state, without waiting for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// The last committed entry.
    pub seq: u64,
    /// See [`Published::epoch`].
    pub epoch: u64,
    /// The leadership as the journal counts it.
    pub lead: u64,
    /// The last commit failed or hangs: webhooks get 503.
    pub journal_down: bool,
    /// Inputs that could not be decided since the start.
    pub poisoned: u64,
    /// It decides no more: stopped, fenced, or failed.
    pub ended: bool,
}

impl Published {
    pub(super) fn new(lead: u64, seq: u64) -> Published {
        Published {
            work: watch::Sender::new(Arc::default()),
            letters: watch::Sender::new(0),
            head: watch::Sender::new(seq),
            epoch: AtomicU64::new(0),
            lead,
            journal_down: AtomicBool::new(false),
            poisoned: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        }
    }

    /// All work, whenever it may have changed.
    #[must_use]
    pub fn work(&self) -> watch::Receiver<Arc<Vec<Work>>> {
        self.work.subscribe()
    }

    /// Moves whenever the owed letters may have changed.
    #[must_use]
    pub fn letters(&self) -> watch::Receiver<u64> {
        self.letters.subscribe()
    }

    /// The last committed entry's seq.
    #[must_use]
    pub fn head(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// The starts so far, this one included, as the state counts them: an intent of another epoch is not ours.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn journal_is_down(&self) -> bool {
        self.journal_down.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn health(&self) -> Health {
        Health {
            seq: *self.head.borrow(),
            epoch: self.epoch(),
            lead: self.lead,
            journal_down: self.journal_is_down(),
            poisoned: self.poisoned.load(Ordering::Relaxed),
            ended: self.ended.load(Ordering::Relaxed),
        }
    }
}

/// Hears of everything that the engine commits: metrics are made from this, so they and the journal say the same.
/// Called by the engine between two batches: must not block.
pub trait EngineObserver: Send + Sync {
    /// One batch is durable: inputs decided, entries written, and how long the commit took.
    fn batch(&self, _inputs: usize, _entries: usize, _commit_micros: u64) {}

    /// One input of it. `known`: nothing was written for it.
    fn input(&self, _cause: &'static str, _known: bool) {}

    /// One entry, after its commit.
    fn entry(&self, _seq: u64, _at: Micros, _input: &Input, _events: &[Event]) {}

    /// An append failed; it is tried again.
    fn commit_failed(&self) {}
}

/// Nobody listens.
pub struct NoObserver;

impl EngineObserver for NoObserver {}
