//! Only what was deployed lately, and before the alert, is rolled back: an error spike that a vendor's outage made must not
//! roll back a revision of three weeks ago, nor the one that somebody has just deployed against it.

use super::{Case, Says};
use crate::model::{reason::Reason, time::Span};

/// Without `deployed_within` in the rung's `with`.
pub const DEPLOYED_WITHIN: Span = Span::hours(1);

pub fn guard(case: &Case) -> Says {
    let Some(rolls_back) = case.facts().and_then(|facts| facts.rolls_back.as_ref()) else {
        return Says::allow("does not roll back", "");
    };
    let limit = deployed_within(&case.step.rung.with).unwrap_or(DEPLOYED_WITHIN);
    let says_limit = format!("{limit} ago at most, and before the alert");
    let (revision, at) = (rolls_back.revision, rolls_back.deployed_at);
    let exact = case.now - at;
    // As whole as the cluster's times are.
    let age = Span::seconds(exact.0 / 1_000_000);
    if exact > limit {
        let value = format!("revision {revision} {age} ago");
        return Says::deny(value, says_limit, Reason::DeployedLongAgo { revision, age, limit });
    }
    if case.rolled_back_cause().is_none() {
        let value = format!("revision {revision} at {}", case.time(at));
        return Says::deny(value, says_limit, Reason::DeployedSince { revision, at, fired_at: case.fired_at() });
    }
    Says::allow(format!("revision {revision} {age} ago"), says_limit)
}

/// `with: {deployed_within: 30m}`: not the action's alone, because time is decided here.
fn deployed_within(with: &serde_json::Value) -> Option<Span> {
    with.get("deployed_within").and_then(serde_json::Value::as_str).and_then(|text| Span::parse(text).ok())
}

#[cfg(test)]
mod tests {
    use super::{super::laws::*, *};
    use crate::model::observation::RollsBack;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn only_what_is_young_and_came_before_the_alert_is_rolled_back(
            deployed in prop::option::of(around(Span::minutes(10), 14)), fired in prop::option::of(grid(Span::minutes(10), 14)),
            within in prop::option::of(1..12_i64),
        ) {
            let mut scene = Scene::clear();
            let now = scene.now;
            match fired {
                Some(ago) => scene.alert().starts_at = now - ago,
                None => scene.alert().held = crate::decide::state::Held::Resolved,
            }
            scene.facts().rolls_back =
                deployed.map(|ago| RollsBack { revision: 3, deployed_at: now - ago, forbidden: None });
            let limit = Span::minutes(within.map_or(60, |tens| tens * 10));
            if within.is_some() {
                scene.step().rung.with = serde_json::json!({"deployed_within": limit.to_string()});
            }
            let says = scene.says(Guard::DeployedWithin);
            match deployed {
                None => prop_assert_eq!(says, Verdict::Allow, "it rolls nothing back"),
                Some(ago) if ago > limit => {
                    let age = Span::seconds(ago.0 / 1_000_000);
                    prop_assert_eq!(says, deny(Reason::DeployedLongAgo { revision: 3, age, limit }));
                }
                Some(ago) if fired.is_some_and(|fired| ago >= fired) => prop_assert_eq!(says, Verdict::Allow),
                Some(ago) => {
                    let fired_at = fired.map(|fired| now - fired);
                    prop_assert_eq!(says, deny(Reason::DeployedSince { revision: 3, at: now - ago, fired_at }));
                }
            }
        }
    }
}
