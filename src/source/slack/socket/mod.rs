//! Socket Mode: what people ask for comes over a web socket that we open, so that Slack need not reach us.
//!
//! [`envelope`] reads what comes and words what is sent back (pure), a [`line`](mod@line) is one web socket from its
//! opening to its end, [`keeper`] sees to it that there is one. What was asked is done at the desk that HTTP's requests
//! come to: same payloads, same people, same answers, same memory of what was taken.

pub mod envelope;
pub mod keeper;
pub mod line;
#[cfg(test)]
mod tests;
