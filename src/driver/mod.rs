//! The driver of steps: it compares the work that the state publishes with what it has in flight, and begins the rest.
//!
//! Level-triggered, so there is no second path for recovery: after a start the same list is looked at. It decides
//! nothing, and only [`perform`] lets an action write. The [`courier`] does the same for letters.

mod ask_peer;
mod confirm;
pub mod courier;
mod gather;
mod measure;
mod observe;
mod perform;
pub mod tasks;
#[cfg(test)]
mod tests;
pub mod world;

use crate::{
    decide::work::{Work, WorkKey},
    engine::EngineHandle,
    model::{
        event::Event,
        id::StepId,
        input::Input,
        time::{Micros, Span},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tasks::{End, TaskSet};
use tokio::sync::watch;
pub use world::{RealWorld, World};

/// The same piece of work, still wanted after it was done, is not begun again sooner.
const REST: Span = Span::seconds(1);
/// ... nor after it panicked, or its result could not be decided. The rest doubles each time: people are told each time.
const REST_AFTER_FAILURE: Span = Span::seconds(30);
/// The longest of those rests is 30 s doubled this often: some eight hours.
const MOST_DOUBLINGS: u32 = 10;
/// Observations and measurements at a time: the API server has other clients.
const READS_IN_FLIGHT: usize = 32;
/// Collections of evidence and questions about lost alerts at a time: they never crowd out a step.
const EXTRAS_IN_FLIGHT: usize = 8;
/// Steps that this process has acted on. Budgets keep it from ever growing so far within one process' life.
const PERFORMED_REMEMBERED: usize = 100_000;
/// At the end of the process, calls in flight are waited for: within the 20 s that a stop may take.
const FINISH_WITHIN: Span = Span::seconds(15);

/// What every piece of work needs.
#[derive(Clone)]
pub struct Context {
    pub engine: EngineHandle,
    pub world: Arc<dyn World>,
}

impl Context {
    #[must_use]
    pub fn new(engine: EngineHandle, world: Arc<dyn World>) -> Context {
        Context { engine, world }
    }

    fn now(&self) -> Micros {
        self.engine.clock().now()
    }
}

struct Driver {
    context: Context,
    tasks: TaskSet<WorkKey, Recorded>,
    /// Work that has ended and may still be wanted → not before.
    rests: BTreeMap<WorkKey, Micros>,
    /// How often in a row it failed.
    failures: BTreeMap<WorkKey, u32>,
    /// Steps whose call this process has begun: never a second time.
    performed: BTreeSet<StepId>,
    collected: observe::Collected,
    /// What is observed from now on starts nothing more.
    stopping: Arc<AtomicBool>,
}

/// Runs until `stop` ends or the engine does. Then starts no step, finishes those that have started, and waits for what
/// is in flight.
pub async fn run(context: Context, stop: impl Future<Output = ()> + Send) {
    let mut published = context.engine.published().work();
    let clock = Arc::clone(context.engine.clock());
    let mut driver = Driver::new(context);
    let mut stop = std::pin::pin!(stop);
    loop {
        let work = Arc::clone(&published.borrow_and_update());
        let next = driver.begin_all(&work, clock.now());
        let pause = async {
            match next {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = &mut stop => break,
            changed = published.changed() => if changed.is_err() { break },
            (key, end) = driver.tasks.next_end() => driver.ended(key, &end, clock.now()),
            () = pause => {}
        }
    }
    driver.finish(published, clock.now() + FINISH_WITHIN).await;
}

impl Driver {
    fn new(context: Context) -> Driver {
        Driver {
            context,
            tasks: TaskSet::default(),
            rests: BTreeMap::new(),
            failures: BTreeMap::new(),
            performed: BTreeSet::new(),
            collected: observe::Collected::default(),
            stopping: Arc::default(),
        }
    }

    /// Begins what may begin; returns when to look again if nothing happens before.
    fn begin_all(&mut self, work: &[Work], now: Micros) -> Option<Micros> {
        self.forget_what_is_over(work);
        let mut next: Option<Micros> = None;
        let (mut reads, mut extras) = self.in_flight_by_kind(work);
        for piece in work {
            let key = piece.key();
            if self.tasks.is_in_flight(&key) {
                continue;
            }
            let at = self.not_before(piece, &key);
            if at > now {
                next = Some(next.map_or(at, |next| next.min(at)));
                continue;
            }
            match piece {
                Work::Apply(intent) if !self.performed.insert(intent.step()) => continue,
                Work::Apply(_) | Work::ReadBack { .. } => {}
                Work::Observe(_) | Work::Measure(_) if reads >= READS_IN_FLIGHT => continue,
                Work::Observe(_) | Work::Measure(_) => reads += 1,
                Work::Gather { .. } | Work::Confirm { .. } | Work::AskPeer { .. } if extras >= EXTRAS_IN_FLIGHT => {
                    continue;
                }
                Work::Gather { .. } | Work::Confirm { .. } | Work::AskPeer { .. } => extras += 1,
            }
            self.begin(key, piece);
        }
        next
    }

    fn begin(&mut self, key: WorkKey, piece: &Work) {
        let (context, collected, stopping) = (self.context.clone(), self.collected.clone(), self.stopping.clone());
        self.tasks.begin(key, do_one(context, collected, stopping, piece.clone()));
    }

    /// A step whose start was decided just before the stop is not left to be read back after the next start.
    fn begin_started(&mut self, work: &[Work]) {
        for piece in work {
            if let Work::Apply(intent) = piece
                && self.performed.insert(intent.step())
            {
                self.begin(piece.key(), piece);
            }
        }
    }

    fn not_before(&self, piece: &Work, key: &WorkKey) -> Micros {
        let rested = self.rests.get(key).copied();
        match piece {
            // The verdict waits for it: only a short rest, not the pace.
            Work::Measure(measure) if measure.last => rested.unwrap_or_default(),
            Work::Measure(measure) => {
                let paced = rested.map(|at| at + Span(measure::PACE.0.saturating_sub(REST.0)));
                measure.from.max(paced.unwrap_or_default())
            }
            Work::AskPeer { from, .. } => rested.unwrap_or_default().max(from.unwrap_or_default()),
            _ => rested.unwrap_or_default(),
        }
    }

    fn in_flight_by_kind(&self, work: &[Work]) -> (usize, usize) {
        let mut counts = (0, 0);
        for piece in work.iter().filter(|piece| self.tasks.is_in_flight(&piece.key())) {
            match piece {
                Work::Observe(_) | Work::Measure(_) => counts.0 += 1,
                Work::Gather { .. } | Work::Confirm { .. } | Work::AskPeer { .. } => counts.1 += 1,
                Work::Apply(_) | Work::ReadBack { .. } => {}
            }
        }
        counts
    }

    /// Calls are remembered whether their work is listed or not: only the oldest are forgotten, long after their end.
    fn forget_what_is_over(&mut self, work: &[Work]) {
        if !self.rests.is_empty() {
            let wanted: BTreeSet<WorkKey> = work.iter().map(Work::key).collect();
            self.rests.retain(|key, _| wanted.contains(key));
            self.failures.retain(|key, _| wanted.contains(key));
        }
        while self.performed.len() > PERFORMED_REMEMBERED {
            self.performed.pop_first();
        }
    }

    fn ended(&mut self, key: WorkKey, end: &End<Recorded>, now: Micros) {
        let rest = match end {
            End::Done(Recorded::AsItIs) => {
                self.failures.remove(&key);
                REST
            }
            End::Done(Recorded::AsPoison) => self.rest_after_failure(&key),
            End::Panicked(said) => {
                tracing::error!(work = ?key, said, "a piece of the driver's work panicked");
                self.rest_after_failure(&key)
            }
        };
        self.rests.insert(key, now + rest);
    }

    fn rest_after_failure(&mut self, key: &WorkKey) -> Span {
        let failures = self.failures.entry(key.clone()).or_default();
        let rest = Span(REST_AFTER_FAILURE.0 << (*failures).min(MOST_DOUBLINGS));
        *failures += 1;
        rest
    }

    async fn finish(mut self, mut published: watch::Receiver<Arc<Vec<Work>>>, until: Micros) {
        self.stopping.store(true, Ordering::SeqCst);
        let clock = Arc::clone(self.context.engine.clock());
        let mut engine_runs = true;
        loop {
            // Published before the result that led to it is answered: looked at last, nothing is missed.
            let work = Arc::clone(&published.borrow_and_update());
            if engine_runs {
                self.begin_started(&work);
            }
            if self.tasks.is_empty() {
                break;
            }
            tokio::select! {
                changed = published.changed(), if engine_runs => engine_runs = changed.is_ok(),
                (key, end) = self.tasks.next_end() => self.ended(key, &end, clock.now()),
                () = clock.sleep_until(until) => {
                    tracing::warn!(in_flight = self.tasks.len(), "stopping with calls in flight: they are read back after the next start");
                    break;
                }
            }
        }
        self.tasks.let_go();
    }
}

/// What became of a piece's result.
enum Recorded {
    /// Or it had none, or the engine stopped.
    AsItIs,
    /// The engine could not decide it.
    AsPoison,
}

/// One piece, to its end: it ends when its result is durable.
async fn do_one(context: Context, collected: observe::Collected, stopping: Arc<AtomicBool>, piece: Work) -> Recorded {
    let result: Option<Input> = match &piece {
        Work::Observe(work) => {
            let observed = observe::observe(&context, &collected, work).await;
            // It could start a step. The next process observes anew.
            (!stopping.load(Ordering::SeqCst)).then_some(observed)
        }
        Work::Apply(intent) => perform::perform(&context, intent).await,
        Work::ReadBack { step, plan } => Some(perform::read_back(&context, *step, plan).await),
        Work::Measure(work) => Some(measure::measure(&context, work).await),
        Work::Gather { incident, collector } => {
            Some(gather::gather(&context, *incident, collector, gather::GATHER_WITHIN).await)
        }
        Work::Confirm { alert } => confirm::confirm(&context, alert).await,
        Work::AskPeer { news, .. } => Some(ask_peer::ask(&context, news).await),
    };
    let Some(input) = result else { return Recorded::AsItIs };
    match context.engine.result(input).await {
        Ok(answer) => {
            let mut events = answer.events.iter().flat_map(|events| events.iter());
            if events.any(|event| matches!(event, Event::Poisoned { .. })) {
                Recorded::AsPoison
            } else {
                Recorded::AsItIs
            }
        }
        Err(why) => {
            tracing::warn!(work = ?piece.key(), %why, "a result was not recorded; it is learned anew after the next start");
            Recorded::AsItIs
        }
    }
}
