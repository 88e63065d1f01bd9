//! Slack's Web API: messages are sent through it, and it is asked who a person is.
//!
//! - [`client`] calls; [`errors`] knows Slack's words; `pace` keeps its rate limits.
//! - [`standing`] says what somebody must set right before Slack takes messages again.
//! - [`directory`] says who somebody is; [`seal`] keeps what a button asks for from being changed.

pub mod client;
pub mod directory;
pub mod errors;
mod pace;
pub mod seal;
pub mod standing;

/// Anybody's words in a text where Slack reads markup: they mention, link and format nothing.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
