//! Calling out: the one place where a client is built, and errors that never carry a secret.
//!
//! Every client has time-outs, follows no redirect, uses no proxy that nobody configured, repeats nothing by itself,
//! and reads answers only up to a cap. Whether a call may be repeated is for its caller to say.

use bytes::{Bytes, BytesMut};
use reqwest::{
    Certificate, Method, Proxy, RequestBuilder, Response, StatusCode,
    header::{HeaderMap, RETRY_AFTER},
    redirect,
};
use std::{error::Error, fmt, io, path::PathBuf, sync::Once, time::Duration};

/// For name, TCP and TLS together; a peer within reach takes milliseconds.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For the whole exchange unless a request sets its own.
pub const TOTAL_TIMEOUT: Duration = Duration::from_secs(15);
/// An answer's body; a large Alertmanager's list of alerts needs megabytes, everything else kilobytes.
pub const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// Our name in the peers' logs.
pub const USER_AGENT: &str = concat!("nightshift/", env!("CARGO_PKG_VERSION"));
/// Idle connections are closed before the usual load balancers (60 s) close them under us.
const POOL_IDLE: Duration = Duration::from_secs(45);

/// Makes ring the process's cryptography. Building any client without it panics, so every builder calls this;
/// calling it again does nothing.
pub fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that somebody installed one before, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// How a client differs from the usual.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    pub connect_timeout: Duration,
    /// Must be longer than `connect_timeout`, or a slow connect could not be told from a slow answer.
    pub timeout: Duration,
    /// Used for everything when set; the environment's proxies never are.
    pub proxy: Option<String>,
    /// PEM: authorities trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// HTTP/1.1 and nothing else: a web socket begins in it.
    pub http1_only: bool,
}

impl Default for ClientSettings {
    fn default() -> ClientSettings {
        ClientSettings {
            connect_timeout: CONNECT_TIMEOUT,
            timeout: TOTAL_TIMEOUT,
            proxy: None,
            ca_file: None,
            http1_only: false,
        }
    }
}

/// A client that can't be built from its settings.
#[derive(Debug, thiserror::Error)]
pub enum ClientBuildError {
    #[error("cannot read {}: {source}", path.display())]
    CaFile { path: PathBuf, source: io::Error },
    #[error("{} holds no certificate in PEM", path.display())]
    Ca { path: PathBuf },
    #[error("the proxy's address is not a URL")]
    Proxy,
    #[error("the time-out of {timeout:?} must be longer than the one for connecting, {connect:?}")]
    Timeouts { timeout: Duration, connect: Duration },
    #[error("cannot build an HTTP client")]
    Build(#[source] reqwest::Error),
}

/// A client. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Client {
    inner: reqwest::Client,
    /// Whether any certificate authority is known; a scratch image has none.
    knows_authorities: bool,
}

/// An answer with a body in memory, whatever its status.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// Itself if 2xx, else the error.
    pub fn success(self) -> Result<Answer, ClientError> {
        if self.status.is_success() { Ok(self) } else { Err(status_error(self.status)) }
    }

    /// `Retry-After` in seconds, where the peer sent it so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
    }
}

impl Client {
    /// Builds a client. Where the system has no certificate authorities it still speaks plain HTTP, and says what is
    /// missing once HTTPS is asked for.
    pub fn build(settings: &ClientSettings) -> Result<Client, ClientBuildError> {
        install_crypto();
        if settings.timeout <= settings.connect_timeout {
            let (timeout, connect) = (settings.timeout, settings.connect_timeout);
            return Err(ClientBuildError::Timeouts { timeout, connect });
        }
        let own = own_authorities(settings)?;
        match builder(settings)?.tls_certs_merge(own.clone()).build() {
            Ok(inner) => Ok(Client { inner, knows_authorities: true }),
            Err(_) => {
                // The likely reason is that the system has no authorities: then only our own are left.
                let knows_authorities = !own.is_empty();
                let inner = builder(settings)?.tls_certs_only(own).build().map_err(ClientBuildError::Build)?;
                Ok(Client { inner, knows_authorities })
            }
        }
    }

    /// The client underneath, for peers that have their own classes of errors. Clones share one pool.
    #[must_use]
    pub fn raw(&self) -> reqwest::Client {
        self.inner.clone()
    }

    /// Begins a request; end it with [`Client::exchange`] or [`Client::send`].
    pub fn request(&self, method: Method, url: &str) -> RequestBuilder {
        self.inner.request(method, url)
    }

    /// Sends and gives the answer's head. Any status is an answer.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let request = request.build().map_err(|_| ClientError::new(ClientErrorKind::Request, "bad_request"))?;
        if request.url().scheme() == "https" && !self.knows_authorities {
            return Err(ClientError::new(ClientErrorKind::Tls, "no_certificate_authorities"));
        }
        self.inner.execute(request).await.map_err(|error| ClientError::from_reqwest(&error))
    }

    /// Sends and reads the body up to `max` bytes. Any status is an answer.
    pub async fn exchange(&self, request: RequestBuilder, max: usize) -> Result<Answer, ClientError> {
        let mut response = self.send(request).await?;
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());
        let body = read_capped(response, max).await?;
        Ok(Answer { status, headers, body })
    }
}

/// Reads an answer's body of at most `max` bytes.
pub async fn read_capped(mut response: Response, max: usize) -> Result<Bytes, ClientError> {
    let too_large = || ClientError::new(ClientErrorKind::Body, "body_too_large");
    if response.content_length().is_some_and(|length| length > max as u64) {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    loop {
        let chunk = response.chunk().await.map_err(|error| match ClientError::from_reqwest(&error) {
            late @ ClientError { kind: ClientErrorKind::Timeout { .. }, .. } => late,
            _ => ClientError { retry: true, ..ClientError::new(ClientErrorKind::Body, "body_broke_off") },
        })?;
        let Some(chunk) = chunk else { return Ok(body.freeze()) };
        if body.len() + chunk.len() > max {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
}

fn builder(settings: &ClientSettings) -> Result<reqwest::ClientBuilder, ClientBuildError> {
    let builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(settings.connect_timeout)
        .timeout(settings.timeout)
        .pool_idle_timeout(POOL_IDLE)
        .no_proxy();
    let builder = if settings.http1_only { builder.http1_only() } else { builder };
    match &settings.proxy {
        None => Ok(builder),
        Some(url) => Ok(builder.proxy(Proxy::all(url).map_err(|_| ClientBuildError::Proxy)?)),
    }
}

fn own_authorities(settings: &ClientSettings) -> Result<Vec<Certificate>, ClientBuildError> {
    let Some(path) = &settings.ca_file else { return Ok(Vec::new()) };
    let pem = std::fs::read(path).map_err(|source| ClientBuildError::CaFile { path: path.clone(), source })?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(ClientBuildError::Ca { path: path.clone() }),
    }
}

/// What went wrong, as far as a caller's next step depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientErrorKind {
    /// No connection: nothing was sent.
    Connect,
    /// `sent`: the peer may have got the request, so a write has an unknown outcome.
    Timeout { sent: bool },
    /// The peer answered, but not 2xx.
    Status { code: u16 },
    /// The connection broke after the request was begun, or the answer's body is unusable: what the peer did is unknown.
    Body,
    /// Certificates: nothing was sent.
    Tls,
    /// The request itself is no request (its URL, a header): nothing was sent.
    Request,
}

/// A failed call. Neither URL nor header nor body is in it, so it can be logged, journalled and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientError {
    pub kind: ClientErrorKind,
    /// The same may be tried again later; whether that is *safe* depends on the request, see `kind`.
    pub retry: bool,
    /// One of a closed list: the metric's label, the journal's word.
    pub reason: &'static str,
}

impl ClientError {
    fn new(kind: ClientErrorKind, reason: &'static str) -> ClientError {
        ClientError { kind, retry: false, reason }
    }

    /// Whether the peer can't have acted on the request.
    #[must_use]
    pub fn nothing_was_sent(&self) -> bool {
        match self.kind {
            ClientErrorKind::Connect
            | ClientErrorKind::Tls
            | ClientErrorKind::Request
            | ClientErrorKind::Timeout { sent: false } => true,
            ClientErrorKind::Timeout { sent: true } | ClientErrorKind::Status { .. } | ClientErrorKind::Body => false,
        }
    }

    /// Sorts reqwest's error by its causes; its text (which holds the URL) is left behind.
    fn from_reqwest(error: &reqwest::Error) -> ClientError {
        let again = |kind, reason| ClientError { retry: true, ..ClientError::new(kind, reason) };
        if let Some(status) = error.status() {
            return status_error(status);
        }
        if error.is_builder() {
            return ClientError::new(ClientErrorKind::Request, "bad_request");
        }
        if causes(error).any(|cause| cause.is::<rustls::Error>()) {
            return ClientError::new(ClientErrorKind::Tls, "tls");
        }
        match (error.is_connect(), error.is_timeout()) {
            (true, true) => again(ClientErrorKind::Timeout { sent: false }, "connect_timeout"),
            (true, false) if error.is_dns() => again(ClientErrorKind::Connect, "name_not_found"),
            (true, false) => again(ClientErrorKind::Connect, "connect"),
            // It may have been sent whole; who can't know must assume it.
            (false, true) => again(ClientErrorKind::Timeout { sent: true }, "timeout"),
            (false, false) => again(ClientErrorKind::Body, "connection_broke"),
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ClientErrorKind::Connect if self.reason == "name_not_found" => f.write_str("its name was not found"),
            ClientErrorKind::Connect => f.write_str("cannot connect"),
            ClientErrorKind::Timeout { sent: false } => f.write_str("connecting took too long"),
            ClientErrorKind::Timeout { sent: true } => f.write_str("no answer in time"),
            ClientErrorKind::Status { code } => write!(f, "it answered {code}"),
            ClientErrorKind::Body if self.reason == "body_too_large" => f.write_str("its answer is too large"),
            ClientErrorKind::Body => f.write_str("the connection broke off"),
            ClientErrorKind::Tls if self.reason == "no_certificate_authorities" => f.write_str(
                "this system has no certificate authorities, so HTTPS cannot be trusted: install ca-certificates, \
                 or name a ca_file",
            ),
            ClientErrorKind::Tls => f.write_str("its certificate or TLS is not acceptable"),
            ClientErrorKind::Request => f.write_str("the request is malformed: check the configured URL and token"),
        }
    }
}

impl Error for ClientError {}

fn status_error(status: StatusCode) -> ClientError {
    let kind = ClientErrorKind::Status { code: status.as_u16() };
    // 420 is how Statuspage says 429.
    let (retry, reason) = match status.as_u16() {
        300..=399 => (false, "redirect"),
        401 | 403 => (false, "not_authorized"),
        420 | 429 => (true, "rate_limited"),
        408 => (true, "status_4xx"),
        500..=599 => (true, "status_5xx"),
        _ => (false, "status_4xx"),
    };
    ClientError { kind, retry, reason }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        // `source` of an I/O error leaves out the very error that it wraps.
        Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
        None => error.source(),
    })
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
