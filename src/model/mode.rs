//! How far a rule may go.

use serde::{Deserialize, Serialize};

/// Ordered: the effective mode is the least of global, rule and rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Says what it would do, and proves it by a dry run.
    Shadow,
    /// Waits for an approval.
    Ask,
    /// Acts.
    Auto,
}

impl Mode {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Mode::Shadow => "shadow",
            Mode::Ask => "ask",
            Mode::Auto => "auto",
        }
    }
}
