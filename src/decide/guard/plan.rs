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
