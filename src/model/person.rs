//! Who asks for something through Slack: what Slack said of them at that moment.

use super::time::Micros;
use serde::{Deserialize, Serialize};

/// A full member of our workspace, whom Slack knew when they clicked or typed. Guests, bots and people of other
/// workspaces never become one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlackPerson {
    /// `U024BE7LH`: names may be changed and are no identity.
    pub user: String,
    /// The groups that they belonged to, of those that are listed under `approvers`.
    pub groups: Vec<String>,
    /// When Slack said so.
    pub asked_at: Micros,
    /// Names this very click or command: it is never taken twice.
    pub once: String,
}
