//! What a button in a message asks for, and its text in the button's value.

use super::id::{IncidentId, StepId};
use std::{fmt, str::FromStr};

/// Bytes of a plan's hash in hex.
const HASH: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Button {
    Acknowledge {
        incident: IncidentId,
    },
    /// Exactly the plan that the message shows.
    Approve {
        step: StepId,
        plan_hash: String,
    },
    Reject {
        step: StepId,
    },
    Undo {
        step: StepId,
    },
    /// What the message shows goes out to customers.
    Publish {
        incident: IncidentId,
    },
    Why {
        incident: IncidentId,
    },
}

impl Button {
    /// What stands on it.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Button::Acknowledge { .. } => "Acknowledge",
            Button::Approve { .. } => "Approve",
            Button::Reject { .. } => "Reject",
            Button::Undo { .. } => "Undo",
            Button::Publish { .. } => "Publish",
            Button::Why { .. } => "Why?",
        }
    }

    /// A word of a closed list.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Button::Acknowledge { .. } => "acknowledge",
            Button::Approve { .. } => "approve",
            Button::Reject { .. } => "reject",
            Button::Undo { .. } => "undo",
            Button::Publish { .. } => "publish",
            Button::Why { .. } => "why",
        }
    }

    #[must_use]
    pub fn incident(&self) -> IncidentId {
        match self {
            Button::Acknowledge { incident } | Button::Publish { incident } | Button::Why { incident } => *incident,
            Button::Approve { step, .. } | Button::Reject { step } | Button::Undo { step } => step.incident,
        }
    }
}

impl fmt::Display for Button {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.word();
        match self {
            Button::Acknowledge { incident } | Button::Publish { incident } | Button::Why { incident } => {
                write!(f, "{word} {incident}")
            }
            Button::Approve { step, plan_hash } => write!(f, "{word} {step} {plan_hash}"),
            Button::Reject { step } | Button::Undo { step } => write!(f, "{word} {step}"),
        }
    }
}

impl FromStr for Button {
    type Err = String;

    fn from_str(text: &str) -> Result<Button, String> {
        let mut words = text.split(' ');
        let mut next = || words.next().unwrap_or_default();
        let (word, id) = (next(), next());
        let button = match word {
            "acknowledge" => Button::Acknowledge { incident: id.parse()? },
            "publish" => Button::Publish { incident: id.parse()? },
            "why" => Button::Why { incident: id.parse()? },
            "approve" => {
                let plan_hash = next().to_owned();
                if plan_hash.len() != HASH || !plan_hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err(format!("`{plan_hash}` is no plan's hash"));
                }
                Button::Approve { step: id.parse()?, plan_hash }
            }
            "reject" => Button::Reject { step: id.parse()? },
            "undo" => Button::Undo { step: id.parse()? },
            other => return Err(format!("`{other}` is no button")),
        };
        match words.next() {
            None => Ok(button),
            Some(more) => Err(format!("`{more}` is too much")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_button_is_read_as_it_was_written() {
        let step: StepId = "1042.2".parse().unwrap();
        let incident = IncidentId(1042);
        for button in [
            Button::Acknowledge { incident },
            Button::Approve { step, plan_hash: "0a".repeat(32) },
            Button::Reject { step },
            Button::Undo { step },
            Button::Publish { incident },
            Button::Why { incident },
        ] {
            assert_eq!(button.to_string().parse(), Ok(button.clone()));
            assert_eq!(button.incident(), incident);
        }
    }

    #[test]
    fn what_is_no_button_is_refused() {
        let hash = "0a".repeat(32);
        for wrong in [
            String::new(),
            "resume 1".to_owned(),
            "acknowledge".to_owned(),
            "acknowledge 1042.2".to_owned(),
            "approve 1042.2".to_owned(),
            format!("approve 1042.2 {}", &hash[1..]),
            format!("approve 1042 {hash}"),
            "reject 1042.2 now".to_owned(),
            "undo  1042.2".to_owned(),
        ] {
            assert!(wrong.parse::<Button>().is_err(), "{wrong}");
        }
    }
}
