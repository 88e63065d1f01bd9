//! The decision core: pure. Events are its only answer, `State::apply` the only way the state changes.
//!
//! No tokio, clock, I/O, HashMap order, randomness or floats in here.

pub mod policy;
