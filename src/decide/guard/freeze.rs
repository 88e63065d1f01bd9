//! A freeze: nothing new acts in it, whatever the mode. What puts something back does.

use super::{Case, Says};
use crate::model::{reason::Reason, time::Micros};

pub fn guard(case: &Case) -> Says {
    let severity = &case.incident.severity;
    let limit = "no freeze";
    let holding = case.policy.spec.freezes.iter().filter(|freeze| !freeze.except.contains(severity));
    let until = holding.filter_map(|freeze| Some((freeze.holds_until(case.now, &case.policy.zone)?, freeze)));
    let longest: Option<(Micros, _)> = until.max_by_key(|(until, _)| *until);
    match longest {
        Some((until, freeze)) => {
            let reason = Reason::Frozen { name: freeze.name.clone(), until };
            Says::deny(format!("{} until {}", freeze.name, until.in_zone(&case.policy.zone)), limit, reason)
        }
        None => Says::allow("none", limit),
    }
}
