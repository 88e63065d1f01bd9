//! The model world's state: objects, alerts, faults, people, and the log of every write with its simulated time.
//!
//! One lock around it; everything that happens later is in `queue` and is done by the loop in [`super::scenario`].

use super::{ledger::Ledger, policies, random::Random};
use nightshift::{
    decide::{Policy, policy::PolicySpec},
    engine::{Clock, FakeClock, PauseFlag},
    journal::memory::{Fault, Memory},
    model::{
        alert::Alert,
        id::StepId,
        input::Command,
        plan::Plan,
        time::{Micros, Span},
    },
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A broken promise.
#[derive(Debug, Clone)]
pub struct Violation {
    /// The invariant's name first.
    pub promise: &'static str,
    pub says: String,
    pub at: Micros,
}

/// What happens later by itself.
#[derive(Debug, Clone)]
pub enum Happening {
    Fires { signal: usize, same_start: bool },
    Ends { signal: usize },
    Delivers { alert: Box<Alert>, tries: u32 },
    Repeats { signal: usize, starts_at: Micros },
    Silences { signal: usize, lasts: Span },
    SomebodyWrites { target: String, how: Foreign },
    Lands { call: usize },
    PodsAreReady { target: String, generation: i64 },
    RolloutEnds { target: String, generation: i64 },
    Breaks { what: Broken, lasts: Span },
    JournalMended,
    CommitFails { fault: Fault },
    Crashes,
    StopsCleanly,
    Starts,
    ClockSteps { by: Span },
    Asks { by: String, command: Command },
    Reloads,
}

/// What somebody else does to an object.
#[derive(Debug, Clone, Copy)]
pub enum Foreign {
    Scales(u32),
    Deploys,
    Recreates,
    Owns,
    PausesRollout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Broken {
    ApiDown,
    ApiSlow,
    AlertmanagerDown,
    /// Restarted: it lists nothing.
    AlertmanagerEmpty,
    PrometheusDead,
    PrometheusUnreachable,
    SlackDown,
    SlackLimits,
    JournalDown,
}

/// Something that is to go wrong at an exact moment, not at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Observing,
    Asked,
    Started,
    Calling,
    Landed,
    ReadingBack,
    Measuring,
    Sending,
}

#[derive(Debug, Clone, Copy)]
pub enum Ambush {
    Dies,
    DiesBeforeNextCommit,
    DiesAfterNextCommit,
    CommitFails(Fault),
    JournalGoesDown,
    Pauses,
    ClockSteps(Span),
    SomebodyWrites,
    Silences,
    ApiGoesDown,
    Reloads,
}

pub struct Object {
    pub uid: String,
    pub generation: i64,
    pub replicas: u32,
    pub ready: u32,
    pub restarted_at: i64,
    pub paused: bool,
    pub rolling_out: bool,
    pub owner: Option<String>,
    /// By a person.
    pub edited_at: Option<Micros>,
    pub is_itself: bool,
}

/// One alert's truth.
pub struct Signal {
    pub rule: usize,
    pub pod: String,
    pub firing_since: Option<Micros>,
    pub last_start: Micros,
    pub last_end: Micros,
    pub silenced_until: Micros,
    pub has_fired: bool,
}

/// One call that writes, as the API server saw it.
pub struct Call {
    pub step: StepId,
    pub plan: Plan,
    pub began_at: Micros,
    /// Whether the write took effect, once it has landed.
    pub landed: Option<bool>,
    pub landed_at: Option<Micros>,
}

/// The live process, as far as the world can touch it.
pub struct Living {
    pub number: u64,
    pub journal: Memory,
    pub pause: PauseFlag,
}

pub struct Model {
    pub random: Random,
    pub clock: FakeClock,
    pub spec: PolicySpec,
    pub policies: BTreeMap<String, Arc<Policy>>,
    pub queue: BTreeMap<(Micros, u64), Happening>,
    queued: u64,
    pub objects: BTreeMap<String, Object>,
    pub signals: Vec<Signal>,
    pub calls: Vec<Call>,
    pub broken: BTreeMap<Broken, Micros>,
    pub prometheus_last: Micros,
    pub ambushes: Vec<(Moment, u32, Ambush)>,
    pub two_alertmanagers: bool,
    pub cures_percent: u64,
    pub slack: Slack,
    pub ledger: Ledger,
    pub living: Option<Living>,
    pub processes: u64,
    /// The journal as any process sees it.
    pub journal: Memory,
    pub has_crashed: bool,
    pub crash_after_fault: bool,
    pub is_calm: bool,
    /// A pause was asked for, and no resume since.
    pub pause_asked: bool,
    pub pauses: u32,
    pub last_step_of_clock: Micros,
    pub violations: Vec<Violation>,
    pub trace: Option<Vec<String>>,
    /// The API server forgets to compare: shows that the oracle sees it.
    pub without_precondition: bool,
}

/// What the receivers got.
#[derive(Default)]
pub struct Slack {
    /// (channel, incident) → the last post.
    pub last_post: BTreeMap<(String, u64), u64>,
    pub posts: std::collections::BTreeSet<u64>,
    pub cards: BTreeMap<(String, u64), u32>,
    pub sent: u64,
}

pub type Shared = Arc<Mutex<Model>>;

pub fn locked(shared: &Shared) -> MutexGuard<'_, Model> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Model {
    pub fn new(seed: u64, begin: Micros, traces: bool) -> Model {
        let mut random = Random::new(seed);
        let spec = policies::draw(&mut random);
        let mut objects = BTreeMap::new();
        for name in policies::TARGETS {
            let replicas = 2 + random.below(4) as u32;
            let object = Object {
                uid: format!("{name}-1"),
                generation: 3,
                replicas,
                ready: replicas,
                restarted_at: 0,
                paused: false,
                rolling_out: false,
                owner: None,
                edited_at: None,
                is_itself: random.chance(3),
            };
            objects.insert(policies::key_of(name), object);
        }
        let (two_alertmanagers, cures_percent) = (random.chance(40), random.pick(&[0, 50, 50, 90]));
        Model {
            random,
            clock: FakeClock::at(begin),
            spec,
            policies: BTreeMap::new(),
            queue: BTreeMap::new(),
            queued: 0,
            objects,
            signals: Vec::new(),
            calls: Vec::new(),
            broken: BTreeMap::new(),
            prometheus_last: begin,
            ambushes: Vec::new(),
            two_alertmanagers,
            cures_percent,
            slack: Slack::default(),
            ledger: Ledger::default(),
            living: None,
            processes: 0,
            journal: Memory::new(),
            has_crashed: false,
            crash_after_fault: false,
            is_calm: false,
            pause_asked: false,
            pauses: 0,
            last_step_of_clock: begin,
            violations: Vec::new(),
            trace: traces.then(Vec::new),
            without_precondition: false,
        }
    }

    pub fn now(&self) -> Micros {
        self.clock.now()
    }

    pub fn later(&mut self, after: Span, what: Happening) {
        self.at(self.now() + after, what);
    }

    pub fn at(&mut self, at: Micros, what: Happening) {
        self.queued += 1;
        self.queue.insert((at, self.queued), what);
    }

    pub fn note(&mut self, text: impl FnOnce() -> String) {
        let now = self.clock.now();
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{} {}", now.rfc3339_seconds(), text()));
        }
    }

    pub fn breaks(&mut self, promise: &'static str, says: String) {
        self.note(|| format!("BROKEN {promise}: {says}"));
        let at = self.now();
        self.violations.push(Violation { promise, says, at });
    }

    pub fn is_broken(&self, what: Broken) -> bool {
        self.broken.get(&what).is_some_and(|until| *until > self.now())
    }

    pub fn is_alive(&self, process: u64) -> bool {
        self.living.as_ref().is_some_and(|living| living.number == process)
    }

    /// The process is killed at this very instant: nothing that it still does reaches anybody.
    pub fn dies(&mut self) {
        let Some(living) = self.living.take() else { return };
        self.note(|| "the process is killed".to_owned());
        self.journal = living.journal.crash();
        self.has_crashed = true;
        self.crash_after_fault = false;
        let down = self.random.pick(&[Span::seconds(1), Span::seconds(10), Span::minutes(2), Span::minutes(40)]);
        let down = self.random.span(Span::ZERO, down);
        self.later(down, Happening::Starts);
    }

    pub fn moment(&mut self, moment: Moment) {
        if self.is_calm {
            return;
        }
        let mut due = Vec::new();
        for (at, countdown, ambush) in &mut self.ambushes {
            if *at == moment && *countdown > 0 {
                *countdown -= 1;
                if *countdown == 0 {
                    due.push(*ambush);
                }
            }
        }
        for ambush in due {
            self.note(|| format!("ambush at {moment:?}: {ambush:?}"));
            self.springs(ambush);
        }
    }

    fn springs(&mut self, ambush: Ambush) {
        match ambush {
            Ambush::Dies => self.dies(),
            Ambush::DiesBeforeNextCommit => self.commit_fails(Fault::BeforeCommit, true),
            Ambush::DiesAfterNextCommit => self.commit_fails(Fault::AfterCommit, true),
            Ambush::CommitFails(fault) => self.commit_fails(fault, false),
            Ambush::JournalGoesDown => self.journal_down(Span::seconds(45)),
            Ambush::Pauses => {
                // The flag by itself, as a pause file sets it; the command follows.
                if let Some(living) = &self.living {
                    living.pause.set();
                    self.pause_asked = true;
                    self.pauses += 1;
                    let command = Command::Pause { reason: "ambush".to_owned() };
                    self.later(Span::millis(5), Happening::Asks { by: "file".to_owned(), command });
                    let resumes = self.random.seconds(30, 1200);
                    let command = Command::Resume { pause_file_present: false };
                    self.later(resumes, Happening::Asks { by: "ana".to_owned(), command });
                }
            }
            Ambush::ClockSteps(by) => self.clock_steps(by),
            Ambush::SomebodyWrites => {
                for target in policies::TARGETS {
                    let how = self.draw_foreign();
                    self.somebody_writes(&policies::key_of(target), how);
                }
            }
            Ambush::Silences => {
                let until = self.now() + Span::minutes(20);
                for signal in &mut self.signals {
                    signal.silenced_until = until;
                }
            }
            Ambush::ApiGoesDown => self.breaks_down(Broken::ApiDown, Span::seconds(70)),
            Ambush::Reloads => self.later(Span::ZERO, Happening::Reloads),
        }
    }

    pub fn commit_fails(&mut self, fault: Fault, dies: bool) {
        if let Some(living) = &self.living {
            living.journal.fail_next_append(fault);
            if dies {
                // The engine tries again after 250 ms; it does not live to see it.
                self.crash_after_fault = true;
            }
        }
    }

    pub fn journal_down(&mut self, lasts: Span) {
        if let Some(living) = &self.living {
            living.journal.set_down(true);
            self.broken.insert(Broken::JournalDown, self.now() + lasts);
            self.later(lasts, Happening::JournalMended);
        }
    }

    pub fn breaks_down(&mut self, what: Broken, lasts: Span) {
        self.note(|| format!("{what:?} for {lasts}"));
        if what == Broken::PrometheusDead {
            self.prometheus_last = self.now();
        }
        self.broken.insert(what, self.now() + lasts);
    }

    pub fn clock_steps(&mut self, by: Span) {
        self.note(|| format!("the wall clock is stepped by {by}"));
        self.clock.step_wall(by);
        self.last_step_of_clock = self.now();
    }

    pub fn draw_foreign(&mut self) -> Foreign {
        match self.random.below(7) {
            0 | 1 => Foreign::Scales(1 + self.random.below(7) as u32),
            2 => Foreign::Scales(0),
            3 => Foreign::Deploys,
            4 => Foreign::Recreates,
            5 => Foreign::Owns,
            _ => Foreign::PausesRollout,
        }
    }

    /// A third writer: never blocked by anything of ours.
    pub fn somebody_writes(&mut self, target: &str, how: Foreign) {
        self.note(|| format!("somebody writes to {target}: {how:?}"));
        let lasts = self.random.seconds(60, 300);
        let until = self.random.seconds(120, 1800);
        let now = self.now();
        let Some(object) = self.objects.get_mut(target) else { return };
        match how {
            Foreign::Scales(replicas) => {
                object.replicas = replicas;
                object.ready = replicas;
                object.generation += 1;
                object.edited_at = Some(now);
            }
            Foreign::Deploys => {
                object.generation += 1;
                object.rolling_out = true;
                let generation = object.generation;
                self.later(lasts, Happening::RolloutEnds { target: target.to_owned(), generation });
            }
            Foreign::Recreates => {
                object.uid = format!("{}+", object.uid);
                object.generation = 1;
                object.rolling_out = false;
                object.edited_at = None;
            }
            Foreign::Owns => {
                object.owner = match object.owner {
                    None => Some("HorizontalPodAutoscaler web".to_owned()),
                    Some(_) => None,
                };
                if object.owner.is_some() {
                    self.later(until, Happening::SomebodyWrites { target: target.to_owned(), how });
                }
            }
            Foreign::PausesRollout => {
                object.paused = !object.paused;
                object.generation += 1;
                if object.paused {
                    self.later(until, Happening::SomebodyWrites { target: target.to_owned(), how });
                }
            }
        }
    }

    /// The write reaches the API server, which compares uid and generation with what the write rests on.
    pub fn lands(&mut self, call: usize) {
        let plan = self.calls[call].plan.clone();
        let step = self.calls[call].step;
        let target = plan.target.key().0;
        let now = self.now();
        let without = self.without_precondition;
        let Some(object) = self.objects.get_mut(&target) else { return };
        let same = object.uid == plan.proposal.uid && object.generation == plan.proposal.generation;
        let takes_effect = same || without;
        self.calls[call].landed = Some(takes_effect);
        self.calls[call].landed_at = Some(now);
        if takes_effect {
            object.generation += 1;
            let generation = object.generation;
            match plan.action.as_str() {
                "scale" => {
                    object.replicas = plan.proposal.to.as_u64().unwrap_or_default() as u32;
                    object.ready = object.ready.min(object.replicas);
                }
                _ => {
                    object.restarted_at = plan.proposal.to.as_i64().unwrap_or_default();
                    object.rolling_out = true;
                }
            }
            let ready = self.random.seconds(1, 40);
            self.later(ready, Happening::PodsAreReady { target: target.clone(), generation });
        }
        self.note(|| {
            format!("API server: step {step} on {target}: {} effective={takes_effect}", plan.proposal.summary)
        });
        if takes_effect {
            super::oracle::write_took_effect(self, call, same);
            self.cures(step);
        }
        self.moment(Moment::Landed);
    }

    /// The change may help: the incident's alerts end soon.
    fn cures(&mut self, step: StepId) {
        let helps = self.ledger.steps.get(&step).is_some_and(|step| step.purpose.is_fix());
        let percent = self.cures_percent;
        if !helps || !self.random.chance(percent) {
            return;
        }
        for signal in 0..self.signals.len() {
            if self.signals[signal].firing_since.is_some() {
                let after = self.random.seconds(5, 70);
                self.later(after, Happening::Ends { signal });
            }
        }
    }
}
