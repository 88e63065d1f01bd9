//! nightshift's own workload is never a target.

use super::{Case, Says};
use crate::model::reason::Reason;

pub fn guard(case: &Case) -> Says {
    match case.facts() {
        Some(facts) if facts.is_itself => Says::deny("nightshift's own", "not its own", Reason::Itself),
        Some(_) => Says::allow("not its own", "not its own"),
        None => Says::allow("no facts", "not its own"),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::laws::*, *};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn nobody_may_have_it_touched(
            is_itself in any::<bool>(), mode in modes(), purpose in purposes(), approved_by in approvals(),
        ) {
            let mut scene = Scene::clear();
            scene.facts().is_itself = is_itself;
            (scene.step().rung.mode, scene.step().purpose, scene.step().approved_by) = (mode, purpose, approved_by);
            let wanted = if is_itself { deny(Reason::Itself) } else { Verdict::Allow };
            prop_assert_eq!(scene.says(Guard::Itself), wanted);
        }
    }
}
