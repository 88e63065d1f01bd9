//! Who may use the API: named tokens with rights, or, on loopback without tokens, whoever is on this machine.
//!
//! Without tokens a browser on this machine could be made to send requests by a foreign page; see [`ApiAuth::identify`]
//! for what keeps those out.

use crate::http::{
    auth::{self, AuthProblem},
    identity::Peer,
    secret::SecretDigest,
};
use axum::{
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use secrecy::SecretString;
use std::{fmt, net::IpAddr};

/// Names the person on loopback without tokens; the CLI sends it.
pub const USER_HEADER: &str = "x-nightshift-user";
/// Names are shown in the journal and in Slack: short.
pub const MAX_NAME: usize = 64;

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    Read,
    /// Acknowledge, and resolve.
    Ack,
    /// Approve, and reject.
    Approve,
    /// Undo, and leases.
    Undo,
    /// Pause, resume, rearm.
    Pause,
    /// Reload, drills.
    Admin,
}

impl Right {
    pub const ALL: [Right; 6] = [Right::Read, Right::Ack, Right::Approve, Right::Undo, Right::Pause, Right::Admin];

    /// The word in `api.tokens[].may`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Right::Read => "read",
            Right::Ack => "ack",
            Right::Approve => "approve",
            Right::Undo => "undo",
            Right::Pause => "pause",
            Right::Admin => "admin",
        }
    }

    #[must_use]
    pub fn parse(word: &str) -> Option<Right> {
        Right::ALL.into_iter().find(|right| right.word() == word)
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of rights. No right implies another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights(u8);

impl Rights {
    #[must_use]
    pub fn of(rights: &[Right]) -> Rights {
        Rights(rights.iter().fold(0, |bits, right| bits | right.bit()))
    }

    #[must_use]
    pub fn all() -> Rights {
        Rights::of(&Right::ALL)
    }

    #[must_use]
    pub fn has(self, right: Right) -> bool {
        self.0 & right.bit() != 0
    }
}

/// Who asked, as the journal names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// A token's name, or `local:NAME`.
    pub name: String,
    /// `token` or `loopback`.
    pub via: &'static str,
    pub rights: Rights,
}

impl Who {
    pub fn require(&self, right: Right) -> Result<(), ApiRefused> {
        if self.rights.has(right) { Ok(()) } else { Err(ApiRefused::Right(right)) }
    }
}

struct Token {
    name: String,
    digest: SecretDigest,
    rights: Rights,
}

/// The API's door.
pub struct ApiAuth {
    /// Empty: loopback without tokens.
    tokens: Vec<Token>,
}

impl fmt::Debug for ApiAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.tokens.iter().map(|token| &token.name)).finish()
    }
}

/// Why the tokens can't serve. Names the token, never shows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenProblem {
    #[error("API token `{name}`: {problem}")]
    Secret { name: String, problem: AuthProblem },
    #[error("`{0}` cannot be an API token's name: at most {MAX_NAME} letters, digits and ._@+-")]
    Name(String),
    #[error("two API tokens are named `{0}`: the journal could not tell them apart")]
    SameName(String),
    #[error("the API tokens `{0}` and `{1}` are the same secret: the journal could not tell them apart")]
    SameSecret(String, String),
    #[error("the API has no tokens: list at least one under `api.tokens`")]
    None,
}

impl ApiAuth {
    /// No tokens: everyone on this machine may do everything. Only for a listener on loopback.
    #[must_use]
    pub fn loopback() -> ApiAuth {
        ApiAuth { tokens: Vec::new() }
    }

    /// Named tokens with their rights; during a rotation two names stand for one user.
    pub fn with_tokens(tokens: Vec<(String, SecretString, Rights)>) -> Result<ApiAuth, TokenProblem> {
        let mut kept: Vec<Token> = Vec::new();
        for (name, secret, rights) in tokens {
            if !is_name(&name) {
                return Err(TokenProblem::Name(name));
            }
            let digest =
                auth::token_digest(&secret).map_err(|problem| TokenProblem::Secret { name: name.clone(), problem })?;
            if kept.iter().any(|other| other.name == name) {
                return Err(TokenProblem::SameName(name));
            }
            if let Some(twin) = kept.iter().find(|other| bool::from(other.digest.matches(&digest))) {
                return Err(TokenProblem::SameSecret(twin.name.clone(), name));
            }
            kept.push(Token { name, digest, rights });
        }
        if kept.is_empty() { Err(TokenProblem::None) } else { Ok(ApiAuth { tokens: kept }) }
    }

    /// Whether the admin listener may be bound to `address`: beyond loopback the API needs tokens.
    pub fn refuse_open(&self, address: std::net::SocketAddr) -> Result<(), String> {
        if self.tokens.is_empty() && !address.ip().to_canonical().is_loopback() {
            return Err(format!(
                "the admin listener {address} can be reached from other machines, but the API has no tokens: \
                 list them under `api.tokens`, or listen on 127.0.0.1"
            ));
        }
        Ok(())
    }

    /// Who asks, from a request's head, before its body is read.
    ///
    /// With tokens: a bearer token, on loopback too. Without: the peer must be on this machine, `Host` must name this
    /// machine (a foreign name that resolves to 127.0.0.1 is DNS rebinding), an `Origin` must be our own page, and
    /// what is posted must be JSON (which no foreign page can send without asking first).
    pub fn identify(&self, method: &Method, headers: &HeaderMap, peer: &Peer) -> Result<Who, ApiRefused> {
        if self.tokens.is_empty() {
            return identify_local(method, headers, peer);
        }
        let shown = auth::credentials(headers, "bearer").map_err(|_| ApiRefused::Token)?;
        let shown = SecretDigest::of(shown);
        let mut found = None;
        for token in &self.tokens {
            // No early end: the time must not tell which token was nearly right.
            if bool::from(token.digest.matches(&shown)) {
                found = Some(token);
            }
        }
        let token = found.ok_or(ApiRefused::Token)?;
        Ok(Who { name: token.name.clone(), via: "token", rights: token.rights })
    }
}

/// A request that the API does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApiRefused {
    #[error("send an API token: Authorization: Bearer …")]
    Token,
    #[error("this token may not {}", .0.word())]
    Right(Right),
    #[error("without API tokens only this machine is answered")]
    NotLoopback,
    #[error("the header Host must name this machine (localhost or a loopback address)")]
    Host,
    #[error("requests of other pages are not answered")]
    Origin,
    #[error("send the body as Content-Type: application/json")]
    ContentType,
    #[error("the header {USER_HEADER} must be at most {MAX_NAME} letters, digits and ._@+-")]
    User,
}

impl ApiRefused {
    /// The metric's label.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            ApiRefused::Token => "token",
            ApiRefused::Right(_) => "right",
            ApiRefused::NotLoopback => "not_loopback",
            ApiRefused::Host => "host",
            ApiRefused::Origin => "origin",
            ApiRefused::ContentType => "content_type",
            ApiRefused::User => "user",
        }
    }

    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            ApiRefused::Token => StatusCode::UNAUTHORIZED,
            ApiRefused::Right(_) | ApiRefused::NotLoopback | ApiRefused::Host | ApiRefused::Origin => {
                StatusCode::FORBIDDEN
            }
            ApiRefused::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ApiRefused::User => StatusCode::BAD_REQUEST,
        }
    }
}

impl IntoResponse for ApiRefused {
    fn into_response(self) -> Response {
        let mut answer = (self.status(), format!("{self}\n")).into_response();
        if self.status() == StatusCode::UNAUTHORIZED {
            let scheme = axum::http::HeaderValue::from_static("Bearer realm=\"nightshift\"");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        answer
    }
}

fn identify_local(method: &Method, headers: &HeaderMap, peer: &Peer) -> Result<Who, ApiRefused> {
    if !peer.is_loopback() {
        return Err(ApiRefused::NotLoopback);
    }
    let host = only(headers, header::HOST).map_err(|_| ApiRefused::Host)?.ok_or(ApiRefused::Host)?;
    if !names_this_machine(host) {
        return Err(ApiRefused::Host);
    }
    if let Some(origin) = only(headers, header::ORIGIN).map_err(|_| ApiRefused::Origin)? {
        let page = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        if page != Some(host) {
            return Err(ApiRefused::Origin);
        }
    }
    if let Some(site) = headers.get("sec-fetch-site")
        && !matches!(site.as_bytes(), b"same-origin" | b"none")
    {
        return Err(ApiRefused::Origin);
    }
    let kind = only(headers, header::CONTENT_TYPE).map_err(|_| ApiRefused::ContentType)?;
    let is_json = kind.is_some_and(|kind| {
        kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
    });
    let reads_only = matches!(*method, Method::GET | Method::HEAD);
    if !reads_only && !is_json && (kind.is_some() || has_body(headers)) {
        return Err(ApiRefused::ContentType);
    }
    let user = match only(headers, axum::http::HeaderName::from_static(USER_HEADER)) {
        Ok(None) => return Ok(Who { name: ANONYMOUS.to_owned(), via: "loopback", rights: Rights::all() }),
        Ok(Some(name)) if is_name(name) => name,
        Ok(Some(_)) | Err(_) => return Err(ApiRefused::User),
    };
    Ok(Who { name: format!("local:{user}"), via: "loopback", rights: Rights::all() })
}

/// Whoever gives no name, on loopback without tokens.
pub const ANONYMOUS: &str = "local:anonymous";

struct NotOnce;

/// The one value of a header as text; an error where it comes twice or is not visible ASCII.
fn only(headers: &HeaderMap, name: header::HeaderName) -> Result<Option<&str>, NotOnce> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| NotOnce),
        (Some(_), Some(_)) => Err(NotOnce),
    }
}

fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).map(|value| value.as_bytes());
    headers.contains_key(header::TRANSFER_ENCODING) || length.is_some_and(|length| length != b"0")
}

fn names_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, port)) if is_port(port) => name,
            _ => return false,
        },
        None => match host.split_once(':') {
            Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            Some(_) => return false,
            None => host,
        },
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }

    fn peer(address: &str) -> Peer {
        Peer { address: address.parse().unwrap(), certificate: None }
    }

    fn local(method: Method, pairs: &[(&str, &str)]) -> Result<Who, ApiRefused> {
        ApiAuth::loopback().identify(&method, &headers(pairs), &peer("127.0.0.1:5000"))
    }

    const HOST: (&str, &str) = ("host", "127.0.0.1:9394");
    const JSON: (&str, &str) = ("content-type", "application/json");

    fn tokens() -> ApiAuth {
        let token = |name: &str, secret: &str, may: &[Right]| (name.to_owned(), secret.into(), Rights::of(may));
        ApiAuth::with_tokens(vec![
            token("deploy-bot", "token-1", &[Right::Read, Right::Pause]),
            token("admin", "token-2", &[Right::Admin]),
        ])
        .unwrap()
    }

    #[test]
    fn a_token_gives_its_name_and_its_rights_and_no_others() {
        let who = tokens()
            .identify(&Method::GET, &headers(&[("authorization", "Bearer token-1")]), &peer("192.0.2.1:1"))
            .unwrap();
        assert_eq!((who.name.as_str(), who.via), ("deploy-bot", "token"));
        for right in Right::ALL {
            let expected = matches!(right, Right::Read | Right::Pause);
            assert_eq!(who.require(right).is_ok(), expected, "{right:?}");
        }
        assert_eq!(who.require(Right::Undo).unwrap_err().to_string(), "this token may not undo");
    }

    #[test]
    fn without_a_good_token_nobody_is_let_in_not_even_on_loopback() {
        for sent in [
            &[][..],
            &[("authorization", "Bearer wrong")],
            &[("authorization", "Bearer ")],
            &[("authorization", "Basic token-1")],
            &[("authorization", "Bearer token-1"), ("authorization", "Bearer token-2")],
        ] {
            let mut all = headers(sent);
            all.insert("host", "localhost".parse().unwrap());
            all.insert(USER_HEADER, "root".parse().unwrap());
            let refused = tokens().identify(&Method::GET, &all, &peer("127.0.0.1:1")).unwrap_err();
            assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{sent:?}");
        }
    }

    #[test]
    fn tokens_that_cannot_be_told_apart_are_refused() {
        let made = |list: &[(&str, &str)]| {
            let list = list.iter().map(|(name, secret)| ((*name).to_owned(), (*secret).into(), Rights::all()));
            ApiAuth::with_tokens(list.collect()).map(|_| ()).unwrap_err()
        };
        assert_eq!(made(&[]), TokenProblem::None);
        assert_eq!(made(&[("a", "x"), ("a", "y")]), TokenProblem::SameName("a".into()));
        assert_eq!(made(&[("a", "x"), ("b", "x")]), TokenProblem::SameSecret("a".into(), "b".into()));
        assert_eq!(made(&[("a", "")]), TokenProblem::Secret { name: "a".into(), problem: AuthProblem::Empty });
        assert_eq!(made(&[("a b", "x")]), TokenProblem::Name("a b".into()));
    }

    #[test]
    fn on_loopback_the_cli_says_who_it_is() {
        let who = local(Method::POST, &[HOST, JSON, (USER_HEADER, "ada@example")]).unwrap();
        assert_eq!((who.name.as_str(), who.via, who.rights), ("local:ada@example", "loopback", Rights::all()));
        assert_eq!(local(Method::GET, &[HOST]).unwrap().name, "local:anonymous");
        let long = "x".repeat(MAX_NAME + 1);
        for name in ["", "a b", "a\tb", "<script>", &long] {
            assert_eq!(local(Method::GET, &[HOST, (USER_HEADER, name)]), Err(ApiRefused::User), "{name:?}");
        }
    }

    #[test]
    fn a_foreign_page_in_a_local_browser_gets_nothing() {
        for host in
            ["evil.example", "evil.example:9394", "127.0.0.1.evil.example", "localhost.evil.example", "[::1", ""]
        {
            assert_eq!(local(Method::GET, &[("host", host)]), Err(ApiRefused::Host), "{host}");
        }
        assert_eq!(local(Method::GET, &[]), Err(ApiRefused::Host));
        assert_eq!(local(Method::GET, &[HOST, HOST]), Err(ApiRefused::Host));
        for origin in ["http://evil.example", "null", "http://127.0.0.1:8080", "file://"] {
            assert_eq!(local(Method::POST, &[HOST, JSON, ("origin", origin)]), Err(ApiRefused::Origin), "{origin}");
        }
        assert_eq!(local(Method::GET, &[HOST, ("sec-fetch-site", "cross-site")]), Err(ApiRefused::Origin));
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp"] {
            let sent = [HOST, ("content-type", kind), ("content-length", "2")];
            assert_eq!(local(Method::POST, &sent), Err(ApiRefused::ContentType), "{kind}");
        }
        assert_eq!(local(Method::POST, &[HOST, ("content-length", "2")]), Err(ApiRefused::ContentType));
        assert_eq!(local(Method::POST, &[HOST, ("transfer-encoding", "chunked")]), Err(ApiRefused::ContentType));
        let remote = ApiAuth::loopback().identify(&Method::GET, &headers(&[HOST]), &peer("192.0.2.1:1"));
        assert_eq!(remote, Err(ApiRefused::NotLoopback));
    }

    #[test]
    fn our_own_page_and_curl_are_answered() {
        let own = [HOST, JSON, ("origin", "http://127.0.0.1:9394"), ("sec-fetch-site", "same-origin")];
        assert!(local(Method::POST, &own).is_ok());
        assert!(
            local(Method::POST, &[("host", "localhost:9394"), ("content-type", "application/json; charset=utf-8")])
                .is_ok()
        );
        assert!(local(Method::POST, &[HOST]).is_ok(), "curl -X POST without a body");
        for host in ["localhost", "LOCALHOST:1", "[::1]:9394", "[::1]", "127.0.0.2"] {
            assert!(local(Method::GET, &[("host", host)]).is_ok(), "{host}");
        }
    }

    #[test]
    fn an_open_api_stays_on_loopback() {
        assert!(ApiAuth::loopback().refuse_open("127.0.0.1:9394".parse().unwrap()).is_ok());
        assert!(ApiAuth::loopback().refuse_open("0.0.0.0:9394".parse().unwrap()).is_err());
        assert!(tokens().refuse_open("0.0.0.0:9394".parse().unwrap()).is_ok());
    }
}
