//! Percent-encoding of what goes into a query: labels and selectors are not ours, so nothing is left to luck.

use std::fmt::Write;

/// Everything but RFC 3986's unreserved characters is written as `%XX`.
#[must_use]
pub fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// `?a=b&c=d`, or nothing when there are no pairs.
#[must_use]
pub fn query(pairs: &[(&str, &str)]) -> String {
    pairs.iter().enumerate().fold(String::new(), |mut out, (at, (name, value))| {
        out.push(if at == 0 { '?' } else { '&' });
        out.push_str(&encode(name));
        out.push('=');
        out.push_str(&encode(value));
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_value_is_encoded() {
        assert_eq!(query(&[]), "");
        assert_eq!(
            query(&[("filter", "alertname=\"A&b=c d\""), ("x", "ü#?/")]),
            "?filter=alertname%3D%22A%26b%3Dc%20d%22&x=%C3%BC%23%3F%2F"
        );
    }
}
