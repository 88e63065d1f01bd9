//! Whoever approved through Slack may still do so when it runs: severities rise, rules change, groups are left.

use super::{Case, Says};
use crate::{
    decide::people::{Approver, membership_holds_until},
    model::reason::Reason,
};

pub fn guard(case: &Case) -> Says {
    let Some(person) = &case.step.approver else { return Says::allow("not from Slack", "") };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decide::guard::laws::*,
        model::{person::SlackPerson, time::Span},
    };
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]

        /// Only whoever is listed by name, or by a group that Slack has named within five minutes, has approved anything.
        #[test]
        fn only_an_approver_of_now_has_approved(
            through_slack in any::<bool>(),
            by_name in any::<bool>(),
            in_group in any::<bool>(),
            group_listed in any::<bool>(),
            severity_has_any in any::<bool>(),
            minutes in 0..10_i64,
        ) {
            let mut scene = Scene::clear();
            let severity = scene.incident().severity.clone();
            let mut listed = vec!["U0OTHERS1".to_owned()];
            listed.extend(by_name.then(|| "U0ANA0001".to_owned()));
            listed.extend(group_listed.then(|| "S0ONCALL1".to_owned()));
            let listed = if severity_has_any { listed } else { Vec::new() };
            scene.rules(|spec| spec.approvers = [(severity, listed)].into());
            let now = scene.now;
            scene.step().approver = through_slack.then(|| Box::new(SlackPerson {
                user: "U0ANA0001".to_owned(),
                groups: if in_group { vec!["S0ONCALL1".to_owned()] } else { Vec::new() },
                asked_at: now - Span::minutes(minutes),
                once: "1".to_owned(),
            }));
            let by_group = in_group && group_listed && minutes <= 5;
            let may = !through_slack || severity_has_any && (by_name || by_group);
            let says = scene.says(Guard::Approver);
            prop_assert_eq!(says == Verdict::Allow, may, "{:?}", says);
            let denies = matches!(says, Verdict::Deny { reason: Reason::NotAnApprover { .. } });
            prop_assert!(may || denies);
        }
    }
}
