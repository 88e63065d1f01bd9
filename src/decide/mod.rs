//! The decision core: pure. Events are its only answer, [`State::apply`] the only way the state changes.
//!
//! No tokio, clock, I/O, HashMap order, randomness or floats in here.

pub mod policy;
pub mod state;
pub mod work;

use crate::model::{event::Event, input::Input, time::Micros};
pub use policy::Policy;
pub use state::{Illegal, State};

/// Answers one input. The events are already applied to `state` when it returns; the same policy, state, input and
/// `now` always give the same events. After an `Err` (a mistake of ours) the state must be folded anew.
pub fn decide(_policy: &Policy, _state: &mut State, _input: &Input, _now: Micros) -> Result<Vec<Event>, Illegal> {
    Ok(Vec::new())
}
