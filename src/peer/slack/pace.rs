//! Slack's pace, kept before Slack has to ask for it: one message a second and channel, fifty updates a minute in all,
//! both with a small run ahead; and no call of a method before the `Retry-After` it was given is over.

use super::client::Call;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// Channels remembered; more than any policy names.
const LANES: usize = 1024;

/// How fast one lane goes: a turn every `every`, and `ahead` turns may be taken at once after a rest.
struct Rate {
    every: Duration,
    ahead: u32,
}

fn rate(call: Call) -> Rate {
    match call {
        Call::Post => Rate { every: Duration::from_secs(1), ahead: 3 },
        Call::Update | Call::History | Call::Replies | Call::Info => {
            Rate { every: Duration::from_millis(1200), ahead: 5 }
        }
        Call::Ephemeral | Call::Test | Call::Bot | Call::User => Rate { every: Duration::from_millis(600), ahead: 20 },
        Call::Group | Call::Create | Call::Channels => Rate { every: Duration::from_secs(3), ahead: 10 },
        // One a minute is the least that Slack's pages and libraries agree on.
        Call::Open => Rate { every: Duration::from_secs(60), ahead: 4 },
    }
}

#[derive(Default)]
pub struct Pace {
    /// When each lane will have worked off every turn that was taken. Posts have a lane a channel.
    free_at: BTreeMap<(Call, String), Instant>,
    stopped_until: BTreeMap<Call, Instant>,
}

impl Pace {
    /// Takes the next turn and says when it is; or, where that would be after `latest`, takes none and says how long
    /// from now it will be.
    pub fn reserve(&mut self, call: Call, channel: &str, now: Instant, latest: Instant) -> Result<Instant, Duration> {
        let Rate { every, ahead } = rate(call);
        let lane = (call, if call == Call::Post { channel.to_owned() } else { String::new() });
        let free_at = self.free_at.get(&lane).copied().unwrap_or(now).max(now);
        let paced = free_at.checked_sub(every * (ahead - 1)).unwrap_or(now).max(now);
        let stopped = self.stopped_until.get(&call).copied().unwrap_or(now);
        let at = paced.max(stopped);
        if at > latest {
            return Err(at - now);
        }
        if self.free_at.len() >= LANES {
            self.free_at.retain(|_, free_at| *free_at > now);
        }
        self.free_at.insert(lane, free_at.max(stopped) + every);
        Ok(at)
    }

    /// Slack wants no call of this method before `until`.
    pub fn stop(&mut self, call: Call, until: Instant) {
        let stopped = self.stopped_until.entry(call).or_insert(until);
        *stopped = until.max(*stopped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Duration = Duration::from_secs(60);

    fn waits(pace: &mut Pace, call: Call, channel: &str, now: Instant, times: usize) -> Vec<u128> {
        (0..times).map(|_| (pace.reserve(call, channel, now, now + LATER).unwrap() - now).as_millis()).collect()
    }

    #[test]
    fn a_channel_gets_one_message_a_second_after_a_short_run() {
        let now = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(waits(&mut pace, Call::Post, "C1", now, 6), [0, 0, 0, 1000, 2000, 3000]);
        assert_eq!(waits(&mut pace, Call::Post, "C2", now, 1), [0], "another channel has its own pace");
        let rested = now + Duration::from_secs(30);
        assert_eq!(waits(&mut pace, Call::Post, "C1", rested, 4), [0, 0, 0, 1000], "a rest saves up no more");
    }

    #[test]
    fn updates_share_fifty_a_minute() {
        let now = Instant::now();
        let mut pace = Pace::default();
        waits(&mut pace, Call::Update, "C1", now, 5);
        assert_eq!(waits(&mut pace, Call::Update, "C2", now, 2), [1200, 2400]);
    }

    #[test]
    fn web_sockets_are_opened_once_a_minute_after_a_few_quick_ones() {
        let now = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(waits(&mut pace, Call::Open, "", now, 5), [0, 0, 0, 0, 60_000]);
        assert_eq!(pace.reserve(Call::Open, "", now, now + LATER), Err(Duration::from_secs(120)));
    }

    #[test]
    fn a_turn_that_comes_too_late_is_not_taken() {
        let now = Instant::now();
        let mut pace = Pace::default();
        waits(&mut pace, Call::Post, "C1", now, 3);
        assert_eq!(pace.reserve(Call::Post, "C1", now, now), Err(Duration::from_secs(1)));
        assert_eq!(waits(&mut pace, Call::Post, "C1", now, 1), [1000], "it is still free");
    }

    #[test]
    fn after_a_429_the_method_rests_everywhere_and_no_other_does() {
        let now = Instant::now();
        let mut pace = Pace::default();
        pace.stop(Call::Post, now + Duration::from_secs(20));
        pace.stop(Call::Post, now + Duration::from_secs(5));
        assert_eq!(waits(&mut pace, Call::Post, "C9", now, 4), [20_000, 20_000, 20_000, 21_000]);
        assert_eq!(waits(&mut pace, Call::Update, "C9", now, 1), [0]);
        assert_eq!(pace.reserve(Call::Post, "C1", now, now + Duration::from_secs(15)), Err(Duration::from_secs(20)));
    }
}
