//! The brake: with so many targets alerting at once, acting on each of them could make it worse.

use super::{Case, DOUBT_WAITS, Says};
use crate::{
    decide::brake::set_of,
    model::{
        reason::Reason,
        step::{Purpose, Verdict},
    },
};

pub fn guard(case: &Case) -> Says {
    let limit = "the brake is off";
    let Some((set, on)) = case.state.fleet.on_for(set_of(&case.step.rung.target)) else {
        return Says::allow("off", limit);
    };
    // What nightshift itself broke goes back: in a storm, too, that makes it less bad and nothing worse.
    if let Purpose::Undo { step: undone, .. } = case.step.purpose
        && case.state.why_it_broke(undone).is_some()
    {
        return Says::allow("on: what broke goes back", limit);
    }
    let reason = Reason::Braked { by: on.incident, set: set.map(str::to_owned), targets: on.targets };
    let value = format!("on: {} targets alert", on.targets);
    // What puts something back waits for it.
    let [.., wait] = DOUBT_WAITS;
    let verdict =
        if case.is_fix() { Verdict::Deny { reason } } else { Verdict::Hold { until: Some(case.now + wait), reason } };
    Says::verdict(value, limit, verdict)
}
