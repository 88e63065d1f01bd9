//! Telling people: one trait, one folder a receiver. A notifier renders and sends; it decides nothing.
//!
//! Which letters are owed, in which order and how often to try again is the state's and the courier's affair. A notifier
//! makes one call for one letter and says what became of it.

pub mod message;
pub mod pagerduty;
pub mod plain;
pub mod slack;
pub mod statuspage;

use crate::{
    action::Boxed,
    decide::state::DueLetter,
    model::{
        letter::{Receiver, Told},
        view::IncidentView,
    },
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// It did not work now and may work later: the courier tries again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transient {
    /// A word of a closed list: the metric's label.
    pub reason: &'static str,
    /// What the receiver asked for.
    pub retry_after: Option<Duration>,
}

/// One kind of receiver.
pub trait Notifier: Send + Sync {
    /// Sends one letter within `within`. For the card, `view` is rendered; for a post, the letter's note (the view is
    /// there for its title and number). Sending a card again updates it in place: `letter.card` says where it is.
    fn send<'a>(
        &'a self,
        letter: &'a DueLetter,
        view: &'a IncidentView,
        within: Duration,
    ) -> Boxed<'a, Result<Told, Transient>>;
}

/// The notifiers of this process, by the word of their receivers ([`Receiver::word`]).
#[derive(Clone, Default)]
pub struct Notifiers(BTreeMap<&'static str, Arc<dyn Notifier>>);

impl Notifiers {
    pub fn add(&mut self, word: &'static str, notifier: Arc<dyn Notifier>) {
        self.0.insert(word, notifier);
    }

    /// None: no such receiver is configured here.
    #[must_use]
    pub fn of(&self, receiver: &Receiver) -> Option<&Arc<dyn Notifier>> {
        self.0.get(receiver.word())
    }
}

#[cfg(test)]
mod texts_tests;
