//! The server: it accepts, counts and bounds connections, and stops in an orderly way.
//!
//! axum only routes. The accept loop is our own because a webhook port must outlive slow senders, floods of
//! connections and a lack of file descriptors. It never ends by itself, only by its shutdown future.
//! Handlers: see [`crate::http::connection`] for what happens to them when a client goes away.

use crate::http::{
    connection::{self, Shared},
    tls::ReloadableTls,
};
use axum::{
    Router,
    body::Body,
    http::{Response, StatusCode},
};
use std::{
    any::Any,
    future::Future,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

/// Connections at a time. An Alertmanager keeps one or two; a thousand leaves room for storms and fits a descriptor
/// limit of 4096 together with the journal and our own calls.
pub const MAX_CONNECTIONS: usize = 1024;
/// For a request's head, from the end of the request before it: so it closes idle connections as well. Not a divisor
/// or multiple of common group intervals (10 s, 15 s, 30 s): a flush would meet the closing connection every time.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(13);
/// For a whole body. Eight MiB in this time is 2.3 Mbit/s.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// For the TLS handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// For a client to take at least one byte of an answer.
pub const WRITE_STALL: Duration = Duration::from_secs(30);
/// For requests under way when the server stops; after it the rest of them are cut. The whole daemon has 20 s.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Header lines in a request; Alertmanager sends about ten, a chain of proxies adds a few each.
pub const MAX_HEADERS: usize = 64;
/// Bytes of a request's head.
pub const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Connections over the cap that are still told so politely; beyond these they are only closed.
const REFUSALS_AT_A_TIME: usize = 64;
/// For such a client to read its refusal.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(500);
/// The wait after an accept that failed for want of something (descriptors, memory): long enough not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The bounds of one server; the defaults are the constants above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLimits {
    pub connections: usize,
    pub head: Duration,
    pub body: Duration,
    pub handshake: Duration,
    pub write_stall: Duration,
    pub drain: Duration,
    pub headers: usize,
    pub head_bytes: usize,
}

impl Default for ServerLimits {
    fn default() -> ServerLimits {
        ServerLimits {
            connections: MAX_CONNECTIONS,
            head: HEAD_TIMEOUT,
            body: BODY_TIMEOUT,
            handshake: HANDSHAKE_TIMEOUT,
            write_stall: WRITE_STALL,
            drain: DRAIN_TIMEOUT,
            headers: MAX_HEADERS,
            head_bytes: MAX_HEAD_BYTES,
        }
    }
}

/// What the server has seen, for metrics. All but `open` only grow.
#[derive(Debug, Default)]
pub struct ServerStats {
    /// Connections open now.
    pub open: AtomicU64,
    pub accepted: AtomicU64,
    /// Connections turned away because the cap was reached.
    pub refused: AtomicU64,
    /// Handshakes, heads and bodies that did not arrive in time.
    pub slow: AtomicU64,
    pub handshakes_failed: AtomicU64,
    pub requests: AtomicU64,
    /// Handlers that panicked; each was answered 500.
    pub panics: AtomicU64,
    /// Failed accepts, a connection reset before it was accepted excepted.
    pub accept_errors: AtomicU64,
}

/// How the stop went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still busy at the deadline and were cut.
    pub cut: usize,
}

/// A server on a listener that is already bound.
pub struct Server {
    listener: TcpListener,
    shared: Shared,
}

impl Server {
    /// A server for `router` over plain TCP with the default limits.
    #[must_use]
    pub fn new(listener: TcpListener, router: Router) -> Server {
        let stats = Arc::new(ServerStats::default());
        let router = router.layer(CatchPanicLayer::custom(answer_to_panic(Arc::clone(&stats))));
        let shared = Shared {
            router,
            tls: None,
            limits: Arc::new(ServerLimits::default()),
            stats,
            stop: CancellationToken::new(),
        };
        Server { listener, shared }
    }

    /// Speaks TLS only. Keep a clone to call [`ReloadableTls::reload`].
    #[must_use]
    pub fn with_tls(mut self, tls: Arc<ReloadableTls>) -> Server {
        self.shared.tls = Some(tls);
        self
    }

    #[must_use]
    pub fn with_limits(mut self, limits: ServerLimits) -> Server {
        self.shared.limits = Arc::new(limits);
        self
    }

    /// The counters; take them before [`Server::run`].
    #[must_use]
    pub fn stats(&self) -> Arc<ServerStats> {
        Arc::clone(&self.shared.stats)
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` is done, then lets requests under way finish for at most `limits.drain`.
    ///
    /// The connections are tasks of this future: dropping it cuts them all.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Drained {
        let Server { listener, shared } = self;
        let places = Arc::new(Semaphore::new(shared.limits.connections));
        let refusals = Arc::new(Semaphore::new(REFUSALS_AT_A_TIME));
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(ended) = connections.join_next() => {
                    log_lost_task(ended);
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => match Arc::clone(&places).try_acquire_owned() {
                    Ok(place) => {
                        let open = Open::count(&shared.stats, place);
                        let shared = shared.clone();
                        connections.spawn(async move {
                            connection::serve(shared, stream, address).await;
                            drop(open);
                        });
                    }
                    Err(_) => {
                        shared.stats.refused.fetch_add(1, Relaxed);
                        if let (None, Ok(place)) = (&shared.tls, Arc::clone(&refusals).try_acquire_owned()) {
                            connections.spawn(refuse(stream, place));
                        }
                    }
                },
                Err(error) if is_the_clients_own(&error) => {}
                Err(error) => {
                    shared.stats.accept_errors.fetch_add(1, Relaxed);
                    tracing::warn!(%error, "cannot accept connections, trying again shortly");
                    tokio::select! {
                        () = &mut shutdown => break,
                        () = sleep(ACCEPT_PAUSE) => {}
                    }
                }
            }
        }
        // New connections are refused by the kernel from here on, so a load balancer goes elsewhere at once.
        drop(listener);
        shared.stop.cancel();
        let everyone = async {
            while let Some(ended) = connections.join_next().await {
                log_lost_task(ended);
            }
        };
        let in_time = timeout(shared.limits.drain, everyone).await.is_ok();
        let cut = if in_time { 0 } else { connections.len() };
        if cut > 0 {
            tracing::warn!(cut, "connections were still busy at the deadline and are cut");
        }
        connections.shutdown().await;
        Drained { cut }
    }
}

/// A connection's place among the open ones, given back however its task ends.
struct Open {
    stats: Arc<ServerStats>,
    _place: OwnedSemaphorePermit,
}

impl Open {
    fn count(stats: &Arc<ServerStats>, place: OwnedSemaphorePermit) -> Open {
        stats.accepted.fetch_add(1, Relaxed);
        stats.open.fetch_add(1, Relaxed);
        Open { stats: Arc::clone(stats), _place: place }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.stats.open.fetch_sub(1, Relaxed);
    }
}

/// Answers 503 without reading the request, then waits a moment for the client to take it: closing at once would
/// reset the connection and could lose the answer. Alertmanager retries either way.
async fn refuse(mut stream: TcpStream, place: OwnedSemaphorePermit) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\nretry-after: 1\r\n\
        connection: close\r\ncontent-length: 21\r\n\r\ntoo many connections\n";
    let polite = async {
        stream.write_all(ANSWER).await?;
        stream.shutdown().await?;
        let mut ignored = [0_u8; 4096];
        while stream.read(&mut ignored).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    let _ = timeout(REFUSAL_TIMEOUT, polite).await;
    drop(place);
}

/// The connection broke before we got to it; the listener is well.
fn is_the_clients_own(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// A connection's task panicked outside of any handler: it took only itself with it.
fn log_lost_task(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked");
    }
}

fn answer_to_panic(stats: Arc<ServerStats>) -> impl Fn(Box<dyn Any + Send>) -> Response<Body> + Clone {
    move |panic| {
        stats.panics.fetch_add(1, Relaxed);
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&'static str>().copied())
            .unwrap_or("no message");
        tracing::error!(message, "a handler panicked");
        let mut answer = Response::new(Body::from("internal error\n"));
        *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_descriptors_is_ours_and_a_reset_is_the_clients() {
        const EMFILE: i32 = 24;
        const ENFILE: i32 = 23;
        const ENOMEM: i32 = 12;
        const ECONNABORTED: i32 = 103;
        for ours in [EMFILE, ENFILE, ENOMEM] {
            assert!(!is_the_clients_own(&io::Error::from_raw_os_error(ours)));
        }
        assert!(is_the_clients_own(&io::Error::from_raw_os_error(ECONNABORTED)));
    }
}
