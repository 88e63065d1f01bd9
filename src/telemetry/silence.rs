//! Who takes nothing while letters wait: said once that has lasted for minutes, and shown until something is taken there.

use super::{notices::Notices, text::plain};
use crate::model::{
    letter::Receiver,
    time::{Micros, Span},
};
use jiff::tz::TimeZone;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

const TOPIC: &str = "letters waiting";
/// Shorter troubles mend themselves.
const LASTS: Span = Span::minutes(3);
/// Receivers that are shown; there are as many as the settings and rules name.
const SHOWN: usize = 10;

#[derive(Clone, Default)]
pub struct Silence {
    notices: Notices,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// When it was first looked: what waited before that may be delivered at once.
    begun: Option<Micros>,
    /// When each receiver took something the last time.
    taken: BTreeMap<Receiver, Micros>,
    silent: BTreeSet<Receiver>,
}

impl Silence {
    #[must_use]
    pub fn new(notices: Notices) -> Silence {
        Silence { notices, seen: Arc::default() }
    }

    pub fn taken(&self, receiver: &Receiver, at: Micros) {
        // An incident's own channel is as good as the one beside it.
        if !matches!(receiver, Receiver::IncidentChannel { .. }) {
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).taken.insert(receiver.clone(), at);
        }
    }

    /// `waiting`: for each receiver how many letters wait, and since when the oldest does.
    pub fn look(&self, waiting: &BTreeMap<Receiver, (u64, Micros)>, now: Micros, zone: &TimeZone) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = *seen.begun.get_or_insert(now);
        let mut silent = BTreeSet::new();
        let mut lines = Vec::new();
        for (receiver, (letters, oldest)) in waiting {
            let since = seen.taken.get(receiver).map_or(*oldest, |taken| (*oldest).max(*taken));
            if matches!(receiver, Receiver::IncidentChannel { .. }) || now - since.max(begun) < LASTS {
                continue;
            }
            let (shown, at) = (plain(&receiver.to_string()), since.in_zone(zone));
            let wait = if *letters == 1 { "letter waits" } else { "letters wait" };
            lines.push(format!("{shown} has taken nothing since {at}: {letters} {wait} for it"));
            silent.insert(receiver.clone());
        }
        for receiver in silent.difference(&seen.silent) {
            tracing::warn!(%receiver, "a receiver takes nothing, and letters wait for it");
        }
        for receiver in seen.silent.difference(&silent) {
            tracing::info!(%receiver, "a receiver takes what waited for it");
        }
        if !(silent.is_empty() && seen.silent.is_empty()) {
            lines.truncate(SHOWN);
            self.notices.set(TOPIC, lines);
        }
        seen.silent = silent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Micros = Micros(1_770_000_000_000_000);

    fn waits(letters: u64, oldest: Micros) -> BTreeMap<Receiver, (u64, Micros)> {
        let slack = Receiver::Slack { channel: "#incidents".to_owned() };
        let made = Receiver::IncidentChannel { name: "incident-1".to_owned() };
        [(slack, (letters, oldest)), (made, (1, oldest))].into()
    }

    #[test]
    fn whoever_takes_nothing_for_minutes_is_named_until_something_is_taken() {
        let notices = Notices::default();
        let silence = Silence::new(notices.clone());
        let look = |at: Micros, waiting: &BTreeMap<Receiver, (u64, Micros)>| {
            silence.look(waiting, at, &TimeZone::UTC);
            notices.lines()
        };
        // What was left from before a start is delivered first.
        let left = waits(2, START - Span::hours(8));
        assert_eq!(look(START, &left), Vec::<String>::new());
        assert_eq!(look(START + Span::minutes(2), &left), Vec::<String>::new());
        let shown = look(START + Span::minutes(3), &left);
        assert_eq!(shown, ["slack:#incidents has taken nothing since 2026-02-01 18:40:00 UTC: 2 letters wait for it"]);
        // One of them arrives: the other waits from then on.
        silence.taken(&Receiver::Slack { channel: "#incidents".to_owned() }, START + Span::minutes(4));
        let left = waits(1, START - Span::hours(8));
        assert_eq!(look(START + Span::minutes(5), &left), Vec::<String>::new());
        let shown = look(START + Span::minutes(7), &left);
        assert_eq!(shown, ["slack:#incidents has taken nothing since 2026-02-02 02:44:00 UTC: 1 letter waits for it"]);
        assert_eq!(look(START + Span::minutes(8), &BTreeMap::new()), Vec::<String>::new());
    }
}
