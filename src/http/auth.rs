//! Who may send webhooks. Checked on the raw header, before a byte of the body is read.
//!
//! Every live secret is compared, as a digest, in constant time; two of them are live during a rotation.

use crate::http::{identity::Peer, secret::SecretDigest};
use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use secrecy::{ExposeSecret, SecretString};
use std::net::SocketAddr;
use subtle::Choice;

/// How one source's senders prove who they are.
#[derive(Debug)]
pub enum WebhookAuth {
    /// Anyone who reaches the port: on loopback only, see [`refuse_unauthenticated`].
    None,
    /// `Authorization: Bearer …`, any of these.
    Bearer(Vec<SecretDigest>),
    /// `Authorization: Basic …`, any of these: digests of the base64 text as it stands in the header.
    Basic(Vec<SecretDigest>),
    /// A client certificate that the listener verified and that bears one of these names; none listed: any verified one.
    ClientCertificate { names: Vec<String> },
    /// Any one of these suffices; none of them: nobody is let in.
    AnyOf(Vec<WebhookAuth>),
}

/// Why a secret can't serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthProblem {
    #[error("an empty secret protects nothing: write one into the file, or remove the setting")]
    Empty,
    #[error("a token has only visible ASCII characters: a space, line break or letter beyond ASCII can't be sent")]
    NotSendable,
    #[error("a user name for basic authentication may not be empty or contain a colon")]
    Username,
    #[error("no secret is given: name at least one file")]
    NoSecret,
}

impl WebhookAuth {
    /// Bearer tokens, one or, during a rotation, several.
    pub fn bearer(tokens: &[SecretString]) -> Result<WebhookAuth, AuthProblem> {
        if tokens.is_empty() {
            return Err(AuthProblem::NoSecret);
        }
        tokens.iter().map(token_digest).collect::<Result<_, _>>().map(WebhookAuth::Bearer)
    }

    /// One user name; one password or, during a rotation, several.
    pub fn basic(username: &str, passwords: &[SecretString]) -> Result<WebhookAuth, AuthProblem> {
        if username.is_empty() || username.contains(':') {
            return Err(AuthProblem::Username);
        }
        if passwords.is_empty() {
            return Err(AuthProblem::NoSecret);
        }
        let digest = |password: &SecretString| match password.expose_secret() {
            "" => Err(AuthProblem::Empty),
            password => Ok(SecretDigest::of(base64(format!("{username}:{password}").as_bytes()).as_bytes())),
        };
        passwords.iter().map(digest).collect::<Result<_, _>>().map(WebhookAuth::Basic)
    }

    /// Client certificates of these names (a subject's common name, or an alternative name); an empty list: any.
    pub fn client_certificate(names: Vec<String>) -> Result<WebhookAuth, AuthProblem> {
        if names.iter().any(String::is_empty) {
            return Err(AuthProblem::Empty);
        }
        Ok(WebhookAuth::ClientCertificate { names })
    }

    /// Checks a request's head.
    pub fn check(&self, headers: &HeaderMap, peer: &Peer) -> Result<(), AuthRefused> {
        match self {
            // The listener could have been bound elsewhere by mistake: loopback is asked of the peer, too.
            WebhookAuth::None if peer.is_loopback() => Ok(()),
            WebhookAuth::None => Err(AuthRefused::NotLoopback),
            WebhookAuth::Bearer(live) => check_header(headers, "bearer", live),
            WebhookAuth::Basic(live) => check_header(headers, "basic", live),
            WebhookAuth::ClientCertificate { names } => match &peer.certificate {
                None => Err(AuthRefused::NoCertificate),
                Some(_) if names.is_empty() => Ok(()),
                Some(shown) if names.iter().any(|name| shown.has_name(name)) => Ok(()),
                Some(_) => Err(AuthRefused::WrongCertificate),
            },
            WebhookAuth::AnyOf(ways) => {
                let mut told = AuthRefused::NoCredentials;
                for way in ways {
                    match way.check(headers, peer) {
                        Ok(()) => return Ok(()),
                        // What was shown and is wrong says more than what was not shown.
                        Err(refused) if refused.was_shown() => told = refused,
                        Err(_) => {}
                    }
                }
                Err(told)
            }
        }
    }
}

/// A sender who is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthRefused {
    #[error("no credentials: this source expects them in the header Authorization")]
    NoCredentials,
    #[error("wrong credentials")]
    WrongCredentials,
    #[error("this source expects a client certificate")]
    NoCertificate,
    #[error("this client certificate's names are not among those that may send here")]
    WrongCertificate,
    #[error("this source has no authentication and takes webhooks from this machine only")]
    NotLoopback,
}

impl AuthRefused {
    fn was_shown(self) -> bool {
        matches!(self, AuthRefused::WrongCredentials | AuthRefused::WrongCertificate)
    }

    /// The metric's label.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            AuthRefused::NoCredentials => "no_credentials",
            AuthRefused::WrongCredentials => "wrong_credentials",
            AuthRefused::NoCertificate => "no_certificate",
            AuthRefused::WrongCertificate => "wrong_certificate",
            AuthRefused::NotLoopback => "not_loopback",
        }
    }

    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            AuthRefused::NoCredentials | AuthRefused::WrongCredentials => StatusCode::UNAUTHORIZED,
            AuthRefused::NoCertificate | AuthRefused::WrongCertificate | AuthRefused::NotLoopback => {
                StatusCode::FORBIDDEN
            }
        }
    }
}

impl IntoResponse for AuthRefused {
    fn into_response(self) -> Response {
        let mut answer = (self.status(), format!("{self}\n")).into_response();
        if self.status() == StatusCode::UNAUTHORIZED {
            let scheme = axum::http::HeaderValue::from_static("Bearer realm=\"nightshift\"");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        answer
    }
}

/// Beyond loopback every source must authenticate; the text says which setting mends it.
pub fn refuse_unauthenticated(address: SocketAddr, auth: &WebhookAuth) -> Result<(), String> {
    if matches!(auth, WebhookAuth::None) && !address.ip().to_canonical().is_loopback() {
        return Err(format!(
            "the webhooks listener {address} can be reached from other machines, but this source does not \
             authenticate: give it a `bearer_token_file` or `basic_auth`, or listen on 127.0.0.1"
        ));
    }
    Ok(())
}

/// The digest of a token that a client can send in a header.
pub(super) fn token_digest(token: &SecretString) -> Result<SecretDigest, AuthProblem> {
    let text = token.expose_secret();
    if text.is_empty() {
        return Err(AuthProblem::Empty);
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(AuthProblem::NotSendable);
    }
    Ok(SecretDigest::of_secret(token))
}

/// What follows `scheme` in the one Authorization header: raw bytes, never empty.
pub(super) fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Result<&'a [u8], AuthRefused> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(AuthRefused::NoCredentials)?.as_bytes();
    if values.next().is_some() {
        // Two headers: who put the second one there? A proxy may have checked only one of them.
        return Err(AuthRefused::WrongCredentials);
    }
    let (name, rest) = value.split_at_checked(scheme.len()).ok_or(AuthRefused::WrongCredentials)?;
    let shown = rest.trim_ascii();
    if !name.eq_ignore_ascii_case(scheme.as_bytes()) || !rest.starts_with(b" ") || shown.is_empty() {
        return Err(AuthRefused::WrongCredentials);
    }
    Ok(shown)
}

fn check_header(headers: &HeaderMap, scheme: &str, live: &[SecretDigest]) -> Result<(), AuthRefused> {
    let shown = SecretDigest::of(credentials(headers, scheme)?);
    let known = live.iter().fold(Choice::from(0), |known, secret| known | secret.matches(&shown));
    if bool::from(known) { Ok(()) } else { Err(AuthRefused::WrongCredentials) }
}

/// Standard base64 with padding. Encoding what we know and comparing text spares decoding what we do not.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let at = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let letter = LETTERS.get((bits >> (18 - 6 * place) & 63) as usize).copied().unwrap_or(b'=');
            text.push(if place > group.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::identity::PeerIdentity;
    use std::sync::Arc;

    fn secrets(texts: &[&str]) -> Vec<SecretString> {
        texts.iter().map(|text| SecretString::from(*text)).collect()
    }

    fn peer(address: &str) -> Peer {
        Peer { address: address.parse().unwrap(), certificate: None }
    }

    fn with_certificate(name: &str) -> Peer {
        let identity = PeerIdentity { alternative_names: vec![name.to_owned()], ..PeerIdentity::default() };
        Peer { certificate: Some(Arc::new(identity)), ..peer("192.0.2.1:1") }
    }

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn each_scheme_lets_in_the_good_and_no_one_else() {
        use AuthRefused::{NoCertificate, NoCredentials, NotLoopback, WrongCertificate, WrongCredentials};
        let remote = peer("192.0.2.1:1");
        let bearer = WebhookAuth::bearer(&secrets(&["old-token", "new-token"])).unwrap();
        let basic = WebhookAuth::basic("am", &secrets(&["pass:word", "second"])).unwrap();
        for (auth, sent, expected) in [
            (&bearer, &["Bearer old-token"][..], Ok(())),
            (&bearer, &["bearer new-token"], Ok(())),
            (&bearer, &["Bearer  new-token"], Ok(())),
            (&bearer, &["Bearer new-toke"], Err(WrongCredentials)),
            (&bearer, &["Bearer new-token1"], Err(WrongCredentials)),
            (&bearer, &["Bearer NEW-TOKEN"], Err(WrongCredentials)),
            (&bearer, &["Bearernew-token"], Err(WrongCredentials)),
            (&bearer, &["Bearer "], Err(WrongCredentials)),
            (&bearer, &["Bearer"], Err(WrongCredentials)),
            (&bearer, &[""], Err(WrongCredentials)),
            (&bearer, &["Basic old-token"], Err(WrongCredentials)),
            (&bearer, &["Bearer old-token", "Bearer old-token"], Err(WrongCredentials)),
            (&bearer, &[], Err(NoCredentials)),
            // printf 'am:pass:word' | base64, and so on
            (&basic, &["Basic YW06cGFzczp3b3Jk"], Ok(())),
            (&basic, &["basic YW06c2Vjb25k"], Ok(())),
            (&basic, &["Basic YW06d3Jvbmc="], Err(WrongCredentials)),
            (&basic, &["Basic YW06"], Err(WrongCredentials)),
            (&basic, &["Basic !"], Err(WrongCredentials)),
            (&basic, &["Bearer YW06c2Vjb25k"], Err(WrongCredentials)),
            (&basic, &[], Err(NoCredentials)),
        ] {
            assert_eq!(auth.check(&headers(sent), &remote), expected, "{sent:?}");
        }
        let any = WebhookAuth::client_certificate(Vec::new()).unwrap();
        let listed = WebhookAuth::client_certificate(vec!["am.example".to_owned()]).unwrap();
        let none = HeaderMap::new();
        assert_eq!(any.check(&none, &with_certificate("other.example")), Ok(()));
        assert_eq!(any.check(&none, &remote), Err(NoCertificate));
        assert_eq!(listed.check(&none, &with_certificate("am.example")), Ok(()));
        assert_eq!(listed.check(&none, &with_certificate("other.example")), Err(WrongCertificate));
        assert_eq!(listed.check(&headers(&["Bearer am.example"]), &remote), Err(NoCertificate));
        assert_eq!(WebhookAuth::None.check(&none, &peer("127.0.0.1:1")), Ok(()));
        assert_eq!(WebhookAuth::None.check(&none, &remote), Err(NotLoopback));
    }

    #[test]
    fn secrets_that_protect_nothing_are_refused() {
        let problem = |made: Result<WebhookAuth, AuthProblem>| made.unwrap_err();
        assert_eq!(problem(WebhookAuth::bearer(&[])), AuthProblem::NoSecret);
        assert_eq!(problem(WebhookAuth::bearer(&secrets(&["good", ""]))), AuthProblem::Empty);
        assert_eq!(problem(WebhookAuth::bearer(&secrets(&["two words"]))), AuthProblem::NotSendable);
        assert_eq!(problem(WebhookAuth::basic("am", &secrets(&[""]))), AuthProblem::Empty);
        assert_eq!(problem(WebhookAuth::basic("am", &[])), AuthProblem::NoSecret);
        assert_eq!(problem(WebhookAuth::basic("", &secrets(&["x"]))), AuthProblem::Username);
        assert_eq!(problem(WebhookAuth::basic("a:m", &secrets(&["x"]))), AuthProblem::Username);
        assert_eq!(problem(WebhookAuth::client_certificate(vec![String::new()])), AuthProblem::Empty);
    }

    #[test]
    fn beyond_loopback_a_source_must_authenticate() {
        let bearer = WebhookAuth::bearer(&secrets(&["token"])).unwrap();
        for (address, allowed) in [
            ("127.0.0.1:9393", true),
            ("127.9.9.9:9393", true),
            ("[::1]:9393", true),
            ("[::ffff:127.0.0.1]:9393", true),
            ("0.0.0.0:9393", false),
            ("[::]:9393", false),
            ("10.0.0.1:9393", false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(refuse_unauthenticated(address, &WebhookAuth::None).is_ok(), allowed, "{address}");
            assert_eq!(refuse_unauthenticated(address, &bearer), Ok(()), "{address}");
        }
    }

    #[test]
    fn base64_is_the_usual_one() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("\u{ff}\u{fe}?", "w7/Dvj8="),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded, "{plain}");
        }
    }
}
