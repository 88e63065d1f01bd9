//! The decision core: pure. Events are its only answer, [`State::apply`] the only way the state changes.
//!
//! No tokio, clock, I/O, HashMap order, randomness or floats in here. [`decide`] dispatches one input; what happens
//! then is told by [`alert`], [`incident`], [`ladder`], [`step`] (judged by [`guard`]), [`verify`], [`lease`],
//! [`command`], [`switch`] and [`timer`]. [`hold`] says whose page may wait, [`tell`] owes the letters, [`paging`] those to
//! PagerDuty, `public` what customers are told, [`view`] shows the state to people.

pub mod alert;
pub mod apply;
pub mod brake;
mod calls;
pub mod channel;
pub mod children;
pub mod command;
pub mod counts;
pub mod escalating;
mod escalation;
pub mod fleet;
pub mod freezing;
pub mod guard;
pub mod hold;
pub mod incident;
pub mod ladder;
pub mod lease;
pub mod letters;
pub mod levels;
mod locks;
mod packed;
pub mod pages;
pub mod paging;
mod peer;
pub mod people;
pub mod policy;
pub mod postmortem;
mod public;
pub mod records;
pub mod state;
pub mod step;
pub mod switch;
pub mod tell;
pub mod timer;
pub mod updating;
pub mod verify;
pub mod view;
pub mod work;

#[cfg(test)]
mod stories;

use crate::model::{event::Event, id::IncidentId, input::Input, time::Micros};
pub use policy::Policy;
pub use state::{Illegal, State};
use std::collections::BTreeSet;

/// Answers one input. The events are already applied to `state` when it returns; the same policy, state, input and
/// `now` always give the same events. After an `Err` (a mistake of ours) the state must be folded anew.
pub fn decide(policy: &Policy, state: &mut State, input: &Input, now: Micros) -> Result<Vec<Event>, Illegal> {
    let (events, touched, looked) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    let mut decider = Decider { policy, state, input, now, events, touched, looked };
    decider.answer()?;
    decider.admit()?;
    decider.hold_pages()?;
    decider.owe_status()?;
    decider.owe_pages()?;
    decider.owe_notes()?;
    decider.owe_cards()?;
    Ok(decider.events)
}

/// One input being answered. Every change goes through [`Decider::emit`].
struct Decider<'a> {
    policy: &'a Policy,
    state: &'a mut State,
    input: &'a Input,
    now: Micros,
    events: Vec<Event>,
    /// Incidents whose card no longer shows what is.
    touched: BTreeSet<IncidentId>,
    /// Incidents that something happened to: may their page still wait?
    looked: BTreeSet<IncidentId>,
}

type Decided = Result<(), Illegal>;

impl Decider<'_> {
    fn answer(&mut self) -> Decided {
        match self.input {
            Input::Started { replica, policy, clean, damage, .. } => {
                self.started(replica, policy, *clean, damage.as_deref())
            }
            Input::Stopped => self.emit(Event::Stopped),
            Input::PolicyLoaded { policy, .. } => self.policy_loaded(policy),
            Input::PolicyRefused { problems, .. } => {
                self.emit(Event::PolicyKept { problems: u32::try_from(problems.len()).unwrap_or(u32::MAX) })
            }
            Input::Alert(alert) => self.alert(alert),
            Input::Peer(news) => self.peer(news),
            Input::Command { by, via, command } => self.command(by, via, command),
            Input::Observed { step, moment, result } => self.observed(*step, *moment, result),
            Input::Performed { step, op, outcome } => self.performed(*step, *op, outcome),
            Input::Measured { step, reading } => self.measured(*step, reading),
            Input::Gathered { incident, .. } => self.gathered(*incident),
            Input::Confirmed { fingerprint, delivered, answer } => self.confirmed(fingerprint, *delivered, answer),
            Input::Told { letter, up_to, result } => self.told(letter, *up_to, result),
            Input::Wake => self.wake(),
            Input::ClockStepped { by } => self.clock_stepped(*by),
            Input::Poisoned { digest, message, .. } => self.poisoned(digest, message),
        }
    }

    /// Records an event and lets it change the state at once.
    fn emit(&mut self, event: Event) -> Decided {
        self.state.apply(self.now, self.input, &event)?;
        self.looked.extend(event.incident());
        self.events.push(event);
        Ok(())
    }

    /// A sentence's times are in the policy's zone.
    fn time(&self, at: Micros) -> String {
        at.time_of_day(&self.policy.zone)
    }
}
