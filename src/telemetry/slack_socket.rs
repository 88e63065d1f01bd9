//! How Slack's Socket Mode is, for status and metrics alike: whoever keeps it says so here, in both at once.

use super::{labels::SlackSocket, metrics::Metrics};
use crate::model::time::Micros;
use std::sync::{Arc, Mutex, PoisonError};

/// What is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    pub state: SlackSocket,
    /// Why it is not connected: one of a closed list; empty where that says itself.
    pub reason: &'static str,
    /// Since when it is in this state.
    pub since: Micros,
}

/// Clones are the same board.
#[derive(Debug, Clone)]
pub struct SocketBoard {
    shown: Arc<Mutex<Shown>>,
    metrics: Metrics,
}

impl SocketBoard {
    /// It is set up, and not yet connected.
    #[must_use]
    pub fn new(metrics: Metrics, now: Micros) -> SocketBoard {
        metrics.set_slack_socket(SlackSocket::Connecting);
        let shown = Shown { state: SlackSocket::Connecting, reason: "", since: now };
        SocketBoard { shown: Arc::new(Mutex::new(shown)), metrics }
    }

    pub fn show(&self, state: SlackSocket, reason: &'static str, now: Micros) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.state != state {
            shown.since = now;
        }
        (shown.state, shown.reason) = (state, reason);
        self.metrics.set_slack_socket(state);
    }

    #[must_use]
    pub fn shown(&self) -> Shown {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Words;

    #[test]
    fn a_state_lasts_from_its_beginning_whatever_the_reason() {
        let metrics = Metrics::new("0", Micros(0), Words::default());
        let board = SocketBoard::new(metrics.clone(), Micros(1));
        board.show(SlackSocket::Connecting, "timeout", Micros(2));
        assert_eq!(board.shown(), Shown { state: SlackSocket::Connecting, reason: "timeout", since: Micros(1) });
        board.clone().show(SlackSocket::Connected, "", Micros(3));
        assert_eq!(board.shown(), Shown { state: SlackSocket::Connected, reason: "", since: Micros(3) });
        assert!(metrics.encode().contains("nightshift_slack_socket{state=\"connected\"} 1"));
    }
}
