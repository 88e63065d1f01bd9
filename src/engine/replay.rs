//! Decides a journal anew: the same inputs, policies and times must give the same events, byte for byte.

use super::{
    entry::{self, Entry},
    fold::Folded,
};
use crate::{
    decide::{Policy, State, decide, state::STATE_VERSION},
    driver::tasks::panic_message,
    journal::{self, Hash, Journal, PAGE_ROWS, Row, chain::Verifier},
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// What a replay found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Entries decided anew.
    pub entries: u64,
    /// Where it began: 0, or the snapshot that stands for what was pruned.
    pub from_seq: u64,
    pub to_seq: u64,
    /// SHA-256 of the state at the end, lower-case hex.
    pub state_digest: String,
    /// The first entry that is not as it would be decided now, or that is damaged. Nothing behind it was looked at.
    pub difference: Option<Difference>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub seq: u64,
    pub what: String,
    /// The body as it is kept, and as it is decided now, where that is the difference.
    pub kept: Option<String>,
    pub now: Option<String>,
}

/// Replays everything that is held. Reads only.
pub async fn replay(journal: &dyn Journal) -> Result<Report, journal::Error> {
    let mut replay = Replay::from_oldest(journal).await?;
    let from_seq = replay.verifier.head().seq;
    let mut entries = 0;
    let difference = 'all: loop {
        let rows = journal.rows(replay.verifier.head().seq.saturating_add(1), PAGE_ROWS).await?;
        if rows.is_empty() {
            break None;
        }
        for row in &rows {
            if let Some(difference) = replay.row(journal, row).await? {
                break 'all Some(difference);
            }
            entries += 1;
        }
        tokio::task::yield_now().await;
    };
    let state_digest = crate::model::plan::hex(&replay.state.digest());
    Ok(Report { entries, from_seq, to_seq: replay.verifier.head().seq, state_digest, difference })
}

struct Replay {
    state: State,
    verifier: Verifier,
    policies: BTreeMap<String, Policy>,
}

impl Replay {
    /// From the first entry, or from the snapshot that anchors the oldest one.
    async fn from_oldest(journal: &dyn Journal) -> Result<Replay, journal::Error> {
        let oldest = journal.extent().await?.map_or(1, |extent| extent.oldest);
        let folded = if oldest <= 1 {
            Folded::nothing()
        } else {
            let anchor = journal.snapshot(oldest - 1).await?;
            let anchor = anchor.filter(|snapshot| snapshot.version == u64::from(STATE_VERSION));
            let folded = anchor.and_then(|snapshot| Folded::from_snapshot(&snapshot).ok());
            folded.ok_or_else(|| journal::Error::Refused {
                what: format!(
                    "entries before {oldest} are gone, and no snapshot that this version reads stands for them"
                ),
                hint: "replay with the version that wrote it".to_owned(),
            })?
        };
        let verifier = Verifier::new(folded.head);
        Ok(Replay { state: folded.state, verifier, policies: BTreeMap::new() })
    }

    async fn row(&mut self, journal: &dyn Journal, row: &Row) -> Result<Option<Difference>, journal::Error> {
        let differs = |what: String| Difference { seq: row.seq, what, kept: None, now: None };
        if let Err(damage) = self.verifier.follow(row) {
            return Ok(Some(differs(damage.to_string())));
        }
        let entry = match entry::open(row) {
            Ok(entry) => entry,
            Err(error) => return Ok(Some(differs(error.to_string()))),
        };
        if let Err(what) = self.learn_policy(journal, &entry.policy).await? {
            return Ok(Some(differs(what)));
        }
        Ok(self.decide(&entry, row))
    }

    fn decide(&mut self, entry: &Entry, row: &Row) -> Option<Difference> {
        let Replay { state, policies, .. } = self;
        let policy = policies.get(&entry.policy)?;
        let differs = |what: String, now: Option<String>| {
            let kept = now.is_some().then(|| row.body.clone());
            Some(Difference { seq: row.seq, what, kept, now })
        };
        let decided = catch_unwind(AssertUnwindSafe(|| decide(policy, state, &entry.input, entry.at)));
        let events = match decided {
            Ok(Ok(events)) => events,
            Ok(Err(illegal)) => return differs(illegal.to_string(), None),
            Err(panic) => return differs(format!("deciding it panics: {}", panic_message(panic.as_ref())), None),
        };
        match entry::body(&entry.policy, &entry.input, &events) {
            Ok(body) if body == row.body => None,
            Ok(body) => differs("it is decided differently now".to_owned(), Some(body)),
            Err(error) => differs(error.to_string(), None),
        }
    }

    /// The text that decided it, once per policy.
    async fn learn_policy(&mut self, journal: &dyn Journal, hash: &str) -> Result<Result<(), String>, journal::Error> {
        if self.policies.contains_key(hash) {
            return Ok(Ok(()));
        }
        let Ok(key) = hash.parse::<Hash>() else {
            return Ok(Err(format!("`{hash}` is not a policy's hash")));
        };
        let Some(text) = journal.policy(key).await? else {
            return Ok(Err(format!("the text of policy {hash} is not kept")));
        };
        match Policy::from_text(&text) {
            Ok(policy) if policy.hash == hash => {
                self.policies.insert(hash.to_owned(), policy);
                Ok(Ok(()))
            }
            Ok(_) => Ok(Err(format!("the text of policy {hash} was changed"))),
            Err(error) => Ok(Err(format!("the text of policy {hash} cannot be read: {error}"))),
        }
    }
}
