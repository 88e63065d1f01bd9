//! Facts must be fresh when they decide.

use super::{Case, FACTS_FRESH, Says};
use crate::model::reason::Reason;

pub fn guard(case: &Case) -> Says {
    let limit = FACTS_FRESH.to_string();
    let Some(facts) = case.facts() else { return Says::allow("no facts", limit) };
    let age = case.now - facts.observed_at;
    if age > FACTS_FRESH {
        let reason = Reason::ObservationOld { age, limit: FACTS_FRESH };
        return Says::verdict(format!("{} old", age.rounded()), limit, case.doubt(reason));
    }
    Says::allow(format!("{} old", age.rounded()), limit)
}

#[cfg(test)]
mod tests {
    use super::{super::laws::*, *};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn thirty_seconds_are_the_most(age in around(Span::seconds(5), 12), doubts in 0..5_u32, purpose in purposes()) {
            let mut scene = Scene::clear();
            (scene.step().doubts, scene.step().purpose) = (doubts, purpose);
            scene.facts().observed_at = scene.now - age;
            let wanted = if age <= Span::seconds(30) {
                Verdict::Allow
            } else {
                doubt(&scene, Reason::ObservationOld { age, limit: Span::seconds(30) })
            };
            prop_assert_eq!(scene.says(Guard::Fresh), wanted);
        }
    }
}
