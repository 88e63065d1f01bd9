//! What may be rolled back, judged by the world's own history of deploys: lately, before the alert, and not where it says
//! no. Only that very change's rollout and edit are no obstacle.

use super::{model::Model, things::Left};
use nightshift::model::{
    id::StepId,
    observation::Observation,
    plan::Plan,
    time::{Micros, Span},
};
use serde_json::Value;

/// A person's edit younger than this asks.
const EDIT_FRESH: Span = Span::minutes(10);
/// Without `deployed_within`.
const DEPLOYED_WITHIN: Span = Span::hours(1);

pub fn fix_started(
    model: &Model,
    at: Micros,
    id: StepId,
    plan: &Plan,
    seen: &Observation,
    require: &mut impl FnMut(bool, &'static str, &str),
) {
    let Some(step) = model.ledger.steps.get(&id) else { return };
    let left = if matches!(plan.action.as_str(), "undo" | "flip") {
        let left = model.things.get(&plan.target.key().0).and_then(|thing| thing.left_by(plan));
        require(left.is_some(), "I-08 a plan is absolute", "it does not say what it leaves");
        left
    } else {
        None
    };
    let firing = model.ledger.alerts_of(id.incident).filter(|held| held.firing);
    let fired_at = firing.map(|held| held.starts_at).min();
    let is_cause = |left: &Left| fired_at.is_some_and(|fired_at| left.deployed_at <= fired_at);
    if let Some(left) = &left {
        let within = step.rung.with.get("deployed_within").and_then(Value::as_str);
        let within = within.and_then(|text| Span::parse(text).ok()).unwrap_or(DEPLOYED_WITHIN);
        require(at - left.deployed_at <= within, "I-21 only what was deployed lately", "it was deployed long ago");
        require(is_cause(left), "I-21 only what was deployed lately", "it was deployed after the alert");
        require(!left.forbidden, "I-21 no-rollback stays", "it must not be rolled back");
    }
    let cause = left.filter(is_cause);
    require(!seen.facts.paused, "I-21 mid-rollout", "its rollout is paused");
    require(seen.facts.rollout.is_none() || cause.is_some(), "I-21 mid-rollout", "somebody else's rollout runs");
    let edited = seen.facts.edited.as_ref().filter(|edited| edited.at + EDIT_FRESH >= at);
    let of_cause = edited.is_some_and(|edited| cause.is_some_and(|cause| edited.at <= cause.deployed_at));
    let asked = step.approved.is_some();
    require(
        edited.is_none() || of_cause || asked,
        "I-22 a person's edit asks",
        "edited a moment ago, and not approved",
    );
}
