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

#[cfg(test)]
mod tests {
    use super::super::laws::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn the_least_of_rung_and_all_decides_and_never_more_than_it_allows(
            of_rung in modes(), of_all in modes(), approved_by in approvals(), purpose in purposes(),
        ) {
            let mut scene = Scene::clear();
            scene.rules(|spec| spec.mode = of_all);
            (scene.step().rung.mode, scene.step().approved_by) = (of_rung, approved_by.clone());
            scene.step().purpose = purpose.clone();
            // What puts something back does not wait for a mode that was lowered since.
            let mode = if purpose.is_fix() { of_rung.min(of_all) } else { of_rung };
            let wanted = match mode {
                Mode::Shadow if purpose.is_fix() => Verdict::WouldHave,
                Mode::Ask if approved_by.is_none() => asks(Reason::ModeAsks),
                Mode::Shadow | Mode::Ask | Mode::Auto => Verdict::Allow,
            };
            prop_assert_eq!(scene.says(Guard::Mode), wanted);
        }
    }
}
