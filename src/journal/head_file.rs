//! The side file `head`: the seq and hash of the last entry committed, rewritten after each commit.
//!
//! A chain that lost its last entries is still a valid chain; this file remembers how far it went. It is not synced (that
//! would cost a commit as much again): after a power loss it may be behind the journal, which is fine, or empty. It is
//! written only after the commit, so in honest use it is never ahead.
//!
//! Format: one line of 86 bytes, `seq` in 20 digits, a space, the hash in 64 hex digits, a newline.

use super::{Error, GENESIS, Head, Journal};
use serde::Serialize;
use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::Path,
};

/// What the side file says about the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "says")]
pub enum HeadCheck {
    /// The journal holds what the file remembers.
    Fine,
    /// The journal lost its tail: damaged. Entries after `journal` up to `file` are gone.
    Ahead {
        /// The last entry that was committed.
        file: u64,
        /// The last entry held.
        journal: u64,
    },
    /// The entry that the file remembers has another hash: damaged, or another journal.
    Differs {
        /// The entry.
        seq: u64,
    },
    /// There is a journal, but no file, or none that can be read. Nothing is known about the tail.
    Missing,
}

impl HeadCheck {
    /// Whether the journal must not be acted upon.
    #[must_use]
    pub fn is_damage(self) -> bool {
        matches!(self, Self::Ahead { .. } | Self::Differs { .. })
    }
}

/// The file, open for rewriting.
#[derive(Debug)]
pub struct HeadFile {
    file: File,
}

impl HeadFile {
    /// Opens it, or makes an empty one.
    ///
    /// # Errors
    /// As the file system has them.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(Self { file })
    }

    /// Remembers `head`. One write into the page cache: a kill can't tear it.
    ///
    /// # Errors
    /// As the file system has them.
    pub fn write(&self, head: Head) -> io::Result<()> {
        self.file.write_all_at(line(head).as_bytes(), 0)
    }
}

fn line(head: Head) -> String {
    format!("{:020} {}\n", head.seq, head.hash)
}

/// What the file remembers; `None` where it is not there, empty, or not a line of ours.
///
/// # Errors
/// As the file system has them, a missing file excepted.
pub fn read(path: &Path) -> io::Result<Option<Head>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(87).read_to_end(&mut bytes)?;
    Ok(parse(&bytes))
}

fn parse(bytes: &[u8]) -> Option<Head> {
    let (seq, hash) = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?.split_once(' ')?;
    let head = Head { seq: seq.parse().ok()?, hash: hash.parse().ok()? };
    (line(head).as_bytes() == bytes).then_some(head)
}

/// Holds what the file remembers against the journal.
///
/// # Errors
/// As reading the journal has them.
pub async fn compare(journal: &dyn Journal, remembered: Option<Head>) -> Result<HeadCheck, Error> {
    let head = journal.head().await?;
    let Some(remembered) = remembered else {
        return Ok(if head == GENESIS { HeadCheck::Fine } else { HeadCheck::Missing });
    };
    if remembered.seq > head.seq {
        return Ok(HeadCheck::Ahead { file: remembered.seq, journal: head.seq });
    }
    let held = if remembered.seq == head.seq {
        Some(head.hash)
    } else {
        journal.row(remembered.seq).await?.map(|row| row.hash)
    };
    // Behind, and pruned meanwhile: nothing to hold it against.
    Ok(match held {
        Some(hash) if hash != remembered.hash => HeadCheck::Differs { seq: remembered.seq },
        _ => HeadCheck::Fine,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::chain::digest;

    #[test]
    fn it_remembers_the_last_head() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("head");
        assert_eq!(read(&path).unwrap(), None);
        let file = HeadFile::open(&path).unwrap();
        assert_eq!(read(&path).unwrap(), None);
        for seq in [9, 10, u64::MAX, 11] {
            let head = Head { seq, hash: digest(&seq.to_be_bytes()) };
            file.write(head).unwrap();
            assert_eq!(read(&path).unwrap(), Some(head));
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 86);
    }

    #[test]
    fn what_is_not_a_line_of_ours_remembers_nothing() {
        let good = line(Head { seq: 7, hash: digest(b"7") });
        assert!(parse(good.as_bytes()).is_some());
        for wrong in ["", "\n", &good[1..], &good[..85], &format!("{good}{good}"), &"\0".repeat(86)] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong:?}");
        }
    }
}
