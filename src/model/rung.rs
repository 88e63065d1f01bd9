//! One line of a rule's `remediate`, checked and resolved: what a step carries with it for life.
//!
//! A started step is verified by its own text, whatever a reload changes; so the text travels in the step's events.

use super::{mode::Mode, target::Target, time::Span};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rung {
    /// `kubernetes/scale`: a word of the action registry.
    pub action: String,
    pub target: Target,
    /// The action's own parameters, which only it reads. Checked by it when the rules were.
    pub with: serde_json::Value,
    /// The least of global, rule and rung when the step was planned.
    pub mode: Mode,
    pub verify: Verify,
    pub if_ineffective: IfIneffective,
    /// The target's bounds on replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounds: Option<Bounds>,
    /// The value of the alert's label by which the action chooses among what its target owns: a pod's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Collected before the action destroys what they would show.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Collector>,
}

/// How a step is measured. `settle` comes first, then at most `resolved_within`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verify {
    pub settle: Span,
    pub resolved_within: Span,
    /// A PromQL expression that must return data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IfIneffective {
    Undo,
    Keep,
}

/// No action leaves these bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    pub min: u32,
    pub max: u32,
}

/// One read-only collector of evidence: `kubernetes/logs` of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collector {
    pub collect: String,
    pub target: Target,
    pub with: serde_json::Value,
}
