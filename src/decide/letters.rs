//! The letters that are owed, as the courier needs them: what each says is read from the state when it is sent.

use super::{State, pages::PageWish};
use crate::model::{
    id::IncidentId,
    letter::{External, LetterKey, Note, Receiver, Slot},
};
use std::{
    collections::BTreeSet,
    ops::Bound::{Excluded, Unbounded},
};

/// A letter that is due, with everything that the courier needs.
#[derive(Debug, Clone, PartialEq)]
pub struct DueLetter {
    pub key: LetterKey,
    /// The wish's number: goes back in `Told { up_to }`.
    pub want: u64,
    /// For a post: what it says. For the card: None (render the view).
    pub note: Option<Note>,
    /// What the receiver holds under this very letter, once it was sent.
    pub external: Option<External>,
    /// Where the receiver has the incident's card: a post goes into its thread.
    pub card: Option<External>,
    /// For a page in PagerDuty: how it is to be.
    pub page: Option<PageWish>,
}

impl State {
    /// The first owed letter of each (receiver, incident): its card before its posts, posts in order. Pages in PagerDuty
    /// are a line of their own there; what is noted on one waits until it is told. Incidents that owe a page go first.
    ///
    /// Of one receiver at most `each` incidents that owe a page and as many others, so that one that takes nothing, however
    /// much it is owed, keeps nothing from another. Incidents' own channels count as one.
    #[must_use]
    pub fn letters_due(&self, each: usize) -> Vec<DueLetter> {
        let first_of = |page: &LetterKey| {
            let slot = if page.is_page() { Slot::Page(0) } else { Slot::Card };
            let first = LetterKey { slot, ..page.clone() };
            self.owed.range(first..).next()
        };
        let mut chosen = BTreeSet::new();
        let mut due = Vec::new();
        of_each_receiver(
            &self.pages_owed,
            |page| {
                let key = first_of(page)?;
                self.choose(key, &mut chosen, &mut due)
            },
            each,
        );
        of_each_receiver(
            &self.owed,
            |key| {
                // Pages were chosen from just now.
                if key.is_page() { None } else { self.choose(key, &mut chosen, &mut due) }
            },
            each,
        );
        due
    }

    /// None: it has no turn, or its incident has had one.
    fn choose<'s>(
        &'s self,
        key: &'s LetterKey,
        chosen: &mut BTreeSet<(&'s Receiver, IncidentId, bool)>,
        due: &mut Vec<DueLetter>,
    ) -> Option<()> {
        if !chosen.insert((&key.receiver, key.incident, key.is_page())) || self.waits_for_its_page(key) {
            return None;
        }
        let letter = self.letters.get(key)?;
        let card = LetterKey { slot: Slot::Card, ..key.clone() };
        due.push(DueLetter {
            key: key.clone(),
            want: letter.want,
            note: letter.note.clone(),
            external: letter.external.clone(),
            card: self.letters.get(&card).and_then(|card| card.external.clone()),
            page: self.page_wish(key),
        });
        Some(())
    }

    /// A note, until there is something in PagerDuty to write it on.
    fn waits_for_its_page(&self, key: &LetterKey) -> bool {
        if !matches!(key.receiver, Receiver::PagerDuty { .. }) || key.is_page() {
            return false;
        }
        let of = |slot| LetterKey { slot, ..key.clone() };
        let mut pages = self.owed.range(of(Slot::Page(0))..=of(Slot::Page(u32::MAX)));
        // A page whose key is refused may wait for days; what PagerDuty has by itself needs no such key.
        let has_another = self.peers.has(key.incident);
        pages.any(|page| !has_another || self.letters.get(page).is_some_and(|page| page.refused.is_none()))
    }
}

/// Goes through `keys`, and leaves a receiver once `each` of its keys were taken: what else it is owed is not looked at.
fn of_each_receiver<'s>(keys: &'s BTreeSet<LetterKey>, mut take: impl FnMut(&'s LetterKey) -> Option<()>, each: usize) {
    let (mut next, mut in_channels) = (keys.first(), 0);
    while let Some(first) = next {
        let receiver = &first.receiver;
        let is_channel = matches!(receiver, Receiver::IncidentChannel { .. });
        let mut taken = if is_channel { in_channels } else { 0 };
        for key in keys.range(first..).take_while(|key| key.receiver == *receiver) {
            if taken >= each {
                break;
            }
            taken += usize::from(take(key).is_some());
        }
        if is_channel {
            in_channels = taken;
        }
        let last = LetterKey { receiver: receiver.clone(), incident: IncidentId(u64::MAX), slot: Slot::Update };
        next = keys.range((Excluded(last), Unbounded)).next();
    }
}
