//! Bodies that their sender signed: HMAC-SHA256 over raw bytes, before a byte of them is parsed.
//!
//! Every live secret is tried, each in constant time; two of them are live during a rotation. Which header carries the
//! signature, and what is signed beside the body, is the sources' affair.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use std::fmt;
use subtle::{Choice, ConstantTimeEq};

/// Bytes of one signature.
pub const LENGTH: usize = 32;

/// What one sender signs with: one secret or, during a rotation, the new and the old one.
#[derive(Clone)]
pub struct SigningKeys(Vec<Hmac<Sha256>>);

impl SigningKeys {
    /// The secrets are used as the text that they are. Empty ones protect nothing and are left out.
    #[must_use]
    pub fn new(secrets: &[SecretString]) -> SigningKeys {
        let keys = secrets.iter().map(|secret| secret.expose_secret().as_bytes()).filter(|secret| !secret.is_empty());
        SigningKeys(keys.filter_map(|secret| Hmac::new_from_slice(secret).ok()).collect())
    }

    /// Nothing can be signed, and no signature is right.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `shown` is the signature of the parts, one after the other, with any of the secrets.
    #[must_use]
    pub fn signed(&self, parts: &[&[u8]], shown: &[u8; LENGTH]) -> bool {
        self.0.iter().fold(Choice::from(0), |known, key| known | mac(key, parts).ct_eq(shown)).into()
    }

    /// The signature with the first secret.
    #[must_use]
    pub fn sign(&self, parts: &[&[u8]]) -> Option<[u8; LENGTH]> {
        self.0.first().map(|key| mac(key, parts))
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKeys({})", self.0.len())
    }
}

fn mac(key: &Hmac<Sha256>, parts: &[&[u8]]) -> [u8; LENGTH] {
    let mut mac = key.clone();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// A signature as text: 64 digits in lower case, as every sender writes it. None: anything else.
#[must_use]
pub fn from_hex(text: &str) -> Option<[u8; LENGTH]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; LENGTH];
    if text.len() != 2 * LENGTH {
        return None;
    }
    for (to, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *to = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::plan::hex;

    fn keys(secrets: &[&str]) -> SigningKeys {
        let secrets: Vec<SecretString> = secrets.iter().map(|secret| SecretString::from(*secret)).collect();
        SigningKeys::new(&secrets)
    }

    /// RFC 4231, test case 2.
    #[test]
    fn it_is_the_hmac_of_the_standard() {
        let signature = keys(&["Jefe"]).sign(&[b"what do ya want ", b"for nothing?"]).unwrap();
        assert_eq!(hex(&signature), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn any_live_secret_suffices_and_no_other_does() {
        let rotating = keys(&["new", "old"]);
        for (secret, right) in [("new", true), ("old", true), ("older", false), ("New", false)] {
            let shown = keys(&[secret]).sign(&[b"body"]).unwrap();
            assert_eq!(rotating.signed(&[b"body"], &shown), right, "{secret}");
            assert!(!rotating.signed(&[b"bodY"], &shown));
        }
        assert_eq!(rotating.sign(&[b"body"]), keys(&["new"]).sign(&[b"body"]));
    }

    #[test]
    fn without_a_secret_nothing_is_right() {
        for none in [keys(&[]), keys(&[""])] {
            assert!(none.is_empty() && none.sign(&[b"body"]).is_none());
            assert!(!none.signed(&[b"body"], &[0; LENGTH]));
        }
        assert_eq!(format!("{:?}", keys(&["s3cret"])), "SigningKeys(1)");
    }

    #[test]
    fn only_lower_case_digits_of_the_right_length_are_a_signature() {
        let right = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(&from_hex(right).unwrap()), right);
        for wrong in ["", "5b", &right.to_uppercase(), &right[1..], &format!("{right}0"), &right.replace('5', "g")] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
        assert_eq!(from_hex(&"é".repeat(32)), None, "as many bytes, and no digits");
    }
}
