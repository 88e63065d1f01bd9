//! Somebody else's rollout of the target is not disturbed, and a paused one is left alone.
//!
//! The rollout of the very change that is rolled back is no obstacle: a bad version often never gets ready.

use super::{Case, Says};
use crate::model::reason::Reason;

pub fn guard(case: &Case) -> Says {
    let limit = "no rollout running or paused";
    let Some(facts) = case.facts() else { return Says::allow("no facts", limit) };
    if facts.paused {
        return Says::deny("paused", limit, Reason::RolloutPaused);
    }
    match (&facts.rollout, case.rolled_back_cause()) {
        (Some(says), Some(cause)) => {
            Says::allow(format!("of revision {}, which is rolled back: {says}", cause.revision), limit)
        }
        (Some(says), None) => Says::deny(says.clone(), limit, Reason::RolloutRunning { says: says.clone() }),
        (None, _) => Says::allow("none", limit),
    }
}

#[cfg(test)]
mod tests {
    use super::super::laws::*;
    use crate::model::observation::RollsBack;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn a_running_one_is_left_alone_but_the_one_that_is_rolled_back(
            paused in any::<bool>(), running in any::<bool>(), deployed in prop::option::of(around(Span::minutes(1), 6)),
            fired in grid(Span::minutes(1), 6),
        ) {
            let mut scene = Scene::clear();
            let now = scene.now;
            scene.alert().starts_at = now - fired;
            scene.facts().paused = paused;
            scene.facts().rollout = running.then(|| "1 of 4 updated".into());
            scene.facts().rolls_back =
                deployed.map(|ago| RollsBack { revision: 3, deployed_at: now - ago, forbidden: None });
            let is_the_cause = deployed.is_some_and(|deployed| deployed >= fired);
            let wanted = match (paused, running) {
                (true, _) => deny(Reason::RolloutPaused),
                (false, true) if !is_the_cause => deny(Reason::RolloutRunning { says: "1 of 4 updated".into() }),
                (false, _) => Verdict::Allow,
            };
            prop_assert_eq!(scene.says(Guard::Rollout), wanted);
        }
    }
}
