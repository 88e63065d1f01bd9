//! Revisions of a workload in the model world, and rollbacks to them as `kubernetes/undo` does them: the revision is
//! pinned with what it runs, so that twice is once.

use super::{
    objects::Workload,
    random::Random,
    things::{Change, Left, Without, Written, made, refused, whole},
};
use nightshift::model::{
    observation::{Facts, Forbidden, Outcome, Proposed, RollsBack},
    plan::Plan,
    time::{Micros, Span},
};
use serde_json::{Value, json};

/// The cluster keeps so many.
const KEPT: usize = 4;

#[derive(Clone)]
pub struct Revision {
    /// Changes when it is rolled back to.
    pub number: i64,
    /// What it runs. A restart runs the same.
    pub version: i64,
    pub restarted_at: i64,
    pub created: Micros,
    /// `nightshift.dev/no-rollback`.
    pub forbids: bool,
}

/// A version as it came into the world.
pub struct Deploy {
    uid: String,
    version: i64,
    at: Micros,
    forbids: bool,
}

/// Its history before the scenario: some of it of a moment ago.
pub fn draw(workload: &mut Workload, random: &mut Random, begin: Micros) {
    let newest = random.pick(&[
        Span::minutes(2),
        Span::minutes(20),
        Span::minutes(20),
        Span::minutes(40),
        Span::minutes(58),
        Span::minutes(62),
        Span::hours(5),
        Span::hours(21 * 24),
    ]);
    let mut ages = vec![newest];
    for _ in 0..1 + random.below(3) {
        let older = *ages.last().unwrap_or(&newest) + random.pick(&[Span::minutes(5), Span::hours(30)]);
        ages.push(older);
    }
    for age in ages.into_iter().rev() {
        let forbids = random.chance(12);
        workload.deployed(whole(begin - age), forbids);
    }
}

impl Workload {
    pub fn current(&self) -> &Revision {
        self.revisions.last().expect("a workload has a revision")
    }

    fn add(&mut self, revision: Revision) {
        self.revisions.push(revision);
        if self.revisions.len() > KEPT {
            self.revisions.remove(0);
        }
    }

    /// A new version.
    pub fn deployed(&mut self, at: Micros, forbids: bool) {
        let version = self.history.len() as i64 + 1;
        let number = self.revisions.last().map_or(1, |last| last.number + 1);
        self.history.push(Deploy { uid: self.uid.clone(), version, at, forbids });
        self.add(Revision { number, version, restarted_at: 0, created: at, forbids });
    }

    /// The same version with another annotation: a revision of its own.
    pub fn restarts(&mut self, at: i64) {
        let before = self.current().clone();
        self.rolling_out = true;
        self.add(Revision { number: before.number + 1, restarted_at: at, created: whole(Micros(at)), ..before });
    }

    fn kept(&self, pinned: &Value) -> Option<usize> {
        self.revisions.iter().position(|one| pin(one) == *pinned)
    }

    fn tell_rollback(&self, wanted: Option<i64>, facts: &mut Facts) {
        let current = self.current();
        let wanted = wanted.unwrap_or(current.number - 1);
        let left = self.revisions.iter().rev().filter(|one| wanted < one.number && one.number <= current.number);
        let forbidden = left.filter(|one| one.forbids).map(|one| one.number).next();
        let same = self.revisions.iter().filter(|one| one.version == current.version);
        facts.rolls_back = Some(RollsBack {
            revision: current.number,
            deployed_at: same.map(|one| one.created).min().unwrap_or(current.created),
            forbidden: forbidden.map(|revision| Forbidden { revision, why: "a migration went with it".to_owned() }),
        });
    }

    fn to_revision(&self, facts: &Facts, wanted: &Revision, undo: Value) -> Proposed {
        let change = Change {
            summary: format!("revision {} → {}", self.current().number, wanted.number),
            destroys: true,
            replicas: None,
            min_ready_after: Some(self.certainly_ready()),
        };
        made(facts, "spec.template", pin(self.current()), pin(wanted), undo, change)
    }
}

/// What a plan pins: the number is for people, and not part of it.
fn pin(revision: &Revision) -> Value {
    json!({"version": revision.version, "restarted_at": revision.restarted_at})
}

pub fn propose(workload: &Workload, with: &Value, facts: &mut Facts) -> Proposed {
    let current = workload.current();
    let mut earlier = workload.revisions.iter().rev().filter(|one| one.version != current.version);
    let wanted = match with.get("to").and_then(Value::as_i64) {
        Some(number) => earlier.find(|one| one.number == number),
        None => earlier.next(),
    };
    workload.tell_rollback(wanted.map(|wanted| wanted.number), facts);
    match wanted {
        _ if workload.paused => refused("its rollout is paused: nothing would be rolled out"),
        _ if workload.owner.is_some() => refused("its template belongs to another controller"),
        None => refused("it has no such revision"),
        Some(wanted) => workload.to_revision(facts, wanted, pin(current)),
    }
}

pub fn propose_undo(workload: &Workload, plan: &Plan, facts: &Facts) -> Proposed {
    if workload.uid != plan.proposal.uid {
        return refused("it was deleted and made anew");
    }
    if pin(workload.current()) != plan.proposal.to {
        return refused("its template is not the one that nightshift left");
    }
    if workload.paused {
        return refused("its rollout is paused");
    }
    match workload.kept(&plan.proposal.from) {
        None => refused("the revision is kept no more"),
        Some(place) => workload.to_revision(facts, &workload.revisions[place], Value::Null),
    }
}

pub fn difference(workload: &Workload, plan: &Plan, facts: &mut Facts) -> Option<String> {
    let kept = workload.kept(&plan.proposal.to);
    if !plan.proposal.undo.is_null() {
        workload.tell_rollback(kept.map(|place| workload.revisions[place].number), facts);
    }
    if workload.uid != plan.proposal.uid {
        return Some("it was deleted and made anew".to_owned());
    }
    if pin(workload.current()) != plan.proposal.from {
        return Some("its template is another".to_owned());
    }
    kept.is_none().then(|| "the revision is kept no more".to_owned())
}

/// Reads what it replaces and what it writes once more, and sends both: a later deploy is not rolled back.
pub fn write(workload: &mut Workload, plan: &Plan, without: Option<Without>) -> Written {
    let same = workload.uid == plan.proposal.uid
        && pin(workload.current()) == plan.proposal.from
        && !workload.paused
        && plan.proposal.from != plan.proposal.to;
    if !same && without != Some(Without::Precondition) {
        return Written::refused("its template is no longer the one that the plan found", true);
    }
    let Some(place) = workload.kept(&plan.proposal.to) else {
        return Written::refused("the revision is kept no more", true);
    };
    let mut back = workload.revisions.remove(place);
    back.number = workload.revisions.iter().map(|one| one.number).max().unwrap_or(0).max(back.number) + 1;
    workload.revisions.push(back);
    workload.generation += 1;
    workload.rolling_out = true;
    Written::applied(same)
}

pub fn read_back(workload: &Workload, plan: &Plan) -> Outcome {
    let now = pin(workload.current());
    if workload.uid != plan.proposal.uid {
        Outcome::Unknown { why: "it was made anew since".to_owned() }
    } else if now == plan.proposal.to {
        Outcome::Applied
    } else if now == plan.proposal.from && workload.generation == plan.proposal.generation {
        Outcome::NotApplied { why: "it still has the template of before".to_owned(), changed_since: false }
    } else {
        Outcome::Unknown { why: "its template is neither the one before nor the one after".to_owned() }
    }
}

/// Whether it runs the pinned version, restarted since or not.
pub fn runs(workload: &Workload, pinned: &Value) -> bool {
    pinned.get("version").and_then(Value::as_i64) == Some(workload.current().version)
}

pub fn left_by(workload: &Workload, plan: &Plan) -> Option<Left> {
    let version = plan.proposal.from.get("version").and_then(Value::as_i64)?;
    let deploy = workload.history.iter().find(|one| one.version == version && one.uid == plan.proposal.uid)?;
    Some(Left { deployed_at: deploy.at, forbidden: deploy.forbids })
}
