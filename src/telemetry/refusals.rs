//! What a receiver refused for good: nobody tries it again, so the status shows it until the receiver takes the next one.

use super::{notices::Notices, text::plain};
use crate::model::{
    id::IncidentId,
    letter::{LetterKey, Receiver},
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

const TOPIC: &str = "letters";
/// Receivers that are shown; there are as many as the settings and rules name.
const SHOWN: usize = 10;

/// The last refusal of each receiver, its pages apart from all else that it gets.
#[derive(Default)]
pub struct Refusals {
    notices: Notices,
    last: Mutex<BTreeMap<(Receiver, bool), String>>,
}

impl Refusals {
    #[must_use]
    pub fn new(notices: Notices) -> Refusals {
        Refusals { notices, last: Mutex::default() }
    }

    pub fn refused(&self, letter: &LetterKey, reason: &str) {
        // An incident's own channel gets nothing more: its thread says that there is none.
        if matches!(letter.receiver, Receiver::IncidentChannel { .. }) {
            return;
        }
        let what = if letter.is_page() { "page" } else { "letter" };
        let of = match letter.incident {
            IncidentId::ITSELF => "nightshift itself".to_owned(),
            incident => format!("incident {incident}"),
        };
        let receiver = plain(&letter.receiver.to_string());
        let line = format!("{receiver} refused a {what} of {of} for good ({}): nobody tries it again", plain(reason));
        self.change(|last| last.insert((letter.receiver.clone(), letter.is_page()), line));
    }

    /// Something was taken there.
    pub fn taken(&self, letter: &LetterKey) {
        self.change(|last| last.remove(&(letter.receiver.clone(), letter.is_page())));
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<(Receiver, bool), String>) -> T) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = last.is_empty();
        change(&mut last);
        if !(was_empty && last.is_empty()) {
            self.notices.set(TOPIC, last.values().take(SHOWN).cloned().collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::letter::Slot;

    fn letter(receiver: Receiver, slot: Slot) -> LetterKey {
        LetterKey { receiver, incident: IncidentId(7), slot }
    }

    #[test]
    fn what_was_refused_is_shown_until_the_receiver_takes_something_of_that_kind() {
        let notices = Notices::default();
        let refusals = Refusals::new(notices.clone());
        let service = || Receiver::PagerDuty { service: "default".to_owned() };
        let page = letter(service(), Slot::Page(1));
        let note = letter(service(), Slot::Post(3));
        refusals.taken(&page);
        refusals.refused(&page, "rejected: no\u{1b}[31m such key");
        refusals.taken(&note);
        assert_eq!(
            notices.lines(),
            [
                "pagerduty:default refused a page of incident 7 for good (rejected: no[31m such key): nobody tries it again"
            ]
        );
        refusals.taken(&letter(service(), Slot::Page(2)));
        assert_eq!(notices.lines(), Vec::<String>::new());
    }

    #[test]
    fn an_incidents_own_channel_is_not_waited_for() {
        let notices = Notices::default();
        let refusals = Refusals::new(notices.clone());
        let channel = Receiver::IncidentChannel { name: "incident-1".to_owned() };
        refusals.refused(&letter(channel, Slot::Card), "restricted_action");
        assert_eq!(notices.lines(), Vec::<String>::new());
        for at in 0..30 {
            let component = format!("component-{at}");
            refusals.refused(&letter(Receiver::Statuspage { component }, Slot::Card), "rejected");
        }
        assert_eq!(notices.lines().len(), SHOWN);
    }
}
