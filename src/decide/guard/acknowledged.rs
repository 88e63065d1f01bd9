//! Whoever acknowledged has the wheel: what is new needs an approval. So it does when nobody has the incident any more,
//! because it became more severe or they let it run out: who was at work on it may still be.

use super::{Case, Says};
use crate::model::{reason::Reason, step::Verdict};

pub fn guard(case: &Case) -> Says {
    match (&case.incident.handed_to, &case.step.approved_by) {
        (Some(by), None) => {
            let verdict = Verdict::Ask { reason: Reason::Acknowledged { by: by.clone() } };
            Says::verdict(format!("acknowledged by {by}"), "an approval", verdict)
        }
        (Some(_), Some(by)) => Says::allow(format!("approved by {by}"), "an approval"),
        (None, _) => Says::allow("nobody took it", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::laws::*, *};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn what_somebody_took_needs_an_approval(handed_to in prop::option::of("[a-z]{1,6}"), approved_by in approvals()) {
            let mut scene = Scene::clear();
            scene.incident().handed_to = handed_to.clone();
            scene.step().approved_by = approved_by.clone();
            let wanted = match (handed_to, approved_by) {
                (Some(by), None) => asks(Reason::Acknowledged { by }),
                (Some(_), Some(_)) | (None, _) => Verdict::Allow,
            };
            prop_assert_eq!(scene.says(Guard::Acknowledged), wanted);
        }
    }
}
