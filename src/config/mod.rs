//! What a person wrote in a file, read twice: as written, then as used.
//!
//! [`yaml`] reads any YAML text into a type and collects its problems; [`mod@file`] is `nightshift.yaml` as written,
//! [`settings`] the same as used, after the layers defaults < file < environment < command line. [`statuspage`] reads what
//! customers are told. [`show`] prints problems.
//! Nothing here talks to a peer; the rules have their own reader in [`crate::rules`], on top of [`yaml`].

mod check;
mod databases;
pub mod file;
pub mod layers;
mod mistakes;
pub mod node;
mod pagerduty;
mod paths;
mod people;
mod refusal;
pub mod settings;
pub mod show;
pub mod statuspage;
pub mod suggest;
pub mod typed;
mod values;
pub mod yaml;

pub use layers::{Flag, no_color, process_variables};
pub use settings::{RefusedSettings, Settings};
pub use values::is_loopback;
