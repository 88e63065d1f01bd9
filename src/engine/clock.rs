//! The only clock. Wall time for people and journals, monotonic time for counting on from it.
//!
//! `now` never goes back: it starts at the later of the wall clock and the journal's last entry, and counts on
//! monotonically. A wall clock that jumps is noticed and reported, so that `decide` can settle; a jump forward is
//! followed, a jump back is not (a budget must not be refilled, a timer must not wait for the past to catch up).

use crate::{
    action::Boxed,
    model::time::{Micros, Span},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};
use tokio::sync::watch;

/// A wall clock that differs by more than this from what was counted was stepped. NTP slews smaller errors away.
pub const DRIFT_TOLERATED: Span = Span::seconds(2);

/// Timers of the runtime are not set further ahead: a forward step of the wall clock is noticed in time.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Gives the time. Cheap, callable from everywhere.
pub trait Clock: Send + Sync {
    /// Never less than anything it gave before.
    fn now(&self) -> Micros;

    /// `now` is never less than this from here on: the journal's last entry.
    fn not_before(&self, at: Micros);

    /// How far the wall clock was stepped since the last call, if by more than [`DRIFT_TOLERATED`]. Tells each step once.
    fn stepped(&self) -> Option<Span>;

    /// Whether the wall clock may be stepped unnoticed, so that somebody must look now and then.
    fn drifts(&self) -> bool;

    /// Returns when `now() >= at`.
    fn sleep_until(&self, at: Micros) -> Boxed<'_, ()>;
}

/// The machine's clocks.
pub struct RealClock(Mutex<Anchor>);

struct Anchor {
    /// What `now` was ...
    at: Micros,
    /// ... at this moment.
    since: Instant,
    /// Wall minus counted time when last looked: a lasting difference is not a new step.
    known_drift: Span,
}

impl Default for RealClock {
    fn default() -> RealClock {
        RealClock(Mutex::new(Anchor { at: wall(), since: monotonic(), known_drift: Span::ZERO }))
    }
}

impl RealClock {
    fn anchor(&self) -> MutexGuard<'_, Anchor> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Anchor {
    fn now(&self) -> Micros {
        let elapsed = monotonic().saturating_duration_since(self.since).as_micros();
        self.at + Span(i64::try_from(elapsed).unwrap_or(i64::MAX))
    }
}

impl Clock for RealClock {
    fn now(&self) -> Micros {
        self.anchor().now()
    }

    fn not_before(&self, at: Micros) {
        let mut anchor = self.anchor();
        let now = anchor.now();
        if at > now {
            *anchor = Anchor { at, since: monotonic(), known_drift: anchor.known_drift };
        }
    }

    fn stepped(&self) -> Option<Span> {
        let mut anchor = self.anchor();
        let now = anchor.now();
        let wall = wall();
        let drift = wall - now;
        let by = Span(drift.0.saturating_sub(anchor.known_drift.0));
        if by.0.saturating_abs() <= DRIFT_TOLERATED.0 {
            return None;
        }
        *anchor = if drift.0 > 0 {
            Anchor { at: wall, since: monotonic(), known_drift: Span::ZERO }
        } else {
            Anchor { at: now, since: monotonic(), known_drift: drift }
        };
        Some(by)
    }

    fn drifts(&self) -> bool {
        true
    }

    fn sleep_until(&self, at: Micros) -> Boxed<'_, ()> {
        Box::pin(async move {
            loop {
                let now = self.now();
                if now >= at {
                    return;
                }
                tokio::time::sleep((at - now).to_std().min(LONGEST_SLEEP)).await;
            }
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock that everything else takes the time from")]
fn wall() -> Micros {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}

#[expect(clippy::disallowed_methods, reason = "this is the clock that everything else takes the time from")]
fn monotonic() -> Instant {
    Instant::now()
}

/// A clock that stands until it is moved: for tests, simulation and replay.
#[derive(Clone)]
pub struct FakeClock(Arc<Fake>);

struct Fake {
    now: watch::Sender<Micros>,
    stepped: Mutex<Option<Span>>,
    /// What somebody waits for → how many wait.
    waits: Mutex<BTreeMap<Micros, u32>>,
}

impl FakeClock {
    #[must_use]
    pub fn at(now: Micros) -> FakeClock {
        FakeClock(Arc::new(Fake {
            now: watch::Sender::new(now),
            stepped: Mutex::new(None),
            waits: Mutex::new(BTreeMap::new()),
        }))
    }

    pub fn advance(&self, by: Span) {
        self.0.now.send_modify(|now| *now = *now + by);
    }

    /// As if the wall clock had been stepped: forward moves `now` along, back does not.
    pub fn step_wall(&self, by: Span) {
        *self.0.stepped.lock().unwrap_or_else(PoisonError::into_inner) = Some(by);
        if by.0 > 0 {
            self.advance(by);
        }
    }

    /// The earliest moment that somebody sleeps for: where a simulation goes next when nothing else happens.
    #[must_use]
    pub fn next_wait(&self) -> Option<Micros> {
        self.0.waits.lock().unwrap_or_else(PoisonError::into_inner).keys().next().copied()
    }
}

/// Takes itself out of the list of waits, also when the sleep is given up.
struct Wait<'a>(&'a Fake, Micros);

impl<'a> Wait<'a> {
    fn new(fake: &'a Fake, at: Micros) -> Wait<'a> {
        *fake.waits.lock().unwrap_or_else(PoisonError::into_inner).entry(at).or_default() += 1;
        Wait(fake, at)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut waits = self.0.waits.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = waits.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                waits.remove(&self.1);
            }
        }
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Micros {
        *self.0.now.borrow()
    }

    fn not_before(&self, at: Micros) {
        self.0.now.send_modify(|now| *now = (*now).max(at));
    }

    fn stepped(&self) -> Option<Span> {
        self.0.stepped.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn drifts(&self) -> bool {
        false
    }

    fn sleep_until(&self, at: Micros) -> Boxed<'_, ()> {
        Box::pin(async move {
            let _wait = Wait::new(&self.0, at);
            let mut now = self.0.now.subscribe();
            // The sender lives as long as `self`: this ends only when the time has come.
            let _ = now.wait_for(|now| *now >= at).await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_never_goes_back() {
        let clock = RealClock::default();
        let ahead = clock.now() + Span::hours(1);
        clock.not_before(ahead);
        assert!(clock.now() >= ahead, "the journal's last entry is never in the future");
        clock.not_before(Micros(0));
        assert!(clock.now() >= ahead);
        let told = clock.stepped().expect("the wall clock is an hour behind");
        assert!(told <= Span::minutes(-59), "{told}");
        assert!(clock.now() >= ahead, "a step back is not followed");
        assert_eq!(clock.stepped(), None, "a lasting difference is told once");
    }

    #[tokio::test]
    async fn a_fake_clock_wakes_who_waits_for_the_time() {
        let clock = FakeClock::at(Micros(0));
        let sleeper = clock.clone();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move { sleeper.sleep_until(Micros(10)).await });
        tokio::task::yield_now().await;
        assert_eq!(clock.next_wait(), Some(Micros(10)));
        clock.advance(Span(9));
        tokio::task::yield_now().await;
        assert!(tasks.try_join_next().is_none());
        clock.advance(Span(1));
        assert!(tasks.join_next().await.unwrap().is_ok());
        assert_eq!(clock.next_wait(), None);
    }
}
