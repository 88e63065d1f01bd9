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
