//! One connection: TLS if any, HTTP/1.1, and the clocks that keep a slow other end from holding it for ever.
//!
//! hyper drops a handler's future when the client goes away. What must finish once it has begun (a commit to the
//! journal, above all) runs in a task of its own; the handler only waits for that task's answer.

use crate::http::{
    identity::{Peer, PeerIdentity},
    server::{ServerLimits, ServerStats},
    tls::ReloadableTls,
};
use axum::{Router, body::Body};
use bytes::Bytes;
use hyper::{
    Request, Response,
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::Service;

/// Bytes of a request read ahead on a connection. hyper's own bound is six times that, which a thousand connections
/// would make more than the whole daemon may use.
const READ_BUFFER: usize = 64 * 1024;

/// What every connection of one server shares.
#[derive(Clone)]
pub(super) struct Shared {
    pub router: Router,
    pub tls: Option<Arc<ReloadableTls>>,
    pub limits: Arc<ServerLimits>,
    pub stats: Arc<ServerStats>,
    /// Cancelled when the server stops: requests under way finish, nothing new begins.
    pub stop: CancellationToken,
}

/// Serves one connection to its end. Failures of the other end are counted, and logged only for debugging.
pub(super) async fn serve(shared: Shared, stream: TcpStream, address: SocketAddr) {
    // Small answers at once; the other end waits for each.
    let _ = stream.set_nodelay(true);
    let stream = GuardedIo::new(stream, shared.limits.write_stall);
    let Some(tls) = &shared.tls else {
        return talk(&shared, stream, Peer { address, certificate: None }).await;
    };
    let handshake = timeout(shared.limits.handshake, tls.acceptor().accept(stream));
    let outcome = tokio::select! {
        outcome = handshake => outcome,
        // Nothing was asked yet, so nothing is lost.
        () = shared.stop.cancelled() => return,
    };
    match outcome {
        Ok(Ok(stream)) => {
            let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let certificate = shown.and_then(|der| PeerIdentity::from_der(der)).map(Arc::new);
            talk(&shared, stream, Peer { address, certificate }).await;
        }
        Ok(Err(error)) => {
            shared.stats.handshakes_failed.fetch_add(1, Relaxed);
            tracing::debug!(peer = %address, %error, "TLS handshake failed");
        }
        Err(_) => {
            shared.stats.slow.fetch_add(1, Relaxed);
            tracing::debug!(peer = %address, "TLS handshake was too slow");
        }
    }
}

async fn talk<T>(shared: &Shared, stream: T, peer: Peer)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let address = peer.address;
    let reads = Arc::new(Reads::default());
    let stream = CountedIo { inner: stream, reads: Arc::clone(&reads) };
    let service = service_fn(|request: Request<Incoming>| {
        let mut router = shared.router.clone();
        let peer = peer.clone();
        let reads = Arc::clone(&reads);
        let stats = Arc::clone(&shared.stats);
        let body_deadline = shared.limits.body;
        async move {
            reads.settle();
            stats.requests.fetch_add(1, Relaxed);
            let (mut parts, body) = request.into_parts();
            parts.extensions.insert(peer);
            let body = TimedBody { inner: body, deadline: Box::pin(sleep(body_deadline)), stats };
            // axum's router is always ready.
            let answer: Result<Response<Body>, Infallible> =
                router.call(Request::from_parts(parts, Body::new(body))).await;
            reads.settle();
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.limits.head)
        .max_headers(shared.limits.headers)
        .max_header_size(shared.limits.head_bytes)
        .max_buf_size(READ_BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shared.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // The same clock closes an idle connection, which is no fault of anyone.
        if error.is_timeout() && reads.has_unsettled() {
            shared.stats.slow.fetch_add(1, Relaxed);
        }
        tracing::debug!(peer = %address, %error, "connection ended early");
    }
}

/// The sender did not finish its body in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body did not arrive in time")]
pub struct BodyTooSlow;

/// A request's body that must have arrived whole by a deadline, however busily it trickles.
struct TimedBody {
    inner: Incoming,
    deadline: Pin<Box<Sleep>>,
    stats: Arc<ServerStats>,
}

impl HttpBody for TimedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(axum::Error::new)));
        }
        if self.deadline.as_mut().poll(context).is_ready() {
            self.stats.slow.fetch_add(1, Relaxed);
            return Poll::Ready(Some(Err(axum::Error::new(BodyTooSlow))));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Bytes that came in, and how many of them belonged to requests already answered.
#[derive(Default)]
struct Reads {
    taken: AtomicU64,
    settled: AtomicU64,
}

impl Reads {
    fn settle(&self) {
        self.settled.store(self.taken.load(Relaxed), Relaxed);
    }

    fn has_unsettled(&self) -> bool {
        self.taken.load(Relaxed) > self.settled.load(Relaxed)
    }
}

struct CountedIo<T> {
    inner: T,
    reads: Arc<Reads>,
}

impl<T: AsyncRead + Unpin> AsyncRead for CountedIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.inner).poll_read(context, buffer);
        let came = buffer.filled().len().saturating_sub(before);
        self.reads.taken.fetch_add(came as u64, Relaxed);
        outcome
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for CountedIo<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// A socket whose writes fail once the other end has taken nothing for a while: a reader that stops reading would
/// otherwise hold the answer, and its place among the connections, for ever.
struct GuardedIo {
    inner: TcpStream,
    stall: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl GuardedIo {
    fn new(inner: TcpStream, stall: Duration) -> GuardedIo {
        GuardedIo { inner, stall, stalled: None }
    }

    fn guard<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let clock = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.stall)));
        match clock.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for GuardedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for GuardedIo {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.guard(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.guard(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
