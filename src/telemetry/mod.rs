//! What the daemon says about itself: log lines, metrics, and text from outside made safe to show.

pub mod amiss;
mod closed;
pub mod labels;
pub mod log;
pub mod metrics;
pub mod notices;
pub mod observer;
pub mod refusals;
pub mod silence;
pub mod slack_socket;
pub mod text;
