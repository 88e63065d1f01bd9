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

#[cfg(test)]
mod tests {
    use super::{super::laws::*, *};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn whoever_has_it_is_asked(acknowledged_by in prop::option::of("[a-z]{1,6}"), approved_by in approvals()) {
            let mut scene = Scene::clear();
            scene.incident().acknowledged_by = acknowledged_by.clone();
            scene.step().approved_by = approved_by.clone();
            let wanted = match (acknowledged_by, approved_by) {
                (Some(by), None) => asks(Reason::Acknowledged { by }),
                (Some(_), Some(_)) | (None, _) => Verdict::Allow,
            };
            prop_assert_eq!(scene.says(Guard::Acknowledged), wanted);
        }
    }
}
