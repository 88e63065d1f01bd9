//! What a plan of `kubernetes/flip` pins, and the one request that does it.

use super::{
    colours::{Colours, words},
    smoke::Smoke,
};
use crate::model::{
    observation::Proposed,
    plan::{Effect, Proposal},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A plan's `from`, `to` and `undo`: one colour with the traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    pub color: String,
    /// The whole of it.
    pub selector: BTreeMap<String, String>,
    /// Ready endpoints that it must have.
    pub wanted: u32,
    /// Where the rule says so itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_ready: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smoke: Option<Smoke>,
    /// Endpoints that were there before and are no pods of either colour: they come and go with no flip.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub anyway: BTreeSet<String>,
}

/// Travels with the write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Precondition {
    uid: String,
    selector: BTreeMap<String, String>,
    /// When it was planned. A Service has no generation: after a lost answer this tells whether anybody wrote it.
    pub resource_version: String,
}

impl Pinned {
    pub fn read(value: &Value) -> Result<Pinned, String> {
        Pinned::deserialize(value).map_err(|_| format!("`{value}` is not a colour of kubernetes/flip"))
    }
}

/// From `from` to `to`, of which so many pods are ready.
pub fn made(
    service: &super::service::Service,
    colours: Colours<'_>,
    from: &Pinned,
    to: &Pinned,
    ready: u32,
    is_undo: bool,
) -> Proposed {
    let meta = &service.metadata;
    let precondition = Precondition {
        uid: meta.uid.clone(),
        selector: from.selector.clone(),
        resource_version: meta.resource_version.clone(),
    };
    let deployment = colours.deployment(&to.color);
    Proposed::Made(Box::new(Proposal {
        uid: meta.uid.clone(),
        generation: meta.generation,
        // What an undo did is not undone.
        undo: if is_undo { Value::Null } else { json!(from) },
        from: json!(from),
        to: json!(to),
        precondition: json!(precondition),
        effect: Effect {
            replicas: None,
            min_ready_after: Some(ready),
            touches: vec!["spec.selector".to_owned()],
            destroys: false,
            runs: None,
        },
        summary: format!("traffic {} → {} ({deployment}, {ready} pods ready)", from.color, to.color),
        undo_summary: (!is_undo).then(|| format!("traffic back to {}", from.color)),
    }))
}

/// The write: `test`s of the uid and of the whole selector, then the selector. The version is added when it is sent.
pub fn patch(proposal: &Proposal) -> Result<Value, String> {
    let to = Pinned::read(&proposal.to)?;
    let Precondition { uid, selector, .. } = precondition(proposal)?;
    Ok(json!([
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "test", "path": "/spec/selector", "value": selector},
        {"op": "replace", "path": "/spec/selector", "value": to.selector},
    ]))
}

pub fn precondition(proposal: &Proposal) -> Result<Precondition, String> {
    Precondition::deserialize(&proposal.precondition).map_err(|error| format!("the plan's precondition: {error}"))
}

/// For people: what a selector is of.
pub fn still(pinned: &Pinned) -> String {
    format!("its selector is still {}", words(&pinned.selector))
}
