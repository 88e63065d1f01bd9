//! A TCP proxy on loopback that loses, holds and delays bytes at will. It doesn't look into TLS, so it stands in front
//! of anything; [`super::api_proxy`] is the one that picks single requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

use super::background::Background;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    Pass,
    /// Nobody listens: connecting is refused. Open connections are reset.
    Refuse,
    /// Every piece of bytes waits so long, in both directions.
    Delay(Duration),
    /// Requests sent from now on are delivered, their answers are dropped, and the connection is reset so long after
    /// the first byte that was dropped. Handshakes of new connections pass.
    SwallowAnswers(Duration),
    /// Connections are accepted and nothing moves, in neither direction. It heals: back in `Pass` everything held
    /// arrives.
    BlackHole,
}

#[derive(Clone, Copy)]
struct Order {
    mode: Mode,
    /// Connections of an earlier one are reset.
    cut: u64,
}

pub struct Proxy {
    background: Background,
    address: SocketAddr,
    orders: watch::Sender<Order>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicU64,
    swallowed: AtomicU64,
}

impl Proxy {
    /// Starts in `Pass`, in front of `target`, on a free loopback port.
    pub fn start(target: SocketAddr) -> Self {
        let background = Background::start("proxy");
        let listener = background.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (orders, received) = watch::channel(Order { mode: Mode::Pass, cut: 0 });
        let counts = Arc::new(Counts::default());
        background.spawn(listen(listener, address, target, received, counts.clone()));
        Self { background, address, orders, counts }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, for open connections too.
    pub fn set(&self, mode: Mode) {
        let refused = self.orders.borrow().mode == Mode::Refuse;
        let refuse = mode == Mode::Refuse;
        self.orders.send_modify(|order| order.mode = mode);
        if refuse != refused {
            self.until_refusing(refuse);
        }
    }

    /// Resets every open connection; new ones pass as the mode says.
    pub fn cut(&self) {
        self.orders.send_modify(|order| order.cut += 1);
    }

    /// Connections accepted so far (one more for each time it stopped refusing: that is looked at from outside).
    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::Relaxed)
    }

    /// Connections on which an answer was dropped.
    pub fn swallowed(&self) -> u64 {
        self.counts.swallowed.load(Ordering::Relaxed)
    }

    /// The listener follows its orders a moment later; tests must not see that moment.
    fn until_refusing(&self, refusing: bool) {
        for _ in 0..200 {
            if std::net::TcpStream::connect(self.address).is_err() == refusing {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the proxy on {} doesn't change to refusing={refusing}", self.address);
    }
}

async fn listen(
    listener: TcpListener,
    address: SocketAddr,
    target: SocketAddr,
    mut orders: watch::Receiver<Order>,
    counts: Arc<Counts>,
) {
    let mut listener = Some(listener);
    loop {
        let refuse = orders.borrow_and_update().mode == Mode::Refuse;
        match (&listener, refuse) {
            (Some(_), true) => listener = None,
            // The port is still ours in practice: it was handed out by the kernel and isn't handed out again soon.
            (None, false) => listener = Some(TcpListener::bind(address).await.expect("the proxy's own port")),
            _ => {}
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = orders.changed() => if changed.is_err() { return },
            connection = accepted => if let Ok((client, _)) = connection {
                counts.connections.fetch_add(1, Ordering::Relaxed);
                tokio::task::spawn(carry(client, target, orders.clone(), counts.clone()));
            },
        }
    }
}

async fn carry(mut client: TcpStream, target: SocketAddr, mut orders: watch::Receiver<Order>, counts: Arc<Counts>) {
    let born = orders.borrow_and_update().cut;
    let Ok(mut server) = TcpStream::connect(target).await else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let line = Line { doomed: AtomicBool::new(false), over: Notify::new() };
    let resets = {
        let (client_reads, client_writes) = client.split();
        let (server_reads, server_writes) = server.split();
        let up = carry_up(client_reads, server_writes, orders.clone(), &line);
        let down = carry_down(server_reads, client_writes, orders.clone(), &line, &counts);
        let ordered_off = async move {
            let off = |order: &Order| order.cut != born || order.mode == Mode::Refuse;
            let _ = orders.wait_for(off).await;
        };
        tokio::select! {
            () = ordered_off => true,
            () = line.over.notified() => true,
            _ = async { tokio::join!(up, down) } => false,
        }
    };
    if resets {
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

/// One connection's fate.
struct Line {
    /// A request went up whose answer is to be dropped: from then on nothing comes down any more.
    doomed: AtomicBool,
    over: Notify,
}

/// Waits while nothing may move; then gives the mode that holds now.
async fn allowed(orders: &mut watch::Receiver<Order>) -> Mode {
    match orders.wait_for(|order| order.mode != Mode::BlackHole).await {
        Ok(order) => order.mode,
        Err(_) => Mode::Pass,
    }
}

async fn carry_up(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut orders: watch::Receiver<Order>, line: &Line) {
    let mut requests = Requests::default();
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let mode = allowed(&mut orders).await;
        if let Mode::Delay(delay) = mode {
            tokio::time::sleep(delay).await;
        }
        let is_request = requests.begin_in(&bytes[..count]);
        if is_request && matches!(mode, Mode::SwallowAnswers(_)) {
            line.doomed.store(true, Ordering::SeqCst);
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

async fn carry_down(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut orders: watch::Receiver<Order>,
    line: &Line,
    counts: &Counts,
) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let mode = allowed(&mut orders).await;
        if let Mode::Delay(delay) = mode {
            tokio::time::sleep(delay).await;
        }
        if line.doomed.load(Ordering::SeqCst) {
            counts.swallowed.fetch_add(1, Ordering::Relaxed);
            let drained = async { while let Ok(1..) = from.read(&mut bytes).await {} };
            if let Mode::SwallowAnswers(reset_after) = mode {
                let _ = tokio::time::timeout(reset_after, drained).await;
            }
            line.over.notify_one();
            return std::future::pending().await;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

/// Finds requests in what a client sends. In TLS a handshake's records are told from a request's by their type, and a
/// `Finished` (encrypted, and so of the same type) by its size: no request with a bearer token is as small.
#[derive(Default)]
struct Requests {
    /// Bytes of the current record still to come, or `None` before the first byte.
    left: Option<usize>,
    header: Vec<u8>,
    plain: bool,
}

const HANDSHAKE: u8 = 22;
const APPLICATION: u8 = 23;
const LARGEST_FINISHED: usize = 100;

impl Requests {
    /// Whether a request begins in these bytes. Without TLS every piece counts as one.
    fn begin_in(&mut self, mut bytes: &[u8]) -> bool {
        if self.left.is_none() {
            self.plain = bytes.first() != Some(&HANDSHAKE);
        }
        if self.plain {
            self.left = Some(0);
            return true;
        }
        let mut found = false;
        while !bytes.is_empty() {
            let left = self.left.unwrap_or(0);
            if left > 0 {
                let step = left.min(bytes.len());
                bytes = &bytes[step..];
                self.left = Some(left - step);
                continue;
            }
            let step = (5 - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..step]);
            bytes = &bytes[step..];
            self.left = Some(0);
            if let [kind, _, _, high, low] = self.header[..] {
                let length = usize::from(u16::from_be_bytes([high, low]));
                found |= kind == APPLICATION && length > LARGEST_FINISHED;
                self.left = Some(length);
                self.header.clear();
            }
        }
        found
    }
}
