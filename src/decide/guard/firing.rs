//! Still firing, asked of Alertmanager at the moment of acting. Absent is not resolved, and not firing either.

use super::{Case, Says};
use crate::{
    decide::state::Held,
    model::{
        firing::{Firing, FiringAnswer},
        reason::Reason,
    },
};

pub fn guard(case: &Case) -> Says {
    let limit = "active in Alertmanager";
    let Ok(observation) = case.observation else {
        return Says::allow("not asked: the target was not observed", limit);
    };
    match &observation.firing {
        FiringAnswer::NotAsked if case.is_shadow() => {
            let alerts = case.incident.alerts.iter().filter_map(|print| case.state.alerts.get(print));
            let mut firing = alerts.filter(|alert| alert.held == Held::Firing);
            if firing.all(|alert| alert.doubtful) {
                return Says::deny("doubtful", limit, Reason::Doubtful);
            }
            Says::allow("not asked: no alertmanager.urls", "")
        }
        FiringAnswer::NotAsked => {
            let problem = "no alertmanager.urls are configured".to_owned();
            Says::deny("not asked", limit, Reason::FiringUnknown { problem })
        }
        FiringAnswer::Unreachable { problem } => {
            let reason = Reason::FiringUnknown { problem: problem.clone() };
            Says::verdict("no peer answered", limit, case.doubt(reason))
        }
        FiringAnswer::Answered { alerts, .. } => {
            let active = alerts.values().filter(|firing| matches!(firing, Firing::Active { .. })).count();
            let value = format!("{active} of {} active", alerts.len());
            let suppressed = alerts.values().any(|firing| matches!(firing, Firing::Suppressed { .. }));
            let unprocessed = alerts.values().any(|firing| matches!(firing, Firing::Unprocessed));
            if active > 0 || suppressed {
                // What is silenced is the next guard's affair.
                Says::allow(value, limit)
            } else if unprocessed {
                let problem = "Alertmanager has not processed the alert yet".to_owned();
                Says::verdict(value, limit, case.doubt(Reason::FiringUnknown { problem }))
            } else {
                Says::verdict(value, limit, case.doubt(Reason::NotListed))
            }
        }
    }
}
