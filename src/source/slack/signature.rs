//! Slack's signature: HMAC-SHA256 over `v0:TIME:BODY`, TIME within 300 s of ours, on the bytes as they came.
//!
//! What is signed was sent by Slack; that it was sent only once, it does not say: see [`Signed::once`].

use crate::{
    http::signature::{SigningKeys, from_hex},
    model::time::{Micros, Span},
};
use axum::http::HeaderMap;

const TIME: &str = "x-slack-request-timestamp";
const SIGNATURE: &str = "x-slack-signature";
/// How far Slack's clock and ours may differ, in both directions.
const FRESH: Span = Span::seconds(300);

/// A body that Slack signed.
#[derive(Debug, PartialEq, Eq)]
pub struct Signed {
    /// The signature: a request that comes again has the same.
    pub once: String,
}

/// Why a request is not Slack's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    #[error("no signature: Slack sends the headers X-Slack-Signature and X-Slack-Request-Timestamp, once each")]
    Missing,
    #[error("the signature is not v0= and 64 digits, or its time is not a whole number of seconds")]
    Malformed,
    #[error("the signature's time is more than 300 s from ours: is the clock right?")]
    Stale,
    #[error("wrong signature: is slack.signing_secret_file this app's secret?")]
    Wrong,
}

impl NotSigned {
    /// The log's word.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            NotSigned::Missing => "no_signature",
            NotSigned::Malformed => "malformed_signature",
            NotSigned::Stale => "stale_signature",
            NotSigned::Wrong => "wrong_signature",
        }
    }
}

/// Checks one request.
pub fn check(keys: &SigningKeys, headers: &HeaderMap, body: &[u8], now: Micros) -> Result<Signed, NotSigned> {
    let time = only(headers, TIME)?;
    let signature = only(headers, SIGNATURE)?;
    let is_number = !time.is_empty() && time.len() <= 12 && time.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: i64 = time.parse().ok().filter(|_| is_number).ok_or(NotSigned::Malformed)?;
    let digits = signature.strip_prefix("v0=").ok_or(NotSigned::Malformed)?;
    let shown = from_hex(digits).ok_or(NotSigned::Malformed)?;
    let apart = (now.0.div_euclid(1_000_000) - seconds).abs();
    if Span::seconds(apart) > FRESH {
        return Err(NotSigned::Stale);
    }
    if !keys.signed(&[b"v0:", time.as_bytes(), b":", body], &shown) {
        return Err(NotSigned::Wrong);
    }
    Ok(Signed { once: digits.to_owned() })
}

/// The header's only value: of two, somebody on the way may have checked the other one.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, NotSigned> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().map_err(|_| NotSigned::Malformed),
        _ => Err(NotSigned::Missing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::plan::hex;
    use secrecy::SecretString;

    const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
    const TIME_SIGNED: i64 = 1_531_420_618;
    /// The example of Slack's own page on verifying requests.
    const BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    const RIGHT: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";

    fn keys(secrets: &[&str]) -> SigningKeys {
        SigningKeys::new(&secrets.iter().map(|secret| SecretString::from(*secret)).collect::<Vec<_>>())
    }

    fn headers(values: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn signed(time: &str, signature: &str) -> HeaderMap {
        headers(&[(TIME, time), (SIGNATURE, signature)])
    }

    fn at(seconds: i64) -> Micros {
        Micros(0) + Span::seconds(TIME_SIGNED + seconds)
    }

    fn own(secret: &str, time: &str, body: &str) -> String {
        let signature = keys(&[secret]).sign(&[format!("v0:{time}:{body}").as_bytes()]).unwrap();
        format!("v0={}", hex(&signature))
    }

    #[test]
    fn slacks_own_example_is_right() {
        let checked = check(&keys(&[SECRET]), &signed("1531420618", RIGHT), BODY.as_bytes(), at(2));
        assert_eq!(checked.unwrap().once, &RIGHT[3..]);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let (keys, right) = (keys(&[SECRET]), signed("1531420618", RIGHT));
        for bit in 0..BODY.len() * 8 {
            let mut body = BODY.as_bytes().to_vec();
            body[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(check(&keys, &right, &body, at(0)), Err(NotSigned::Wrong), "bit {bit}");
        }
        for cut in 0..BODY.len() {
            assert_eq!(check(&keys, &right, &BODY.as_bytes()[..cut], at(0)), Err(NotSigned::Wrong));
        }
        for place in 3..RIGHT.len() {
            let other = if RIGHT.as_bytes()[place] == b'0' { "1" } else { "0" };
            let signature = format!("{}{other}{}", &RIGHT[..place], &RIGHT[place + 1..]);
            assert_eq!(check(&keys, &signed("1531420618", &signature), BODY.as_bytes(), at(0)), Err(NotSigned::Wrong));
        }
    }

    #[test]
    fn a_body_written_otherwise_is_another_body() {
        let (keys, right) = (keys(&[SECRET]), signed("1531420618", RIGHT));
        for body in [BODY.replace("%2F", "%2f"), BODY.replace("%2F", "/"), format!("{BODY}&"), format!("{BODY}\n")] {
            assert_eq!(check(&keys, &right, body.as_bytes(), at(0)), Err(NotSigned::Wrong));
        }
    }

    #[test]
    fn the_time_is_within_300_seconds_in_both_directions_and_is_signed() {
        for (seconds, right) in [(-301, false), (-300, true), (0, true), (299, true), (300, true), (301, false)] {
            let checked = check(&keys(&[SECRET]), &signed("1531420618", RIGHT), BODY.as_bytes(), at(seconds));
            assert_eq!(checked.is_ok(), right, "{seconds}");
            assert!(right || checked == Err(NotSigned::Stale));
        }
        let moved = check(&keys(&[SECRET]), &signed("1531420900", RIGHT), BODY.as_bytes(), at(290));
        assert_eq!(moved, Err(NotSigned::Wrong));
    }

    #[test]
    fn only_one_well_written_pair_of_headers_is_looked_at() {
        let check = |headers: &HeaderMap| check(&keys(&[SECRET]), headers, BODY.as_bytes(), at(0));
        let time = (TIME, "1531420618");
        for missing in [
            headers(&[]),
            headers(&[time]),
            headers(&[(SIGNATURE, RIGHT)]),
            headers(&[time, (SIGNATURE, RIGHT), (SIGNATURE, RIGHT)]),
            headers(&[time, time, (SIGNATURE, RIGHT)]),
        ] {
            assert_eq!(check(&missing), Err(NotSigned::Missing));
        }
        for signature in [
            "",
            "v0=",
            &RIGHT[3..],
            &RIGHT.replace("v0", "v1"),
            &RIGHT.to_uppercase(),
            &RIGHT[..66],
            &format!("{RIGHT}0"),
        ] {
            assert_eq!(check(&signed("1531420618", signature)), Err(NotSigned::Malformed), "{signature}");
        }
        for time in ["", "NaN", "1531420618.0", "+1531420618", "-1", " 1531420618x", "9".repeat(30).as_str()] {
            assert_eq!(check(&signed(time, RIGHT)), Err(NotSigned::Malformed), "{time}");
        }
        let not_text = HeaderMap::from_iter([
            (TIME.parse().unwrap(), "1531420618".parse().unwrap()),
            (SIGNATURE.parse().unwrap(), axum::http::HeaderValue::from_bytes(b"v0=\xff").unwrap()),
        ]);
        assert_eq!(check(&not_text), Err(NotSigned::Malformed));
    }

    #[test]
    fn another_secret_is_wrong_and_both_of_a_rotation_are_right() {
        let body = "payload=%7B%7D";
        for (secret, right) in [("new", true), ("old", true), ("older", false), ("", false)] {
            let signature = if secret.is_empty() { RIGHT.to_owned() } else { own(secret, "1531420618", body) };
            let headers = signed("1531420618", &signature);
            assert_eq!(check(&keys(&["new", "old"]), &headers, body.as_bytes(), at(0)).is_ok(), right, "{secret}");
            assert_eq!(check(&keys(&[]), &headers, body.as_bytes(), at(0)), Err(NotSigned::Wrong), "no secret");
        }
    }
}
