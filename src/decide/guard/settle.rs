//! Nothing acts right after a start or a clock step. Shadow does not wait.

use super::{Case, Says};
use crate::model::{reason::Reason, step::Verdict};

pub fn guard(case: &Case) -> Says {
    let limit = format!("{} after a start", case.policy.spec.settle_after_start);
    match case.state.settling_until().filter(|until| *until > case.now) {
        Some(until) if !case.is_shadow() => {
            let verdict = Verdict::Hold { until: Some(until), reason: Reason::Settling { until } };
            Says::verdict(format!("until {}", case.time(until)), limit, verdict)
        }
        Some(_) => Says::allow("shadow does not wait", limit),
        // Over, or never begun: an empty journal has nothing to settle.
        None => Says::allow("not settling", ""),
    }
}
