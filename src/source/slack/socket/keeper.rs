//! Sees to it that one line is open: the next before the last one ends, again after a failure, never too often.
//!
//! Nothing waits for it. While no line is open, clicks and commands do not arrive, and everything else goes on; status,
//! metrics and the log say so.

use super::line::{Ended, Line, News};
use crate::{
    engine::Clock,
    telemetry::{labels::SlackSocket, notices::Notices, slack_socket::SocketBoard},
};
use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::mpsc,
    task::{Id, JoinSet},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// The longest wait after failures that may pass by themselves.
const MOST: Duration = Duration::from_secs(60);
/// How often a token that Slack refuses is tried: somebody may have put its rights right.
const SLOWLY: Duration = Duration::from_secs(600);
/// A line that lasted so long was a good one: the next failure is a first one.
const GOOD: Duration = Duration::from_secs(60);
/// Two of each line, and a few lines at most.
const NEWS: usize = 32;

pub struct Keeper {
    pub line: Arc<Line>,
    pub board: SocketBoard,
    /// What somebody must set right is shown until it is.
    pub notices: Notices,
    pub clock: Arc<dyn Clock>,
}

/// A line that has not ended.
struct Kept {
    id: Id,
    up_since: Option<Instant>,
    leaving: bool,
}

/// Lines and what comes next.
struct Lines {
    kept: Vec<Kept>,
    /// Failures one after the other.
    failures: u32,
    open_at: Instant,
    /// Switched off in Slack: nothing is opened any more.
    is_disabled: bool,
    /// Why no line is up.
    trouble: (SlackSocket, &'static str),
}

impl Keeper {
    /// Until `stop`; lines are closed by then. `panicked`: told of each panic.
    pub async fn run(self, stop: CancellationToken, panicked: impl Fn()) {
        let (news, mut told) = mpsc::channel::<(Id, News)>(NEWS);
        let mut running: JoinSet<Ended> = JoinSet::new();
        let mut lines = Lines {
            kept: Vec::new(),
            failures: 0,
            open_at: Instant::now(),
            is_disabled: false,
            trouble: (SlackSocket::Connecting, ""),
        };
        loop {
            self.show(&lines);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some((id, news)) = told.recv() => lines.news(id, news),
                Some(ended) = running.join_next_with_id() => match ended {
                    Ok((id, ended)) => lines.ended(id, ended, dice()),
                    Err(error) => {
                        panicked();
                        lines.ended(error.id(), Ended::Failed { reason: "panicked", wait: None }, dice());
                    }
                },
                () = self.line.client.token_replaced() => lines.again(),
                () = sleep_until(lines.open_at), if lines.want_another() => {
                    let (line, news, stop) = (Arc::clone(&self.line), news.clone(), stop.clone());
                    let begun = running.spawn(async move { line.run(&news, &stop).await });
                    lines.kept.push(Kept { id: begun.id(), up_since: None, leaving: false });
                }
            }
        }
        while let Some(ended) = running.join_next().await {
            if ended.is_err() {
                panicked();
            }
        }
    }

    fn show(&self, lines: &Lines) {
        let is_up = lines.kept.iter().any(|line| line.up_since.is_some());
        let (state, reason) = if is_up { (SlackSocket::Connected, "") } else { lines.trouble };
        self.board.show(state, reason, self.clock.now());
        self.notices.set(TOPIC, wanted(state, reason).into_iter().collect());
    }
}

impl Lines {
    fn want_another(&self) -> bool {
        !self.is_disabled && self.kept.iter().all(|line| line.leaving)
    }

    /// The settings were read anew: whatever was wrong may be right now.
    fn again(&mut self) {
        if self.is_disabled || self.trouble.0 == SlackSocket::Refused {
            self.trouble = (SlackSocket::Connecting, "");
        }
        (self.is_disabled, self.failures, self.open_at) = (false, 0, Instant::now());
    }

    fn news(&mut self, id: Id, news: News) {
        // One that has ended meanwhile has no news.
        let Some(line) = self.kept.iter_mut().find(|line| line.id == id) else { return };
        match news {
            News::Up => {
                line.up_since = Some(Instant::now());
                tracing::info!("Slack's Socket Mode is connected");
            }
            News::Leaving => {
                line.leaving = true;
                self.open_at = Instant::now();
                tracing::info!("Slack will end this connection of Socket Mode: another one is opened");
            }
        }
    }

    fn ended(&mut self, id: Id, ended: Ended, dice: f64) {
        let place = self.kept.iter().position(|line| line.id == id);
        let line = place.map(|place| self.kept.swap_remove(place));
        let was_left = line.as_ref().is_some_and(|line| line.leaving);
        if line.and_then(|line| line.up_since).is_some_and(|since| since.elapsed() >= GOOD) {
            self.failures = 0;
        }
        self.say(ended);
        let wait = match ended {
            Ended::Disabled => {
                self.is_disabled = true;
                self.trouble = (SlackSocket::Disabled, "link_disabled");
                return;
            }
            // Its place is taken, or being taken.
            _ if was_left => return,
            Ended::Stopped | Ended::Left => Duration::ZERO,
            Ended::TooMany => {
                self.trouble = (SlackSocket::Connecting, "too_many_websockets");
                MOST.max(back_off(self.failures, SLOWLY, dice))
            }
            Ended::Refused(reason) => {
                self.trouble = (SlackSocket::Refused, reason);
                SLOWLY.mul_f64(1.0 + dice / 4.0)
            }
            Ended::Failed { reason, wait } => {
                // Our own pace is no news of Slack.
                if reason != PACED {
                    self.trouble = (SlackSocket::Connecting, reason);
                }
                back_off(self.failures, MOST, dice).max(wait.unwrap_or_default())
            }
        };
        self.failures = self.failures.saturating_add(1);
        self.open_at = Instant::now() + wait;
    }

    fn say(&self, ended: Ended) {
        match ended {
            Ended::Stopped | Ended::Left => tracing::debug!(?ended, "a connection of Slack's Socket Mode has ended"),
            Ended::Failed { reason: reason @ (PACED | "closed"), .. } => {
                tracing::info!(reason, "Slack's Socket Mode is connected anew");
            }
            Ended::Failed { reason, .. } => {
                tracing::warn!(reason, "Slack's Socket Mode is not connected, and is tried again: {MEANWHILE}");
            }
            Ended::TooMany => tracing::warn!(
                "Slack's Socket Mode has too many connections for this app, 10 at most: does another nightshift, or \
                 another program, use its token? It is tried again later: {MEANWHILE}"
            ),
            Ended::Disabled if self.is_disabled => {}
            Ended::Refused(_) | Ended::Disabled => {
                let (state, reason) = match ended {
                    Ended::Refused(reason) => (SlackSocket::Refused, reason),
                    _ => (SlackSocket::Disabled, ""),
                };
                tracing::error!("{}", wanted(state, reason).unwrap_or_default());
            }
        }
    }
}

const TOPIC: &str = "slack socket";
const MEANWHILE: &str = "meanwhile clicks and /nightshift do not arrive, and `nightshift approve` works";

/// What somebody must set right, and how.
fn wanted(state: SlackSocket, reason: &str) -> Option<String> {
    match state {
        SlackSocket::Refused => Some(format!(
            "Slack refuses slack.app_token_file ({reason}): put a live app-level token (xapp-) of the bot's own app there, with \
             the scope connections:write (the app's Basic Information, App-Level Tokens), and reload; {MEANWHILE}"
        )),
        SlackSocket::Disabled => Some(format!(
            "Socket Mode is switched off for this app in Slack: switch it on in the app's settings (Socket Mode) and reload, \
             or set slack.signing_secret_file in place of slack.app_token_file and restart; {MEANWHILE}"
        )),
        SlackSocket::Off | SlackSocket::Connecting | SlackSocket::Connected => None,
    }
}

/// As the client calls it that a call has no turn yet.
const PACED: &str = "paced";

/// How long to wait after so many failures: at once the first time, then longer and longer; never at the same time as
/// everybody else. `dice`: 0 to 1.
fn back_off(failures: u32, most: Duration, dice: f64) -> Duration {
    let whole = Duration::from_secs(1).saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX)).min(most);
    if failures == 0 { whole.mul_f64(dice) } else { whole.mul_f64(0.5 + dice / 2.0) }
}

/// 0 to 1, another one each time: the standard library seeds its hashers at random.
fn dice() -> f64 {
    RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_waits_a_moment_and_later_ones_longer_and_longer_up_to_a_bound() {
        let waits =
            |dice: f64| -> Vec<u128> { (0..40).map(|failures| back_off(failures, MOST, dice).as_millis()).collect() };
        let (least, most) = (waits(0.0), waits(1.0));
        assert_eq!(least[..7], [0, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000]);
        assert_eq!(most[..7], [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000]);
        assert!(least[6..].iter().all(|wait| *wait == 30_000) && most[6..].iter().all(|wait| *wait == 60_000));
        let drawn: Vec<f64> = (0..100).map(|_| dice()).collect();
        assert!(drawn.iter().all(|dice| (0.0..=1.0).contains(dice)) && drawn.windows(2).any(|two| two[0] != two[1]));
    }

    fn lines(running: &mut JoinSet<()>, count: usize) -> (Lines, Vec<Id>) {
        let ids: Vec<Id> = (0..count).map(|_| running.spawn(std::future::pending()).id()).collect();
        let kept = ids.iter().map(|id| Kept { id: *id, up_since: None, leaving: false }).collect();
        let trouble = (SlackSocket::Connecting, "");
        (Lines { kept, failures: 0, open_at: Instant::now(), is_disabled: false, trouble }, ids)
    }

    #[tokio::test(start_paused = true)]
    async fn each_end_has_its_own_wait() {
        for (ended, failures, least, most, state) in [
            (Ended::Failed { reason: "timeout", wait: None }, 0, 0, 1, SlackSocket::Connecting),
            (Ended::Failed { reason: "timeout", wait: None }, 9, 30, 60, SlackSocket::Connecting),
            (Ended::Failed { reason: PACED, wait: Some(Duration::from_secs(47)) }, 0, 47, 47, SlackSocket::Connecting),
            (Ended::TooMany, 0, 60, 60, SlackSocket::Connecting),
            (Ended::TooMany, 20, 300, 600, SlackSocket::Connecting),
            (Ended::Refused("invalid_auth"), 0, 600, 750, SlackSocket::Refused),
        ] {
            for dice in [0.0, 0.5, 1.0] {
                let (mut lines, ids) = lines(&mut JoinSet::new(), 1);
                lines.failures = failures;
                assert!(!lines.want_another());
                lines.ended(ids[0], ended, dice);
                let wait = (lines.open_at - Instant::now()).as_secs();
                assert!(lines.want_another() && (least..=most).contains(&wait), "{ended:?} {failures}: {wait} s");
                assert_eq!((lines.trouble.0, lines.failures), (state, failures + 1));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_good_line_forgives_what_was_before_it_and_a_short_one_does_not() {
        for (lasted, failures) in [(GOOD, 1), (GOOD - Duration::from_secs(1), 6)] {
            let (mut lines, ids) = lines(&mut JoinSet::new(), 1);
            lines.failures = 5;
            lines.news(ids[0], News::Up);
            tokio::time::advance(lasted).await;
            lines.ended(ids[0], Ended::Failed { reason: "closed", wait: None }, 0.5);
            assert_eq!(lines.failures, failures);
        }
    }

    #[tokio::test]
    async fn a_line_that_is_replaced_ends_without_another_and_one_that_ended_has_no_news() {
        let (mut lines, ids) = lines(&mut JoinSet::new(), 2);
        lines.news(ids[0], News::Up);
        lines.news(ids[0], News::Leaving);
        assert!(!lines.want_another(), "the second is there");
        let open_at = lines.open_at;
        lines.ended(ids[0], Ended::Failed { reason: "closed", wait: None }, 0.5);
        assert_eq!((lines.failures, lines.open_at, lines.kept.len()), (0, open_at, 1));
        lines.news(ids[0], News::Up);
        assert!(lines.kept.iter().all(|line| line.up_since.is_none()));
        lines.ended(ids[1], Ended::Disabled, 0.5);
        assert!(!lines.want_another(), "never again");
    }
}
