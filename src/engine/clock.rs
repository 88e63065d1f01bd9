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
use tokio::sync::Notify;

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
pub struct FakeClock(Arc<Mutex<Fake>>);

struct Fake {
    now: Micros,
    stepped: Option<Span>,
    /// What somebody waits for → how many wait, and how they are woken. Only those whose time has come are.
    waits: BTreeMap<Micros, (u32, Arc<Notify>)>,
}

impl Fake {
    fn set(&mut self, now: Micros) {
        self.now = now;
        for (_, wake) in self.waits.range(..=now).map(|(_, waiting)| waiting) {
            wake.notify_waiters();
        }
    }
}

impl FakeClock {
    #[must_use]
    pub fn at(now: Micros) -> FakeClock {
        FakeClock(Arc::new(Mutex::new(Fake { now, stepped: None, waits: BTreeMap::new() })))
    }

    fn fake(&self) -> MutexGuard<'_, Fake> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn advance(&self, by: Span) {
        let mut fake = self.fake();
        let now = fake.now + by;
        fake.set(now);
    }

    /// As if the wall clock had been stepped: forward moves `now` along, back does not.
    pub fn step_wall(&self, by: Span) {
        self.fake().stepped = Some(by);
        if by.0 > 0 {
            self.advance(by);
        }
    }

    /// The earliest moment that somebody sleeps for: where a simulation goes next when nothing else happens.
    #[must_use]
    pub fn next_wait(&self) -> Option<Micros> {
        self.fake().waits.keys().next().copied()
    }
}

/// Takes itself out of the list of waits, also when the sleep is given up.
struct Wait<'a>(&'a FakeClock, Micros);

impl<'a> Wait<'a> {
    fn new(clock: &'a FakeClock, at: Micros) -> (Wait<'a>, Arc<Notify>) {
        let mut fake = clock.fake();
        let (count, wake) = fake.waits.entry(at).or_default();
        *count += 1;
        (Wait(clock, at), Arc::clone(wake))
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut fake = self.0.fake();
        if let Some((count, _)) = fake.waits.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                fake.waits.remove(&self.1);
            }
        }
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Micros {
        self.fake().now
    }

    fn not_before(&self, at: Micros) {
        let mut fake = self.fake();
        let now = fake.now.max(at);
        fake.set(now);
    }

    fn stepped(&self) -> Option<Span> {
        self.fake().stepped.take()
    }

    fn drifts(&self) -> bool {
        false
    }

    fn sleep_until(&self, at: Micros) -> Boxed<'_, ()> {
        Box::pin(async move {
            let (_wait, wake) = Wait::new(self, at);
            let mut woken = std::pin::pin!(wake.notified());
            // Before the look at the time: a move of the clock in between is not missed.
            woken.as_mut().enable();
            if self.now() < at {
                woken.await;
            }
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
