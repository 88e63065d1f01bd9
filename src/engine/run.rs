//! The loop: take a batch, decide each input, commit all entries at once, publish, answer.
//!
//! The state runs ahead of the journal only between deciding and the commit; nothing reads it then. A commit that fails
//! is tried again with the same rows for as long as it takes: what was decided is never decided a second time.

use super::{
    batch::Batch,
    deliveries::Deliveries,
    fold,
    handle::Shared,
    lanes::{BATCH, Lanes, Refused, Request, Seen},
    narrate::narrate,
    publish::EngineObserver,
};
use crate::{
    decide::{Illegal, Policy, State},
    driver::tasks::panic_message,
    journal::{self, AppendError, Hash, Head},
    model::{
        event::Event,
        input::Input,
        plan::hex,
        time::{Micros, Span},
    },
};
use sha2::{Digest, Sha256};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
};

/// Between two tries of a commit that failed.
const RETRY: Span = Span::millis(250);
/// A commit that takes longer closes the intake: its senders are answered in time.
const HANGS_AFTER: Span = Span::millis(700);
/// Due timers handled in one batch, so that they never keep the intake out.
const WAKES: usize = 64;
/// Questions answered between two batches.
const READS: usize = 64;
/// After a timer that could not be decided; it doubles up to the last.
pub(super) const FIRST_WAKE_REST: Span = Span::minutes(1);
const LAST_WAKE_REST: Span = Span::hours(1);
/// Bytes kept of the text of an input that could not be decided.
const POISONED_KEPT: usize = 64 * 1024;
/// How often an idle engine looks whether the wall clock was stepped.
const LOOK_AT_CLOCK: Span = Span::seconds(1);

pub(super) type Decide = fn(&Policy, &mut State, &Input, Micros) -> Result<Vec<Event>, Illegal>;

/// Why the engine ended without a goodbye. Every one of them ends the process.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// Entry `seq` was written by somebody else: another instance leads. Nothing more is decided here.
    #[error("entry {seq} of the journal was written by another instance: this one no longer leads")]
    Fenced { seq: u64 },
    /// Told to stop while the journal could not be written. The senders of what is lost got no 2xx.
    #[error("stopped while the journal could not be written")]
    Unwritten,
    /// Not even the record of a failed decision could be decided.
    #[error("the record of an input that could not be decided could not be decided either: {0}")]
    PoisonedTwice(String),
    #[error("{0}")]
    Entry(#[from] super::entry::EntryError),
    #[error("the state cannot be folded anew: {0}")]
    Fold(String),
}

/// The one writer. Made by [`super::start()`], run as a task of its own.
pub struct Engine {
    pub(super) shared: Arc<Shared>,
    pub(super) lanes: Lanes,
    pub(super) journal: journal::Handle,
    pub(super) observer: Arc<dyn EngineObserver>,
    pub(super) holder: String,
    /// The leadership, written into every entry.
    pub(super) lead: u64,
    /// [`crate::decide::decide`]; tests put one that fails in its place.
    pub(super) decide: Decide,
    pub(super) state: State,
    pub(super) policy: Arc<Policy>,
    /// The last durable entry.
    pub(super) head: Head,
    /// The last entry's time.
    pub(super) at: Micros,
    pub(super) deliveries: Deliveries,
    pub(super) wake_not_before: Micros,
    pub(super) wake_rest: Span,
    /// What was published last.
    pub(super) work_version: Option<u64>,
    pub(super) letters_version: Option<u64>,
}

impl Engine {
    /// Runs until it is told to stop, or cannot go on. Says goodbye in the journal and gives the leadership back.
    pub async fn run(mut self) -> Result<(), Fatal> {
        let ended = self.run_to_end().await;
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.published.ended.store(true, Ordering::SeqCst);
        if let Err(why) = &ended {
            tracing::error!(%why, "the engine ended");
        }
        ended
    }

    async fn run_to_end(&mut self) -> Result<(), Fatal> {
        loop {
            self.answer_reads();
            let batch = self.decide_batch().await?;
            if !batch.is_empty() {
                self.commit_and_publish(batch).await?;
            } else if self.shared.stopping.load(Ordering::SeqCst) {
                return self.say_goodbye().await;
            } else {
                self.wait().await;
            }
        }
    }

    /// Until something is sent, a timer is due, or the wall clock should be looked at.
    async fn wait(&self) {
        let now = self.shared.clock.now();
        let due = self.state.next_due().map(|at| at.max(self.wake_not_before));
        let at = match (due, self.shared.clock.drifts()) {
            (Some(due), true) => Some(due.min(now + LOOK_AT_CLOCK)),
            (None, true) => Some(now + LOOK_AT_CLOCK),
            (due, false) => due,
        };
        let timer = async {
            match at {
                Some(at) => self.shared.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.shared.doorbell.notified() => {}
            () = timer => {}
        }
    }

    fn now(&mut self) -> Micros {
        self.at = self.at.max(self.shared.clock.now());
        self.at
    }

    fn answer_reads(&mut self) {
        for _ in 0..READS {
            let Some(read) = self.lanes.next_read() else { return };
            let seen = Seen {
                state: &self.state,
                policy: &self.policy,
                now: self.at.max(self.shared.clock.now()),
                seq: self.head.seq,
                deliveries: &self.deliveries,
            };
            // A question that panics loses its answer, not the engine. It saw the state, it could not change it.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| read(&seen))) {
                tracing::error!(said = panic_message(panic.as_ref()), "a question to the state panicked");
            }
        }
        // The rest has its turn after the next batch, and that is at once.
        self.shared.doorbell.notify_one();
    }

    /// Commands and results, then due timers, then alerts, as many as a batch takes.
    async fn decide_batch(&mut self) -> Result<Batch, Fatal> {
        let mut batch = Batch::new(self.head);
        if let Some(by) = self.shared.clock.stepped() {
            self.decide_own(&mut batch, Input::ClockStepped { by }).await?;
        }
        while batch.inputs < BATCH {
            let Some(request) = self.lanes.next_urgent() else { break };
            self.decide_request(&mut batch, request).await?;
        }
        self.decide_wakes(&mut batch).await?;
        while batch.inputs < BATCH {
            let Some(request) = self.lanes.next_delivery() else { break };
            self.decide_request(&mut batch, request).await?;
        }
        Ok(batch)
    }

    async fn decide_request(&mut self, batch: &mut Batch, mut request: Request) -> Result<(), Fatal> {
        let policy = request.policy.take();
        if let Some(policy) = &policy
            && let Err(error) = keep_policy(self.journal.as_ref(), policy).await
        {
            tracing::warn!(%error, "a policy could not be kept, and is not used");
            request.refuse(Refused::JournalDown);
            return Ok(());
        }
        while batch.inputs < BATCH {
            let Some(input) = request.inputs.pop_front() else { break };
            let (seq, events) = match &policy {
                None => self.decide_one(batch, input).await?,
                Some(policy) => {
                    let before = std::mem::replace(&mut self.policy, Arc::clone(policy));
                    let decided = self.decide_one(batch, input).await?;
                    if decided.1.iter().any(|event| matches!(event, Event::Poisoned { .. })) {
                        self.policy = before;
                    }
                    decided
                }
            };
            request.seq = seq.or(request.seq);
            request.events.push(events);
        }
        if request.inputs.is_empty() {
            batch.requests.push(request);
        } else {
            self.lanes.begun = Some(request);
        }
        Ok(())
    }

    /// Each due timer is an entry of its own. One that stays due for ever would be a mistake of ours: it is not spun on.
    async fn decide_wakes(&mut self, batch: &mut Batch) -> Result<(), Fatal> {
        for _ in 0..WAKES {
            let now = self.now();
            let Some(due) = self.state.next_due().filter(|due| *due <= now && self.wake_not_before <= now) else {
                return Ok(());
            };
            let (_, events) = self.decide_own(batch, Input::Wake).await?;
            let poisoned = events.iter().any(|event| matches!(event, Event::Poisoned { .. }));
            if poisoned || events.is_empty() {
                tracing::error!(due = due.0, "a due timer was not handled; it rests");
                self.wake_not_before = now + self.wake_rest;
                self.wake_rest = (self.wake_rest + self.wake_rest).min(LAST_WAKE_REST);
            } else {
                self.wake_rest = FIRST_WAKE_REST;
            }
        }
        Ok(())
    }

    /// An input that the engine itself makes.
    pub(super) async fn decide_own(
        &mut self,
        batch: &mut Batch,
        input: Input,
    ) -> Result<(Option<u64>, Arc<[Event]>), Fatal> {
        self.decide_one(batch, input).await
    }

    async fn decide_one(&mut self, batch: &mut Batch, input: Input) -> Result<(Option<u64>, Arc<[Event]>), Fatal> {
        batch.inputs += 1;
        if self.state.knows(&self.policy, &input) {
            batch.keep_silent(input);
            return Ok((None, Arc::default()));
        }
        let at = self.now();
        match self.try_decide(&input, at) {
            Ok(events) if events.is_empty() => {
                batch.keep_silent(input);
                Ok((None, Arc::default()))
            }
            Ok(events) => self.seal(batch, at, input, events),
            Err(message) => self.decide_poisoned(batch, &input, at, message).await,
        }
    }

    fn seal(
        &self,
        batch: &mut Batch,
        at: Micros,
        input: Input,
        events: Vec<Event>,
    ) -> Result<(Option<u64>, Arc<[Event]>), Fatal> {
        let (seq, events) = batch.add(at, self.lead, &self.policy.hash, input, events)?;
        Ok((Some(seq), events))
    }

    /// `Err`: what went wrong; the state must then be folded anew.
    fn try_decide(&mut self, input: &Input, at: Micros) -> Result<Vec<Event>, String> {
        let Engine { policy, state, decide, .. } = self;
        match catch_unwind(AssertUnwindSafe(|| decide(policy, state, input, at))) {
            Ok(Ok(events)) => Ok(events),
            Ok(Err(illegal)) => Err(illegal.to_string()),
            Err(panic) => Err(panic_message(panic.as_ref())),
        }
    }

    /// The state before the input, folded from what is durable and this batch; the failure itself becomes the input.
    async fn decide_poisoned(
        &mut self,
        batch: &mut Batch,
        input: &Input,
        at: Micros,
        message: String,
    ) -> Result<(Option<u64>, Arc<[Event]>), Fatal> {
        let text = serde_json::to_string(input).unwrap_or_default();
        let (digest, cause) = (hex(&Sha256::digest(&text)), input.cause().to_owned());
        let text = text[..text.floor_char_boundary(POISONED_KEPT)].to_owned();
        let poisoned = Input::Poisoned { digest, cause, message, text };
        self.shared.published.poisoned.fetch_add(1, Ordering::Relaxed);
        self.state = self.fold_anew(batch).await?;
        // Its versions count anew: whatever they say, it is published.
        (self.work_version, self.letters_version) = (None, None);
        match self.try_decide(&poisoned, at) {
            Ok(events) => self.seal(batch, at, poisoned, events),
            Err(message) => Err(Fatal::PoisonedTwice(message)),
        }
    }

    async fn fold_anew(&self, batch: &Batch) -> Result<State, Fatal> {
        loop {
            match fold::fold(self.journal.as_ref()).await {
                Ok(folded) if folded.head.seq != self.head.seq => {
                    return Err(Fatal::Fenced { seq: self.head.seq.saturating_add(1) });
                }
                Ok(folded) => {
                    let mut state = folded.state;
                    batch.apply_to(&mut state).map_err(|illegal| Fatal::Fold(illegal.to_string()))?;
                    return Ok(state);
                }
                Err(error) if error.retry() => self.rest_before_retry(&error.to_string()).await?,
                Err(error) => return Err(Fatal::Fold(error.to_string())),
            }
        }
    }

    /// Nothing leaves before the commit; everything leaves after it.
    pub(super) async fn commit_and_publish(&mut self, mut batch: Batch) -> Result<(), Fatal> {
        let began = self.shared.clock.now();
        if !batch.rows.is_empty() {
            self.commit(&mut batch).await?;
            self.head = batch.head;
        }
        let took = u64::try_from((self.shared.clock.now() - began).0).unwrap_or(0);
        self.publish(&batch);
        self.observer.batch(batch.inputs, batch.rows.len(), took);
        for request in std::mem::take(&mut batch.requests) {
            self.settle_pause(&request);
            request.answer();
        }
        // Senders do not wait for the log: what they send next is read and parsed meanwhile.
        for entry in &batch.entries {
            narrate(&self.policy, entry.seq, &entry.input, &entry.events);
        }
        Ok(())
    }

    /// The same rows until they are in. The answer of a lost commit is found in the journal itself.
    async fn commit(&mut self, batch: &mut Batch) -> Result<(), Fatal> {
        let journal = Arc::clone(&self.journal);
        let rows = std::mem::take(&mut batch.rows);
        let last = batch.head;
        let outcome = loop {
            match self.append(journal.as_ref(), &rows, batch).await {
                Ok(()) => break Ok(()),
                Err(AppendError::Clash) => match journal.row(last.seq).await {
                    Ok(Some(row)) if row.hash == last.hash => break Ok(()),
                    Ok(_) => break Err(Fatal::Fenced { seq: self.head.seq.saturating_add(1) }),
                    Err(error) => self.wait_for_journal(batch, &error.to_string()).await?,
                },
                Err(AppendError::Unavailable { reason }) => self.wait_for_journal(batch, &reason).await?,
            }
        };
        batch.rows = rows;
        if self.shared.published.journal_down.swap(false, Ordering::SeqCst) {
            tracing::info!(seq = last.seq, "the journal can be written again");
        }
        outcome
    }

    /// One try, awaited to its end. Senders are not kept waiting for one that hangs.
    async fn append(
        &mut self,
        journal: &dyn journal::Journal,
        rows: &[journal::Row],
        batch: &mut Batch,
    ) -> Result<(), AppendError> {
        let clock = Arc::clone(&self.shared.clock);
        let mut append = journal.append(rows, &[]);
        let hangs = clock.sleep_until(clock.now() + HANGS_AFTER);
        tokio::select! {
            biased;
            result = &mut append => return result,
            () = hangs => self.close_intake(batch, "a commit hangs"),
        }
        append.await
    }

    async fn wait_for_journal(&mut self, batch: &mut Batch, reason: &str) -> Result<(), Fatal> {
        self.observer.commit_failed();
        self.close_intake(batch, reason);
        self.rest_before_retry(reason).await
    }

    async fn rest_before_retry(&self, reason: &str) -> Result<(), Fatal> {
        if self.shared.stopping.load(Ordering::SeqCst) {
            tracing::error!(reason, "told to stop while the journal cannot be written");
            return Err(Fatal::Unwritten);
        }
        let clock = &self.shared.clock;
        clock.sleep_until(clock.now() + RETRY).await;
        Ok(())
    }

    /// 503 to everybody who waits, except results: they wait until they are recorded.
    fn close_intake(&mut self, batch: &mut Batch, reason: &str) {
        if !self.shared.published.journal_down.swap(true, Ordering::SeqCst) {
            tracing::error!(reason, "the journal cannot be written: webhooks are answered 503 until it can");
        }
        let (results, others) = std::mem::take(&mut batch.requests).into_iter().partition(|request| request.is_result);
        batch.requests = results;
        for request in others {
            self.settle_pause(&request);
            request.refuse(Refused::JournalDown);
        }
        self.lanes.refuse_waiting(Refused::JournalDown);
    }

    fn publish(&mut self, batch: &Batch) {
        let published = &self.shared.published;
        if !batch.rows.is_empty() {
            published.head.send_replace(self.head.seq);
        }
        for alert in &batch.known {
            self.deliveries.remember(alert);
        }
        for cause in &batch.silent {
            self.observer.input(cause, true);
        }
        for entry in &batch.entries {
            // Old news is no confirmation, and a stale resolve ends nothing.
            let alert = match &entry.input {
                Input::Alert(alert) => Some(alert),
                Input::Peer(news) => news.alert.as_ref(),
                _ => None,
            };
            if let Some(alert) = alert.filter(|_| !entry.events.contains(&Event::AlertStale)) {
                self.deliveries.remember(alert);
            }
            self.observer.input(entry.input.cause(), false);
            self.observer.entry(entry.seq, entry.at, &entry.input, &entry.events);
        }
        published.epoch.store(self.state.epoch(), Ordering::SeqCst);
        let work = self.state.work_version();
        if self.work_version != Some(work) {
            self.work_version = Some(work);
            published.work.send_replace(Arc::new(self.state.work()));
        }
        let letters = self.state.letters_version();
        if self.letters_version != Some(letters) {
            self.letters_version = Some(letters);
            published.letters.send_replace(letters);
        }
        if self.state.paused().is_some() && !self.shared.pause.is_set() {
            self.shared.pause.set();
        }
    }

    /// A resume lifts the flag once the state, after its commit, is not paused.
    fn settle_pause(&self, request: &Request) {
        if let Some(lifts) = request.lifts
            && self.state.paused().is_none()
            && !self.shared.published.journal_is_down()
        {
            self.shared.pause.lift(lifts);
        }
    }

    async fn say_goodbye(&mut self) -> Result<(), Fatal> {
        let mut batch = Batch::new(self.head);
        self.decide_own(&mut batch, Input::Stopped).await?;
        self.commit_and_publish(batch).await?;
        if let Err(error) = self.journal.release_lead(&self.holder, self.lead).await {
            tracing::warn!(%error, "the leadership was not given back: it runs out by itself");
        }
        Ok(())
    }
}

/// Its text is in the journal before it decides anything.
pub(super) async fn keep_policy(journal: &dyn journal::Journal, policy: &Policy) -> Result<(), journal::Error> {
    let hash: Hash = policy.hash.parse().map_err(|what| journal::Error::Damaged { seq: None, what })?;
    journal.put_policy(hash, policy.text()).await
}
