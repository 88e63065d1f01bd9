//! Where a command writes, and how it ends.

use crate::{
    config::{no_color, show},
    model::problem::Problem,
};
use std::io::{self, IsTerminal, Write};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Fine,
    Failed,
    /// In config or rules.
    Problems,
    /// Of the command line.
    Usage,
}

impl Exit {
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Exit::Fine => 0,
            Exit::Failed => 1,
            Exit::Problems => 2,
            Exit::Usage => 64,
        }
    }
}

/// Why a command failed: what, how to mend it, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub what: String,
    pub hint: Option<String>,
    pub exit: Exit,
    pub problems: Vec<Problem>,
}

impl Told {
    pub fn new(what: impl Into<String>) -> Told {
        Told { what: what.into(), hint: None, exit: Exit::Failed, problems: Vec::new() }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Told {
        self.hint = Some(hint.into());
        self
    }

    pub fn usage(what: impl Into<String>) -> Told {
        Told { exit: Exit::Usage, ..Told::new(what) }
    }

    pub fn problems(problems: Vec<Problem>) -> Told {
        Told { exit: Exit::Problems, problems, ..Told::new("") }
    }
}

impl From<io::Error> for Told {
    fn from(error: io::Error) -> Told {
        Told::new(format!("the output cannot be written: {error}"))
    }
}

/// Standard output and standard error, or what a test gives in their place.
pub struct Output {
    pub out: Box<dyn Write + Send>,
    pub err: Box<dyn Write + Send>,
    /// A person reads it at a terminal.
    pub is_terminal: bool,
    err_style: show::Style,
}

impl Output {
    #[must_use]
    pub fn standard() -> Output {
        Output {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            is_terminal: io::stdout().is_terminal() && io::stdin().is_terminal(),
            err_style: show::Style::for_output(io::stderr().is_terminal(), no_color()),
        }
    }

    /// Neither is a terminal.
    #[must_use]
    pub fn to(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Output {
        Output { out, err, is_terminal: false, err_style: show::Style::Plain }
    }

    pub fn text(&mut self, text: &str) -> Result<(), Told> {
        self.out.write_all(text.as_bytes())?;
        Ok(self.out.flush()?)
    }

    /// JSON for scripts, with line breaks for people.
    pub fn json(&mut self, value: &impl serde::Serialize) -> Result<(), Told> {
        let text = serde_json::to_string_pretty(value).map_err(|error| Told::new(error.to_string()))?;
        self.text(&format!("{text}\n"))
    }

    /// Problems and warnings, with their lines where a person sees them.
    pub fn problems(&mut self, problems: &[Problem]) {
        let text = show::problems(problems, &show::texts(problems), self.err_style);
        let _ = self.err.write_all(text.as_bytes());
    }

    pub(super) fn failed(&mut self, told: &Told) -> Exit {
        if !told.problems.is_empty() {
            self.problems(&told.problems);
        }
        if !told.what.is_empty() {
            let _ = writeln!(self.err, "error: {}", told.what);
        }
        if let Some(hint) = &told.hint {
            let _ = writeln!(self.err, "hint: {hint}");
        }
        told.exit
    }

    /// Help and version are no errors.
    pub(super) fn usage(&mut self, error: &clap::Error) -> Exit {
        let text = if self.is_terminal { error.render().ansi().to_string() } else { error.render().to_string() };
        if error.use_stderr() {
            let _ = self.err.write_all(text.as_bytes());
            Exit::Usage
        } else {
            let _ = self.out.write_all(text.as_bytes());
            Exit::Fine
        }
    }
}
