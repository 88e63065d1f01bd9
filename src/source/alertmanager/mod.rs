//! Alertmanager's webhooks.
//!
//! - [`payload`] parses a body, purely; [`route`] takes it in over HTTP.

pub mod payload;
pub mod route;
