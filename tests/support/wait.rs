//! Waiting for a state, never for a time: poll, with a deadline, and say what was seen when it passes.

use std::future::Future;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(40);

/// Polls `probe` until it answers `Ok`, and gives that value.
///
/// `Err` says what was seen instead. When `within` has passed the test fails with `what` and the last thing seen.
pub async fn wait_until<T, Probe, Answer>(what: &str, within: Duration, mut probe: Probe) -> T
where
    Probe: FnMut() -> Answer,
    Answer: Future<Output = Result<T, String>>,
{
    let deadline = Instant::now() + within;
    loop {
        let seen = match probe().await {
            Ok(value) => return value,
            Err(seen) => seen,
        };
        assert!(Instant::now() < deadline, "waited {within:?} for: {what}\nlast seen: {seen}");
        tokio::time::sleep(POLL).await;
    }
}

/// The opposite: `probe` must answer `Ok` the whole time, which shows that something does *not* happen.
pub async fn holds_for<Probe, Answer>(what: &str, during: Duration, mut probe: Probe)
where
    Probe: FnMut() -> Answer,
    Answer: Future<Output = Result<(), String>>,
{
    let end = Instant::now() + during;
    while Instant::now() < end {
        if let Err(seen) = probe().await {
            panic!("didn't hold: {what}\nseen: {seen}");
        }
        tokio::time::sleep(POLL).await;
    }
}
