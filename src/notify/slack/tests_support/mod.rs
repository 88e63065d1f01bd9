//! For the tests: views by hand, a judge of messages, and a small Slack that records.

pub mod fake;
pub mod judge;
pub mod views;
