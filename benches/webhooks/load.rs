//! The load: keep-alive HTTP/1.1 connections that each send the next body once the last is answered. One thread, on the
//! same cores as what is measured; a connection does little more than copy bytes.

use super::bodies::Bodies;
use std::{
    cell::Cell,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

/// An answer that is no answer of ours is cut here.
const LONGEST_ANSWER: usize = 64 * 1024;
/// After a 503.
const RETRY: Duration = Duration::from_millis(200);

/// What one run gave.
#[derive(Default, Clone)]
pub struct Run {
    /// Of each answered request, microseconds, in no order.
    pub micros: Vec<u32>,
    pub took: Duration,
    /// Requests answered 503, each sent again after a moment.
    pub refused: u64,
}

impl Run {
    pub fn per_second(&self) -> f64 {
        self.micros.len() as f64 / self.took.as_secs_f64()
    }

    /// Adds another run of the same cell.
    pub fn add(&mut self, other: Run) {
        self.micros.extend(other.micros);
        self.took += other.took;
        self.refused += other.refused;
    }

    pub fn milliseconds(&self, percentile: f64) -> f64 {
        percentile_of(&self.micros, percentile)
    }
}

/// Milliseconds below which `percentile` per cent of `micros` lie.
pub fn percentile_of(micros: &[u32], percentile: f64) -> f64 {
    let mut sorted = micros.to_vec();
    sorted.sort_unstable();
    let place = (sorted.len() as f64 * percentile / 100.0) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).map_or(f64::NAN, |micros| f64::from(*micros) / 1000.0)
}

/// When a run is over.
#[derive(Clone, Copy)]
pub enum Until {
    /// After this time; what was answered in the first part (`warm`) is not counted.
    Time { warm: Duration, counted: Duration },
    /// After this many requests.
    Requests(u64),
}

/// One run against `to`. Numbers of alerts begin at `first`; what follows may be used next.
pub fn run(to: SocketAddr, connections: usize, bodies: &Bodies, first: u64, until: Until) -> (Run, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(tokio::task::LocalSet::new().run_until(run_all(to, connections, bodies, first, until)))
}

async fn run_all(to: SocketAddr, connections: usize, bodies: &Bodies, first: u64, until: Until) -> (Run, u64) {
    // The set wants 'static; the run ends before this call does, and a copy of the templates is cheap.
    let bodies = Rc::new(Bodies::of(bodies.alerts));
    let next = Rc::new(Cell::new(first));
    let began = Instant::now();
    let (from, end, last) = match until {
        Until::Time { warm, counted } => (began + warm, began + warm + counted, u64::MAX),
        Until::Requests(count) => (began, began + Duration::from_secs(600), first + count * bodies.alerts),
    };
    let mut all = JoinSet::new();
    for _ in 0..connections {
        let (bodies, next) = (Rc::clone(&bodies), Rc::clone(&next));
        all.spawn_local(async move {
            let mut connection = Connection::open(to).await;
            let (mut request, mut scratch, mut micros) = (Vec::new(), Vec::new(), Vec::new());
            let mut refused = 0;
            while next.get() < last && Instant::now() < end {
                let number = next.replace(next.get() + bodies.alerts);
                bodies.request(number, &mut request, &mut scratch);
                let sent = Instant::now();
                while !connection.exchange(&request).await {
                    refused += 1;
                    tokio::time::sleep(RETRY).await;
                }
                let answered = Instant::now();
                if sent >= from && answered <= end {
                    micros.push(u32::try_from((answered - sent).as_micros()).unwrap_or(u32::MAX));
                }
            }
            (micros, refused)
        });
    }
    let mut run = Run::default();
    while let Some(ended) = all.join_next().await {
        let (micros, refused) = ended.unwrap();
        run.micros.extend(micros);
        run.refused += refused;
    }
    run.took = match until {
        Until::Time { counted, .. } => counted,
        Until::Requests(_) => began.elapsed(),
    };
    (run, next.get())
}

/// One keep-alive connection.
pub struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    pub async fn open(to: SocketAddr) -> Connection {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Connection { stream, answer: Vec::with_capacity(4096) }
    }

    /// Sends and waits for the whole answer, which must be a 200; false for a 503: a refused webhook is no decided one.
    pub async fn exchange(&mut self, request: &[u8]) -> bool {
        self.stream.write_all(request).await.unwrap();
        self.answer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.answer).await.unwrap();
            assert!(read > 0 && self.answer.len() < LONGEST_ANSWER, "the answer broke off");
            if is_whole(&self.answer) {
                break;
            }
        }
        let text = String::from_utf8_lossy(&self.answer);
        let taken = self.answer.starts_with(b"HTTP/1.1 200");
        assert!(taken || self.answer.starts_with(b"HTTP/1.1 503"), "not taken: {text}");
        taken
    }
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    answer.len() >= head + 4 + length.unwrap_or(0)
}
