//! A plan: the step's exact, absolute change, with its way back.
//!
//! `from`, `to`, `undo` and `precondition` are JSON that only the action reads; guards look at [`Effect`] alone.

use super::{
    target::Target,
    time::{Micros, Span},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What an action proposes after it observed its target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// The object's uid, so that a namesake made anew is not taken for it.
    pub uid: String,
    /// `metadata.generation`: changes with the spec, not with every status write.
    pub generation: i64,
    pub from: Value,
    pub to: Value,
    pub undo: Value,
    /// Travels with the write.
    pub precondition: Value,
    pub effect: Effect,
    /// For people: `replicas 4 → 6`.
    pub summary: String,
    /// For people, when it can be undone: `replicas back to 4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo_summary: Option<String>,
}

/// What guards may look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Replicas>,
    /// Pods that are certainly still ready while it runs, if the action can say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_ready_after: Option<u32>,
    /// The fields it writes: `spec.replicas`, `spec.template`. With the target's key they name a lease.
    pub touches: Vec<String>,
    /// It ends containers: evidence of them is collected first.
    pub destroys: bool,
    /// SHA-256 of what its pods run when it is done, if the action can say so. A restart makes nothing else of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replicas {
    pub from: u32,
    pub to: u32,
}

/// A proposal that `decide` sealed. Nothing else can be performed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub action: String,
    pub target: Target,
    pub proposal: Proposal,
    /// When it is put back by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Span>,
    /// The fingerprint of the rule and target that it was made by.
    pub rule_hash: String,
    /// An approval of it holds until then.
    pub until: Micros,
    /// What an approval names: see [`Plan::seal`].
    pub hash: String,
}

impl Plan {
    /// Seals a proposal. The hash covers uid, generation, from, to, undo, the rule and target, and the expiry; not
    /// the resourceVersion, which status writes change every few seconds.
    #[must_use]
    pub fn seal(
        action: &str,
        target: &Target,
        proposal: Proposal,
        lease: Option<Span>,
        rule_hash: &str,
        until: Micros,
    ) -> Plan {
        let canonical = serde_json::json!([
            action,
            target.key().0,
            proposal.uid,
            proposal.generation,
            proposal.from,
            proposal.to,
            proposal.undo,
            rule_hash,
            until.0
        ]);
        let hash = hex(&Sha256::digest(canonical.to_string()));
        Plan {
            action: action.to_owned(),
            target: target.clone(),
            proposal,
            lease,
            rule_hash: rule_hash.to_owned(),
            until,
            hash,
        }
    }
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
