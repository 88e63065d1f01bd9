//! model
pub mod time;
pub mod problem;
pub mod matcher;
