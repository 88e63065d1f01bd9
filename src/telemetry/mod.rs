//! What the daemon says about itself: log lines, metrics, and text from outside made safe to show.

pub mod log;
pub mod metrics;
pub mod text;
