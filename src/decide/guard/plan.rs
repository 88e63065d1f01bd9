//! The action proposes a change, or says why it will not.

use super::{Case, Says};
use crate::model::{
    observation::{DryRun, Proposed},
    reason::Reason,
};

pub fn guard(case: &Case) -> Says {
    let limit = "an absolute change with its way back";
    let Ok(observation) = case.observation else { return Says::allow("no observation", limit) };
    if let Some(DryRun::Rejected { why }) = &observation.dry_run {
        let why = format!("{}'s dry run rejects it: {why}", case.step.rung.target.object.server());
        return Says::deny("rejected by the dry run", limit, Reason::Refused { why });
    }
    match (&observation.proposal, case.plan) {
        (Proposed::Refused { why }, _) => Says::deny("refused", limit, Reason::Refused { why: why.clone() }),
        (_, Some(plan)) => Says::allow(plan.proposal.summary.clone(), limit),
        (_, None) => {
            let why = "the action proposed nothing".to_owned();
            Says::deny("nothing proposed", limit, Reason::Refused { why })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::laws::*, *};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn nothing_is_done_without_a_plan_that_action_and_server_accept(
            refused in prop::option::of("[a-z]{1,9}"), planned in any::<bool>(),
            dry_run in prop::option::of(prop::option::of("[a-z]{1,9}")), approved_by in approvals(),
        ) {
            let mut scene = Scene::clear();
            scene.step().approved_by = approved_by;
            if let Some(why) = &refused {
                scene.seen().proposal = Proposed::Refused { why: why.clone() };
            }
            if !planned {
                scene.plan = None;
            }
            scene.seen().dry_run = dry_run.clone().map(|rejected| match rejected {
                Some(why) => DryRun::Rejected { why },
                None => DryRun::Accepted,
            });
            let says = scene.says(Guard::Plan);
            let may = refused.is_none() && planned && !matches!(dry_run, Some(Some(_)));
            prop_assert_eq!(says == Verdict::Allow, may, "{:?}", says);
            let words = says.reason().map(|reason| reason.says(&scene.policy.zone)).unwrap_or_default();
            let why = dry_run.flatten().or(refused).unwrap_or_default();
            prop_assert!(matches!(says, Verdict::Allow | Verdict::Deny { .. }) && words.contains(&why), "{}", words);
        }
    }
}
