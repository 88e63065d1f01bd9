//! What says that it must not be rolled back (a migration went with it) stays, and its reason is shown.

use super::{Case, Says};
use crate::model::reason::Reason;

pub fn guard(case: &Case) -> Says {
    let limit = "no nightshift.dev/no-rollback";
    let Some(rolls_back) = case.facts().and_then(|facts| facts.rolls_back.as_ref()) else {
        return Says::allow("does not roll back", "");
    };
    match &rolls_back.forbidden {
        Some(forbidden) => {
            let (revision, why) = (forbidden.revision, forbidden.why.clone());
            Says::deny(format!("revision {revision}: {why}"), limit, Reason::NoRollback { revision, why })
        }
        None => Says::allow("not forbidden", limit),
    }
}

#[cfg(test)]
mod tests {
    use super::super::laws::*;
    use crate::{model::observation::Forbidden, model::observation::RollsBack};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn what_is_forbidden_stays_and_its_words_are_shown(
            forbidden in prop::option::of((1..9_i64, "[a-z ]{0,12}")), rolls_back in any::<bool>(), approved_by in approvals(),
        ) {
            let mut scene = Scene::clear();
            scene.step().approved_by = approved_by;
            let at = scene.now;
            let why = forbidden.clone().map(|(revision, why)| Forbidden { revision, why });
            scene.facts().rolls_back =
                rolls_back.then_some(RollsBack { revision: 3, deployed_at: at, forbidden: why });
            let wanted = match forbidden {
                Some((revision, why)) if rolls_back => deny(Reason::NoRollback { revision, why }),
                _ => Verdict::Allow,
            };
            prop_assert_eq!(scene.says(Guard::NoRollback), wanted);
        }
    }
}
