//! The mode: shadow says what it would do, ask waits for an approval, auto acts.

use super::{Case, Says};
use crate::model::{mode::Mode, reason::Reason, step::Verdict};

pub fn guard(case: &Case) -> Says {
    match (case.mode(), &case.step.approved_by) {
        (Mode::Shadow, _) if case.is_fix() => {
            Says::verdict("shadow", "auto, or ask and an approval", Verdict::WouldHave)
        }
        (Mode::Auto | Mode::Shadow, _) => Says::allow("auto", "auto, or ask and an approval"),
        (Mode::Ask, Some(by)) => Says::allow(format!("approved by {by}"), "auto, or ask and an approval"),
        (Mode::Ask, None) => {
            Says::verdict("ask", "auto, or ask and an approval", Verdict::Ask { reason: Reason::ModeAsks })
        }
    }
}
