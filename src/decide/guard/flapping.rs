//! What comes and goes is not mended by doing the same again and again: over its number, people look.

use super::{Case, Says};
use crate::model::reason::Reason;

pub fn guard(case: &Case) -> Says {
    let Some(limit) = case.rule.and_then(|rule| rule.flapping) else { return Says::allow("not counted", "") };
    let times = case.state.records.fired_within(&case.incident.rule, &case.incident.key, limit.within, case.now);
    let value = format!("began to fire {times} times");
    let says = format!("under {} in {}", limit.count, limit.within);
    if times < limit.count {
        return Says::allow(value, says);
    }
    Says::deny(value, says, Reason::Flapping { times, limit: limit.count, within: limit.within })
}
