//! Who is at the other end of a connection: its address and, with client certificates, the names it proved.
//!
//! The certificate's chain and signature have been checked before its names are read here; this only finds them.

use std::{net::SocketAddr, sync::Arc};

/// The other end of a connection; every request carries it in its extensions.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: SocketAddr,
    /// Present only when the client showed a certificate that our client CA vouches for.
    pub certificate: Option<Arc<PeerIdentity>>,
}

impl Peer {
    /// On this very machine, IPv4 within IPv6 included.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.address.ip().to_canonical().is_loopback()
    }
}

/// The names in a verified client certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerIdentity {
    /// The subject's common names, the least specific first.
    pub common_names: Vec<String>,
    /// Alternative names of the kinds DNS, URI and e-mail, in the certificate's order.
    pub alternative_names: Vec<String>,
}

impl PeerIdentity {
    /// Reads the names from a certificate in DER. `None` where its structure is not a certificate's.
    #[must_use]
    pub fn from_der(certificate: &[u8]) -> Option<PeerIdentity> {
        let (outer, _) = expect(certificate, SEQUENCE)?;
        let (body, _) = expect(outer, SEQUENCE)?;
        // version (optional), serial, signature, issuer, validity, subject, key, then optional fields.
        let mut rest = match element(body)? {
            (VERSION, _, rest) => rest,
            _ => body,
        };
        for _ in ["serial", "signature", "issuer", "validity"] {
            rest = element(rest)?.2;
        }
        let (subject, rest) = expect(rest, SEQUENCE)?;
        let (_, mut rest) = expect(rest, SEQUENCE)?;
        let mut identity = PeerIdentity { common_names: common_names(subject)?, alternative_names: Vec::new() };
        while !rest.is_empty() {
            let (tag, content, after) = element(rest)?;
            if tag == EXTENSIONS {
                identity.alternative_names = alternative_names(expect(content, SEQUENCE)?.0)?;
            }
            rest = after;
        }
        Some(identity)
    }

    /// Whether one of its names is `name`, to the letter.
    #[must_use]
    pub fn has_name(&self, name: &str) -> bool {
        self.common_names.iter().chain(&self.alternative_names).any(|own| own == name)
    }

    /// One name to call it by: the most specific common name, else the first alternative name.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.common_names.last().or(self.alternative_names.first()).map(String::as_str)
    }
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// UTF8String, PrintableString, IA5String: those whose bytes are UTF-8 as they are.
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];
/// rfc822Name, dNSName, uniformResourceIdentifier.
const TEXT_NAMES: [u8; 3] = [0x81, 0x82, 0x86];
/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 2.5.29.17
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];

fn common_names(mut subject: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    while !subject.is_empty() {
        let (mut set, rest) = expect(subject, SET)?;
        while !set.is_empty() {
            let (attribute, after) = expect(set, SEQUENCE)?;
            let (kind, value) = expect(attribute, OBJECT_ID)?;
            let (tag, text, _) = element(value)?;
            if kind == COMMON_NAME && TEXTS.contains(&tag) {
                names.extend(plain_text(text));
            }
            set = after;
        }
        subject = rest;
    }
    Some(names)
}

fn alternative_names(mut extensions: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    while !extensions.is_empty() {
        let (extension, rest) = expect(extensions, SEQUENCE)?;
        extensions = rest;
        let (kind, mut value) = expect(extension, OBJECT_ID)?;
        if kind != SUBJECT_ALTERNATIVE_NAME {
            continue;
        }
        let (tag, mut content, after) = element(value)?;
        if tag != OCTET_STRING {
            // The flag "critical" stands before the value.
            value = after;
            content = expect(value, OCTET_STRING)?.0;
        }
        let (mut list, _) = expect(content, SEQUENCE)?;
        while !list.is_empty() {
            let (tag, name, after) = element(list)?;
            if TEXT_NAMES.contains(&tag) {
                names.extend(plain_text(name));
            }
            list = after;
        }
    }
    Some(names)
}

/// Text without control characters; a name that holds one is not offered for comparison at all.
fn plain_text(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    if text.is_empty() || text.chars().any(char::is_control) { None } else { Some(text.to_owned()) }
}

fn expect(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(input)?;
    if found == tag { Some((content, rest)) } else { None }
}

/// One element of DER: its tag, its content, what follows it. Lengths of up to four bytes.
fn element(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if digits.is_empty() || digits.len() > 4 {
            return None;
        }
        (digits.iter().fold(0_usize, |sum, &digit| (sum << 8) | usize::from(digit)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn certificate(common_name: &str, names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names = names;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn the_subject_and_the_alternative_names_are_found() {
        let der = certificate(
            "alertmanager",
            vec![
                SanType::DnsName("am-0.example".try_into().unwrap()),
                SanType::IpAddress("127.0.0.1".parse().unwrap()),
                SanType::URI("spiffe://example/alertmanager".try_into().unwrap()),
            ],
        );
        let identity = PeerIdentity::from_der(&der).unwrap();
        assert_eq!(identity.common_names.last().unwrap(), "alertmanager");
        assert_eq!(identity.alternative_names, ["am-0.example", "spiffe://example/alertmanager"]);
        assert!(identity.has_name("am-0.example") && identity.has_name("alertmanager"));
        assert!(!identity.has_name("am-0.exampl") && !identity.has_name("Example"));
        assert_eq!(identity.name(), Some("alertmanager"));
    }

    #[test]
    fn a_certificate_cut_short_has_no_names() {
        let der = certificate("alertmanager", Vec::new());
        for length in 0..der.len().min(200) {
            assert_eq!(PeerIdentity::from_der(&der[..length]), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = PeerIdentity::from_der(&bytes);
        }

        #[test]
        fn no_flipped_byte_makes_it_panic(place in any::<prop::sample::Index>(), value in any::<u8>()) {
            let mut der = certificate("a", vec![SanType::DnsName("b.example".try_into().unwrap())]);
            let place = place.index(der.len());
            der[place] = value;
            let _ = PeerIdentity::from_der(&der);
        }
    }
}
