//! PagerDuty's signatures: HMAC-SHA256 over the body as it came, in hex. There may be several while its secret is being
//! replaced, and any that is right suffices. Nothing says when it was signed: ids keep a replay from counting twice.

use crate::http::signature::{SigningKeys, from_hex};
use axum::http::HeaderMap;

const SIGNATURE: &str = "x-pagerduty-signature";
/// PagerDuty sends one for each live secret of the subscription.
const MOST_SIGNATURES: usize = 16;

/// Why a request is not PagerDuty's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    #[error("no signature: PagerDuty sends the header X-PagerDuty-Signature, once")]
    Missing,
    #[error("there is no v1= with 64 hex digits in the signature")]
    Malformed,
    #[error("wrong signature: is sources.pagerduty.signing_secret_file the secret of this webhook subscription?")]
    Wrong,
}

impl NotSigned {
    /// The log's word.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            NotSigned::Missing => "no_signature",
            NotSigned::Malformed => "malformed_signature",
            NotSigned::Wrong => "wrong_signature",
        }
    }
}

/// Checks one request.
pub fn check(keys: &SigningKeys, headers: &HeaderMap, body: &[u8]) -> Result<(), NotSigned> {
    let mut values = headers.get_all(SIGNATURE).iter();
    // Of two, somebody on the way may have checked the other one.
    let (Some(value), None) = (values.next(), values.next()) else { return Err(NotSigned::Missing) };
    let text = value.to_str().map_err(|_| NotSigned::Malformed)?;
    // Signatures of later versions stand beside those that are known here.
    let shown = text.split(',').take(MOST_SIGNATURES).filter_map(|one| one.trim().strip_prefix("v1="));
    let shown: Vec<_> = shown.filter_map(|digits| from_hex(&digits.to_ascii_lowercase())).collect();
    if shown.is_empty() {
        return Err(NotSigned::Malformed);
    }
    let right = shown.iter().fold(false, |right, shown| right | keys.signed(&[body], shown));
    if right { Ok(()) } else { Err(NotSigned::Wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::plan::hex;
    use secrecy::SecretString;

    const SECRET: &str = "Wqd3TxYvl8nIPzZyVN2qkLgz0mGC1ZlkkVsVyxrjbFb2oV7ZHxYyPzJrPaZb9HcX";
    const BODY: &[u8] =
        br#"{"event":{"id":"01BYZ","event_type":"incident.triggered","data":{"id":"P1","title":"a \u00e9"}}}"#;

    fn keys(secrets: &[&str]) -> SigningKeys {
        SigningKeys::new(&secrets.iter().map(|secret| SecretString::from(*secret)).collect::<Vec<_>>())
    }

    fn sign(secret: &str, body: &[u8]) -> String {
        hex(&keys(&[secret]).sign(&[body]).unwrap())
    }

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(SIGNATURE, value.parse().unwrap());
        }
        headers
    }

    fn checked(signature: &str, body: &[u8]) -> Result<(), NotSigned> {
        check(&keys(&[SECRET]), &headers(&[signature]), body)
    }

    /// As `openssl dgst -sha256 -hmac` has it.
    #[test]
    fn it_is_the_hmac_of_the_body_alone() {
        let headers = headers(&["v1=16df46bba6d2c459495ee3324826bccee93959af892f2a043251f7e016d356b1"]);
        assert_eq!(check(&keys(&[SECRET]), &headers, b"{}"), Ok(()));
        assert_eq!(checked(&format!("v1={}", sign(SECRET, BODY)), BODY), Ok(()));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let right = format!("v1={}", sign(SECRET, BODY));
        for bit in 0..BODY.len() * 8 {
            let mut body = BODY.to_vec();
            body[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(checked(&right, &body), Err(NotSigned::Wrong), "bit {bit}");
        }
        for cut in 0..BODY.len() {
            assert_eq!(checked(&right, &BODY[..cut]), Err(NotSigned::Wrong));
        }
        for place in 3..right.len() {
            for bit in 0..7 {
                let mut signature = right.clone().into_bytes();
                signature[place] ^= 1 << bit;
                let Ok(signature) = String::from_utf8(signature) else { continue };
                let Ok(value) = signature.parse() else { continue };
                let mut headers = HeaderMap::new();
                headers.append(SIGNATURE, value);
                // Another case of the same digit is the same digit.
                let same = signature.eq_ignore_ascii_case(&right);
                assert_eq!(check(&keys(&[SECRET]), &headers, BODY).is_ok(), same, "{signature}");
            }
        }
        for cut in 0..right.len() {
            assert_ne!(checked(&right[..cut], BODY), Ok(()), "{}", &right[..cut]);
        }
    }

    #[test]
    fn a_body_written_otherwise_is_another_body() {
        let right = format!("v1={}", sign(SECRET, BODY));
        let text = std::str::from_utf8(BODY).unwrap();
        for body in
            [text.replace("\\u00e9", "é"), text.replace(':', ": "), format!("{text}\n"), format!("\u{feff}{text}")]
        {
            assert_eq!(checked(&right, body.as_bytes()), Err(NotSigned::Wrong), "{body}");
        }
    }

    #[test]
    fn any_of_several_signatures_suffices_in_any_case_and_with_blanks() {
        let right = sign(SECRET, BODY);
        let other = sign("other", BODY);
        for value in [
            format!("v1={right}"),
            format!("v1={other},v1={right}"),
            format!("v1={right},v1={other}"),
            format!("v1={other}, v1={right}"),
            format!("  v1={other} ,  v1={right} "),
            format!("v1={}", right.to_uppercase()),
            format!("v0=abc,v2=def,v1={right}"),
            format!("v1=short,v1={right}"),
        ] {
            assert_eq!(checked(&value, BODY), Ok(()), "{value}");
        }
        let wrong = format!("v1={other}");
        let many = format!("{},v1={right}", [wrong.as_str(); MOST_SIGNATURES].join(","));
        for (value, why) in [
            (wrong.clone(), NotSigned::Wrong),
            (many, NotSigned::Wrong),
            (format!("{wrong},{wrong}"), NotSigned::Wrong),
            (format!("v0={right}"), NotSigned::Malformed),
            (format!("V1={right}"), NotSigned::Malformed),
            (right.clone(), NotSigned::Malformed),
            (format!("v1={right}0"), NotSigned::Malformed),
            (format!("v1={}", &right[1..]), NotSigned::Malformed),
            (format!("v1=\"{right}\""), NotSigned::Malformed),
            (String::new(), NotSigned::Malformed),
            (",".to_owned(), NotSigned::Malformed),
        ] {
            assert_eq!(checked(&value, BODY), Err(why), "{value}");
        }
    }

    #[test]
    fn only_one_header_is_looked_at() {
        let right = format!("v1={}", sign(SECRET, BODY));
        let check = |values: &[&str]| check(&keys(&[SECRET]), &headers(values), BODY);
        assert_eq!(check(&[]), Err(NotSigned::Missing));
        assert_eq!(check(&[&right, &right]), Err(NotSigned::Missing));
        let not_text = HeaderMap::from_iter([(
            SIGNATURE.parse().unwrap(),
            axum::http::HeaderValue::from_bytes(b"v1=\xff").unwrap(),
        )]);
        assert_eq!(super::check(&keys(&[SECRET]), &not_text, BODY), Err(NotSigned::Malformed));
    }

    #[test]
    fn another_secret_is_wrong_and_both_of_a_rotation_are_right() {
        for (secret, right) in [("new", true), ("old", true), ("older", false), ("New", false)] {
            let headers = headers(&[&format!("v1={}", sign(secret, BODY))]);
            assert_eq!(check(&keys(&["new", "old"]), &headers, BODY).is_ok(), right, "{secret}");
            assert_eq!(check(&keys(&[]), &headers, BODY), Err(NotSigned::Wrong), "no secret");
        }
    }
}
