//! The journal's twin in memory: the same contract, every answer ready at once, and faults to inject.
//!
//! Tests and the simulator run the real engine on it. It is never offered as a setting: it forgets everything.

use super::{
    Answer, AppendError, Error, Extent, GENESIS, Hash, Head, InboxItem, Journal, Lead, PAGE_ROWS, Row, Snapshot,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// What goes wrong with one append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails and nothing was written.
    BeforeCommit,
    /// It was committed, but the answer is lost.
    AfterCommit,
}

/// A journal in memory. Clones share everything; [`Memory::crash`] cuts them off.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    kept: Arc<Mutex<Kept>>,
    process: Arc<Process>,
}

/// What survives a crash.
#[derive(Debug, Default)]
struct Kept {
    rows: BTreeMap<u64, Row>,
    policies: BTreeMap<Hash, String>,
    snapshots: BTreeMap<u64, Snapshot>,
    evidence: BTreeMap<Hash, (Vec<u8>, i64)>,
    inbox: BTreeMap<u64, InboxItem>,
    last_inbox_id: u64,
    leader: Option<(String, u64, i64)>,
}

/// What does not.
#[derive(Debug, Default)]
struct Process {
    dead: AtomicBool,
    down: AtomicBool,
    faults: Mutex<VecDeque<Fault>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    /// An empty journal.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the next append without a fault of its own go wrong. Several queue up.
    pub fn fail_next_append(&self, fault: Fault) {
        locked(&self.process.faults).push_back(fault);
    }

    /// While true every operation of this process answers `Unavailable`.
    pub fn set_down(&self, down: bool) {
        self.process.down.store(down, Ordering::SeqCst);
    }

    /// The process dies: this handle and its clones answer `Unavailable` for ever. What was committed is in the journal
    /// that is given back, for the next process.
    #[must_use]
    pub fn crash(&self) -> Self {
        self.process.dead.store(true, Ordering::SeqCst);
        self.for_another_process()
    }

    /// The same journal as seen by another live process (a second replica, a reader): faults are its own.
    #[must_use]
    pub fn for_another_process(&self) -> Self {
        Self { kept: Arc::clone(&self.kept), process: Arc::default() }
    }

    #[cfg(test)]
    pub(super) fn tamper(&self, seq: u64, change: impl FnOnce(&mut Row)) {
        let mut kept = locked(&self.kept);
        let mut row = kept.rows.remove(&seq).expect("a row to tamper with");
        change(&mut row);
        kept.rows.insert(row.seq, row);
    }

    fn kept(&self) -> Result<MutexGuard<'_, Kept>, Error> {
        let reason = match () {
            () if self.process.dead.load(Ordering::SeqCst) => "this process has crashed",
            () if self.process.down.load(Ordering::SeqCst) => "the journal is down",
            () => return Ok(locked(&self.kept)),
        };
        Err(Error::Unavailable { reason: reason.to_owned() })
    }

    fn add(&self, rows: &[Row], inbox_ids: &[u64]) -> Result<(), AppendError> {
        let unavailable = |reason: &str| AppendError::Unavailable { reason: reason.to_owned() };
        let mut kept = self.kept().map_err(|error| unavailable(&error.to_string()))?;
        if rows.is_empty() && inbox_ids.is_empty() {
            return Ok(());
        }
        let fault = locked(&self.process.faults).pop_front();
        if fault == Some(Fault::BeforeCommit) {
            return Err(unavailable("injected: failed before the commit"));
        }
        let twice = rows.windows(2).any(|pair| matches!(pair, [one, two] if one.seq >= two.seq));
        if twice || rows.iter().any(|row| kept.rows.contains_key(&row.seq)) {
            return Err(AppendError::Clash);
        }
        kept.rows.extend(rows.iter().map(|row| (row.seq, row.clone())));
        for id in inbox_ids {
            kept.inbox.remove(id);
        }
        if fault == Some(Fault::AfterCommit) {
            return Err(unavailable("injected: the answer to the commit was lost"));
        }
        Ok(())
    }
}

impl Kept {
    fn anchor(&self) -> Option<u64> {
        let oldest = *self.rows.first_key_value()?.0;
        oldest.checked_sub(1)
    }

    fn prune(&mut self, up_to: u64) -> u64 {
        let Some((&anchor, _)) = self.snapshots.range(..=up_to).next_back() else { return 0 };
        let before = self.rows.len();
        self.rows = self.rows.split_off(&anchor.saturating_add(1));
        self.snapshots = self.snapshots.split_off(&anchor);
        before.saturating_sub(self.rows.len()) as u64
    }

    fn take_lead(&mut self, holder: &str, now: i64, until: i64) -> Lead {
        let written = self.rows.last_key_value().map_or(0, |(_, row)| row.epoch);
        let epoch = match &self.leader {
            Some((by, _, held)) if by != holder && *held > now => {
                return Lead::Held { by: by.clone(), until: *held };
            }
            Some((_, epoch, _)) => written.max(*epoch).saturating_add(1),
            None => written.saturating_add(1),
        };
        self.leader = Some((holder.to_owned(), epoch, until));
        Lead::Taken { epoch }
    }

    /// The `until` of a leadership that is still this one.
    fn lead_of(&mut self, holder: &str, epoch: u64) -> Option<&mut i64> {
        self.leader.as_mut().filter(|(by, of, _)| by == holder && *of == epoch).map(|(_, _, until)| until)
    }
}

fn limited(limit: u64) -> usize {
    usize::try_from(limit.min(PAGE_ROWS)).unwrap_or(usize::MAX)
}

/// An answer that is ready at once.
fn ready<'a, T: Send + 'a, E: Send + 'a>(answer: Result<T, E>) -> Answer<'a, T, E> {
    Box::pin(std::future::ready(answer))
}

impl Journal for Memory {
    fn append<'a>(&'a self, rows: &'a [Row], inbox_ids: &'a [u64]) -> Answer<'a, (), AppendError> {
        ready(self.add(rows, inbox_ids))
    }

    fn head(&self) -> Answer<'_, Head> {
        ready(self.kept().map(|kept| {
            let last = kept.rows.last_key_value().map(|(_, row)| row.head());
            last.or_else(|| kept.snapshots.last_key_value().map(|(_, snapshot)| snapshot.head())).unwrap_or(GENESIS)
        }))
    }

    fn extent(&self) -> Answer<'_, Option<Extent>> {
        ready(self.kept().map(|kept| {
            let (oldest, newest) = (kept.rows.first_key_value()?, kept.rows.last_key_value()?);
            Some(Extent { oldest: *oldest.0, newest: *newest.0 })
        }))
    }

    fn row(&self, seq: u64) -> Answer<'_, Option<Row>> {
        ready(self.kept().map(|kept| kept.rows.get(&seq).cloned()))
    }

    fn rows(&self, from_seq: u64, limit: u64) -> Answer<'_, Vec<Row>> {
        ready(
            self.kept()
                .map(|kept| kept.rows.range(from_seq..).take(limited(limit)).map(|(_, row)| row.clone()).collect()),
        )
    }

    fn rows_of_incident(&self, incident: u64, from_seq: u64, limit: u64) -> Answer<'_, Vec<Row>> {
        ready(self.kept().map(|kept| {
            let rows = kept.rows.range(from_seq..).map(|(_, row)| row);
            rows.filter(|row| row.incident == Some(incident)).take(limited(limit)).cloned().collect()
        }))
    }

    fn put_policy<'a>(&'a self, hash: Hash, text: &'a str) -> Answer<'a, ()> {
        ready(self.kept().map(|mut kept| {
            kept.policies.entry(hash).or_insert_with(|| text.to_owned());
        }))
    }

    fn policy(&self, hash: Hash) -> Answer<'_, Option<String>> {
        ready(self.kept().map(|kept| kept.policies.get(&hash).cloned()))
    }

    fn put_snapshot<'a>(&'a self, snapshot: &'a Snapshot) -> Answer<'a, ()> {
        ready(self.kept().map(|mut kept| {
            kept.snapshots.insert(snapshot.seq, snapshot.clone());
        }))
    }

    fn latest_snapshot(&self, version: u64) -> Answer<'_, Option<Snapshot>> {
        ready(self.kept().and_then(|kept| {
            let found = kept.snapshots.values().rev().find(|snapshot| snapshot.version == version);
            found.cloned().map(Snapshot::checked).transpose()
        }))
    }

    fn snapshot(&self, seq: u64) -> Answer<'_, Option<Snapshot>> {
        ready(self.kept().and_then(|kept| kept.snapshots.get(&seq).cloned().map(Snapshot::checked).transpose()))
    }

    fn snapshots(&self) -> Answer<'_, Vec<u64>> {
        ready(self.kept().map(|kept| kept.snapshots.keys().copied().collect()))
    }

    fn drop_snapshot(&self, seq: u64) -> Answer<'_, bool> {
        ready(self.kept().map(|mut kept| {
            let anchors = kept.rows.is_empty() || kept.anchor() == Some(seq);
            !anchors && kept.snapshots.remove(&seq).is_some()
        }))
    }

    fn put_evidence<'a>(&'a self, digest: Hash, body: &'a [u8], until: i64) -> Answer<'a, ()> {
        ready(self.kept().map(|mut kept| {
            let held = kept.evidence.entry(digest).or_insert_with(|| (body.to_vec(), until));
            held.1 = held.1.max(until);
        }))
    }

    fn evidence(&self, digest: Hash) -> Answer<'_, Option<Vec<u8>>> {
        ready(self.kept().and_then(|kept| {
            let found = kept.evidence.get(&digest).map(|(body, _)| body.clone());
            found.map(|body| super::evidence_checked(digest, body)).transpose()
        }))
    }

    fn prune_evidence(&self, now: i64) -> Answer<'_, u64> {
        ready(self.kept().map(|mut kept| {
            let before = kept.evidence.len();
            kept.evidence.retain(|_, (_, until)| *until > now);
            before.saturating_sub(kept.evidence.len()) as u64
        }))
    }

    fn push_inbox<'a>(&'a self, at: i64, body: &'a str) -> Answer<'a, u64> {
        ready(self.kept().map(|mut kept| {
            kept.last_inbox_id = kept.last_inbox_id.saturating_add(1);
            let id = kept.last_inbox_id;
            kept.inbox.insert(id, InboxItem { id, at, body: body.to_owned() });
            id
        }))
    }

    fn inbox(&self, limit: u64) -> Answer<'_, Vec<InboxItem>> {
        ready(self.kept().map(|kept| kept.inbox.values().take(limited(limit)).cloned().collect()))
    }

    fn take_lead<'a>(&'a self, holder: &'a str, now: i64, until: i64) -> Answer<'a, Lead> {
        ready(self.kept().map(|mut kept| kept.take_lead(holder, now, until)))
    }

    fn renew_lead<'a>(&'a self, holder: &'a str, epoch: u64, until: i64) -> Answer<'a, bool> {
        ready(self.kept().map(|mut kept| kept.lead_of(holder, epoch).map(|held| *held = until).is_some()))
    }

    fn release_lead<'a>(&'a self, holder: &'a str, epoch: u64) -> Answer<'a, ()> {
        ready(self.kept().map(|mut kept| {
            if let Some(held) = kept.lead_of(holder, epoch) {
                *held = 0;
            }
        }))
    }

    fn prune(&self, up_to: u64) -> Answer<'_, u64> {
        ready(self.kept().map(|mut kept| kept.prune(up_to)))
    }
}
