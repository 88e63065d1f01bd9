//! nightshift's own workload is never a target.

use super::{Case, Says};
use crate::model::reason::Reason;

pub fn guard(case: &Case) -> Says {
    match case.facts() {
        Some(facts) if facts.is_itself => Says::deny("nightshift's own", "not its own", Reason::Itself),
        Some(_) => Says::allow("not its own", "not its own"),
        None => Says::allow("no facts", "not its own"),
    }
}
