//! A pod that a PodDisruptionBudget keeps stays: it is asked again a few times, while others become ready, then it is no.

use super::{Case, Says};
use crate::model::reason::Reason;

pub fn guard(case: &Case) -> Says {
    match case.facts().and_then(|facts| facts.disruption.as_ref()) {
        Some(says) => {
            let verdict = case.doubt(Reason::DisruptionNotAllowed { says: says.clone() });
            Says::verdict("not allowed now", "a disruption is allowed", verdict)
        }
        None => Says::allow("no budget forbids it", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::laws::*, *};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn a_budget_is_asked_again_and_never_overruled(
            says in prop::option::of("[a-z]{1,9}"), doubts in 0..6_u32, approved_by in approvals(),
        ) {
            let mut scene = Scene::clear();
            scene.facts().disruption = says.clone();
            (scene.step().doubts, scene.step().approved_by) = (doubts, approved_by);
            let wanted = match says {
                Some(says) => doubt(&scene, Reason::DisruptionNotAllowed { says }),
                None => Verdict::Allow,
            };
            prop_assert_eq!(scene.says(Guard::Disruption), wanted);
        }
    }
}
