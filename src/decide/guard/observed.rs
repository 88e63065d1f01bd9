//! The target was seen. What cannot be seen is not touched.

use super::{Case, Says};
use crate::model::reason::Reason;

pub fn guard(case: &Case) -> Says {
    match case.observation {
        Ok(_) => Says::allow("observed", "observed"),
        Err(problem) => {
            let reason = Reason::NotObserved { problem: problem.to_owned() };
            let verdict =
                if case.is_shadow() { crate::model::step::Verdict::Deny { reason } } else { case.doubt(reason) };
            Says::verdict("not observed", "observed", verdict)
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
        fn what_is_not_seen_is_asked_for_again_and_then_left_alone(
            seen in any::<bool>(), doubts in 0..6_u32, mode in modes(), purpose in purposes(),
        ) {
            let mut scene = Scene::clear();
            (scene.step().doubts, scene.step().rung.mode) = (doubts, mode);
            scene.step().purpose = purpose;
            if !seen {
                scene.observation = Err("no answer".into());
            }
            let reason = Reason::NotObserved { problem: "no answer".into() };
            let wanted = match seen {
                true => Verdict::Allow,
                false if scene.is_shadow() => deny(reason),
                false => doubt(&scene, reason),
            };
            prop_assert_eq!(scene.says(Guard::Observed), wanted);
        }
    }
}
