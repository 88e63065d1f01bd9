//! A Service of the model world that sends its traffic to one of two colours, and flips as `kubernetes/flip` does them:
//! to a colour that is there in full, watched afterwards, and back only where the new colour itself fails.

use super::{
    random::Random,
    things::{Change, Foreign, Left, NotSent, Thing, Without, Written, made, refused, whole},
};
use nightshift::model::{
    observation::{Edited, Facts, Forbidden, Outcome, Proposed, RollsBack, TargetReading},
    plan::Plan,
    rung::Rung,
    time::{Micros, Span},
};
use serde_json::{Value, json};

pub struct Colours {
    uid: String,
    /// Every write of the Service changes it.
    resource_version: u64,
    /// Which of them has the traffic.
    live: usize,
    sides: [Side; 2],
    owner: Option<String>,
    edited_at: Option<Micros>,
    versions: i64,
    history: Vec<(i64, Micros, bool)>,
}

struct Side {
    replicas: u32,
    ready: u32,
    rolling_out: bool,
    /// Its smoke test is green.
    answers: bool,
    version: i64,
    deployed_at: Micros,
    forbids: bool,
}

impl Side {
    fn heal(&mut self) {
        self.ready = self.replicas;
        self.answers = true;
        self.rolling_out = false;
    }
}

impl Colours {
    pub fn draw(random: &mut Random, begin: Micros) -> Colours {
        let replicas = 2 + random.below(3) as u32;
        let side = |version| Side {
            replicas,
            ready: replicas,
            rolling_out: false,
            answers: true,
            version,
            deployed_at: begin,
            forbids: false,
        };
        let mut drawn = Colours {
            uid: "front-1".to_owned(),
            resource_version: 1,
            live: 0,
            sides: [side(0), side(0)],
            owner: None,
            edited_at: None,
            versions: 0,
            history: Vec::new(),
        };
        let recent = random.pick(&[Span::minutes(3), Span::minutes(25), Span::minutes(55), Span::hours(30)]);
        drawn.deployed(1, whole(begin - recent - Span::hours(5)), false);
        let forbids = random.chance(12);
        drawn.deployed(0, whole(begin - recent), forbids);
        // The other colour may not be there, or not be well.
        let other = &mut drawn.sides[1];
        match random.below(12) {
            0 => (other.replicas, other.ready) = (0, 0),
            1 => other.ready = 0,
            2 => other.answers = false,
            _ => {}
        }
        drawn
    }

    fn deployed(&mut self, side: usize, at: Micros, forbids: bool) {
        self.versions += 1;
        self.history.push((self.versions, at, forbids));
        let side = &mut self.sides[side];
        (side.version, side.deployed_at, side.forbids) = (self.versions, at, forbids);
    }

    fn other(&self) -> usize {
        1 - self.live
    }

    fn tell_rollback(&self, facts: &mut Facts) {
        let live = &self.sides[self.live];
        let forbidden = live.forbids.then(|| "a migration went with it".to_owned());
        facts.rolls_back = Some(RollsBack {
            revision: live.version,
            deployed_at: live.deployed_at,
            forbidden: forbidden.map(|why| Forbidden { revision: live.version, why }),
        });
    }

    /// Why traffic does not go to a colour.
    fn refuses(&self, side: usize, wanted: u32, smokes: bool) -> Option<String> {
        let side = &self.sides[side];
        if side.replicas == 0 {
            Some("it has 0 replicas: it is switched off".to_owned())
        } else if side.rolling_out {
            Some("it is not rolled out".to_owned())
        } else if side.ready < wanted.max(1) {
            Some(format!("it has {} ready pods, {wanted} are wanted", side.ready))
        } else {
            (smokes && !side.answers).then(|| "its smoke test is red".to_owned())
        }
    }

    fn pinned(&self, side: usize, wanted: u32, min_ready: &Value, smokes: bool) -> Value {
        json!({"color": side, "version": self.sides[side].version, "wanted": wanted,
               "min_ready": min_ready, "smoke": smokes, "resource_version": self.resource_version})
    }

    fn flip(&self, facts: &Facts, from: Value, to: Value, undo: Value) -> Proposed {
        let side = pin(&to);
        let change = Change {
            summary: format!("traffic to colour {side}"),
            min_ready_after: Some(self.sides[side].ready),
            ..Change::default()
        };
        made(facts, "spec.selector", from, to, undo, change)
    }
}

fn pin(pinned: &Value) -> usize {
    usize::from(pinned.get("color").and_then(Value::as_u64) == Some(1))
}

fn smokes(pinned: &Value) -> bool {
    pinned.get("smoke").and_then(Value::as_bool).unwrap_or(false)
}

fn wanted(plan: &Plan) -> u32 {
    plan.proposal.to.get("wanted").and_then(Value::as_u64).unwrap_or(1) as u32
}

impl Thing for Colours {
    fn facts(&self, now: Micros) -> Facts {
        let live = &self.sides[self.live];
        Facts {
            uid: self.uid.clone(),
            replicas: Some(live.replicas),
            ready: live.ready,
            rollout: live.rolling_out.then(|| "pods are being replaced".to_owned()),
            owner: self.owner.clone(),
            edited: self.edited_at.map(|at| Edited { by: "kubectl-edit".to_owned(), at }),
            ..Facts::of_nothing(now)
        }
    }

    fn propose(&self, rung: &Rung, facts: &mut Facts, without: Option<Without>) -> Proposed {
        self.tell_rollback(facts);
        let min_ready = rung.with.get("min_ready").cloned().unwrap_or_default();
        let smokes = smokes(&rung.with);
        let (live, other) = (self.live, self.other());
        let wanted = min_ready.as_u64().map_or(self.sides[live].ready, |number| number as u32).max(1);
        match self.refuses(other, wanted, smokes).filter(|_| without != Some(Without::OtherColour)) {
            Some(why) => refused(why),
            None => {
                let from = self.pinned(live, wanted, &min_ready, smokes);
                self.flip(facts, from.clone(), self.pinned(other, wanted, &min_ready, smokes), from)
            }
        }
    }

    fn propose_undo(&self, plan: &Plan, _: Option<&Value>, facts: &mut Facts) -> Proposed {
        if self.uid != plan.proposal.uid {
            return refused("it was deleted and made anew");
        }
        let (left, back) = (&plan.proposal.to, &plan.proposal.undo);
        if self.live != pin(left) {
            return refused("its selector is not the one that nightshift left");
        }
        let min_ready = back.get("min_ready").cloned().unwrap_or_default();
        let wanted = min_ready.as_u64().map_or(self.sides[self.live].ready, |number| number as u32).max(1);
        match self.refuses(pin(back), wanted, smokes(back)) {
            Some(why) => refused(why),
            None => {
                let from = self.pinned(self.live, wanted, &min_ready, smokes(back));
                self.flip(facts, from, self.pinned(pin(back), wanted, &min_ready, smokes(back)), Value::Null)
            }
        }
    }

    fn difference(&self, plan: &Plan, facts: &mut Facts, _: Option<Without>) -> Option<String> {
        if self.uid != plan.proposal.uid {
            return Some("it was deleted and made anew".to_owned());
        }
        if self.live != pin(&plan.proposal.from) {
            return Some("its selector is another".to_owned());
        }
        if !plan.proposal.undo.is_null() {
            self.tell_rollback(facts);
        }
        self.refuses(pin(&plan.proposal.to), wanted(plan), smokes(&plan.proposal.to))
    }

    fn last_look(&self, plan: &Plan, without: Option<Without>) -> Result<Option<u32>, NotSent> {
        let to = pin(&plan.proposal.to);
        let refuses = self.refuses(to, wanted(plan), smokes(&plan.proposal.to));
        match refuses.filter(|_| without != Some(Without::OtherColour)) {
            Some(why) => Err(NotSent { why, changed_since: false }),
            None if smokes(&plan.proposal.to) && !self.sides[to].answers => Ok(Some(0)),
            None => Ok(Some(self.sides[to].ready)),
        }
    }

    fn version(&self) -> u64 {
        self.resource_version
    }

    fn write(&mut self, plan: &Plan, version: u64, _: Micros, without: Option<Without>) -> Written {
        let same = self.uid == plan.proposal.uid && self.live == pin(&plan.proposal.from);
        let fresh = self.resource_version == version || without == Some(Without::FlipVersion);
        if !(same && fresh) && without != Some(Without::Precondition) {
            return Written::refused("422: its selector or its version is another", true);
        }
        self.live = pin(&plan.proposal.to);
        self.resource_version += 1;
        Written::applied(same)
    }

    fn read_back(&self, plan: &Plan) -> Outcome {
        let seen = plan.proposal.from.get("resource_version").and_then(Value::as_u64);
        if self.uid != plan.proposal.uid {
            Outcome::Unknown { why: "it was made anew since".to_owned() }
        } else if self.live == pin(&plan.proposal.to) {
            Outcome::Applied
        } else if Some(self.resource_version) == seen {
            Outcome::NotApplied { why: "its selector is still what it was".to_owned(), changed_since: false }
        } else {
            Outcome::Unknown { why: "somebody wrote its selector".to_owned() }
        }
    }

    fn reading(&self, plan: &Plan, _: &Facts) -> TargetReading {
        let (to, is_undo) = (pin(&plan.proposal.to), plan.proposal.undo.is_null());
        if self.uid != plan.proposal.uid {
            return TargetReading::NotYet { says: "it was deleted and made anew".to_owned() };
        }
        // Somebody else's choice is not the new colour's failure.
        if self.live != to {
            return TargetReading::NotYet { says: "somebody chose another colour".to_owned() };
        }
        let says = format!("{} pods of colour {to} are ready", self.sides[to].ready);
        match (self.is_broken(plan), is_undo) {
            (true, false) => TargetReading::Broken { says },
            (true, true) => TargetReading::NotYet { says },
            (false, false) => TargetReading::Watched { says },
            (false, true) => TargetReading::Well { says },
        }
    }

    fn somebody_writes(&mut self, how: Foreign, random: &mut Random, now: Micros) -> Vec<(Span, Foreign)> {
        match how {
            Foreign::Flips => {
                self.live = self.other();
                self.resource_version += 1;
                if random.chance(40) {
                    self.edited_at = Some(whole(now));
                }
            }
            Foreign::Deploys => {
                let side = if random.chance(60) { self.other() } else { self.live };
                let forbids = random.chance(15);
                self.deployed(side, whole(now), forbids);
                self.sides[side].replicas = self.sides[side].replicas.max(2);
                self.sides[side].rolling_out = true;
                return vec![(random.seconds(40, 240), Foreign::ColoursHeal)];
            }
            Foreign::ColourFails => {
                let live = &mut self.sides[self.live];
                if random.chance(50) {
                    live.answers = false;
                } else {
                    live.ready = random.below(u64::from(live.replicas.max(1))) as u32;
                }
                return if random.chance(60) {
                    vec![(random.seconds(5, 900), Foreign::ColoursHeal)]
                } else {
                    Vec::new()
                };
            }
            Foreign::ColoursHeal => self.sides.iter_mut().for_each(Side::heal),
            Foreign::Recreates => {
                self.uid.push('+');
                self.resource_version += 1;
                self.edited_at = None;
            }
            Foreign::Owns => {
                self.owner = match self.owner {
                    None => Some("Rollout front".to_owned()),
                    Some(_) => None,
                };
                let until = random.seconds(120, 1800);
                return self.owner.iter().map(|_| (until, how)).collect();
            }
            Foreign::Scales(_)
            | Foreign::PausesRollout
            | Foreign::PodFails
            | Foreign::PodsHeal
            | Foreign::UsesSessions => {}
        }
        Vec::new()
    }

    fn draw_foreign(&self, random: &mut Random) -> Foreign {
        match random.below(8) {
            0..=2 => Foreign::Flips,
            3 | 4 => Foreign::Deploys,
            5 => Foreign::ColourFails,
            6 => Foreign::Recreates,
            _ => Foreign::Owns,
        }
    }

    /// The new colour does not always stand the traffic.
    fn aftermath(&self, random: &mut Random) -> Option<(Span, Foreign)> {
        random.chance(35).then(|| (random.seconds(1, 100), Foreign::ColourFails))
    }

    fn left_by(&self, plan: &Plan) -> Option<Left> {
        let version = plan.proposal.from.get("version").and_then(Value::as_i64)?;
        let (_, at, forbids) = self.history.iter().find(|(of, ..)| *of == version)?;
        Some(Left { deployed_at: *at, forbidden: *forbids })
    }

    fn is_broken(&self, plan: &Plan) -> bool {
        let side = &self.sides[pin(&plan.proposal.to)];
        side.ready < wanted(plan) || smokes(&plan.proposal.to) && !side.answers
    }

    fn calms(&mut self) {
        self.owner = None;
        self.edited_at = None;
        self.sides.iter_mut().for_each(Side::heal);
    }
}
