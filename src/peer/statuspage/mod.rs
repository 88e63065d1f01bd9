//! Statuspage's API: incidents and components of one page are read and written through it.
//!
//! - [`client`] calls, one request a second; [`shapes`] knows what is sent and what comes back.

pub mod client;
pub mod shapes;
