//! A problem in something that a person wrote (config, rules, a command): what, where, and how to mend it.
//!
//! Problems are collected, all of them, and shown together. Nothing here is about failures of peers or of ourselves.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One mistake in a text that a person wrote. `line` and `column` count from 1; 0 means unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The file as the user named it, or what stands in its place (`environment`, `command line`).
    pub file: String,
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub line: u32,
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub column: u32,
    /// What is wrong, in one sentence without a full stop.
    pub what: String,
    /// How to mend it, shown on its own line after `hint:`.
    pub hint: Option<String>,
    /// A warning does not refuse the file.
    pub warning: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_unknown(place: &u32) -> bool {
    *place == 0
}

impl Problem {
    /// An error at a place of a file.
    pub fn error(file: impl Into<String>, line: u32, column: u32, what: impl Into<String>) -> Problem {
        Problem { file: file.into(), line, column, what: what.into(), hint: None, warning: false }
    }

    /// The same, as a warning: told, but not refused.
    pub fn warning(file: impl Into<String>, line: u32, column: u32, what: impl Into<String>) -> Problem {
        Problem { warning: true, ..Problem::error(file, line, column, what) }
    }

    /// Adds the line after `hint:`.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    /// For the log, where an entry is one line.
    #[must_use]
    pub fn in_one_line(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{} (hint: {hint})", Problem { hint: None, ..self.clone() }),
            None => self.to_string(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.warning { "warning" } else { "error" };
        match (self.line, self.column) {
            (0, _) => write!(f, "{}: {kind}: {}", self.file, self.what)?,
            (line, 0) => write!(f, "{}:{line}: {kind}: {}", self.file, self.what)?,
            (line, column) => write!(f, "{}:{line}:{column}: {kind}: {}", self.file, self.what)?,
        }
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}
