//! Snapshots, by a second fold beside the engine: it reads what is durable and never holds the engine up. And pruning:
//! what a snapshot stands for, and evidence that is old enough, goes.

use super::{
    clock::Clock,
    fold::{self, Folded},
};
use crate::{
    decide::state::STATE_VERSION,
    journal::{self, Snapshot},
    model::time::{Micros, Span},
};
use std::{future::Future, sync::Arc};
use tokio::sync::watch;

/// Entries between two snapshots at least: after a crash a start folds at most so many.
const EVERY_ENTRIES: u64 = 50_000;
/// A larger state is written more rarely: once the entries behind its snapshot, which take about so many bytes each, are
/// as large as it is. So snapshots never cost more than the journal itself, also in a storm of new alerts.
const ENTRY_BYTES: u64 = 2_000;
/// Between two looks at what may be pruned.
const PRUNE_EVERY: Span = Span::hours(1);
/// After the journal could not be read or written.
const REST: Span = Span::seconds(30);

/// What is kept for how long.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// `journal_keep`.
    pub entries: Span,
}

/// Runs until `stop`, then leaves one last snapshot, so that the next start folds little.
pub async fn run(
    journal: journal::Handle,
    mut head: watch::Receiver<u64>,
    clock: Arc<dyn Clock>,
    keep: Keep,
    stop: impl Future<Output = ()> + Send,
) {
    let mut keeper =
        Keeper { journal, clock, keep, looked: false, kept: 0, every: EVERY_ENTRIES, prune_at: Micros(i64::MIN) };
    let mut stop = std::pin::pin!(stop);
    loop {
        let seq = *head.borrow_and_update();
        let rest = match keeper.turn(seq).await {
            Ok(()) => None,
            Err(error) => {
                tracing::warn!(%error, "no snapshot or pruning now; it is tried again");
                Some(keeper.clock.now() + REST)
            }
        };
        let until = rest.unwrap_or(keeper.prune_at);
        tokio::select! {
            biased;
            () = &mut stop => break,
            changed = next_head(&mut head, rest.is_some(), keeper.kept.saturating_add(keeper.every)) => {
                if !changed { break }
            }
            () = keeper.clock.sleep_until(until) => {}
        }
    }
    if let Err(error) = keeper.last_snapshot().await {
        tracing::warn!(%error, "no last snapshot: the next start folds more");
    }
}

/// Until the head has reached `seq`; false: the engine is gone. While resting, the head does not matter.
async fn next_head(head: &mut watch::Receiver<u64>, resting: bool, seq: u64) -> bool {
    if resting {
        std::future::pending::<()>().await;
    }
    head.wait_for(|head| *head >= seq).await.is_ok()
}

struct Keeper {
    journal: journal::Handle,
    clock: Arc<dyn Clock>,
    keep: Keep,
    /// Which snapshots there are is known.
    looked: bool,
    /// The entry of the last snapshot.
    kept: u64,
    /// Entries until the next.
    every: u64,
    prune_at: Micros,
}

impl Keeper {
    async fn turn(&mut self, head: u64) -> Result<(), journal::Error> {
        if !self.looked {
            let newest = self.journal.snapshots().await?.last().copied();
            self.kept = newest.unwrap_or(0);
            self.looked = true;
        }
        if head >= self.kept.saturating_add(self.every) {
            self.snapshot().await?;
        }
        let now = self.clock.now();
        if now >= self.prune_at {
            self.prune(now).await?;
            self.prune_at = now + PRUNE_EVERY;
        }
        Ok(())
    }

    async fn last_snapshot(&mut self) -> Result<(), journal::Error> {
        if self.journal.head().await?.seq > self.kept { self.snapshot().await } else { Ok(()) }
    }

    /// A damaged journal gets none: a snapshot would hide the damage.
    async fn snapshot(&mut self) -> Result<(), journal::Error> {
        // From the snapshot before, each time: keeping this fold would keep a second state in memory for good.
        let Folded { state, head, damage, .. } = fold::fold_beside(self.journal.as_ref()).await?;
        if damage.is_none() {
            let text = serde_json::to_vec(&state);
            drop(state);
            match text {
                Ok(state) => {
                    self.every = EVERY_ENTRIES.max(state.len() as u64 / ENTRY_BYTES);
                    let snapshot = Snapshot::sealed(head, u64::from(STATE_VERSION), state);
                    self.journal.put_snapshot(&snapshot).await?;
                    tracing::debug!(seq = head.seq, bytes = snapshot.state.len(), "snapshot kept");
                }
                Err(error) => tracing::error!(%error, "the state cannot be written as a snapshot"),
            }
        }
        self.kept = head.seq;
        Ok(())
    }

    /// Whole entries below a snapshot, once they are older than `keep`; and evidence that has run out.
    async fn prune(&mut self, now: Micros) -> Result<(), journal::Error> {
        let evidence = self.journal.prune_evidence(now.0).await?;
        let before = now - self.keep.entries;
        let mut up_to = None;
        for seq in self.journal.snapshots().await? {
            match self.journal.row(seq).await? {
                Some(row) if Micros(row.at) < before => up_to = Some(seq),
                Some(_) => break,
                // It already anchors what is left.
                None => {}
            }
        }
        let entries = match up_to {
            Some(seq) => self.journal.prune(seq).await?,
            None => 0,
        };
        self.thin_out(up_to).await?;
        if evidence > 0 || entries > 0 {
            tracing::info!(entries, evidence, "pruned what is older than it is kept");
        }
        Ok(())
    }

    /// Snapshots are large: two recent ones, and about one per [`KEEP_APART`] to prune by, are enough.
    async fn thin_out(&self, anchor: Option<u64>) -> Result<(), journal::Error> {
        let seqs = self.journal.snapshots().await?;
        let recent = seqs.len().saturating_sub(2);
        let mut last_kept: Option<Micros> = None;
        for seq in seqs.into_iter().take(recent).filter(|seq| Some(*seq) != anchor) {
            let Some(row) = self.journal.row(seq).await? else { continue };
            let at = Micros(row.at);
            match last_kept {
                Some(kept) if at - kept < KEEP_APART => {
                    self.journal.drop_snapshot(seq).await?;
                }
                _ => last_kept = Some(at),
            }
        }
        Ok(())
    }
}

/// Entries are pruned with this precision.
const KEEP_APART: Span = Span::hours(24);
