//! Verifying a whole journal, and writing it out so that somebody else can. Both only read.
//!
//! The export is JSON lines. The first names the format and the anchor; then each entry, in order:
//! ```text
//! {"format":"nightshift-journal","version":1,"anchor":{"seq":0,"hash":"00…00"}}
//! {"seq":1,"at":1767225600000000,"epoch":1,"incident":null,"cause":"started","body":"{\"v\":1,…}","hash":"ab…"}
//! ```
//! `body` is a JSON *string* that holds the body's text byte for byte: written as an object it would come back from
//! a JSON library with other spaces or number forms, and the hash would not fit. (`jq '.body|fromjson'` opens it.)
//! How the hash is computed is said at [`super::chain::seal`].

use super::{
    Damage, Error, GENESIS, Head, Journal, PAGE_ROWS, Row,
    chain::Verifier,
    head_file::{self, HeadCheck},
};
use serde::{Deserialize, Serialize};
use std::{
    io::{self, BufRead, Write},
    path::Path,
};

/// More findings than this say nothing new.
const MAX_DAMAGES: usize = 20;
/// A daemon prunes about once a day; that it does so during two verifications running is no accident.
const PRUNED_MEANWHILE: usize = 2;
/// An exported line: a body of at most some MB, escaped.
const MAX_LINE: u64 = 64 << 20;

/// What a whole journal looks like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Where the chain begins: [`GENESIS`], or the snapshot below which entries were pruned.
    pub anchor: Head,
    /// The first entry held (the anchor's next one if none is).
    pub oldest: u64,
    /// The last entry held.
    pub head: Head,
    /// Entries that were verified.
    pub entries: u64,
    /// Entries at or below the anchor, left by a prune that was interrupted. Not verified, not needed.
    pub leftovers: u64,
    /// Snapshots that fit their digest and the chain.
    pub snapshots: u64,
    /// What the side file says; `None` without one.
    pub head_file: Option<HeadCheck>,
    /// In order; no more than 20, so if there are 20 there may be more.
    pub damage: Vec<Damage>,
}

impl Report {
    /// Nothing is wrong with it.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty() && !self.head_file.is_some_and(HeadCheck::is_damage)
    }
}

/// Follows the whole chain, checks every snapshot, and holds the side file against it. A running daemon may append
/// meanwhile; what it appends is verified too.
///
/// # Errors
/// As reading has them. Damage that can be named is in the report, not an error.
pub async fn verify(journal: &dyn Journal, head_path: Option<&Path>) -> Result<Report, Error> {
    // The side file first: read after the journal it could be ahead of it by what was just appended.
    let remembered = match head_path {
        None => None,
        Some(path) => head_file::read(path).map_err(|error| Error::Unavailable {
            reason: format!("reading the side file {}: {error}", path.display()),
        })?,
    };
    let mut report = look(journal, remembered, head_path.is_some()).await?;
    for _ in 0..PRUNED_MEANWHILE {
        let oldest = journal.extent().await?.map(|extent| extent.oldest);
        // Damage in a journal whose front moved while it was read may be nothing but that.
        if report.damage.is_empty() || oldest.is_none_or(|oldest| oldest <= report.oldest) {
            break;
        }
        report = look(journal, remembered, head_path.is_some()).await?;
    }
    Ok(report)
}

async fn look(journal: &dyn Journal, remembered: Option<Head>, has_head_file: bool) -> Result<Report, Error> {
    let mut snapshots = journal.snapshots().await?;
    let (anchor, mut damage) = anchor(journal, &snapshots).await?;
    snapshots.retain(|seq| *seq >= anchor.seq);
    let oldest = journal.extent().await?.map_or(anchor.seq.saturating_add(1), |extent| extent.oldest);
    let leftovers = anchor.seq.saturating_add(1).saturating_sub(oldest);

    let (head, entries) = follow(journal, anchor, &mut damage).await?;
    let mut whole_snapshots = 0_u64;
    for seq in snapshots {
        match wrong_with_snapshot(journal, seq, anchor, head).await? {
            Some(found) => damage.push(found),
            None => whole_snapshots = whole_snapshots.saturating_add(1),
        }
    }
    damage.sort_by_key(|found| found.seq);
    damage.truncate(MAX_DAMAGES);
    let head_file = if has_head_file { Some(head_file::compare(journal, remembered).await?) } else { None };
    Ok(Report { anchor, oldest, head, entries, leftovers, snapshots: whole_snapshots, head_file, damage })
}

/// Follows the entries behind `anchor`; the last one, and how many were whole.
async fn follow(journal: &dyn Journal, anchor: Head, damage: &mut Vec<Damage>) -> Result<(Head, u64), Error> {
    let mut verifier = Verifier::new(anchor);
    let mut entries = 0_u64;
    let mut next = anchor.seq.saturating_add(1);
    // One that can't even be read hides its whole page: after such a page they are read one by one.
    let mut limit = PAGE_ROWS;
    // Ends: each round goes forward or reads one by one, and there are finitely many entries.
    while damage.len() < MAX_DAMAGES {
        let page = match journal.rows(next, limit).await {
            Ok(page) => page,
            Err(Error::Damaged { seq: Some(_), .. }) if limit > 1 => {
                limit = 1;
                continue;
            }
            Err(Error::Damaged { seq: Some(seq), what }) => {
                damage.push(Damage { seq, what });
                next = seq.saturating_add(1);
                // Its hash is not known, so the entry behind it can't be judged: it is taken as it is.
                if let Ok(Some(row)) = journal.row(next).await {
                    verifier = Verifier::new(row.head());
                    next = next.saturating_add(1);
                }
                continue;
            }
            Err(Error::Damaged { seq: None, what }) => {
                damage.push(Damage { seq: next, what: format!("can't be read, nor can what is behind it: {what}") });
                break;
            }
            Err(error) => return Err(error),
        };
        let Some(last) = page.last() else { break };
        next = last.seq.saturating_add(1);
        for row in &page {
            match verifier.follow(row) {
                Ok(()) => entries = entries.saturating_add(1),
                Err(found) => damage.push(found),
            }
        }
    }
    Ok((verifier.head(), entries))
}

/// The first entry held, 0 if there is none.
async fn oldest(journal: &dyn Journal) -> Result<u64, Error> {
    Ok(journal.extent().await?.map_or(0, |extent| extent.oldest))
}

/// Where the chain can be followed from, and what is wrong already if from nowhere.
async fn anchor(journal: &dyn Journal, snapshots: &[u64]) -> Result<(Head, Vec<Damage>), Error> {
    let oldest = journal.extent().await?.map(|extent| extent.oldest);
    if oldest == Some(1) || (oldest.is_none() && snapshots.is_empty()) {
        return Ok((GENESIS, Vec::new()));
    }
    // The snapshot just below the oldest entry; else the first one above it (a prune that was interrupted).
    let below = oldest.map_or(0, |oldest| oldest.saturating_sub(1));
    let mut damage = Vec::new();
    for seq in snapshots.iter().copied().filter(|seq| *seq >= below) {
        match journal.snapshot(seq).await {
            Ok(Some(snapshot)) => return Ok((snapshot.head(), damage)),
            Ok(None) => {}
            Err(Error::Damaged { what, .. }) => damage.push(Damage { seq, what }),
            Err(error) => return Err(error),
        }
    }
    let what = "the entries before this one are gone and no snapshot vouches for it: it is taken as it is";
    let Some(first) = journal.rows(below.saturating_add(1), 1).await?.pop() else { return Ok((GENESIS, damage)) };
    damage.push(Damage { seq: first.seq, what: what.to_owned() });
    Ok((first.head(), damage))
}

async fn wrong_with_snapshot(
    journal: &dyn Journal,
    seq: u64,
    anchor: Head,
    head: Head,
) -> Result<Option<Damage>, Error> {
    let found = |what: &str| Ok(Some(Damage { seq, what: what.to_owned() }));
    let snapshot = match journal.snapshot(seq).await {
        Ok(Some(snapshot)) => snapshot,
        // Dropped meanwhile by a daemon at work.
        Ok(None) => return Ok(None),
        Err(Error::Damaged { what, .. }) => return found(&what),
        Err(error) => return Err(error),
    };
    if seq == anchor.seq {
        return Ok(None);
    }
    match journal.row(seq).await {
        Ok(Some(row)) if row.hash != snapshot.hash => found("the snapshot has another hash than the entry"),
        Ok(None) if seq > head.seq => found("there is a snapshot of this entry, but the journal ends before it"),
        Ok(_) | Err(Error::Damaged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The first line of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Heading {
    format: String,
    version: u32,
    anchor: Head,
}

const FORMAT: &str = "nightshift-journal";
const VERSION: u32 = 1;

/// Why an export did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] Error),
    /// Where it was written to.
    #[error("the export can't be written")]
    Write(#[from] io::Error),
}

/// Writes all entries from the anchor on; the last one written. Damaged entries are written as they are: the reader's
/// own verification finds them. Those that can't even be read end the export with their error.
///
/// # Errors
/// As reading and writing have them.
pub async fn export(journal: &dyn Journal, out: &mut (dyn Write + Send)) -> Result<Head, ExportError> {
    let snapshots = journal.snapshots().await?;
    let from = oldest(journal).await?;
    let (anchor, _) = anchor(journal, &snapshots).await?;
    let heading = Heading { format: FORMAT.to_owned(), version: VERSION, anchor };
    writeln!(out, "{}", serde_json::to_string(&heading).map_err(io::Error::from)?)?;
    let mut head = anchor;
    loop {
        let page = journal.rows(head.seq.saturating_add(1), PAGE_ROWS).await?;
        let (Some(first), Some(last)) = (page.first(), page.last()) else { break };
        if first.seq > head.seq.saturating_add(1) && oldest(journal).await? > from {
            let reason = "entries were pruned while they were exported: export again".to_owned();
            return Err(Error::Unavailable { reason }.into());
        }
        head = last.head();
        for row in &page {
            writeln!(out, "{}", serde_json::to_string(row).map_err(io::Error::from)?)?;
        }
    }
    out.flush()?;
    Ok(head)
}

/// An export, read back. Not verified: give `anchor` and the rows to [`super::chain::verify`].
///
/// # Errors
/// What is wrong, with its line; `Unavailable` where the file can't be read on.
pub fn read_export(mut from: impl BufRead) -> Result<(Head, Vec<Row>), Error> {
    let mut text = String::new();
    let mut line = |number: u64| -> Result<Option<String>, Error> {
        text.clear();
        let unreadable = |error| Error::Unavailable { reason: format!("line {number} of the export: {error}") };
        let read = io::Read::take(&mut from, MAX_LINE).read_line(&mut text).map_err(unreadable)?;
        Ok((read > 0).then(|| text.clone()))
    };
    let wrong =
        |number: u64, what: String| Error::Damaged { seq: None, what: format!("line {number} of the export: {what}") };
    let first = line(1)?.unwrap_or_default();
    let heading: Heading = serde_json::from_str(&first).map_err(|error| wrong(1, error.to_string()))?;
    if heading.format != FORMAT || heading.version != VERSION {
        return Err(wrong(1, format!("not {FORMAT} version {VERSION}")));
    }
    let mut rows = Vec::new();
    for number in 2.. {
        let Some(text) = line(number)? else { break };
        rows.push(serde_json::from_str(&text).map_err(|error| wrong(number, error.to_string()))?);
    }
    Ok((heading.anchor, rows))
}
