//! The letters that are owed, as the courier needs them: what each says is read from the state when it is sent.

use super::{State, pages::PageWish};
use crate::model::letter::{External, LetterKey, Note, Receiver, Slot};
use std::collections::BTreeSet;

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
    /// The first owed letter of each (receiver, incident), at most `most`: its card before its posts, posts in order.
    /// Pages in PagerDuty are a line of their own there; what is noted on one waits until it is told. Incidents that owe a
    /// page go first.
    #[must_use]
    pub fn letters_due(&self, most: usize) -> Vec<DueLetter> {
        let first_of = |page: &LetterKey| {
            let slot = if page.is_page() { Slot::Page(0) } else { Slot::Card };
            let first = LetterKey { slot, ..page.clone() };
            self.owed.range(first..).next()
        };
        let urgent = self.pages_owed.iter().filter_map(first_of);
        let mut chosen = BTreeSet::new();
        let mut due: Vec<DueLetter> = Vec::new();
        for key in urgent.chain(&self.owed) {
            if due.len() >= most {
                break;
            }
            if !chosen.insert((key.receiver.clone(), key.incident, key.is_page())) || self.waits_for_its_page(key) {
                continue;
            }
            let Some(letter) = self.letters.get(key) else { continue };
            let card = LetterKey { slot: Slot::Card, ..key.clone() };
            due.push(DueLetter {
                key: key.clone(),
                want: letter.want,
                note: letter.note.clone(),
                external: letter.external.clone(),
                card: self.letters.get(&card).and_then(|card| card.external.clone()),
                page: self.page_wish(key),
            });
        }
        due
    }

    fn waits_for_its_page(&self, key: &LetterKey) -> bool {
        let of = |slot| LetterKey { slot, ..key.clone() };
        matches!(key.receiver, Receiver::PagerDuty { .. })
            && !key.is_page()
            && self.owed.range(of(Slot::Page(0))..=of(Slot::Page(u32::MAX))).next().is_some()
    }
}
