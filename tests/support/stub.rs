//! An HTTP server that keeps what it gets and answers at once with what the test says: a receiver of webhooks and
//! pages, or a peer whose own time must not count in a measurement.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use super::background::Background;

/// One request, with the time at which its body was complete.
#[derive(Clone, Debug)]
pub struct Received {
    pub at: Instant,
    pub method: String,
    /// Path and query.
    pub uri: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Received {
    /// The body as JSON; null when it isn't.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

pub struct Stub {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    _background: Background,
}

impl Stub {
    /// `answers` gives a status and a JSON body for each request.
    pub fn start(answers: impl Fn(&Received) -> (u16, String) + Send + Sync + 'static) -> Self {
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let answers = Arc::new(answers);
        let background = Background::start("stub");
        let listener = background.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let keeps = received.clone();
        background.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let (keeps, answers) = (keeps.clone(), answers.clone());
                let serve = service_fn(move |request: Request<Incoming>| {
                    let (keeps, answers) = (keeps.clone(), answers.clone());
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        let uri = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
                        let method = parts.method.as_str().to_owned();
                        let one = Received { at: Instant::now(), method, uri, headers: parts.headers, body };
                        let (status, text) = answers(&one);
                        keeps.lock().unwrap().push(one);
                        let answer = Response::builder().status(status).header("content-type", "application/json");
                        let answer = answer.body(Full::new(Bytes::from(text))).expect("a status between 100 and 999");
                        Ok::<_, hyper::Error>(answer)
                    }
                });
                tokio::task::spawn(async move {
                    let _ =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve).await;
                });
            }
        });
        Self { address, received, _background: background }
    }

    /// One that takes everything: 200 and `{}`.
    pub fn accepting() -> Self {
        Self::start(|_| (200, "{}".to_owned()))
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything so far, oldest first.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}
