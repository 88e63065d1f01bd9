//! A database server of the model world: its sessions, and ending them or their queries as `postgres/kill_idle` and
//! `postgres/cancel_slow` do it, each checked again in the statement that ends it.

use super::{
    random::Random,
    things::{Change, Foreign, NotSent, Thing, Without, Written, made, refused},
};
use nightshift::model::{
    observation::{Ended, Facts, Outcome, Proposed, TargetReading},
    plan::Plan,
    rung::Rung,
    time::{Micros, Span},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const USERS: [&str; 3] = ["claims", "report", "admin"];

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub pid: u64,
    pub began: Micros,
    /// When its state last changed.
    pub since: Micros,
    pub busy: bool,
    pub user: String,
    /// A superuser's, one of replication, or nightshift's own.
    pub protected: bool,
    /// A query that does not heed when it is cancelled.
    stubborn: bool,
}

pub struct Database {
    started: u64,
    sessions: Vec<Session>,
    last_pid: u64,
    capacity: usize,
}

/// Whether an action means a session at all.
pub fn is_meant(session: &Session, never: &Value) -> bool {
    let named = never.as_array().is_some_and(|names| names.iter().any(|name| *name == session.user));
    !session.protected && !named
}

pub fn never_of(action: &str, with: &Value) -> Value {
    with.get(if action == "kill_idle" { "allow" } else { "never_users" }).cloned().unwrap_or_default()
}

fn span_in(with: &Value, key: &str) -> Span {
    with.get(key).and_then(Value::as_str).and_then(|text| Span::parse(text).ok()).unwrap_or(Span::minutes(5))
}

impl Database {
    pub fn draw(random: &mut Random, begin: Micros) -> Database {
        let mut drawn = Database { started: 1, sessions: Vec::new(), last_pid: 100, capacity: 0 };
        for _ in 0..3 + random.below(8) {
            let since = begin - random.span(Span::seconds(5), Span::minutes(40));
            drawn.connects(random, since);
        }
        drawn.capacity = drawn.sessions.len() + random.below(4) as usize;
        drawn
    }

    fn connects(&mut self, random: &mut Random, since: Micros) {
        self.last_pid += 1;
        let session = Session {
            pid: self.last_pid,
            began: since - Span::minutes(1),
            since,
            busy: random.chance(35),
            user: random.pick(&USERS).to_owned(),
            protected: random.chance(15),
            stubborn: random.chance(20),
        };
        self.sessions.push(session);
    }

    fn uid(&self) -> String {
        format!("claims-db-{}", self.started)
    }

    fn meant(&self, never: &Value) -> usize {
        self.sessions.iter().filter(|session| is_meant(session, never)).count()
    }

    fn find(&self, one: &Session) -> Option<&Session> {
        self.sessions.iter().find(|session| session.pid == one.pid && session.began == one.began)
    }

    fn is_as_seen(&self, one: &Session) -> bool {
        self.find(one).is_some_and(|now| now.since == one.since && now.busy == one.busy)
    }

    /// Of a plan's list, those that are as they were.
    fn left(&self, plan: &Plan) -> usize {
        let listed = listed(plan);
        if plan.action == "kill_idle" {
            listed.iter().filter(|one| self.find(one).is_some()).count()
        } else {
            listed.iter().filter(|one| self.is_as_seen(one)).count()
        }
    }

    fn ended(&self, plan: &Plan, gone: usize, by_session: usize) -> Outcome {
        let planned = listed(plan).len() as u32;
        let (sessions, queries) = match plan.action.as_str() {
            "kill_idle" => (gone as u32, 0),
            _ => (by_session as u32, (gone - by_session) as u32),
        };
        Outcome::Ended { ended: Ended { planned, sessions, queries, rest: None } }
    }

    fn end_idle(&mut self, plan: &Plan, one: &Session, without: Option<Without>) -> Option<Session> {
        let never = &plan.proposal.to["never"];
        let keep = plan.proposal.to["keep"].as_u64().unwrap_or(0) as usize;
        let place = match without {
            Some(Without::SessionCheck) => self.sessions.iter().position(|now| now.pid == one.pid),
            _ => self.sessions.iter().position(|now| now.pid == one.pid && now.began == one.began),
        }?;
        let now = &self.sessions[place];
        let unused = without == Some(Without::SessionCheck) || now.since == one.since && !now.busy;
        let meant = is_meant(now, never) && self.meant(never) > keep;
        (unused && (meant || without == Some(Without::SessionFilter))).then(|| self.sessions.remove(place))
    }

    /// Gives the session as it was, and whether it ended with its query.
    fn stop_query(&mut self, plan: &Plan, one: &Session, now: Micros) -> Option<(Session, bool)> {
        let never = &plan.proposal.to["never"];
        let ends = plan.proposal.to["terminate"].as_bool().unwrap_or(false);
        let place = self.sessions.iter().position(|now| now.pid == one.pid && now.began == one.began)?;
        let found = self.sessions[place].clone();
        if found.since != one.since || !found.busy || !is_meant(&found, never) {
            return None;
        }
        if found.stubborn && !ends {
            return None;
        }
        if found.stubborn {
            self.sessions.remove(place);
        } else {
            (self.sessions[place].busy, self.sessions[place].since) = (false, now);
        }
        Some((found.clone(), found.stubborn))
    }
}

fn listed(plan: &Plan) -> Vec<Session> {
    plan.proposal.from.get("sessions").map(|list| Vec::deserialize(list).unwrap_or_default()).unwrap_or_default()
}

impl Thing for Database {
    fn facts(&self, now: Micros) -> Facts {
        Facts { uid: self.uid(), ..Facts::of_nothing(now) }
    }

    fn propose(&self, rung: &Rung, facts: &mut Facts, without: Option<Without>) -> Proposed {
        let (with, now) = (&rung.with, facts.observed_at);
        let kills = rung.action == "kill_idle";
        let never = never_of(&rung.action, with);
        let longer = span_in(with, if kills { "idle_for" } else { "longer_than" });
        let long = |session: &&Session| session.busy != kills && session.since + longer <= now;
        let meant = |one: &&Session| is_meant(one, &never) || without == Some(Without::SessionFilter);
        let mut found: Vec<&Session> = self.sessions.iter().filter(meant).filter(long).collect();
        found.sort_by_key(|session| (session.since, session.pid));
        found.truncate(with["max"].as_u64().unwrap_or(50) as usize);
        let keep = with["keep"].as_u64().unwrap_or(0);
        if kills {
            found.truncate((self.meant(&never) as u64).saturating_sub(keep) as usize);
        }
        if found.is_empty() {
            return refused("no session that may be ended is so long");
        }
        let change = Change { summary: format!("end {} sessions", found.len()), destroys: true, ..Change::default() };
        let to = json!({"sessions": [], "keep": keep, "never": never, "terminate": with["terminate"]});
        made(facts, "sessions", json!({ "sessions": found }), to, Value::Null, change)
    }

    fn propose_undo(&self, _: &Plan, _: Option<&Value>, _: &mut Facts) -> Proposed {
        refused("a session that was ended is not put back")
    }

    fn difference(&self, plan: &Plan, _: &mut Facts, _: Option<Without>) -> Option<String> {
        if self.uid() != plan.proposal.uid {
            return Some("the server was started anew".to_owned());
        }
        let as_seen = listed(plan).iter().any(|one| self.is_as_seen(one));
        (!as_seen).then(|| "none of them is as it was".to_owned())
    }

    fn last_look(&self, plan: &Plan, _: Option<Without>) -> Result<Option<u32>, NotSent> {
        if self.uid() == plan.proposal.uid {
            return Ok(None);
        }
        Err(NotSent { why: "the server was started anew".to_owned(), changed_since: true })
    }

    fn write(&mut self, plan: &Plan, _: u64, now: Micros, without: Option<Without>) -> Written {
        let (mut ended, mut with_session) = (Vec::new(), 0);
        let listed = listed(plan);
        for one in &listed {
            if plan.action == "kill_idle" {
                ended.extend(self.end_idle(plan, one, without));
            } else if let Some((session, ends)) = self.stop_query(plan, one, now) {
                ended.push(session);
                with_session += usize::from(ends);
            }
        }
        let same = ended.iter().all(|one| listed.contains(one));
        let outcome = match ended.len() {
            0 => Outcome::NotApplied { why: "none of them is as it was".to_owned(), changed_since: true },
            gone => self.ended(plan, gone, with_session),
        };
        let left = self.meant(&plan.proposal.to["never"]);
        Written { effect: !ended.is_empty(), same, outcome, ended, left }
    }

    fn read_back(&self, plan: &Plan) -> Outcome {
        if self.uid() != plan.proposal.uid {
            return Outcome::Unknown { why: "the server was started anew".to_owned() };
        }
        let listed = listed(plan);
        let gone = listed.len() - self.left(plan);
        let there = listed.iter().filter(|one| self.find(one).is_some()).count();
        match gone {
            0 => Outcome::NotApplied { why: "all of them are still there".to_owned(), changed_since: false },
            gone => self.ended(plan, gone, (listed.len() - there).min(gone)),
        }
    }

    fn reading(&self, plan: &Plan, _: &Facts) -> TargetReading {
        let says = format!("{} of {} connections are used", self.sessions.len(), self.capacity);
        let runs = plan.action == "cancel_slow" && self.left(plan) > 0;
        if runs || self.sessions.len() >= self.capacity {
            TargetReading::NotYet { says }
        } else {
            TargetReading::Well { says }
        }
    }

    fn somebody_writes(&mut self, how: Foreign, random: &mut Random, now: Micros) -> Vec<(Span, Foreign)> {
        match how {
            Foreign::UsesSessions => {
                for session in &mut self.sessions {
                    match random.below(10) {
                        // Used, and idle again or not.
                        0..=2 => (session.since, session.busy) = (now, random.chance(50)),
                        // Its client went, and another one's has its pid.
                        3 => {
                            (session.began, session.since, session.busy) = (now, now, random.chance(50));
                            session.protected = random.chance(30);
                        }
                        _ => {}
                    }
                }
                if random.chance(30) && !self.sessions.is_empty() {
                    self.sessions.remove(0);
                }
                if random.chance(50) && self.sessions.len() < self.capacity {
                    self.connects(random, now);
                }
            }
            Foreign::Recreates => {
                self.started += 1;
                for session in &mut self.sessions {
                    (session.began, session.since, session.busy) = (now, now, false);
                }
            }
            Foreign::Scales(_)
            | Foreign::Deploys
            | Foreign::Owns
            | Foreign::PausesRollout
            | Foreign::PodFails
            | Foreign::PodsHeal
            | Foreign::Flips
            | Foreign::ColourFails
            | Foreign::ColoursHeal => {}
        }
        Vec::new()
    }

    fn draw_foreign(&self, random: &mut Random) -> Foreign {
        if random.chance(90) { Foreign::UsesSessions } else { Foreign::Recreates }
    }

    fn calms(&mut self) {
        self.capacity = self.capacity.max(self.sessions.len() + 1);
    }
}
