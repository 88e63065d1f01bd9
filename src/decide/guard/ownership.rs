//! A field that another controller owns is not fought over.

use super::{Case, Says};
use crate::model::reason::Reason;

pub fn guard(case: &Case) -> Says {
    match case.facts().and_then(|facts| facts.owner.as_ref()) {
        Some(owner) => Says::deny(format!("owned by {owner}"), "nobody else's", Reason::Owned { by: owner.clone() }),
        None => Says::allow("nobody else's", "nobody else's"),
    }
}
