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

impl Rung {
    /// Its parameters for people: `replicas +2, lease 2h`, empty where it has none. What it does comes first, how long
    /// that lasts last. Not made plain: a rules file is somebody's text.
    #[must_use]
    pub fn parameters(&self) -> String {
        let given = self.with.as_object().into_iter().flatten();
        let (lasts, does): (Vec<_>, Vec<_>) = given.partition(|(key, _)| *key == "lease");
        let words: Vec<String> = does
            .into_iter()
            .chain(lasts)
            .map(|(key, value)| match value.as_str() {
                Some(text) => format!("{key} {text}"),
                None => format!("{key} {value}"),
            })
            .collect();
        words.join(", ")
    }
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
    /// The one exception: to isolate it in the worst of incidents, approved.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_scale_to_zero: bool,
}

/// One read-only collector of evidence: `kubernetes/logs` of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collector {
    pub collect: String,
    pub target: Target,
    pub with: serde_json::Value,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::target::Object;
    use serde_json::json;

    #[test]
    fn parameters_read_like_words_with_the_lease_last() {
        let with = |with| Rung {
            action: "kubernetes/scale".to_owned(),
            target: Target { name: "web".to_owned(), object: Object::Nothing },
            with,
            mode: Mode::Shadow,
            verify: Verify { settle: Span::ZERO, resolved_within: Span::ZERO, query: None },
            if_ineffective: IfIneffective::Keep,
            member: None,
            bounds: None,
            evidence: Vec::new(),
        };
        assert_eq!(with(json!({"lease": "2h", "replicas": "+2"})).parameters(), "replicas +2, lease 2h");
        assert_eq!(with(json!({"replicas": 6, "down": true})).parameters(), "down true, replicas 6");
        assert_eq!(with(json!({})).parameters(), "");
    }
}
