//! Facts: what was seen of the world at a moment, for guards before a step and for the verdict after it.

use super::{firing::FiringAnswer, id::Fingerprint, plan::Proposal, time::Micros};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an action saw of its target, typed for the guards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// When the read that gave them began.
    pub observed_at: Micros,
    pub uid: String,
    pub generation: i64,
    /// `spec.replicas` (for an HPA-owned target still the workload's).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    pub ready: u32,
    /// `spec.paused`.
    pub paused: bool,
    /// What is unfinished of a running rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<String>,
    /// Another controller that owns the field this action would write, and does not let it be shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// It is nightshift's own workload.
    pub is_itself: bool,
    /// Of the set that it was picked from: how many there are, where that could be counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<u32>,
    /// Why the cluster lets no pod of it be taken away now, where the action would take one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruption: Option<String>,
    /// A person's last edit of it, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<Edited>,
    /// What an action that rolls back would leave. Only such an action tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolls_back: Option<RollsBack>,
    /// What a workload runs, and how well: the cluster keeps no record of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<Runs>,
}

/// A version of a workload at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    /// As plans name it ([`Effect::runs`](super::plan::Effect::runs)).
    pub version: String,
    /// Rolled out to every pod, and all that are wanted are ready.
    pub in_full: bool,
}

/// A person's edit of a target, as the cluster records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edited {
    /// The tool that wrote: `kubectl-edit`. Kubernetes records no person.
    pub by: String,
    /// In whole seconds.
    pub at: Micros,
}

/// The revision that a rollback would leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollsBack {
    pub revision: i64,
    /// When what it runs came first into the cluster, in whole seconds. A restart since does not make it younger.
    pub deployed_at: Micros,
    /// `nightshift.dev/no-rollback` of a template that would be left behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forbidden: Option<Forbidden>,
}

/// Why a revision must not be rolled back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forbidden {
    pub revision: i64,
    pub why: String,
}

/// Facts of a target that acts on nothing (`noop`).
impl Facts {
    #[must_use]
    pub fn of_nothing(observed_at: Micros) -> Facts {
        Facts {
            observed_at,
            uid: String::new(),
            generation: 0,
            replicas: None,
            ready: 0,
            paused: false,
            rollout: None,
            owner: None,
            is_itself: false,
            members: None,
            disruption: None,
            edited: None,
            rolls_back: None,
            runs: None,
        }
    }
}

/// Before which moment of a step it was observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// To make a plan.
    ForPlan,
    /// After an approval: does the approved plan still hold?
    BeforeStart,
}

/// The answer to one observation. Facts about the target and about the alerts, no older than the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    pub facts: Facts,
    /// For [`Moment::ForPlan`]: the proposal, or why the action refuses. For [`Moment::BeforeStart`]: `NotMade`.
    pub proposal: Proposed,
    /// For [`Moment::BeforeStart`]: nothing that the plan rests on has changed.
    pub holds: Option<Holds>,
    pub firing: FiringAnswer,
    /// The last delivery by webhook of each alert of the incident that this process remembers.
    pub delivered: BTreeMap<Fingerprint, Micros>,
    /// In shadow mode: what the API server said to a server-side dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<DryRun>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proposed {
    NotMade,
    Made(Box<Proposal>),
    /// The action will not: already there, nothing to undo, out of what it knows.
    Refused {
        why: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    Yes,
    /// What somebody changed, from → to.
    Changed {
        difference: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DryRun {
    Accepted,
    Rejected { why: String },
}

/// The outcome of one call that writes, or of reading back what it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Applied,
    /// Applied to a plan's list of sessions or queries: to as many of them as were still as they had been seen.
    Ended {
        ended: Ended,
    },
    /// Certainly not done. `changed_since`: the precondition in the write failed.
    NotApplied {
        why: String,
        changed_since: bool,
    },
    /// The answer was lost, or the read can't tell.
    Unknown {
        why: String,
    },
}

/// What became of the sessions and queries that a plan lists. At least one of them was ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub planned: u32,
    /// Sessions that are gone.
    pub sessions: u32,
    /// Queries that are over, in sessions that live on.
    #[serde(default, skip_serializing_if = "is_none")]
    pub queries: u32,
    /// Why the rest was left alone, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<String>,
}

fn is_none(count: &u32) -> bool {
    *count == 0
}

impl Ended {
    /// For people: `10 of 12 sessions are ended; the others were used since`.
    #[must_use]
    pub fn says(&self) -> String {
        let Ended { planned, sessions, queries, rest } = self;
        let counts = match (sessions, queries) {
            (sessions, 0) => format!("{sessions} of {planned} sessions are ended"),
            (0, queries) => format!("{queries} of {planned} queries are cancelled"),
            (sessions, queries) => {
                format!("of {planned} queries {queries} are cancelled, {sessions} are ended with their sessions")
            }
        };
        match rest {
            Some(why) => format!("{counts}; {why}"),
            None => counts,
        }
    }
}

/// One measurement while a step is verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    pub at: Micros,
    pub target: TargetReading,
    pub firing: FiringAnswer,
    pub rule: RuleReading,
    pub query: QueryReading,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetReading {
    /// Rollout complete, ready as many as before or as asked.
    Well { says: String },
    /// Well so far, of a change that is watched to the end of its window: only there it helped.
    Watched { says: String },
    /// Not (yet).
    NotYet { says: String },
    /// What the change itself put in place fails: it is put back at once, whatever the alerts do. Only an action that
    /// switches to something else gives it.
    Broken { says: String },
    /// It could not be read.
    Unread { problem: String },
}

/// The alerting rule's health in Prometheus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleReading {
    /// No `prometheus.url` is configured.
    NotAsked,
    /// Every rule of that name is healthy; the oldest of their last evaluations.
    Evaluated {
        at: Micros,
    },
    Unhealthy {
        says: String,
    },
    Unread {
        problem: String,
    },
}

/// The answer to `verify.query`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueryReading {
    NotAsked,
    /// It returned data: only this is good news.
    Data {
        says: String,
    },
    /// A comparison that does not hold and a series that does not exist look alike.
    Empty,
    Unread {
        problem: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_of_an_older_journal_read_and_are_written_as_they_were() {
        let old =
            r#"{"observed_at":5,"uid":"u","generation":7,"replicas":4,"ready":4,"paused":false,"is_itself":false}"#;
        let facts: Facts = serde_json::from_str(old).unwrap();
        assert_eq!((facts.disruption.as_ref(), facts.edited.as_ref(), facts.rolls_back.as_ref()), (None, None, None));
        assert_eq!(serde_json::to_string(&facts).unwrap(), old);
    }
}
