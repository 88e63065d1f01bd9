//! Labels as the state keeps them: one run of bytes for all names and values. A map of strings takes three times its
//! text, and with a hundred thousand alerts that is the process's memory.

use crate::model::alert::Labels;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The pairs in the order of their names, each text behind its length. Written and read as the map that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packed(Box<[u8]>);

impl Packed {
    pub fn new(labels: &Labels) -> Packed {
        let bytes = labels.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        let mut packed = Vec::with_capacity(bytes);
        for text in labels.iter().flat_map(|(name, value)| [name, value]) {
            put_length(&mut packed, text.len());
            packed.extend_from_slice(text.as_bytes());
        }
        Packed(packed.into_boxed_slice())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(one, _)| *one == name).map(|(_, value)| value)
    }

    pub fn to_labels(&self) -> Labels {
        self.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest: &[u8] = &self.0;
        std::iter::from_fn(move || Some((take(&mut rest)?, take(&mut rest)?)))
    }
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn put_length(packed: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        packed.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    packed.push(length as u8);
}

/// The next text; None at the end.
fn take<'p>(rest: &mut &'p [u8]) -> Option<&'p str> {
    let (mut length, mut shift) = (0_usize, 0_u32);
    loop {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        length |= usize::from(byte & 0x7f).checked_shl(shift)?;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    std::str::from_utf8(text).ok()
}

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Packed, D::Error> {
        Labels::deserialize(deserializer).map(|labels| Packed::new(&labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_is_the_map_that_it_was(labels: Labels, absent: String) {
            let packed = Packed::new(&labels);
            prop_assert_eq!(&packed.to_labels(), &labels);
            prop_assert_eq!(serde_json::to_string(&packed).unwrap(), serde_json::to_string(&labels).unwrap());
            prop_assert_eq!(packed.get(&absent), labels.get(&absent).map(String::as_str));
            let read: Packed = serde_json::from_str(&serde_json::to_string(&packed).unwrap()).unwrap();
            prop_assert_eq!(read, packed);
        }
    }

    #[test]
    fn long_texts_have_longer_lengths() {
        for length in [0, 127, 128, 16_383, 16_384, 70_000] {
            let labels = Labels::from([("a".to_owned(), "x".repeat(length)), ("b".to_owned(), "y".to_owned())]);
            assert_eq!(Packed::new(&labels).to_labels(), labels);
        }
    }
}
