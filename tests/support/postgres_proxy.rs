//! A proxy in front of PostgreSQL that knows where a call begins and ends: being let in is one, and so is each piece up to
//! a `Sync` or a simple `Query`. [`super::failing`] says what becomes of each. Without TLS.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::background::Background;
use super::failing::{Becomes, Failing, Failure};

/// A statement with one of these ends or cancels something.
const WRITES: [&str; 2] = ["pg_terminate_backend", "pg_cancel_backend"];
const FAILED: &str = "internal error on purpose";

pub struct PostgresProxy {
    address: SocketAddr,
    pub failing: Arc<Failing>,
    _background: Background,
}

impl PostgresProxy {
    pub fn start(target: SocketAddr) -> Self {
        let background = Background::start("postgres-proxy");
        let listener = background.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let failing = Arc::new(Failing::default());
        let orders = failing.clone();
        background.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if orders.refuses() {
                    let _ = client.set_zero_linger();
                    continue;
                }
                let orders = orders.clone();
                tokio::task::spawn(async move {
                    let _ = client.set_nodelay(true);
                    let Ok(server) = TcpStream::connect(target).await else { return };
                    let _ = server.set_nodelay(true);
                    let mut line = Line { client, server, writing: BTreeSet::new() };
                    // Its end with an error is the failure that was ordered, or a client that left.
                    if line.carry(&orders).await.is_err() {
                        let _ = line.client.set_zero_linger();
                    }
                });
            }
        });
        Self { address, failing, _background: background }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

struct Line {
    client: TcpStream,
    server: TcpStream,
    /// Prepared statements that write, by name.
    writing: BTreeSet<Vec<u8>>,
}

fn ends() -> io::Error {
    io::Error::other("this connection ends on purpose")
}

impl Line {
    async fn carry(&mut self, orders: &Failing) -> io::Result<()> {
        let startup = whole(&mut self.client, Vec::new()).await?;
        self.call(orders, startup, false, true).await?;
        let mut call = Vec::new();
        let mut writes = false;
        let mut answer = vec![0; 16 * 1024];
        loop {
            // A message's first byte: nothing is lost when the server speaks first.
            let mut kind = [0];
            let kind = tokio::select! {
                read = self.client.read(&mut kind) => if read? == 0 { return Ok(()) } else { kind[0] },
                read = self.server.read(&mut answer) => match read? {
                    0 => return Ok(()),
                    count => {
                        self.client.write_all(&answer[..count]).await?;
                        continue;
                    }
                },
            };
            let message = whole(&mut self.client, vec![kind]).await?;
            writes |= self.writes(kind, &message[5..]);
            call.extend(message);
            match kind {
                b'S' | b'Q' => {
                    self.call(orders, std::mem::take(&mut call), std::mem::take(&mut writes), false).await?;
                }
                b'X' => return self.server.write_all(&call).await,
                _ => {}
            }
        }
    }

    /// Whether a message begins something that ends or cancels.
    fn writes(&mut self, kind: u8, body: &[u8]) -> bool {
        let mut texts = body.split(|byte| *byte == 0);
        let (first, second) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
        let is_write = |sql: &[u8]| WRITES.iter().any(|word| String::from_utf8_lossy(sql).contains(word));
        match kind {
            b'Q' => is_write(first),
            // Prepared: name, text. Nothing is done yet.
            b'P' if is_write(second) => {
                self.writing.insert(first.to_vec());
                false
            }
            b'P' => {
                self.writing.remove(first);
                false
            }
            // Bound: portal, statement.
            b'B' => self.writing.contains(second),
            _ => false,
        }
    }

    async fn call(&mut self, orders: &Failing, bytes: Vec<u8>, writes: bool, startup: bool) -> io::Result<()> {
        match orders.call(writes) {
            Becomes::Passes => {}
            Becomes::IsHeld => orders.at_the_gate().await,
            Becomes::Fails(Failure::Gone | Failure::Reset) => return Err(ends()),
            Becomes::Fails(Failure::Hangs) => {
                // Until the client has had enough.
                while self.client.read(&mut [0; 1024]).await? > 0 {}
                return Err(ends());
            }
            Becomes::Fails(Failure::AnswerLost) => {
                self.server.write_all(&bytes).await?;
                self.answered().await?;
                return Err(ends());
            }
            Becomes::Fails(Failure::ServerFails) => {
                self.server.write_all(&bytes).await?;
                self.answered().await?;
                self.client.write_all(&error(if startup { "FATAL" } else { "ERROR" })).await?;
                if startup {
                    self.client.shutdown().await?;
                    return Ok(());
                }
                return self.client.write_all(b"Z\0\0\0\x05I").await;
            }
        }
        self.server.write_all(&bytes).await
    }

    /// Reads the whole answer, and drops it.
    async fn answered(&mut self) -> io::Result<()> {
        loop {
            let mut kind = [0];
            self.server.read_exact(&mut kind).await?;
            whole(&mut self.server, kind.to_vec()).await?;
            if kind[0] == b'Z' {
                return Ok(());
            }
        }
    }
}

/// The rest of a message: its length, and what follows.
async fn whole(from: &mut TcpStream, mut message: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await?;
    message.extend(length);
    let rest = (u32::from_be_bytes(length) as usize).saturating_sub(4);
    let begin = message.len();
    message.resize(begin + rest, 0);
    from.read_exact(&mut message[begin..]).await?;
    Ok(message)
}

/// An ErrorResponse.
fn error(severity: &str) -> Vec<u8> {
    let fields = format!("S{severity}\0V{severity}\0CXX000\0M{FAILED}\0\0");
    let mut message = vec![b'E'];
    message.extend(u32::try_from(fields.len() + 4).expect("short").to_be_bytes());
    message.extend(fields.as_bytes());
    message
}
