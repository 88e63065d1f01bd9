//! Zero on purpose: what has 0 replicas that we did not set is switched off, and stays off.

use super::{Case, Says};
use crate::model::reason::Reason;

pub fn guard(case: &Case) -> Says {
    match case.facts().and_then(|facts| facts.replicas) {
        Some(0) => Says::deny("0 replicas", "more than 0", Reason::SwitchedOff),
        Some(replicas) => Says::allow(format!("{replicas} replicas"), "more than 0"),
        None => Says::allow("not counted in replicas", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::super::laws::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn zero_stays_zero_and_nothing_else_is_off(
            replicas in prop::option::of(0..4_u32), ready in 0..4_u32, approved_by in approvals(), mode in modes(),
        ) {
            let mut scene = Scene::clear();
            (scene.facts().replicas, scene.facts().ready) = (replicas, ready);
            (scene.step().approved_by, scene.step().rung.mode) = (approved_by, mode);
            let wanted = if replicas == Some(0) { deny(Reason::SwitchedOff) } else { Verdict::Allow };
            prop_assert_eq!(scene.says(Guard::SwitchedOff), wanted);
        }
    }
}
