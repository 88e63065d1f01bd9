//! Whoever acknowledged has the wheel: what is new needs an approval.

use super::{Case, Says};
use crate::model::{reason::Reason, step::Verdict};

pub fn guard(case: &Case) -> Says {
    match (&case.incident.acknowledged_by, &case.step.approved_by) {
        (Some(by), None) => {
            let verdict = Verdict::Ask { reason: Reason::Acknowledged { by: by.clone() } };
            Says::verdict(format!("acknowledged by {by}"), "an approval", verdict)
        }
        (Some(_), Some(by)) => Says::allow(format!("approved by {by}"), "an approval"),
        (None, _) => Says::allow("nobody has it", ""),
    }
}
