//! The target was seen. What cannot be seen is not touched.

use super::{Case, Says};
use crate::model::reason::Reason;

pub fn guard(case: &Case) -> Says {
    match case.observation {
        Ok(_) => Says::allow("observed", "observed"),
        Err(problem) => {
            let reason = Reason::NotObserved { problem: problem.to_owned() };
            let verdict =
                if case.is_shadow() { crate::model::step::Verdict::Deny { reason } } else { case.doubt(reason) };
            Says::verdict("not observed", "observed", verdict)
        }
    }
}
