//! Workloads of the model world: replicas, restarts, and who else writes to them. Their revisions are in
//! [`super::revisions`], their pods in [`super::pods`].

use super::{
    pods::{self, Pod},
    random::Random,
    revisions::{self, Deploy, Revision},
    things::{Change, Foreign, Left, NotSent, Thing, Without, Written, made, refused, whole},
};
use nightshift::model::{
    observation::{Edited, Facts, Outcome, Proposed, TargetReading},
    plan::{Plan, Replicas},
    rung::Rung,
    time::{Micros, Span},
};
use serde_json::{Value, json};

pub struct Workload {
    pub uid: String,
    pub generation: i64,
    pub replicas: u32,
    pub pods: Vec<Pod>,
    pub next_pod: u64,
    /// Its PodDisruptionBudget keeps so many ready.
    pub budget: Option<u32>,
    /// Kept ones, the oldest first; the last is current.
    pub revisions: Vec<Revision>,
    /// All that ever was deployed.
    pub history: Vec<Deploy>,
    pub paused: bool,
    pub rolling_out: bool,
    pub owner: Option<String>,
    /// By a person.
    edited_at: Option<Micros>,
    is_itself: bool,
    /// Its strategy takes all pods away at once.
    recreates: bool,
    /// Of the set that it belongs to.
    members: Option<u32>,
}

impl Workload {
    pub fn draw(random: &mut Random, name: &str, begin: Micros, members: Option<u32>) -> Workload {
        let off = random.chance(4);
        let replicas = if off { 0 } else { 1 + random.below(5) as u32 };
        let mut drawn = Workload {
            uid: format!("{name}-1"),
            generation: 3,
            replicas: 0,
            pods: Vec::new(),
            next_pod: 0,
            budget: random.chance(50).then(|| random.below(u64::from(replicas) + 1) as u32),
            revisions: Vec::new(),
            history: Vec::new(),
            paused: false,
            rolling_out: false,
            owner: None,
            edited_at: None,
            is_itself: random.chance(3),
            recreates: random.chance(10),
            members,
        };
        drawn.resize(replicas);
        drawn.all_ready();
        revisions::draw(&mut drawn, random, begin);
        drawn
    }

    pub fn ready(&self) -> u32 {
        self.pods.iter().filter(|pod| pod.ready).count() as u32
    }

    pub fn resize(&mut self, replicas: u32) {
        self.replicas = replicas;
        self.pods.truncate(replicas as usize);
        while self.pods.len() < replicas as usize {
            self.next_pod += 1;
            self.pods.push(Pod { uid: self.next_pod, ready: false });
        }
    }

    fn all_ready(&mut self) {
        for pod in &mut self.pods {
            pod.ready = true;
        }
    }

    /// Ready pods that its strategy leaves alone while its template changes.
    pub fn certainly_ready(&self) -> u32 {
        let away = if self.recreates { self.replicas } else { (self.replicas / 4).max(1) };
        self.ready().min(self.replicas - away.min(self.replicas))
    }

    fn scale(&self, rung: &Rung, facts: &Facts) -> Proposed {
        let text = rung.with.get("replicas").and_then(Value::as_str).unwrap_or("+1");
        let by: i64 = text.parse().unwrap_or(1);
        let relative = text.starts_with(['+', '-']);
        let want = if relative { i64::from(self.replicas) + by } else { by };
        self.to_replicas(facts, u32::try_from(want).unwrap_or(0), json!(self.replicas))
    }

    fn to_replicas(&self, facts: &Facts, to: u32, undo: Value) -> Proposed {
        let from = self.replicas;
        let change = Change {
            summary: format!("replicas {from} → {to}"),
            destroys: to < from,
            replicas: Some(Replicas { from, to }),
            min_ready_after: Some(self.ready().saturating_sub(from.saturating_sub(to))),
        };
        made(facts, "spec.replicas", json!(from), json!(to), undo, change)
    }

    fn restart(&self, facts: &Facts) -> Proposed {
        let change = Change {
            summary: "restart".to_owned(),
            destroys: true,
            replicas: None,
            min_ready_after: Some(self.certainly_ready()),
        };
        let from = json!(self.current().restarted_at);
        made(facts, "spec.template", from, json!(facts.observed_at.0), Value::Null, change)
    }

    fn undo_of_scale(&self, plan: &Plan, baseline: Option<&Value>, facts: &Facts) -> Proposed {
        let left = plan.proposal.to.as_u64().unwrap_or_default() as u32;
        let back = baseline.unwrap_or(&plan.proposal.undo).as_u64().unwrap_or_default() as u32;
        if self.uid != plan.proposal.uid || self.replicas != left {
            refused(format!("replicas are {}, nightshift left {left}", self.replicas))
        } else if back == left {
            refused("it is there already")
        } else {
            self.to_replicas(facts, back, Value::Null)
        }
    }

    fn write_field(&mut self, plan: &Plan, without: Option<Without>) -> Written {
        let same = self.uid == plan.proposal.uid && self.generation == plan.proposal.generation;
        if !same && without != Some(Without::Precondition) {
            return Written::refused("409: somebody changed it", true);
        }
        self.generation += 1;
        if plan.action == "scale" {
            self.resize(plan.proposal.to.as_u64().unwrap_or_default() as u32);
        } else {
            self.restarts(plan.proposal.to.as_i64().unwrap_or_default());
        }
        Written::applied(same)
    }

    fn deploys(&mut self, random: &mut Random, now: Micros) -> Vec<(Span, Foreign)> {
        self.generation += 1;
        self.rolling_out = true;
        self.deployed(whole(now), random.chance(15));
        if random.chance(30) {
            self.edited_at = Some(whole(now));
        }
        // What it brings may not get ready.
        match self.pods.last_mut().filter(|_| random.chance(30)) {
            Some(pod) => {
                pod.ready = false;
                vec![(random.seconds(200, 1500), Foreign::PodsHeal)]
            }
            None => vec![(random.seconds(60, 300), Foreign::PodsHeal)],
        }
    }
}

impl Thing for Workload {
    fn facts(&self, now: Micros) -> Facts {
        Facts {
            observed_at: now,
            uid: self.uid.clone(),
            generation: self.generation,
            replicas: Some(self.replicas),
            ready: self.ready(),
            paused: self.paused,
            rollout: self.rolling_out.then(|| "pods are being replaced".to_owned()),
            owner: self.owner.clone(),
            is_itself: self.is_itself,
            members: None,
            disruption: None,
            edited: self.edited_at.map(|at| Edited { by: "kubectl-edit".to_owned(), at }),
            rolls_back: None,
            runs: None,
        }
    }

    fn propose(&self, rung: &Rung, facts: &mut Facts, without: Option<Without>) -> Proposed {
        match rung.action.as_str() {
            "scale" => {
                facts.members = self.members;
                self.scale(rung, facts)
            }
            "restart" => {
                facts.members = self.members;
                self.restart(facts)
            }
            "undo" => revisions::propose(self, &rung.with, facts),
            _ => pods::propose(self, rung.member.as_deref(), facts, without),
        }
    }

    fn propose_undo(&self, plan: &Plan, baseline: Option<&Value>, facts: &mut Facts) -> Proposed {
        match plan.action.as_str() {
            "scale" => self.undo_of_scale(plan, baseline, facts),
            "undo" => revisions::propose_undo(self, plan, facts),
            "restart" => refused("a restart has no way back"),
            _ => refused("a pod that is gone can't be put back"),
        }
    }

    fn difference(&self, plan: &Plan, facts: &mut Facts, without: Option<Without>) -> Option<String> {
        match plan.action.as_str() {
            "scale" | "restart" => {
                let (was, now) = (plan.proposal.generation, self.generation);
                (self.uid != plan.proposal.uid || was != now).then(|| format!("generation {was} → {now}"))
            }
            "undo" => revisions::difference(self, plan, facts),
            _ => pods::difference(self, plan, facts, without),
        }
    }

    fn last_look(&self, plan: &Plan, without: Option<Without>) -> Result<Option<u32>, NotSent> {
        if plan.action != "delete_pod" {
            return Ok(None);
        }
        match pods::difference(self, plan, &mut self.facts(Micros(0)), without) {
            Some(why) => Err(NotSent { why, changed_since: true }),
            None => Ok(Some(pods::ready_without(self, plan))),
        }
    }

    fn write(&mut self, plan: &Plan, _: u64, _: Micros, without: Option<Without>) -> Written {
        match plan.action.as_str() {
            "scale" | "restart" => self.write_field(plan, without),
            "undo" => revisions::write(self, plan, without),
            _ => pods::write(self, plan, without),
        }
    }

    fn read_back(&self, plan: &Plan) -> Outcome {
        let value = match plan.action.as_str() {
            "scale" => json!(self.replicas),
            "restart" => json!(self.current().restarted_at),
            "undo" => return revisions::read_back(self, plan),
            _ => return pods::read_back(self, plan),
        };
        if self.uid != plan.proposal.uid {
            Outcome::Unknown { why: "another object has its name".to_owned() }
        } else if value == plan.proposal.to {
            Outcome::Applied
        } else if self.generation == plan.proposal.generation {
            Outcome::NotApplied { why: "it is as it was".to_owned(), changed_since: false }
        } else {
            Outcome::Unknown { why: "somebody changed it since".to_owned() }
        }
    }

    fn reading(&self, plan: &Plan, before: &Facts) -> TargetReading {
        let ready = self.ready();
        let not_yet = |says: String| TargetReading::NotYet { says };
        if matches!(plan.action.as_str(), "undo" | "delete_pod") && self.uid != plan.proposal.uid {
            return not_yet("it was deleted and made anew".to_owned());
        }
        if plan.action == "undo" && !revisions::runs(self, &plan.proposal.to) {
            return not_yet("somebody changed its template since".to_owned());
        }
        if plan.action == "delete_pod" && pods::is_there(self, plan) {
            return not_yet("the pod is not gone yet".to_owned());
        }
        if self.rolling_out || ready < before.ready.min(self.replicas) {
            not_yet(format!("{ready} ready"))
        } else {
            TargetReading::Well { says: format!("{ready} ready") }
        }
    }

    fn somebody_writes(&mut self, how: Foreign, random: &mut Random, now: Micros) -> Vec<(Span, Foreign)> {
        let until = random.seconds(120, 1800);
        match how {
            Foreign::Scales(replicas) => {
                self.resize(replicas);
                self.all_ready();
                self.generation += 1;
                self.edited_at = Some(whole(now));
            }
            Foreign::Deploys => return self.deploys(random, now),
            Foreign::Recreates => {
                self.uid.push('+');
                self.generation = 1;
                self.rolling_out = false;
                self.edited_at = None;
                for pod in &mut self.pods {
                    self.next_pod += 1;
                    pod.uid = self.next_pod;
                }
                self.revisions.clear();
                self.deployed(whole(now), false);
            }
            Foreign::Owns => {
                self.owner = match self.owner {
                    None => Some("HorizontalPodAutoscaler web".to_owned()),
                    Some(_) => None,
                };
                return self.owner.iter().map(|_| (until, how)).collect();
            }
            Foreign::PausesRollout => {
                self.paused = !self.paused;
                self.generation += 1;
                return if self.paused { vec![(until, how)] } else { Vec::new() };
            }
            Foreign::PodFails => {
                let place = random.below(self.pods.len() as u64) as usize;
                if let Some(pod) = self.pods.get_mut(place) {
                    pod.ready = false;
                }
                return vec![(random.seconds(30, 600), Foreign::PodsHeal)];
            }
            Foreign::PodsHeal => {
                self.rolling_out = false;
                self.all_ready();
            }
            Foreign::Flips | Foreign::ColourFails | Foreign::ColoursHeal | Foreign::UsesSessions => {}
        }
        Vec::new()
    }

    fn draw_foreign(&self, random: &mut Random) -> Foreign {
        match random.below(9) {
            0 | 1 => Foreign::Scales(1 + random.below(7) as u32),
            2 => Foreign::Scales(0),
            3 | 4 => Foreign::Deploys,
            5 => Foreign::Recreates,
            6 => Foreign::Owns,
            7 => Foreign::PodFails,
            _ => Foreign::PausesRollout,
        }
    }

    fn pods_are_ready(&mut self, generation: i64) {
        if self.generation == generation {
            self.all_ready();
            self.rolling_out = false;
        }
    }

    fn left_by(&self, plan: &Plan) -> Option<Left> {
        revisions::left_by(self, plan)
    }

    fn calms(&mut self) {
        self.rolling_out = false;
        self.paused = false;
        self.owner = None;
        self.edited_at = None;
        self.all_ready();
    }
}
