//! `for`: blips never act. Counts from when the longest-firing alert of the incident was first seen.

use super::{Case, Says};
use crate::{
    decide::state::Held,
    model::{reason::Reason, step::Verdict},
};

pub fn guard(case: &Case) -> Says {
    let Some(ladder) = &case.incident.ladder else { return Says::allow("no ladder", "") };
    let alerts = case.incident.alerts.iter().filter_map(|print| case.state.alerts.get(print));
    let first = alerts.filter(|alert| alert.held == Held::Firing).map(|alert| alert.seen_at).min();
    let limit = ladder.fires_for.to_string();
    match first {
        None => Says::deny("nothing of it fires", limit, Reason::AlertResolved),
        Some(first) if first + ladder.fires_for > case.now => {
            let until = first + ladder.fires_for;
            let verdict = Verdict::Hold { until: Some(until), reason: Reason::TooYoung { until } };
            Says::verdict(format!("{} so far", (case.now - first).rounded()), limit, verdict)
        }
        Some(first) => Says::allow(format!("{} so far", (case.now - first).rounded()), limit),
    }
}
