//! A person who edited the target a moment ago may be at work on it: nothing acts there without an approval.
//!
//! The edit that made the change which is rolled back does not count: it is what the rollback is about.

use super::{Case, Says};
use crate::model::{reason::Reason, step::Verdict, time::Span};

/// Who edited longer ago has had time to see what came of it.
pub const EDIT_FRESH: Span = Span::minutes(10);

pub fn guard(case: &Case) -> Says {
    let limit = format!("no person's edit within {EDIT_FRESH}");
    let Some(edited) = case.facts().and_then(|facts| facts.edited.as_ref()) else {
        return Says::allow("no person's edit", limit);
    };
    let value = format!("{} at {}", edited.by, case.time(edited.at));
    if edited.at + EDIT_FRESH < case.now {
        return Says::allow(value, limit);
    }
    if case.rolled_back_cause().is_some_and(|cause| edited.at <= cause.deployed_at) {
        return Says::allow(format!("{value}, which is rolled back"), limit);
    }
    if let Some(by) = &case.step.approved_by {
        return Says::allow(format!("{value}, approved by {by}"), limit);
    }
    let reason = Reason::EditedByPerson { by: edited.by.clone(), at: edited.at, limit: EDIT_FRESH };
    Says::verdict(value, limit, Verdict::Ask { reason })
}

#[cfg(test)]
mod tests {
    use super::{super::laws::*, *};
    use crate::{model::observation::Edited, model::observation::RollsBack};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn whoever_edited_within_ten_minutes_is_asked_but_for_the_edit_that_is_rolled_back(
            edited in prop::option::weighted(0.8, around(Span::minutes(1), 15)),
            deployed in prop::option::weighted(0.8, -1..=1_i64),
            fired in grid(Span::minutes(1), 15), approved_by in approvals(),
        ) {
            // Deployed when it was edited, or a minute before or after.
            let deployed = deployed.map(|minutes| edited.unwrap_or_default() + Span::minutes(minutes));
            let mut scene = Scene::clear();
            let now = scene.now;
            scene.alert().starts_at = now - fired;
            scene.facts().edited = edited.map(|ago| Edited { by: "kubectl-edit".into(), at: now - ago });
            scene.facts().rolls_back =
                deployed.map(|ago| RollsBack { revision: 3, deployed_at: now - ago, forbidden: None });
            scene.step().approved_by = approved_by.clone();
            let is_rolled_back =
                |edited: Span| deployed.is_some_and(|deployed| deployed >= fired && edited >= deployed);
            let wanted = match edited {
                Some(ago) if ago <= Span::minutes(10) && !is_rolled_back(ago) && approved_by.is_none() => {
                    let (by, limit) = ("kubectl-edit".into(), Span::minutes(10));
                    asks(Reason::EditedByPerson { by, at: now - ago, limit })
                }
                _ => Verdict::Allow,
            };
            prop_assert_eq!(scene.says(Guard::Edited), wanted);
        }
    }
}
