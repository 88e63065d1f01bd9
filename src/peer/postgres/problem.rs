//! What can go wrong with a database: a class for code and a sentence for people, without the URL.

use sqlx::error::DatabaseError;

/// A server's message is cut to this many characters: it goes into the journal and into messages.
const MESSAGE_LIMIT: usize = 400;

/// Errors that are the server's trouble, and not the statement's, may come after the deed: the connection, resources that
/// are used up, an intervention (a time limit, a shutdown), the system, and what should never happen.
const MAY_BE_DONE: [&str; 5] = ["08", "53", "57", "58", "XX"];

/// What went wrong, for code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// No such database in the settings, a server that is too old, or not the server itself.
    NotUsable,
    /// A right is missing.
    Forbidden,
    /// Our one connection is in use: certainly nothing happened.
    InUse,
    /// No connection: certainly nothing happened.
    NotSent,
    /// The server understood, and did nothing.
    Refused,
    /// Sent, and no whole answer: it may have happened.
    NoAnswer,
}

/// What went wrong, for code and for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub class: Class,
    pub says: String,
}

impl Problem {
    pub(super) fn new(class: Class, says: impl Into<String>) -> Problem {
        Problem { class, says: says.into() }
    }

    /// While connecting to database `name`.
    pub(super) fn of_connecting(name: &str, error: &sqlx::Error) -> Problem {
        let says = match error {
            sqlx::Error::Database(error) if error.code().as_deref() == Some("53300") => {
                format!("PostgreSQL `{name}` is full, and nightshift has no connection open: {}", message(&**error))
            }
            sqlx::Error::Database(error) => {
                format!("PostgreSQL `{name}` does not let nightshift in: {}", message(&**error))
            }
            error => format!("cannot connect to PostgreSQL `{name}`: {}", cut(&error.to_string())),
        };
        Problem::new(Class::NotSent, says)
    }

    /// An answer to a statement of ours, or the want of one.
    pub(super) fn of_statement(name: &str, error: &sqlx::Error) -> Problem {
        let sqlx::Error::Database(error) = error else {
            let says = format!("the connection to PostgreSQL `{name}` was lost: {}", cut(&error.to_string()));
            return Problem::new(Class::NoAnswer, says);
        };
        let says = format!("PostgreSQL `{name}`: {}", message(&**error));
        let class = match error.code().as_deref() {
            Some("42501") => Class::Forbidden,
            Some(code) if MAY_BE_DONE.iter().any(|class| code.starts_with(class)) => Class::NoAnswer,
            _ => Class::Refused,
        };
        Problem::new(class, says)
    }

    pub(super) fn no_answer(name: &str) -> Problem {
        Problem::new(Class::NoAnswer, format!("PostgreSQL `{name}` did not answer in time"))
    }

    /// A row that is not what was asked for.
    pub(super) fn unreadable(name: &str, error: &sqlx::Error) -> Problem {
        Problem::new(Class::NoAnswer, format!("PostgreSQL `{name}` answered oddly: {}", cut(&error.to_string())))
    }

    /// What ended with this has certainly changed nothing.
    #[must_use]
    pub fn is_certainly_not_done(&self) -> bool {
        match self.class {
            Class::NotUsable | Class::Forbidden | Class::InUse | Class::NotSent | Class::Refused => true,
            Class::NoAnswer => false,
        }
    }
}

impl From<Problem> for String {
    fn from(problem: Problem) -> String {
        problem.says
    }
}

fn message(error: &dyn DatabaseError) -> String {
    cut(error.message())
}

/// One line of bounded length.
fn cut(text: &str) -> String {
    let mut short: String = text.chars().take(MESSAGE_LIMIT).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MESSAGE_LIMIT).is_some() {
        short.push('…');
    }
    short
}
