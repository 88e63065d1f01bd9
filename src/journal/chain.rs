//! The hash chain: each entry's hash covers the hash before it, so no entry can be changed, taken out or put in unnoticed.
//!
//! What it does not notice by itself is a cut tail: a shorter chain is a valid chain. [`super::head_file`] does.
//! Nor does it keep out somebody who may write the database and computes the chain anew: it is there to notice
//! damage and edits, and lets an exported copy kept elsewhere prove the rest.

use super::Row;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr};

/// A SHA-256, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

/// What the first entry (seq 1) is chained to.
pub const GENESIS: Head = Head { seq: 0, hash: Hash([0; 32]) };

/// A place in the chain: the seq of an entry and its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Of the entry; 0 before the first one.
    pub seq: u64,
    /// Of the entry; zeros before the first one.
    pub hash: Hash,
}

/// The first thing found wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("entry {seq}: {what}")]
pub struct Damage {
    /// The entry that is wrong, or the first one that is missing.
    pub seq: u64,
    /// For people.
    pub what: String,
}

/// The hash of an entry: SHA-256 over, in this order and without separators,
///
/// 1. the 32 bytes of the hash of the entry before it (zeros for seq 1),
/// 2. `seq`, 3. `at` (microseconds UTC), 4. `epoch`: 8 bytes each, big-endian (`at` in two's complement),
/// 5. `incident`: 8 bytes, big-endian, 0 for none (incidents are counted from 1),
/// 6. the length of `cause` in bytes: 8 bytes, big-endian, 7. `cause` in UTF-8,
/// 8. `body`: its UTF-8 bytes as stored.
///
/// `incident` and `cause` repeat what the body says. They are hashed because timelines are read by those columns:
/// an entry moved out of an incident would vanish from its post-mortem.
#[must_use]
pub fn seal(previous: &Hash, seq: u64, at: i64, epoch: u64, incident: Option<u64>, cause: &str, body: &str) -> Hash {
    let mut sha = Sha256::new();
    sha.update(previous.0);
    sha.update(seq.to_be_bytes());
    sha.update(at.to_be_bytes());
    sha.update(epoch.to_be_bytes());
    sha.update(incident.unwrap_or(0).to_be_bytes());
    sha.update((cause.len() as u64).to_be_bytes());
    sha.update(cause.as_bytes());
    sha.update(body.as_bytes());
    Hash(sha.finalize().into())
}

/// SHA-256 of some bytes: how evidence is named.
#[must_use]
pub fn digest(bytes: &[u8]) -> Hash {
    Hash(Sha256::digest(bytes).into())
}

/// Follows a chain entry by entry. After damage it goes on from the damaged entry's stored hash, so that one flipped bit
/// is one or two findings and not as many as there are entries behind it.
#[derive(Debug, Clone)]
pub struct Verifier {
    head: Head,
    at: i64,
}

impl Verifier {
    /// Starts behind `anchor`: the next entry must be `anchor.seq + 1`.
    #[must_use]
    pub fn new(anchor: Head) -> Self {
        Self { head: anchor, at: i64::MIN }
    }

    /// The last entry followed.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Judges the next entry and moves on to it whether it is whole or not.
    ///
    /// # Errors
    /// `Damage` names this entry, or the first one missing before it (then this one can't be judged).
    pub fn follow(&mut self, row: &Row) -> Result<(), Damage> {
        let expected = self.head.seq.saturating_add(1);
        let previous = self.head.hash;
        let before = self.at;
        self.head = Head { seq: row.seq, hash: row.hash };
        self.at = row.at;
        if row.seq != expected {
            return Err(Damage { seq: expected, what: format!("is missing: the next one held is {}", row.seq) });
        }
        if row.incident == Some(0) {
            // Hashed like none, so the hash can't tell them apart.
            return Err(Damage { seq: row.seq, what: "its incident is 0; they are counted from 1".to_owned() });
        }
        if row.seal(&previous) != row.hash {
            let what = "its hash does not fit: it, or the hash of the entry before it, was changed".to_owned();
            return Err(Damage { seq: row.seq, what });
        }
        if row.at < before {
            return Err(Damage { seq: row.seq, what: "its time is before that of the entry before it".to_owned() });
        }
        Ok(())
    }
}

/// Follows `rows` from `anchor` to their end.
///
/// # Errors
/// The first damage.
pub fn verify<'a>(rows: impl IntoIterator<Item = &'a Row>, anchor: Head) -> Result<Head, Damage> {
    let mut verifier = Verifier::new(anchor);
    for row in rows {
        verifier.follow(row)?;
    }
    Ok(verifier.head())
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a hash is 64 hex digits".to_owned();
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<&[u8]> for Hash {
    type Error = String;

    fn try_from(bytes: &[u8]) -> Result<Self, String> {
        bytes.try_into().map(Self).map_err(|_| format!("a hash is 32 bytes, not {}", bytes.len()))
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(length: u64) -> Vec<Row> {
        let mut previous = GENESIS.hash;
        (1..=length)
            .map(|seq| {
                let incident = seq.is_multiple_of(2).then_some(seq);
                let row = Row::sealed(&previous, seq, 1_000 + seq as i64, 1, incident, "alert".into(), "{}".into());
                previous = row.hash;
                row
            })
            .collect()
    }

    #[test]
    fn the_formula_is_the_documented_one() {
        let mut bytes = vec![7_u8; 32];
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 3]);
        bytes.extend([0xff; 8]);
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 2]);
        bytes.extend([0, 0, 0, 0, 0, 0, 0x04, 0x12]);
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 4]);
        bytes.extend(b"wake{}");
        assert_eq!(seal(&Hash([7; 32]), 3, -1, 2, Some(1042), "wake", "{}"), digest(&bytes));
    }

    #[test]
    fn a_whole_chain_gives_its_head() {
        let rows = chain(5);
        assert_eq!(verify(&rows, GENESIS), Ok(Head { seq: 5, hash: rows[4].hash }));
        assert_eq!(verify(&[], GENESIS), Ok(GENESIS));
        let anchor = Head { seq: 2, hash: rows[1].hash };
        assert_eq!(verify(&rows[2..], anchor).map(|head| head.seq), Ok(5));
    }

    #[test]
    fn each_changed_field_is_named_by_its_entry() {
        let changes: [fn(&mut Row); 7] = [
            |row| row.at ^= 1,
            |row| row.epoch ^= 1,
            |row| row.incident = None,
            |row| row.incident = Some(row.incident.unwrap() ^ 1),
            |row| row.cause = "alerT".into(),
            |row| row.body = "{ }".into(),
            |row| row.hash.0[31] ^= 1,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut rows = chain(6);
            change(&mut rows[3]);
            assert_eq!(verify(&rows, GENESIS).map_err(|damage| damage.seq), Err(4), "change {number}");
        }
    }

    #[test]
    fn an_incident_of_zero_is_damage_and_not_the_same_as_none() {
        let mut rows = chain(3);
        assert_eq!(rows[2].incident.replace(0), None);
        assert_eq!(verify(&rows, GENESIS).map_err(|damage| damage.seq), Err(3));
    }

    #[test]
    fn time_that_goes_back_is_named_even_where_the_hashes_fit() {
        let mut rows = chain(2);
        rows.push(Row::sealed(&rows[1].hash, 3, rows[1].at - 1, 1, None, "wake".into(), "{}".into()));
        assert_eq!(verify(&rows, GENESIS).map_err(|damage| damage.seq), Err(3));
    }

    #[test]
    fn a_missing_a_swapped_and_a_renumbered_entry_are_named() {
        let mut rows = chain(6);
        rows.remove(3);
        assert_eq!(verify(&rows, GENESIS).map_err(|damage| damage.seq), Err(4));
        let mut rows = chain(6);
        rows.swap(2, 3);
        assert_eq!(verify(&rows, GENESIS).map_err(|damage| damage.seq), Err(3));
        let mut rows = chain(6);
        rows[5].seq = 7;
        assert_eq!(verify(&rows, GENESIS).map_err(|damage| damage.seq), Err(6));
    }

    #[test]
    fn the_first_of_an_anchored_chain_cannot_be_forged() {
        let rows = chain(3);
        let anchor = Head { seq: 1, hash: Hash([1; 32]) };
        assert_eq!(verify(&rows[1..], anchor).map_err(|damage| damage.seq), Err(2));
    }

    #[test]
    fn hashes_read_back_what_they_print() {
        let hash = digest(b"x");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(serde_json::from_str::<Hash>(&serde_json::to_string(&hash).unwrap()).unwrap(), hash);
        for wrong in ["", "00", &"g".repeat(64), &"+1".repeat(32), &"é".repeat(32)] {
            assert!(wrong.parse::<Hash>().is_err(), "{wrong}");
        }
    }
}
