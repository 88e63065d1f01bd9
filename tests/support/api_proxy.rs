//! A proxy in front of the API server that ends TLS (with a certificate of the same authority) and so can pick single
//! requests: lose the answer of the first PATCH, hold a request while somebody else writes, answer 429.
//!
//! Requests and answers are carried whole, so `watch` and `follow` don't work through it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::background::Background;
use super::control_plane::ControlPlane;
use super::failing::{Becomes, Failing, Failure};

/// One request as it passed.
#[derive(Clone, Debug)]
pub struct Passed {
    pub method: String,
    /// Path and query.
    pub uri: String,
    pub body: Bytes,
    pub at: Instant,
    /// What the API server answered; `None` when it wasn't asked.
    pub answered: Option<u16>,
}

impl Passed {
    /// A write that isn't a dry run, and no question asked by POST (reviews and tokens).
    pub fn acts(&self) -> bool {
        acts(&self.method, &self.uri)
    }
}

/// Whether a request may change an object.
pub fn acts(method: &str, uri: &str) -> bool {
    !matches!(method, "GET" | "HEAD" | "OPTIONS") && !uri.contains("dryRun=") && !uri.contains("reviews")
}

/// What happens to a picked request.
pub enum Fate {
    /// Delivered; the client's connection ends without an answer.
    LoseAnswer,
    /// Delivered; the answer waits so long.
    DelayAnswer(Duration),
    /// Not delivered; the connection ends.
    LoseRequest,
    /// Not delivered; this status, header (name, value) and body are answered.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Held until the gate opens, then delivered.
    Hold(Gate),
}

/// Holds a request until the test opens it, and lets the test wait for the request to come.
#[derive(Clone)]
pub struct Gate(Arc<(Semaphore, Semaphore)>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new((Semaphore::new(0), Semaphore::new(0))))
    }
}

impl Gate {
    /// Waits until a request stands at the gate.
    pub async fn reached(&self) {
        let reached = tokio::time::timeout(Duration::from_secs(30), self.0.0.acquire()).await;
        reached.expect("no request came to the gate within 30 s").expect("never closed").forget();
    }

    pub fn open(&self) {
        self.0.1.add_permits(1);
    }

    async fn pass(&self) {
        self.0.0.add_permits(1);
        self.0.1.acquire().await.expect("never closed").forget();
    }
}

type Picks = Box<dyn Fn(&str, &str) -> bool + Send>;

struct Shared {
    upstream: String,
    http: reqwest::Client,
    plans: Mutex<VecDeque<(Picks, Fate)>>,
    passed: Mutex<Vec<Passed>>,
    failing: Arc<Failing>,
}

pub struct ApiProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _background: Background,
}

impl ApiProxy {
    pub fn start(plane: &ControlPlane) -> Self {
        let authority = plane.authority();
        let identity = authority.server(&["127.0.0.1"]);
        let chain = vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("our own PEM")];
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("our own PEM");
        let tls = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).expect("a pair");
        let root = reqwest::Certificate::from_pem(authority.certificate.as_bytes()).expect("our own PEM");
        let shared = Arc::new(Shared {
            upstream: plane.url(),
            http: reqwest::Client::builder()
                .tls_certs_only([root])
                .no_proxy()
                .http1_only()
                .timeout(Duration::from_secs(120))
                .build()
                .expect("a client"),
            plans: Mutex::default(),
            passed: Mutex::default(),
            failing: Arc::default(),
        });
        let background = Background::start("api-proxy");
        let listener = background.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let serving = shared.clone();
        background.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if serving.failing.refuses() {
                    let _ = stream.set_zero_linger();
                    continue;
                }
                let (acceptor, shared) = (acceptor.clone(), serving.clone());
                tokio::task::spawn(async move {
                    let _ = stream.set_nodelay(true);
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let serve = service_fn(move |request| carry(shared.clone(), request));
                    // It ends with an error where an answer was to be lost.
                    let _ =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve).await;
                });
            }
        });
        Self { address, shared, _background: background }
    }

    /// For [`super::TestNamespace::kubeconfig_through`].
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next request that `picks` (method, path and query) meets this fate; once. Plans are looked at in order.
    pub fn next(&self, picks: impl Fn(&str, &str) -> bool + Send + 'static, fate: Fate) {
        self.shared.plans.lock().unwrap().push_back((Box::new(picks), fate));
    }

    /// The next write that isn't a dry run is delivered and its answer lost.
    pub fn lose_next_act(&self) {
        self.next(acts, Fate::LoseAnswer);
    }

    /// Says which call fails by its number; besides the plans.
    pub fn failing(&self) -> &Arc<Failing> {
        &self.shared.failing
    }

    /// Everything that came, oldest first.
    pub fn passed(&self) -> Vec<Passed> {
        self.shared.passed.lock().unwrap().clone()
    }

    /// Plans that no request has met yet.
    pub fn plans_left(&self) -> usize {
        self.shared.plans.lock().unwrap().len()
    }
}

/// The answer was to be lost: an error ends the connection.
#[derive(Debug, thiserror::Error)]
#[error("the answer is lost on purpose")]
struct Lost;

async fn carry(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Lost> {
    let at = Instant::now();
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Lost)?.to_bytes();
    let uri = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let method = parts.method.as_str().to_owned();
    let fate = {
        let mut plans = shared.plans.lock().unwrap();
        let found = plans.iter().position(|(picks, _)| picks(&method, &uri));
        found.and_then(|at| plans.remove(at)).map(|(_, fate)| fate)
    };
    let becomes = shared.failing.call(acts(&method, &uri));
    let number = {
        let mut passed = shared.passed.lock().unwrap();
        passed.push(Passed { method, uri: uri.clone(), body: body.clone(), at, answered: None });
        passed.len() - 1
    };
    match becomes {
        Becomes::Fails(Failure::Gone | Failure::Reset) => return Err(Lost),
        // Until the client leaves, and the connection with it.
        Becomes::Fails(Failure::Hangs) => std::future::pending().await,
        Becomes::IsHeld => shared.failing.at_the_gate().await,
        Becomes::Fails(Failure::AnswerLost | Failure::ServerFails) | Becomes::Passes => {}
    }
    match &fate {
        Some(Fate::LoseRequest) => return Err(Lost),
        Some(Fate::Answer(status, headers, text)) => {
            let mut answer = Response::builder().status(*status).header("content-type", "application/json");
            for (name, value) in headers {
                answer = answer.header(*name, value);
            }
            return Ok(answer.body(Full::new(Bytes::from(text.clone()))).expect("a valid answer"));
        }
        Some(Fate::Hold(gate)) => gate.pass().await,
        Some(Fate::LoseAnswer | Fate::DelayAnswer(_)) | None => {}
    }
    let mut upstream = shared.http.request(parts.method, format!("{}{uri}", shared.upstream)).body(body);
    for (name, value) in &parts.headers {
        if !matches!(name.as_str(), "host" | "connection" | "content-length" | "transfer-encoding") {
            upstream = upstream.header(name, value);
        }
    }
    // Delivery must not depend on the client's patience: hyper drops us when the client goes away.
    let delivered = tokio::task::spawn(async move {
        let answer = upstream.send().await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        Ok::<_, reqwest::Error>((status, headers, answer.bytes().await?))
    });
    let Ok(Ok((status, headers, bytes))) = delivered.await else { return Err(Lost) };
    shared.passed.lock().unwrap()[number].answered = Some(status.as_u16());
    match becomes {
        Becomes::Fails(Failure::AnswerLost) => return Err(Lost),
        Becomes::Fails(Failure::ServerFails) => {
            let text =
                r#"{"kind":"Status","status":"Failure","reason":"InternalError","code":500,"message":"on purpose"}"#;
            let answer = Response::builder().status(500).header("content-type", "application/json");
            return Ok(answer.body(Full::new(Bytes::from_static(text.as_bytes()))).expect("a valid answer"));
        }
        _ => {}
    }
    match fate {
        Some(Fate::LoseAnswer) => return Err(Lost),
        Some(Fate::DelayAnswer(delay)) => tokio::time::sleep(delay).await,
        _ => {}
    }
    let mut answer = Response::new(Full::new(bytes));
    *answer.status_mut() = status;
    for (name, value) in &headers {
        if !matches!(name.as_str(), "connection" | "content-length" | "transfer-encoding" | "content-encoding") {
            answer.headers_mut().append(name.clone(), value.clone());
        }
    }
    if shared.failing.ends_connections() {
        answer.headers_mut().insert("connection", reqwest::header::HeaderValue::from_static("close"));
    }
    Ok(answer)
}
