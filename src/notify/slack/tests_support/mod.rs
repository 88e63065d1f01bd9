//! For the tests: views by hand, hostile words, a judge of messages, and a small Slack that records.

pub mod corpus;
pub mod fake;
pub mod judge;
pub mod views;
