//! What failed again and again is not done again, until a person rearms it.

use super::{Case, Says};
use crate::model::reason::Reason;

pub fn guard(case: &Case) -> Says {
    let limit = "not disarmed";
    let rule = &case.incident.rule;
    let Some((target, disarm)) = case.state.records.disarmed(rule, &case.target) else {
        return Says::allow("armed", limit);
    };
    let reason =
        Reason::Disarmed { rule: rule.clone(), target: target.cloned(), failures: disarm.failures, of: disarm.of };
    Says::deny(format!("{} of the last {} failed", disarm.failures, disarm.of), limit, reason)
}
