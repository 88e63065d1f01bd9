//! Building, starting and stopping the daemon: the only place that sees every part.

pub mod policy;
pub mod tasks;
pub mod world;
