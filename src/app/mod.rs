//! Building, starting and stopping the daemon: the only place that sees every part.

pub mod pause_file;
pub mod policy;
pub mod reload;
pub mod signals;
pub mod tasks;
pub mod world;
