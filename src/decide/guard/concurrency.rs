//! At most `max_concurrent` steps act at a time, from start to read-back.

use super::{Case, Says};
use crate::model::{reason::Reason, step::Verdict};

pub fn guard(case: &Case) -> Says {
    let limit = case.policy.spec.max_concurrent;
    let acting = case.state.acting();
    if acting >= limit && !case.is_shadow() {
        let verdict = Verdict::Hold { until: None, reason: Reason::NoSlot { acting, limit } };
        return Says::verdict(format!("{acting} acting"), limit.to_string(), verdict);
    }
    Says::allow(format!("{acting} acting"), limit.to_string())
}
