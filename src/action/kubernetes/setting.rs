//! What `kubernetes/scale` sets, and the one request that sets it.

use super::workload::Named;
use crate::{
    model::plan::Proposal,
    peer::kubernetes::{Place, Resource},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The field that is set, and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Setting {
    /// `spec.minReplicas` of an autoscaler.
    Floor { hpa: String, min_replicas: u32 },
    /// `spec.replicas` of the workload.
    Replicas { replicas: u32 },
}

impl Setting {
    pub fn read(value: &Value) -> Result<Setting, String> {
        Setting::deserialize(value).map_err(|_| format!("`{value}` is not a setting of kubernetes/scale"))
    }

    pub fn value(&self) -> u32 {
        match self {
            Setting::Floor { min_replicas, .. } => *min_replicas,
            Setting::Replicas { replicas } => *replicas,
        }
    }

    /// `replicas`, or `minReplicas of HorizontalPodAutoscaler web`.
    pub fn words(&self) -> String {
        match self {
            Setting::Floor { hpa, .. } => format!("minReplicas of HorizontalPodAutoscaler {hpa}"),
            Setting::Replicas { .. } => "replicas".to_owned(),
        }
    }

    /// The field as a lease names it.
    pub fn field(&self) -> String {
        match self {
            Setting::Floor { hpa, .. } => format!("hpa/{hpa} spec.minReplicas"),
            Setting::Replicas { .. } => "spec.replicas".to_owned(),
        }
    }

    pub fn is_same_field(&self, other: &Setting) -> bool {
        self.field() == other.field()
    }
}

/// Travels with the write: the uid of the object that is written (the workload, or its autoscaler).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Precondition {
    pub uid: String,
}

/// Where a setting is written.
pub enum Where {
    Scale,
    Autoscaler(String),
}

impl Where {
    pub fn at<'a>(&'a self, named: Named<'a>) -> Place<'a> {
        match self {
            Where::Scale => named.place().subresource("scale"),
            Where::Autoscaler(name) => Place::one(Resource::HorizontalPodAutoscaler, named.namespace, name),
        }
    }
}

/// The write: `test`s of what was seen, then the value. The version is added when it is sent.
pub fn patch(named: Named<'_>, proposal: &Proposal) -> Result<(Where, Value), String> {
    let (from, to) = (Setting::read(&proposal.from)?, Setting::read(&proposal.to)?);
    if !from.is_same_field(&to) {
        return Err(format!("a plan for {} mixes two fields", named.words()));
    }
    let uid = precondition(proposal)?.uid;
    let (place, path) = match &to {
        Setting::Replicas { .. } => (Where::Scale, "/spec/replicas"),
        Setting::Floor { hpa, .. } => (Where::Autoscaler(hpa.clone()), "/spec/minReplicas"),
    };
    // A Scale of no replicas leaves the field out: `null` is what a `test` finds there, and `add` makes it.
    let seen = if from.value() == 0 { Value::Null } else { json!(from.value()) };
    let ops = json!([
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "test", "path": path, "value": seen},
        {"op": "add", "path": path, "value": to.value()},
    ]);
    Ok((place, ops))
}

pub fn precondition(proposal: &Proposal) -> Result<Precondition, String> {
    Precondition::deserialize(&proposal.precondition).map_err(|error| format!("the plan's precondition: {error}"))
}
