//! Folding the journal into a state: the newest snapshot that fits, then every entry behind it, the chain verified on
//! the way.
//!
//! Damage is noticed and named, never guessed around: what can be read is still folded, so that nothing which was
//! promised is dropped, and who starts on it acts on nothing until a person says so.

use super::entry::{self, Entry};
use crate::{
    decide::{State, state::STATE_VERSION},
    driver::tasks::panic_message,
    journal::{self, GENESIS, Head, Journal, PAGE_ROWS, Snapshot, chain::Verifier},
    model::time::Micros,
};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A state and the place in the journal that it was folded up to.
pub struct Folded {
    pub state: State,
    pub head: Head,
    /// Of the last entry; the beginning of time for an empty journal.
    pub at: Micros,
    /// The cause of the last entry that was folded.
    pub last_cause: Option<String>,
    /// The first thing that is wrong.
    pub damage: Option<String>,
    verifier: Verifier,
}

impl Folded {
    #[must_use]
    pub fn nothing() -> Folded {
        Folded::from_anchor(State::default(), GENESIS)
    }

    fn from_anchor(state: State, head: Head) -> Folded {
        let verifier = Verifier::new(head);
        Folded { state, head, at: Micros(i64::MIN), last_cause: None, damage: None, verifier }
    }

    pub(super) fn from_snapshot(snapshot: &Snapshot) -> Result<Folded, String> {
        let state = serde_json::from_slice(&snapshot.state).map_err(|error| error.to_string())?;
        Ok(Folded::from_anchor(state, snapshot.head()))
    }

    fn is_damaged(&mut self, what: String) {
        tracing::error!(what, "the journal is damaged");
        self.damage.get_or_insert(what);
    }

    /// The row of the snapshot itself: its time and cause are not in the state.
    fn stands_on(&mut self, row: &journal::Row) {
        self.at = self.at.max(Micros(row.at));
        self.last_cause = Some(row.cause.clone());
        if row.hash != self.head.hash {
            self.is_damaged(format!("entry {} is not the one that its snapshot stands for", row.seq));
        }
    }

    /// Follows one more row.
    pub fn follow(&mut self, row: &journal::Row) {
        if let Err(damage) = self.verifier.follow(row) {
            self.is_damaged(damage.to_string());
        }
        self.head = row.head();
        self.at = self.at.max(Micros(row.at));
        self.last_cause = Some(row.cause.clone());
        match entry::open(row) {
            Err(error) => self.is_damaged(error.to_string()),
            Ok(entry) => {
                if let Err(why) = apply(&mut self.state, &entry) {
                    self.is_damaged(format!("entry {}: {why}", row.seq));
                }
            }
        }
    }

    /// Follows the journal to its end. How many entries that were.
    pub async fn catch_up(&mut self, journal: &dyn Journal) -> Result<u64, journal::Error> {
        let mut count = 0;
        loop {
            let rows = journal.rows(self.head.seq.saturating_add(1), PAGE_ROWS).await?;
            if rows.is_empty() {
                return Ok(count);
            }
            for row in &rows {
                self.follow(row);
                count += 1;
            }
            // A long fold does not starve what shares the thread.
            tokio::task::yield_now().await;
        }
    }
}

/// Applies a recorded entry. A panic is an answer too: it may come from what damage left behind.
fn apply(state: &mut State, entry: &Entry) -> Result<(), String> {
    for event in &entry.events {
        let applied = catch_unwind(AssertUnwindSafe(|| state.apply(entry.at, &entry.input, event)));
        match applied {
            Ok(Ok(())) => {}
            Ok(Err(illegal)) => return Err(illegal.to_string()),
            Err(panic) => return Err(format!("panicked: {}", panic_message(panic.as_ref()))),
        }
    }
    Ok(())
}

/// Folds the whole journal. `Err` only where it cannot be reached.
pub async fn fold(journal: &dyn Journal) -> Result<Folded, journal::Error> {
    let mut folded = fold_beside(journal).await?;
    let end = journal.head().await?;
    if end.seq > folded.head.seq {
        folded
            .is_damaged(format!("entries behind {} cannot be read, but there is one at {}", folded.head.seq, end.seq));
        folded.head = end;
    } else if end.seq < folded.head.seq {
        folded.is_damaged(format!("entries behind {} are gone: a snapshot stands for {}", end.seq, folded.head.seq));
    }
    Ok(folded)
}

/// As [`fold`], while somebody may be writing: that there is more by the time it ends is no damage.
pub(super) async fn fold_beside(journal: &dyn Journal) -> Result<Folded, journal::Error> {
    let mut folded = newest_base(journal).await?;
    if let Some(row) = journal.row(folded.head.seq).await? {
        folded.stands_on(&row);
    }
    folded.catch_up(journal).await?;
    Ok(folded)
}

/// The newest snapshot that can be used, or nothing: then the entries must begin with the first.
async fn newest_base(journal: &dyn Journal) -> Result<Folded, journal::Error> {
    let mut wrong = None;
    match journal.latest_snapshot(u64::from(STATE_VERSION)).await {
        Ok(Some(snapshot)) => match Folded::from_snapshot(&snapshot) {
            Ok(folded) => return Ok(folded),
            Err(why) => wrong = Some(format!("the snapshot of entry {} cannot be read: {why}", snapshot.seq)),
        },
        Ok(None) => {}
        Err(error) if error.retry() => return Err(error),
        Err(error) => wrong = Some(error.to_string()),
    }
    let mut folded = Folded::nothing();
    let oldest = journal.extent().await?.map_or(1, |extent| extent.oldest);
    match wrong {
        Some(what) if oldest > 1 => folded.is_damaged(what),
        Some(what) => tracing::warn!(what, "a snapshot is not used: all entries are there and are folded anew"),
        None if oldest > 1 => {
            folded.is_damaged(format!(
                "entries before {oldest} are gone and no snapshot of this version stands for them"
            ));
        }
        None => {}
    }
    Ok(folded)
}
