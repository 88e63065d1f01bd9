//! The key under which PagerDuty knows a page: triggering it again under the same key is one page, not two.

use super::plan::hex;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use sha2::{Digest, Sha256};
use std::fmt;

/// A SHA-256, written as PagerDuty gets it: 64 digits in lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DedupKey([u8; 32]);

/// Alertmanager's own key for the pages of a group: its later page joins one that we sent early.
#[must_use]
pub fn dedup_key(group_key: &str) -> DedupKey {
    DedupKey(Sha256::digest(group_key).into())
}

impl DedupKey {
    /// None: no key of ours, nor of Alertmanager's.
    #[must_use]
    pub fn parse(text: &str) -> Option<DedupKey> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 32];
        if text.len() != 64 {
            return None;
        }
        for (to, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let [high, low] = pair else { return None };
            *to = digit(*high)? << 4 | digit(*low)?;
        }
        Some(DedupKey(bytes))
    }
}

impl fmt::Display for DedupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for DedupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for DedupKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DedupKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<DedupKey, D::Error> {
        let text = String::deserialize(deserializer)?;
        DedupKey::parse(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is not 64 digits in lower case")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As sha256sum has it of a groupKey that Alertmanager 0.25 sent.
    #[test]
    fn it_is_the_hash_of_the_group_key_in_lower_case() {
        let key = dedup_key("{}:{alertname=\"HighErr\", cluster=\"a\\\"b\"}");
        assert_eq!(key.to_string(), SHA256SUM);
        assert_eq!(DedupKey::parse(SHA256SUM), Some(key));
        let text = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<DedupKey>(&text).unwrap(), key);
    }

    const SHA256SUM: &str = "3406571c0c1303bf3f09e0efc062a3dcc0ff80b167370a001a2e96e5328f596a";

    #[test]
    fn nothing_else_is_a_key() {
        for text in ["", "0a", &SHA256SUM[1..], &SHA256SUM.to_uppercase(), &format!("{SHA256SUM}0"), &"g".repeat(64)] {
            assert_eq!(DedupKey::parse(text), None, "{text}");
        }
    }
}
