//! What waits for the engine: bounded lanes, taken in the order commands, results, intake, so that a pause never queues
//! behind a storm of alerts. (Due timers come between results and intake; the engine makes them itself.)
//!
//! A full lane refuses at once or makes its sender wait, as the sender can bear; none grows.

use crate::{
    decide::{Policy, State},
    engine::pause::Lifts,
    model::{event::Event, id::Fingerprint, input::Input, time::Micros},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

/// Inputs decided and committed together. More would make a pause wait longer, fewer cost throughput.
pub const BATCH: usize = 256;
/// People type slowly; a script that does not is refused.
pub(super) const COMMANDS: usize = 256;
/// Results in waiting: more than steps, letters and collectors that can be in flight.
pub(super) const RESULTS: usize = 1024;
/// Webhooks in waiting: at 10,000 a second a fifth of one.
pub(super) const DELIVERIES: usize = 2048;
/// Alerts in waiting, over all webhooks.
pub(super) const ALERTS: u32 = 16_384;
/// Questions in waiting.
pub(super) const READS: usize = 256;

/// Why the engine did not take an input, or not in time: then it may still be taken, and asking again does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// More waits than may, or for longer than it may: come back.
    #[error("too much is waiting")]
    Full,
    /// It cannot be made durable now.
    #[error("the journal does not answer")]
    JournalDown,
    #[error("nightshift is stopping")]
    Stopping,
}

impl Refused {
    /// A closed list of words.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Refused::Full => "full",
            Refused::JournalDown => "journal_down",
            Refused::Stopping => "stopping",
        }
    }
}

/// What became of a request, once it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The last entry that it made. None: everything of it was known, and nothing was written.
    pub seq: Option<u64>,
    /// The events of each input, in order. Empty for what changes nothing.
    pub events: Vec<Arc<[Event]>>,
}

impl Answer {
    /// Why a command was not done, if it was refused.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        self.events.iter().flat_map(|events| events.iter()).find_map(|event| match event {
            Event::CommandRefused { reason } => Some(reason.as_str()),
            _ => None,
        })
    }
}

/// Inputs that are answered together: a webhook's alerts, or a single command or result.
pub(super) struct Request {
    pub inputs: VecDeque<Input>,
    /// For `PolicyLoaded`: the policy itself.
    pub policy: Option<Arc<Policy>>,
    /// For a resume.
    pub lifts: Option<Lifts>,
    pub answer: oneshot::Sender<Result<Answer, Refused>>,
    /// From the driver or the courier: it waits for as long as it takes.
    pub is_result: bool,
    /// Its share of [`ALERTS`].
    pub room: Option<OwnedSemaphorePermit>,
    /// Filled as its inputs are decided.
    pub events: Vec<Arc<[Event]>>,
    pub seq: Option<u64>,
}

impl Request {
    pub fn new(inputs: Vec<Input>) -> (Request, oneshot::Receiver<Result<Answer, Refused>>) {
        let (answer, answered) = oneshot::channel();
        let events = Vec::with_capacity(inputs.len());
        let inputs = VecDeque::from(inputs);
        let request =
            Request { inputs, policy: None, lifts: None, answer, is_result: false, room: None, events, seq: None };
        (request, answered)
    }

    pub fn answer(self) {
        // Who no longer waits is not told.
        let _ = self.answer.send(Ok(Answer { seq: self.seq, events: self.events }));
    }

    pub fn refuse(self, why: Refused) {
        let _ = self.answer.send(Err(why));
    }
}

/// What a question sees: the state after the last commit.
pub struct Seen<'a> {
    pub state: &'a State,
    pub policy: &'a Arc<Policy>,
    pub now: Micros,
    pub seq: u64,
    pub(super) deliveries: &'a super::deliveries::Deliveries,
}

impl Seen<'_> {
    /// When this process last accepted a firing of each, where it remembers.
    #[must_use]
    pub fn deliveries<'f>(&self, fingerprints: impl Iterator<Item = &'f Fingerprint>) -> BTreeMap<Fingerprint, Micros> {
        fingerprints.filter_map(|one| self.deliveries.last(one).map(|at| (one.clone(), at))).collect()
    }
}

pub(super) type Read = Box<dyn FnOnce(&Seen<'_>) + Send>;

/// The engine's ends.
pub(super) struct Lanes {
    pub commands: mpsc::Receiver<Request>,
    pub results: mpsc::Receiver<Request>,
    pub intake: mpsc::Receiver<Request>,
    pub reads: mpsc::Receiver<Read>,
    /// A webhook that did not fit into one batch: the rest of it comes first in the next.
    pub begun: Option<Request>,
}

/// The senders' ends.
#[derive(Clone)]
pub(super) struct LaneEnds {
    pub commands: mpsc::Sender<Request>,
    pub results: mpsc::Sender<Request>,
    pub intake: mpsc::Sender<Request>,
    pub reads: mpsc::Sender<Read>,
}

pub(super) fn lanes() -> (LaneEnds, Lanes) {
    let (commands, commands_out) = mpsc::channel(COMMANDS);
    let (results, results_out) = mpsc::channel(RESULTS);
    let (intake, intake_out) = mpsc::channel(DELIVERIES);
    let (reads, reads_out) = mpsc::channel(READS);
    (
        LaneEnds { commands, results, intake, reads },
        Lanes { commands: commands_out, results: results_out, intake: intake_out, reads: reads_out, begun: None },
    )
}

impl Lanes {
    /// The next request in order of importance, if one waits; `room`: how many inputs the batch still takes. Commands
    /// and results first, whatever waits in the intake.
    pub fn next_urgent(&mut self) -> Option<Request> {
        self.commands.try_recv().or_else(|_| self.results.try_recv()).ok()
    }

    pub fn next_delivery(&mut self) -> Option<Request> {
        self.begun.take().or_else(|| self.intake.try_recv().ok())
    }

    pub fn next_read(&mut self) -> Option<Read> {
        self.reads.try_recv().ok()
    }

    /// Refuses all that waits, except results: their senders wait for room anyway, and what happened must be recorded.
    pub fn refuse_waiting(&mut self, why: Refused) {
        while let Ok(request) = self.commands.try_recv() {
            request.refuse(why);
        }
        if let Some(begun) = self.begun.take() {
            begun.refuse(why);
        }
        while let Ok(request) = self.intake.try_recv() {
            request.refuse(why);
        }
    }
}
