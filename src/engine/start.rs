//! From a journal to a running engine: take the leadership, fold the state, say `Started`. Only then is anything taken.

use super::{
    batch::Batch,
    clock::Clock,
    deliveries::Deliveries,
    fold,
    handle::{EngineHandle, Shared},
    lanes::{ALERTS, lanes},
    pause::PauseFlag,
    publish::{EngineObserver, Published},
    run::{Engine, FIRST_WAKE_REST, Fatal, keep_policy},
};
use crate::{
    decide::{Policy, decide},
    journal::{self, Lead, head_file::HeadCheck},
    model::{
        input::Input,
        time::{Micros, Span},
    },
};
use std::{
    future::Future,
    sync::{Arc, atomic::AtomicBool},
};
use tokio::sync::{Notify, Semaphore};

/// How long a leadership holds without being renewed.
pub const LEAD_FOR: Span = Span::seconds(15);
/// It is renewed three times in that time.
const RENEW_EVERY: Span = Span::seconds(5);

/// What a start needs.
pub struct StartOptions {
    pub journal: journal::Handle,
    pub clock: Arc<dyn Clock>,
    pub observer: Arc<dyn EngineObserver>,
    pub policy: Arc<Policy>,
    /// Names one instance that cannot run twice: the holder of the leadership.
    pub holder: String,
    /// This build's version.
    pub version: String,
    /// What the head file says is wrong: the journal's tail was cut.
    pub damage: Option<String>,
    /// Set when a pause file is there, or a signal came before the start.
    pub pause: PauseFlag,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("another instance leads: {by}, until {}\nhint: stop it, or wait until it is over", until.rfc3339_seconds())]
    Held { by: String, until: Micros },
    #[error("{0}")]
    Journal(#[from] journal::Error),
    #[error("{0}")]
    Engine(#[from] Fatal),
}

/// A started engine, and how to talk to it. `Started` is durable; its work is published; nothing runs yet.
pub async fn start(options: StartOptions) -> Result<(Engine, EngineHandle), StartError> {
    let StartOptions { journal, clock, observer, policy, holder, version, damage, pause } = options;
    let lead = take_lead(journal.as_ref(), clock.as_ref(), &holder).await?;
    let folded = fold::fold(journal.as_ref()).await?;
    clock.not_before(folded.at);
    keep_policy(journal.as_ref(), &policy).await?;
    let clean = folded.last_cause.as_deref().is_none_or(|cause| cause == "stopped");
    let started = Input::Started {
        replica: holder.clone(),
        version,
        policy: policy.hash.clone(),
        clean,
        damage: damage.or(folded.damage),
    };
    let (ends, lanes) = lanes();
    let shared = Arc::new(Shared {
        clock,
        doorbell: Notify::new(),
        stopping: AtomicBool::new(false),
        pause,
        published: Published::new(lead, folded.head.seq),
        room: Arc::new(Semaphore::new(usize::try_from(ALERTS).unwrap_or(usize::MAX))),
    });
    let handle = EngineHandle { ends, shared: Arc::clone(&shared) };
    let mut engine = Engine {
        shared,
        lanes,
        journal,
        observer,
        holder,
        lead,
        decide,
        state: folded.state,
        policy,
        head: folded.head,
        at: folded.at,
        deliveries: Deliveries::default(),
        wake_not_before: Micros(i64::MIN),
        wake_rest: FIRST_WAKE_REST,
        work_version: None,
        letters_version: None,
    };
    let mut batch = Batch::new(engine.head);
    engine.decide_own(&mut batch, started).await?;
    engine.commit_and_publish(batch).await?;
    Ok((engine, handle))
}

async fn take_lead(journal: &dyn journal::Journal, clock: &dyn Clock, holder: &str) -> Result<u64, StartError> {
    let now = clock.now();
    match journal.take_lead(holder, now.0, (now + LEAD_FOR).0).await? {
        Lead::Taken { epoch } => Ok(epoch),
        Lead::Held { by, until } => Err(StartError::Held { by, until: Micros(until) }),
    }
}

/// Renews the leadership until `stop`. `Err`: it was lost, and the process should end; the journal's seq keeps it from
/// writing in any case.
pub async fn keep_lead(
    journal: journal::Handle,
    handle: EngineHandle,
    holder: String,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), Fatal> {
    let clock = Arc::clone(handle.clock());
    let lead = handle.health().lead;
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            () = clock.sleep_until(clock.now() + RENEW_EVERY) => {}
        }
        match journal.renew_lead(&holder, lead, (clock.now() + LEAD_FOR).0).await {
            Ok(true) => {}
            Ok(false) if handle.health().ended => return Ok(()),
            Ok(false) => return Err(Fatal::Fenced { seq: handle.health().seq.saturating_add(1) }),
            Err(error) => tracing::warn!(%error, "the leadership was not renewed; it is tried again"),
        }
    }
}

/// What the head file says, as a sentence for [`StartOptions::damage`]; None where nothing is wrong.
#[must_use]
pub fn damage_of(check: HeadCheck) -> Option<String> {
    match check {
        HeadCheck::Fine | HeadCheck::Missing => None,
        HeadCheck::Ahead { file, journal } => {
            Some(format!("its tail was cut: entry {file} was committed, the last one held is {journal}"))
        }
        HeadCheck::Differs { seq } => Some(format!("entry {seq} is not the one that was committed")),
    }
}
