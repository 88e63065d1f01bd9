//! How the rest of the process talks to the engine: commands, results, alerts, questions. Cheap to clone.
//!
//! Every answer comes after the commit. Who must answer a peer in time is refused in time, also when the journal hangs.

use super::{
    clock::Clock,
    lanes::{ALERTS, Answer, LaneEnds, Refused, Request, Seen},
    pause::PauseFlag,
    publish::{Health, Published},
};
use crate::{
    decide::Policy,
    model::{
        id::Fingerprint,
        input::{Command, Input},
        time::{Micros, Span},
    },
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::{Notify, Semaphore, mpsc::error::TrySendError, oneshot};

/// A webhook's sender is answered within a second, whatever the journal does.
const INTAKE_WITHIN: Span = Span::millis(900);
/// A person waits longer, but not for ever.
const COMMAND_WITHIN: Span = Span::seconds(5);
/// So does a page that shows the state.
const READ_WITHIN: Span = Span::seconds(5);

#[derive(Clone)]
pub struct EngineHandle {
    pub(super) ends: LaneEnds,
    pub(super) shared: Arc<Shared>,
}

/// What the engine and its handles share beside the lanes.
pub(super) struct Shared {
    pub clock: Arc<dyn Clock>,
    /// Rung after every send.
    pub doorbell: Notify,
    pub stopping: AtomicBool,
    pub pause: PauseFlag,
    pub published: Published,
    /// Alerts that may wait.
    pub room: Arc<Semaphore>,
}

impl EngineHandle {
    /// One command of a person or of the process itself. A pause is effective before it is journalled.
    pub async fn command(&self, input: Input) -> Result<Answer, Refused> {
        self.ask(input, None).await
    }

    /// Decides by another policy from now on; its text is kept before it decides anything.
    pub async fn load_policy(&self, policy: Arc<Policy>, by: &str) -> Result<Answer, Refused> {
        self.ask(Input::PolicyLoaded { policy: policy.hash.clone(), by: by.to_owned() }, Some(policy)).await
    }

    async fn ask(&self, input: Input, policy: Option<Arc<Policy>>) -> Result<Answer, Refused> {
        let mut lifts = None;
        if let Input::Command { command, .. } = &input {
            match command {
                Command::Pause { .. } => self.shared.pause.set(),
                Command::Resume { .. } => lifts = Some(self.shared.pause.lifts()),
                _ => {}
            }
        }
        self.refuse_if_closed()?;
        let (mut request, answered) = Request::new(vec![input]);
        request.policy = policy;
        request.lifts = lifts;
        self.ends.commands.try_send(request).map_err(full_or_stopping)?;
        self.ring();
        self.answer(answered, COMMAND_WITHIN).await
    }

    /// What the driver or the courier did. Waits for room and for the commit, however long: what happened must be
    /// recorded. Refused only when the engine stops.
    pub async fn result(&self, input: Input) -> Result<Answer, Refused> {
        let (mut request, answered) = Request::new(vec![input]);
        request.is_result = true;
        self.ends.results.send(request).await.map_err(|_| Refused::Stopping)?;
        self.ring();
        answered.await.unwrap_or(Err(Refused::Stopping))
    }

    /// One webhook's alerts, answered together when all are durable. Never waits for room.
    pub async fn intake(&self, inputs: Vec<Input>) -> Result<Answer, Refused> {
        self.refuse_if_closed()?;
        // A webhook larger than all the room is taken when nothing else waits.
        let share = u32::try_from(inputs.len()).unwrap_or(ALERTS).clamp(1, ALERTS);
        let room = Arc::clone(&self.shared.room).try_acquire_many_owned(share).map_err(|_| Refused::Full)?;
        let (mut request, answered) = Request::new(inputs);
        request.room = Some(room);
        self.ends.intake.try_send(request).map_err(full_or_stopping)?;
        self.ring();
        self.answer(answered, INTAKE_WITHIN).await
    }

    /// Asks the state between two batches. Keep it short: everything waits for it.
    pub async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Seen<'_>) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let (answer, answered) = oneshot::channel();
        let read = Box::new(move |seen: &Seen<'_>| {
            let _ = answer.send(Ok(question(seen)));
        });
        self.ends.reads.try_send(read).map_err(full_or_stopping)?;
        self.ring();
        self.answer(answered, READ_WITHIN).await
    }

    /// The last webhook that this process remembers for each alert.
    pub async fn deliveries(&self, fingerprints: Vec<Fingerprint>) -> Result<BTreeMap<Fingerprint, Micros>, Refused> {
        self.read(move |seen| seen.deliveries(fingerprints.iter())).await
    }

    /// What needs no turn of the engine: answers also while the journal hangs.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.published.health()
    }

    /// What the engine says after each commit.
    #[must_use]
    pub fn published(&self) -> &Published {
        &self.shared.published
    }

    #[must_use]
    pub fn pause_flag(&self) -> &PauseFlag {
        &self.shared.pause
    }

    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }

    /// Takes nothing new but results, finishes what waits, says goodbye in the journal. Its task then ends.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.ring();
    }

    /// What waits in each lane.
    #[must_use]
    pub fn waiting(&self) -> [(&'static str, usize); 3] {
        let waiting = |lane: &tokio::sync::mpsc::Sender<Request>| lane.max_capacity().saturating_sub(lane.capacity());
        [
            ("commands", waiting(&self.ends.commands)),
            ("results", waiting(&self.ends.results)),
            ("intake", waiting(&self.ends.intake)),
        ]
    }

    fn ring(&self) {
        self.shared.doorbell.notify_one();
    }

    fn refuse_if_closed(&self) -> Result<(), Refused> {
        if self.shared.stopping.load(Ordering::SeqCst) {
            Err(Refused::Stopping)
        } else if self.shared.published.journal_is_down() {
            Err(Refused::JournalDown)
        } else {
            Ok(())
        }
    }

    fn why_late(&self) -> Refused {
        if self.shared.published.journal_is_down() { Refused::JournalDown } else { Refused::Full }
    }

    async fn answer<T>(&self, answered: oneshot::Receiver<Result<T, Refused>>, within: Span) -> Result<T, Refused> {
        let late = self.shared.clock.sleep_until(self.shared.clock.now() + within);
        tokio::select! {
            biased;
            answer = answered => answer.unwrap_or(Err(Refused::Stopping)),
            () = late => Err(self.why_late()),
        }
    }
}

fn full_or_stopping<T>(error: TrySendError<T>) -> Refused {
    match error {
        TrySendError::Full(_) => Refused::Full,
        TrySendError::Closed(_) => Refused::Stopping,
    }
}
