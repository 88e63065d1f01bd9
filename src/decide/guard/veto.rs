//! A person's undo or reject keeps the rule away from the target until that incident is resolved.

use super::{Case, Says};
use crate::model::reason::Reason;

pub fn guard(case: &Case) -> Says {
    let key = (case.incident.rule.clone(), case.target.clone());
    match case.state.barred.get(&key).and_then(|bars| bars.first()) {
        Some(bar) => {
            Says::deny(format!("barred by {}", bar.by), "nobody's veto", Reason::Barred { by: bar.by.clone() })
        }
        None => Says::allow("no veto", "nobody's veto"),
    }
}
