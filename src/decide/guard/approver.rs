//! Whoever approved through Slack may still do so when it runs: severities rise, rules change, groups are left.

use super::{Case, Says};
use crate::{
    decide::people::{Approver, membership_holds_until},
    model::reason::Reason,
};

pub fn guard(case: &Case) -> Says {
    let Some(person) = &case.step.approver else { return Says::allow("not approved through Slack", "") };
    let severity = case.incident.severity.as_str();
    let limit = format!("an approver of {severity}");
    let denied = |value: String, why: String| Says::deny(value, limit.clone(), Reason::NotAnApprover { why });
    match case.policy.approver(severity, person) {
        Approver::ByName => Says::allow(format!("{} by name", person.user), limit),
        Approver::ByGroup { group } => {
            let until = membership_holds_until(person);
            if case.now <= until {
                return Says::allow(format!("{} of {group}", person.user), limit);
            }
            let why = format!("whether {} belongs to {group} is known until {} only", person.user, case.time(until));
            denied(format!("{} of {group}, asked too long ago", person.user), why)
        }
        Approver::No | Approver::Nobody => {
            let why = format!("{} is not among the approvers of {severity}", person.user);
            denied(person.user.clone(), why)
        }
    }
}
