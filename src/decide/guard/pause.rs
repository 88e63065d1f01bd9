//! The kill switch. A named person's own undo goes on; what puts things back by itself waits, and is shown.

use super::{Case, Says};
use crate::model::{reason::Reason, step::Verdict};

pub fn guard(case: &Case) -> Says {
    let Some(paused) = case.state.paused() else { return Says::allow("not paused", "") };
    let reason = Reason::Paused { by: paused.by.clone(), why: paused.reason.clone() };
    let value = format!("paused since {}", case.time(paused.since));
    if case.step.purpose.is_by_person() {
        return Says::allow(value, "a person asked for exactly this");
    }
    let verdict = if case.is_fix() { Verdict::Deny { reason } } else { Verdict::Hold { until: None, reason } };
    Says::verdict(value, "not paused", verdict)
}
