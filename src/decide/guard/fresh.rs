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
