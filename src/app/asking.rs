//! Asks receivers at the start, and after each reload, whether they will take what they are sent: before the first letter
//! needs it. Nothing waits for the answer, and nothing is written there.

use std::{future::Future, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const ASKED_WITHIN: Duration = Duration::from_secs(10);
/// What was refused, or not answered, is asked about again.
const AGAIN: Duration = Duration::from_secs(60);

/// Runs until `stop`. `ask`: whether all is well. `replaced`: ends once there is something new to ask about.
pub async fn watch<A, R>(ask: impl Fn(Instant) -> A, replaced: impl Fn() -> R, stop: CancellationToken)
where
    A: Future<Output = bool>,
    R: Future<Output = ()>,
{
    loop {
        let is_well = tokio::select! {
            () = stop.cancelled() => return,
            is_well = ask(Instant::now() + ASKED_WITHIN) => is_well,
        };
        let again = async {
            if is_well {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(AGAIN).await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = replaced() => {}
            () = again => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };
    use tokio::sync::Notify;

    #[tokio::test(start_paused = true)]
    async fn it_asks_until_all_is_well_and_anew_when_something_was_replaced() {
        let (asked, replaced, stop) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()), CancellationToken::new());
        let (counted, told, ends) = (Arc::clone(&asked), Arc::clone(&replaced), stop.clone());
        let asking = async move {
            let ask = |_| {
                let nth = counted.fetch_add(1, Ordering::SeqCst);
                async move { nth == 1 }
            };
            watch(ask, || told.notified(), ends).await;
        };
        let looking = async {
            for (seconds, times) in [(59, 1), (2, 2), (3600, 2)] {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                assert_eq!(asked.load(Ordering::SeqCst), times, "after {seconds} s more");
            }
            replaced.notify_one();
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(asked.load(Ordering::SeqCst), 3);
            stop.cancel();
        };
        tokio::join!(asking, looking);
    }
}
