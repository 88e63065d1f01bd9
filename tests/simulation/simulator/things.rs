//! What nightshift acts on in the model world: one trait, and one file for each kind of thing.
//!
//! A kind tells its facts, proposes, writes and reads back as its real action does; what it says beside that is the
//! world's own truth, for the oracle.

use super::{
    colours::Colours,
    databases::{Database, Session},
    objects::Workload,
    policies,
    random::Random,
};
use nightshift::model::{
    observation::{Facts, Outcome, Proposed, TargetReading},
    plan::{Effect, Plan, Proposal, Replicas},
    rung::Rung,
    time::{Micros, Span},
};
use serde_json::Value;
use std::collections::BTreeMap;

/// What somebody else does to a thing, or what happens to it by itself.
#[derive(Debug, Clone, Copy)]
pub enum Foreign {
    Scales(u32),
    Deploys,
    Recreates,
    Owns,
    PausesRollout,
    PodFails,
    PodsHeal,
    Flips,
    /// Of the colour that has the traffic.
    ColourFails,
    ColoursHeal,
    /// Clients come, go, and use their sessions.
    UsesSessions,
}

/// A part of a peer, or of an action's own look, that is taken out to show what catches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Without {
    /// The API server compares nothing.
    Precondition,
    /// An eviction does not look whether other pods are ready.
    LastReadyPod,
    /// ... but not the version of a Service, as long as its selector is what it was.
    FlipVersion,
    /// Who is refused does not look whether it is done.
    RefusedButDone,
    /// A flip does not look whether the other colour is there in full.
    OtherColour,
    /// The statement that ends a session goes by its pid alone.
    SessionCheck,
    /// ... or nobody is protected from being ended, and none is kept.
    SessionFilter,
}

impl std::str::FromStr for Without {
    type Err = ();

    fn from_str(word: &str) -> Result<Without, ()> {
        Ok(match word {
            "precondition" => Without::Precondition,
            "flip-version" => Without::FlipVersion,
            "refused-but-done" => Without::RefusedButDone,
            "last-ready-pod" => Without::LastReadyPod,
            "other-colour" => Without::OtherColour,
            "session-check" => Without::SessionCheck,
            "session-filter" => Without::SessionFilter,
            _ => return Err(()),
        })
    }
}

/// Why an action sends nothing after its last look.
pub struct NotSent {
    pub why: String,
    pub changed_since: bool,
}

/// What a request came to when it arrived.
pub struct Written {
    pub effect: bool,
    /// It was still what the plan had seen.
    pub same: bool,
    /// What its sender is told, if anything.
    pub outcome: Outcome,
    /// Sessions as they were when they, or their queries, were ended.
    pub ended: Vec<Session>,
    /// Sessions that the plan means and that are left.
    pub left: usize,
}

impl Written {
    pub fn applied(same: bool) -> Written {
        Written { effect: true, same, outcome: Outcome::Applied, ended: Vec::new(), left: 0 }
    }

    pub fn refused(why: &str, changed_since: bool) -> Written {
        let outcome = Outcome::NotApplied { why: why.to_owned(), changed_since };
        Written { effect: false, same: false, outcome, ended: Vec::new(), left: 0 }
    }
}

/// What a rollback leaves, as the world knows it.
pub struct Left {
    pub deployed_at: Micros,
    pub forbidden: bool,
}

pub trait Thing: Send {
    fn facts(&self, now: Micros) -> Facts;

    /// What the rung's action proposes; it adds to the facts what only it tells.
    fn propose(&self, rung: &Rung, facts: &mut Facts, without: Option<Without>) -> Proposed;

    fn propose_undo(&self, plan: &Plan, baseline: Option<&Value>, facts: &mut Facts) -> Proposed;

    /// What has changed since an approved plan was made.
    fn difference(&self, plan: &Plan, facts: &mut Facts, without: Option<Without>) -> Option<String>;

    /// The action's own look before it writes: the pods that its write leaves ready, where that can be counted.
    fn last_look(&self, plan: &Plan, without: Option<Without>) -> Result<Option<u32>, NotSent>;

    /// What the action reads with its last look, and its request names.
    fn version(&self) -> u64 {
        0
    }

    /// `version`: what the request names.
    fn write(&mut self, plan: &Plan, version: u64, now: Micros, without: Option<Without>) -> Written;

    fn read_back(&self, plan: &Plan) -> Outcome;

    fn reading(&self, plan: &Plan, before: &Facts) -> TargetReading;

    /// What it leads to later.
    fn somebody_writes(&mut self, how: Foreign, random: &mut Random, now: Micros) -> Vec<(Span, Foreign)>;

    fn draw_foreign(&self, random: &mut Random) -> Foreign;

    /// What a write of ours leads to later by itself.
    fn aftermath(&self, _random: &mut Random) -> Option<(Span, Foreign)> {
        None
    }

    /// Pods of this generation are ready.
    fn pods_are_ready(&mut self, _generation: i64) {}

    /// What a plan that rolls back would leave. None: it is none, or names what never was.
    fn left_by(&self, _plan: &Plan) -> Option<Left> {
        None
    }

    /// Whether what a plan of a watched change put in place fails by itself.
    fn is_broken(&self, _plan: &Plan) -> bool {
        false
    }

    fn calms(&mut self);
}

/// Everything that a scenario's rules may reach, by its key.
pub fn draw(random: &mut Random, begin: Micros) -> BTreeMap<String, Box<dyn Thing>> {
    let mut things: BTreeMap<String, Box<dyn Thing>> = BTreeMap::new();
    for name in policies::WORKLOADS {
        things.insert(policies::key_of(name), Box::new(Workload::draw(random, name, begin, None)));
    }
    let members = random.pick(&[2, 2, 3, 4, 5, 8]);
    for member in 0..members {
        let name = policies::member(u64::from(member));
        things.insert(policies::key_of(&name), Box::new(Workload::draw(random, &name, begin, Some(members))));
    }
    things.insert(policies::SERVICE_KEY.to_owned(), Box::new(Colours::draw(random, begin)));
    things.insert(policies::DATABASE_KEY.to_owned(), Box::new(Database::draw(random, begin)));
    things
}

/// A proposal on a thing with these facts.
pub fn made(facts: &Facts, field: &str, from: Value, to: Value, undo: Value, change: Change) -> Proposed {
    Proposed::Made(Box::new(Proposal {
        uid: facts.uid.clone(),
        generation: facts.generation,
        summary: change.summary,
        from,
        to,
        undo,
        precondition: Value::Null,
        effect: Effect {
            touches: vec![field.to_owned()],
            destroys: change.destroys,
            replicas: change.replicas,
            min_ready_after: change.min_ready_after,
            runs: None,
        },
        undo_summary: None,
    }))
}

/// What guards and people see of a proposal.
#[derive(Default)]
pub struct Change {
    pub summary: String,
    pub destroys: bool,
    pub replicas: Option<Replicas>,
    pub min_ready_after: Option<u32>,
}

pub fn refused(why: impl Into<String>) -> Proposed {
    Proposed::Refused { why: why.into() }
}

/// The cluster's times are whole seconds.
pub fn whole(at: Micros) -> Micros {
    Micros(at.0 - at.0.rem_euclid(1_000_000))
}
