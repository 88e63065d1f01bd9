//! Alertmanager's webhooks.
//!
//! - [`payload`] parses a body, purely.

pub mod payload;
