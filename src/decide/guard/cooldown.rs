//! After a ladder that acted, the rule leaves the target alone for a while.

use super::{Case, Says};
use crate::model::{reason::Reason, step::Verdict};

pub fn guard(case: &Case) -> Says {
    let limit = case.rule.map(|rule| rule.cooldown.to_string()).unwrap_or_default();
    let key = (case.incident.rule.clone(), case.target.clone(), case.is_shadow());
    match case.state.cooldowns.get(&key).filter(|until| **until > case.now) {
        Some(until) => {
            let reason = Reason::CoolingDown { until: *until };
            let value = format!("until {}", case.time(*until));
            Says::verdict(value, limit, Verdict::Hold { until: Some(*until), reason })
        }
        None => Says::allow("not cooling down", limit),
    }
}
