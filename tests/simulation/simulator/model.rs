//! The model world's state: things, alerts, faults, people, and the log of every write with its simulated time.
//!
//! One lock around it; everything that happens later is in `queue` and is done by the loop in [`super::scenario`].

use super::{
    alerts::Signal,
    customers::Page,
    databases::Session,
    landing,
    ledger::Ledger,
    pagerduty::PagerDuty,
    policies,
    random::Random,
    things::{self, Foreign, Thing, Without},
};
use nightshift::{
    decide::{Policy, policy::PolicySpec},
    engine::{Clock, FakeClock, PauseFlag},
    journal::memory::{Fault, Memory},
    model::{
        alert::Alert,
        id::StepId,
        input::Command,
        observation::Outcome,
        plan::Plan,
        time::{Micros, Span},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Broken {
    ApiDown,
    ApiSlow,
    AlertmanagerDown,
    /// Restarted: it lists nothing.
    AlertmanagerEmpty,
    /// What it sends is late.
    AlertmanagerCutOff,
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

/// One call that writes, as the API server saw it.
pub struct Call {
    pub step: StepId,
    pub plan: Plan,
    pub began_at: Micros,
    /// What the action's last look said would be left ready.
    pub left_ready: Option<u32>,
    /// What its request rests on.
    pub version: u64,
    /// What it came to, once it has landed.
    pub landed: Option<Outcome>,
    /// ... and the same request once more.
    pub again: Option<Outcome>,
    pub took_effect: bool,
    /// Sessions as they were when they, or their queries, were ended.
    pub ended: Vec<Session>,
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
    /// Of `spec`.
    pub policy: Arc<Policy>,
    pub queue: BTreeMap<(Micros, u64), Happening>,
    queued: u64,
    /// By their keys.
    pub things: BTreeMap<String, Box<dyn Thing>>,
    pub signals: Vec<Signal>,
    pub calls: Vec<Call>,
    pub broken: BTreeMap<Broken, Micros>,
    pub prometheus_last: Micros,
    pub ambushes: Vec<(Moment, u32, Ambush)>,
    pub two_alertmanagers: bool,
    pub cures_percent: u64,
    pub slack: Slack,
    pub pagerduty: PagerDuty,
    pub page: Page,
    pub ledger: Ledger,
    pub living: Option<Living>,
    pub processes: u64,
    /// How often Alertmanager was asked what fires.
    pub asks: u64,
    /// The journal as any process sees it.
    pub journal: Memory,
    pub has_crashed: bool,
    pub crash_after_fault: bool,
    pub is_calm: bool,
    /// A pause was asked for, and no resume since.
    pub pause_asked: bool,
    pub pauses: u32,
    pub last_step_of_clock: Micros,
    /// A start that waited for its own commit was begun before that.
    pub last_mend_of_journal: Micros,
    pub violations: Vec<Violation>,
    pub trace: Option<Vec<String>>,
    /// Shows that the oracle sees it.
    pub without: Option<Without>,
    /// Plans whose own change was not well when somebody looked.
    pub broke: BTreeSet<String>,
}

/// What the receivers got.
#[derive(Default)]
pub struct Slack {
    /// (channel, incident) → the last post.
    pub last_post: BTreeMap<(String, u64), u64>,
    pub posts: BTreeSet<u64>,
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
        let policy = policies::compile(spec.clone());
        let things = things::draw(&mut random, begin);
        let (two_alertmanagers, cures_percent) = (random.chance(40), random.pick(&[0, 50, 50, 90]));
        Model {
            random,
            clock: FakeClock::at(begin),
            spec,
            policies: BTreeMap::from([(policy.hash.clone(), Arc::clone(&policy))]),
            policy,
            queue: BTreeMap::new(),
            queued: 0,
            things,
            signals: Vec::new(),
            calls: Vec::new(),
            broken: BTreeMap::new(),
            prometheus_last: begin,
            ambushes: Vec::new(),
            two_alertmanagers,
            cures_percent,
            slack: Slack::default(),
            pagerduty: PagerDuty::default(),
            page: Page::default(),
            ledger: Ledger::default(),
            living: None,
            processes: 0,
            asks: 0,
            journal: Memory::new(),
            has_crashed: false,
            crash_after_fault: false,
            is_calm: false,
            pause_asked: false,
            pauses: 0,
            last_step_of_clock: begin,
            last_mend_of_journal: begin,
            violations: Vec::new(),
            trace: traces.then(Vec::new),
            without: None,
            broke: BTreeSet::new(),
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
        let down = self.random.span(Span::millis(1), down);
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
                let targets: Vec<String> = self.things.keys().cloned().collect();
                for target in targets {
                    let how = self.draw_foreign(&target);
                    self.somebody_writes(&target, how);
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

    pub fn journal_up(&mut self) {
        if let Some(living) = &self.living {
            living.journal.set_down(false);
            self.last_mend_of_journal = self.now();
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

    /// What a third writer of this thing could do.
    pub fn draw_foreign(&mut self, target: &str) -> Foreign {
        let Model { things, random, .. } = self;
        things.get(target).map_or(Foreign::Recreates, |thing| thing.draw_foreign(random))
    }

    /// A third writer: never blocked by anything of ours.
    pub fn somebody_writes(&mut self, target: &str, how: Foreign) {
        self.note(|| format!("somebody writes to {target}: {how:?}"));
        let now = self.now();
        let Model { things, random, .. } = self;
        let Some(thing) = things.get_mut(target) else { return };
        for (after, how) in thing.somebody_writes(how, random, now) {
            self.later(after, Happening::SomebodyWrites { target: target.to_owned(), how });
        }
    }

    /// The write reaches its peer, which compares what it rests on. A request may be delivered twice.
    pub fn lands(&mut self, call: usize) {
        let (plan, version) = (self.calls[call].plan.clone(), self.calls[call].version);
        let (step, target) = (self.calls[call].step, plan.target.key().0);
        let (now, without) = (self.now(), self.without);
        let Model { things, random, .. } = self;
        let Some(thing) = things.get_mut(&target) else { return };
        let written = thing.write(&plan, version, now, without);
        let ready_after = random.seconds(1, 40);
        let aftermath = if written.effect { thing.aftermath(random) } else { None };
        let generation = thing.facts(now).generation;
        self.note(|| format!("peer: step {step} on {target}: {}: {:?}", plan.proposal.summary, written.outcome));
        if written.effect {
            self.later(ready_after, Happening::PodsAreReady { target: target.clone(), generation });
            if let Some((after, how)) = aftermath {
                self.later(after, Happening::SomebodyWrites { target, how });
            }
            landing::write_took_effect(self, call, &written);
            self.cures(step);
        }
        let of = &mut self.calls[call];
        if of.landed.is_some() {
            of.again = Some(written.outcome);
        } else {
            of.landed = Some(written.outcome);
        }
        if !of.took_effect {
            of.ended = written.ended;
        }
        of.took_effect |= written.effect;
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
