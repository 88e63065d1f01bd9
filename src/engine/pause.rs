//! The kill switch as the driver sees it: an atomic, set before the pause is journalled and looked at before a write.
//!
//! It works while the journal hangs. A resume lifts only the pauses that were asked for before it: one that comes later
//! stays, whichever of them the engine decides first.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Cheap to share.
#[derive(Debug, Clone, Default)]
pub struct PauseFlag(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    asked: AtomicU64,
    lifted: AtomicU64,
}

/// How many pauses a resume lifts: those asked for before it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifts(u64);

impl PauseFlag {
    /// Effective at once. Journalling it is the caller's next step.
    pub fn set(&self) {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
    }

    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst) > self.0.lifted.load(Ordering::SeqCst)
    }

    /// To be taken when a resume is asked for.
    #[must_use]
    pub(super) fn lifts(&self) -> Lifts {
        Lifts(self.0.asked.load(Ordering::SeqCst))
    }

    /// After the resume was committed.
    pub(super) fn lift(&self, lifts: Lifts) {
        self.0.lifted.fetch_max(lifts.0, Ordering::SeqCst);
    }
}

/// Whether `pause_file`, if there is one, lies there: a resume is refused while it does.
pub async fn pause_file_present(path: Option<&Path>) -> bool {
    match path {
        // What cannot be looked at may be there.
        Some(path) => tokio::fs::try_exists(path).await.unwrap_or(true),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resume_lifts_only_earlier_pauses() {
        let flag = PauseFlag::default();
        assert!(!flag.is_set());
        flag.set();
        flag.set();
        let resume = flag.lifts();
        flag.set();
        flag.lift(resume);
        assert!(flag.is_set(), "a pause asked for after the resume stays");
        flag.lift(flag.lifts());
        assert!(!flag.is_set());
    }
}
