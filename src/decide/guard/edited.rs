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
