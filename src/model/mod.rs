//! The nouns, one a file. Names nothing else of the crate, and no clock, network or database.
//!
//! Read [`input`] and [`event`] first: a reader of those two closed enums knows everything that can happen.

pub mod alert;
pub mod button;
pub mod event;
pub mod firing;
pub mod freeze;
pub mod id;
pub mod input;
pub mod letter;
pub mod matcher;
pub mod mode;
pub mod observation;
pub mod page;
pub mod pairs;
pub mod peer;
pub mod person;
pub mod plan;
pub mod problem;
pub mod public;
pub mod reason;
pub mod rung;
pub mod step;
pub mod target;
pub mod time;
pub mod view;
