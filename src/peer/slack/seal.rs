//! A button's value: what it asks for, sealed, so that only what we wrote is ever asked for.
//!
//! Slack gives a value back as it got it. The seal keeps apart what we wrote from what anybody else made an app of
//! Slack's send; whose click it is, and where, is checked besides.

use crate::{
    http::signature::{SigningKeys, from_hex},
    model::{button::Button, plan::hex},
};

/// Nothing else that is signed with the same secret begins so.
const PURPOSE: &[u8] = b"nightshift button\0";

#[derive(Debug, Clone)]
pub struct Seal(SigningKeys);

impl Seal {
    #[must_use]
    pub fn new(keys: SigningKeys) -> Seal {
        Seal(keys)
    }

    /// None: there is no secret to seal with, and so no button.
    #[must_use]
    pub fn close(&self, button: &Button) -> Option<String> {
        let text = button.to_string();
        let seal = self.0.sign(&[PURPOSE, text.as_bytes()])?;
        Some(format!("{text} {}", hex(&seal)))
    }

    /// None: it is not ours, or was changed.
    #[must_use]
    pub fn open(&self, value: &str) -> Option<Button> {
        let (text, seal) = value.rsplit_once(' ')?;
        let is_ours = self.0.signed(&[PURPOSE, text.as_bytes()], &from_hex(seal)?);
        text.parse().ok().filter(|_| is_ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::IncidentId;
    use secrecy::SecretString;

    fn seal(secrets: &[&str]) -> Seal {
        let secrets: Vec<SecretString> = secrets.iter().map(|secret| SecretString::from(*secret)).collect();
        Seal::new(SigningKeys::new(&secrets))
    }

    #[test]
    fn only_what_was_sealed_is_opened() {
        let seal_of = seal(&["s1"]);
        let button = Button::Undo { step: "1042.2".parse().unwrap() };
        let value = seal_of.close(&button).unwrap();
        assert!(value.len() < 200, "Slack takes 2000");
        assert_eq!(seal_of.open(&value), Some(button));
        for place in 0..value.len() {
            let mut bytes = value.clone().into_bytes();
            bytes[place] = if bytes[place] == b'1' { b'2' } else { b'1' };
            assert_eq!(seal_of.open(&String::from_utf8(bytes).unwrap()), None, "{place}");
        }
        for wrong in ["", " ", "undo 1042.2", &value[..value.len() - 1], &value.to_uppercase(), &format!("{value} ")] {
            assert_eq!(seal_of.open(wrong), None, "{wrong}");
        }
        assert_eq!(seal(&["s2"]).open(&value), None);
    }

    #[test]
    fn a_rotated_secret_opens_what_the_old_one_sealed() {
        let button = Button::Why { incident: IncidentId(7) };
        let value = seal(&["old"]).close(&button).unwrap();
        assert_eq!(seal(&["new", "old"]).open(&value), Some(button.clone()));
        assert_eq!(seal(&[]).close(&button), None);
    }
}
