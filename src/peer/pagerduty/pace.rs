//! The Events API's pace, kept before it has to ask for it: 120 events a minute and integration key, a little less here.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};
use tokio::time::Instant;

const WINDOW: Duration = Duration::from_secs(60);
const MOST_IN_WINDOW: usize = 110;

#[derive(Default)]
pub struct Pace {
    /// When each service's last events were sent.
    sent: BTreeMap<String, VecDeque<Instant>>,
    stopped_until: BTreeMap<String, Instant>,
}

impl Pace {
    /// Takes a turn; or says how long from now the next one is.
    pub fn reserve(&mut self, service: &str, now: Instant) -> Result<(), Duration> {
        if let Some(until) = self.stopped_until.get(service).filter(|until| **until > now) {
            return Err(*until - now);
        }
        let sent = self.sent.entry(service.to_owned()).or_default();
        while sent.front().is_some_and(|at| *at + WINDOW <= now) {
            sent.pop_front();
        }
        match sent.front() {
            Some(first) if sent.len() >= MOST_IN_WINDOW => Err(*first + WINDOW - now),
            _ => {
                sent.push_back(now);
                Ok(())
            }
        }
    }

    /// PagerDuty wants no event of this service before `until`.
    pub fn stop(&mut self, service: &str, until: Instant) {
        let stopped = self.stopped_until.entry(service.to_owned()).or_insert(until);
        *stopped = until.max(*stopped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_minute_has_more_events_than_pagerduty_takes_and_services_do_not_share() {
        let now = Instant::now();
        let mut pace = Pace::default();
        for number in 0..MOST_IN_WINDOW as u64 {
            assert_eq!(pace.reserve("default", now + Duration::from_millis(number)), Ok(()));
        }
        let later = now + Duration::from_secs(10);
        assert_eq!(pace.reserve("default", later), Err(Duration::from_secs(50)));
        assert_eq!(pace.reserve("platform", later), Ok(()));
        assert_eq!(pace.reserve("default", now + WINDOW), Ok(()));
    }

    #[test]
    fn after_a_429_only_that_service_rests() {
        let now = Instant::now();
        let mut pace = Pace::default();
        pace.stop("default", now + Duration::from_secs(20));
        pace.stop("default", now + Duration::from_secs(5));
        assert_eq!(pace.reserve("default", now), Err(Duration::from_secs(20)));
        assert_eq!(pace.reserve("platform", now), Ok(()));
        assert_eq!(pace.reserve("default", now + Duration::from_secs(20)), Ok(()));
    }
}
