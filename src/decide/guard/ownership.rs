//! A field that another controller owns is not fought over.

use super::{Case, Says};
use crate::model::reason::Reason;

pub fn guard(case: &Case) -> Says {
    match case.facts().and_then(|facts| facts.owner.as_ref()) {
        Some(owner) => Says::deny(format!("owned by {owner}"), "nobody else's", Reason::Owned { by: owner.clone() }),
        None => Says::allow("nobody else's", "nobody else's"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::laws::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn what_somebody_else_owns_is_never_touched(
            owner in prop::option::of("[a-z]{1,8}"), mode in modes(), purpose in purposes(), approved_by in approvals(),
        ) {
            let mut scene = Scene::clear();
            scene.facts().owner = owner.clone();
            (scene.step().rung.mode, scene.step().purpose, scene.step().approved_by) = (mode, purpose, approved_by);
            let wanted = owner.map_or(Verdict::Allow, |by| deny(Reason::Owned { by }));
            prop_assert_eq!(scene.says(Guard::Ownership), wanted);
        }
    }
}
