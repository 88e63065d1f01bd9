//! Old news only informs: some alert of the incident must have been confirmed lately.

use super::{CONFIRMATION_FRESH, Case, Says};
use crate::model::{
    firing::{Firing, FiringAnswer},
    reason::Reason,
};

pub fn guard(case: &Case) -> Says {
    let limit = CONFIRMATION_FRESH.to_string();
    let Ok(observation) = case.observation else { return Says::allow("not known", limit) };
    let delivered = observation.delivered.values().max().copied();
    let listed = match &observation.firing {
        FiringAnswer::Answered { at, alerts } => {
            alerts.values().any(|firing| matches!(firing, Firing::Active { .. })).then_some(*at)
        }
        FiringAnswer::NotAsked | FiringAnswer::Unreachable { .. } => None,
    };
    match delivered.max(listed) {
        Some(last) if last + CONFIRMATION_FRESH >= case.now => {
            Says::allow(format!("confirmed {} ago", (case.now - last).rounded()), limit)
        }
        Some(last) => {
            let age = Some(case.now - last);
            let value = format!("confirmed {} ago", (case.now - last).rounded());
            Says::deny(value, limit, Reason::Stale { age, limit: CONFIRMATION_FRESH })
        }
        None => Says::deny("not confirmed", limit, Reason::Stale { age: None, limit: CONFIRMATION_FRESH }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::laws::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn the_youngest_confirmation_counts_and_ten_minutes_are_the_most(
            delivered in prop::collection::vec(around(Span::minutes(1), 15), 0..3),
            listed in prop::option::of((around(Span::minutes(1), 15), any::<bool>())),
        ) {
            let mut scene = Scene::clear();
            let now = scene.now;
            let prints = (0..).map(|number| Fingerprint::new(&format!("a{number}")));
            scene.seen().delivered = prints.zip(delivered.iter().map(|ago| now - *ago)).collect();
            scene.seen().firing = match listed {
                None => FiringAnswer::NotAsked,
                Some((ago, active)) => {
                    let firing = if active { Firing::Active { starts_at: now } } else { Firing::Absent };
                    let alerts = [(Fingerprint::new("a0"), firing)].into();
                    FiringAnswer::Answered { at: now - ago, alerts }
                }
            };
            // Not to be listed confirms nothing.
            let listed = listed.filter(|(_, active)| *active).map(|(ago, _)| ago);
            let youngest = delivered.into_iter().chain(listed).min();
            let wanted = match youngest {
                Some(age) if age <= Span::minutes(10) => Verdict::Allow,
                age => deny(Reason::Stale { age, limit: Span::minutes(10) }),
            };
            prop_assert_eq!(scene.says(Guard::Staleness), wanted);
        }
    }
}
