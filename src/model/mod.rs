//! model
pub mod matcher;
pub mod problem;
pub mod time;
