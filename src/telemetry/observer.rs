//! Counts what the engine commits: the metrics and the journal say the same, because both are made from one entry.
//!
//! Gauges of the state are read from it now and then, by [`keep_gauges`]: they show what is, not what happened.

use super::{
    labels::{AlertOutcome, IncidentState, Lane, Receiver, Restraint, StepOutcome, Verdict as Said},
    metrics::{Metrics, Words},
    notices::Notices,
    refusals::Refusals,
    silence::Silence,
};
use crate::{
    decide::counts::Counts,
    engine::{EngineHandle, EngineObserver, Seen},
    model::{
        event::Event,
        id::StepId,
        input::Input,
        letter::LetterKey,
        mode::Mode,
        reason::Reason,
        step::{Answer, Verdict},
        time::{Micros, Span},
    },
};
use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// How often the gauges are read from the state.
pub const GAUGES_EVERY: Span = Span::seconds(5);
/// Steps and letters whose beginning is remembered. More are live only if something is very wrong; then the rest
/// counts as `other`, or without its lag.
const REMEMBERED: usize = 10_000;

/// [`Metrics`] as the engine's observer.
pub struct MetricsObserver {
    metrics: Metrics,
    words: Words,
    refusals: Refusals,
    silence: Silence,
    head: AtomicU64,
    live: Mutex<Live>,
}

/// What an event that ends something does not say again. Lost by a restart: what began before it counts as `other`.
#[derive(Default)]
struct Live {
    actions: BTreeMap<StepId, &'static str>,
    wanted: BTreeMap<LetterKey, Micros>,
    /// Calls that may be under way, since when.
    calls: BTreeMap<StepId, Micros>,
}

impl MetricsObserver {
    /// `words`: those that the metrics were made with. `notices`: shows what is refused.
    #[must_use]
    pub fn new(metrics: Metrics, words: Words, notices: Notices) -> Arc<MetricsObserver> {
        let (refusals, silence) = (Refusals::new(notices.clone()), Silence::new(notices));
        let (head, live) = (AtomicU64::new(0), Mutex::default());
        Arc::new(MetricsObserver { metrics, words, refusals, silence, head, live })
    }

    /// Who takes nothing: for [`keep_gauges`].
    #[must_use]
    pub fn silence(&self) -> Silence {
        self.silence.clone()
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        // Only maps of what is live: whole after every statement.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step_ended(&self, step: StepId, outcome: StepOutcome) {
        let action = self.live().actions.remove(&step).unwrap_or(super::closed::OTHER);
        self.metrics.step_ended(action, outcome);
    }

    /// A call may begin once its start is committed, and is over when its outcome is.
    fn call(&self, at: Micros, event: &Event) {
        match event {
            Event::StepStarted { step, .. } => {
                self.live().calls.insert(*step, at);
                self.metrics.call_began();
            }
            Event::StepApplied { step, .. } | Event::StepFailed { step, .. } | Event::StepUnknown { step, .. } => {
                let mut live = self.live();
                if let Some(began) = live.calls.remove(step) {
                    let action = live.actions.get(step).copied().unwrap_or(super::closed::OTHER);
                    self.metrics.call_ended(action, at - began);
                }
            }
            _ => {}
        }
    }

    fn count(&self, at: Micros, event: &Event) {
        self.call(at, event);
        match event {
            Event::AlertFired { rule: Some(_), .. } => self.metrics.alert_seen(AlertOutcome::New),
            Event::AlertFired { rule: None, .. } => self.metrics.alert_seen(AlertOutcome::Unmatched),
            Event::AlertResolved { .. } => self.metrics.alert_seen(AlertOutcome::Resolved),
            Event::AlertStale => self.metrics.alert_seen(AlertOutcome::Stale),
            Event::StepPlanned { step, rung, .. } => {
                let mut live = self.live();
                if live.actions.len() < REMEMBERED
                    && let Some(action) = self.words.actions.iter().find(|word| **word == rung.action)
                {
                    live.actions.insert(*step, action);
                }
            }
            Event::StepJudged { trace, .. } => {
                for line in trace {
                    self.metrics.guard_said(line.guard.word(), said(&line.verdict));
                }
            }
            Event::StepDropped { step, reason: Reason::Shadow } => self.step_ended(*step, StepOutcome::WouldHave),
            Event::StepDropped { step, .. } => self.step_ended(*step, StepOutcome::Dropped),
            Event::StepFailed { step, .. } => self.step_ended(*step, StepOutcome::Failed),
            Event::StepUnknown { step, .. } => self.step_ended(*step, StepOutcome::Unknown),
            Event::StepVerified { step, answer } => self.step_ended(
                *step,
                match answer {
                    Answer::Helped => StepOutcome::Verified,
                    Answer::DidNot | Answer::Broke { .. } => StepOutcome::Ineffective,
                    Answer::Inconclusive { .. } | Answer::CouldNotMeasure { .. } => StepOutcome::Inconclusive,
                },
            ),
            Event::StepApplied { ended: Some(ended), .. } => self.metrics.sessions_ended(ended.sessions, ended.queries),
            Event::PageReleased { .. } => self.metrics.paged(),
            Event::PageSpared { .. } => self.metrics.page_spared(),
            Event::Tell { letter, .. } => {
                let mut live = self.live();
                if live.wanted.len() < REMEMBERED {
                    live.wanted.entry(letter.clone()).or_insert(at);
                }
            }
            Event::LetterTold { letter, .. } => {
                self.refusals.taken(letter);
                self.silence.taken(&letter.receiver, at);
                let wanted = self.live().wanted.remove(letter);
                self.metrics
                    .letter_sent(Receiver::of(&letter.receiver), wanted.map_or(Span::ZERO, |wanted| at - wanted));
            }
            Event::LetterFailed { letter, reason } => {
                self.refusals.refused(letter, reason);
                self.live().wanted.remove(letter);
                self.metrics.letter_failed(Receiver::of(&letter.receiver), super::labels::LetterFailure::Refused);
            }
            Event::LetterWaits { letter, .. } => {
                self.metrics.letter_failed(Receiver::of(&letter.receiver), super::labels::LetterFailure::Unauthorized);
            }
            Event::PolicyKept { .. } => self.metrics.rules_refused(),
            // The rest changes gauges, which are read from the state, or nothing that is counted.
            _ => {}
        }
    }
}

fn said(verdict: &Verdict) -> Said {
    match verdict {
        // A guard of a shadow step lets through what would have been done.
        Verdict::Allow | Verdict::WouldHave => Said::Allow,
        Verdict::Ask { .. } => Said::Ask,
        Verdict::Hold { .. } => Said::Hold,
        Verdict::Deny { .. } => Said::Deny,
    }
}

impl EngineObserver for MetricsObserver {
    fn batch(&self, inputs: usize, entries: usize, commit_micros: u64) {
        // A batch of known alerts commits nothing, and would make commits look fast.
        if entries > 0 {
            let took = Span(i64::try_from(commit_micros).unwrap_or(i64::MAX));
            self.metrics.batch_committed(inputs, took, self.head.load(Ordering::Relaxed));
        }
    }

    fn input(&self, cause: &'static str, known: bool) {
        self.metrics.input_decided(cause);
        if known && cause == "alert" {
            self.metrics.alert_seen(AlertOutcome::Known);
        }
    }

    fn entry(&self, seq: u64, at: Micros, _input: &Input, events: &[Event]) {
        self.head.store(seq, Ordering::Relaxed);
        for event in events {
            self.count(at, event);
        }
    }

    fn commit_failed(&self) {
        self.metrics.commit_failed();
    }
}

/// Reads the gauges every [`GAUGES_EVERY`] until `stop`.
pub async fn keep_gauges(
    metrics: Metrics,
    silence: Silence,
    engine: EngineHandle,
    stop: impl Future<Output = ()> + Send,
) {
    let clock = Arc::clone(engine.clock());
    let mut stop = std::pin::pin!(stop);
    loop {
        refresh_gauges(&metrics, &silence, &engine).await;
        tokio::select! {
            biased;
            () = &mut stop => return,
            () = clock.sleep_until(clock.now() + GAUGES_EVERY) => {}
        }
    }
}

/// Sets the gauges once. Where the engine does not answer, only what is known without it.
pub async fn refresh_gauges(metrics: &Metrics, silence: &Silence, engine: &EngineHandle) {
    let asked = engine.read(|seen| (seen.now, seen.state.counts(), restraints(seen), seen.policy.zone.clone())).await;
    let mut reasons = Vec::new();
    if let Ok((now, counts, seen, zone)) = asked {
        silence.look(&counts.waiting, now, &zone);
        set_counts(metrics, &counts, now);
        metrics.engine_alive(now);
        reasons = seen;
    }
    if engine.pause_flag().is_set() && !reasons.contains(&Restraint::Paused) {
        reasons.push(Restraint::Paused);
    }
    if engine.health().journal_down {
        reasons.push(Restraint::Journal);
    }
    metrics.set_restraints(&reasons);
    for (lane, waiting) in engine.waiting() {
        metrics.set_queue_depth(lane_of(lane), waiting);
    }
}

fn lane_of(name: &str) -> Lane {
    match name {
        "commands" => Lane::Commands,
        "results" => Lane::Results,
        _ => Lane::Intake,
    }
}

/// Why nothing may act, as the state has it.
#[must_use]
pub fn restraints(seen: &Seen<'_>) -> Vec<Restraint> {
    let mut reasons = Vec::new();
    if seen.state.paused().is_some() {
        reasons.push(Restraint::Paused);
    }
    if seen.state.settling_until().is_some_and(|until| until > seen.now) {
        reasons.push(Restraint::Settling);
    }
    if seen.state.brakes_all() {
        reasons.push(Restraint::Brake);
    }
    if seen.policy.spec.mode == Mode::Shadow {
        reasons.push(Restraint::Shadow);
    }
    reasons
}

fn set_counts(metrics: &Metrics, counts: &Counts, now: Micros) {
    let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let state = |word: &str| match word {
        "open" => Some(IncidentState::Open),
        "acknowledged" => Some(IncidentState::Acknowledged),
        "monitoring" => Some(IncidentState::Monitoring),
        // Those that are over are no gauge.
        _ => None,
    };
    let mut incidents = BTreeMap::new();
    for ((severity, word), count) in &counts.incidents {
        if let Some(state) = state(word) {
            *incidents.entry((severity.clone(), state)).or_default() += number(*count);
        }
    }
    metrics.set_incidents(&incidents);
    metrics.set_approvals_waiting(number(counts.asking));
    metrics.set_leases_active(number(counts.leases));
    metrics.set_disarmed(number(counts.disarmed));
    metrics.set_pages_held(number(counts.pages_held));
    metrics.set_brakes_on(counts.braked.len());
    for receiver in Receiver::ALL.iter().copied() {
        let owed = counts.letters_owed_to.get(receiver.word()).copied().unwrap_or(0);
        metrics.set_letters_owed(receiver, number(owed));
    }
    metrics.set_oldest_letter(counts.oldest_letter.map(|wanted| now - wanted));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::{
            self, FakeClock, StartOptions,
            testing::{MORNING, firing, options, policy, resolved, rule},
        },
        journal::memory::Memory,
        model::{
            input::{Command, Via},
            letter::Told,
            matcher::Matcher,
        },
    };

    const WORDS: Words = Words { actions: &["noop"], guards: &["pause", "mode"], inputs: &Input::CAUSES, tasks: &[] };

    #[tokio::test]
    async fn what_is_committed_is_counted_and_what_is_known_too() {
        let clock = FakeClock::at(MORNING);
        let metrics = Metrics::new("0", MORNING, WORDS);
        let mut only = rule("one", Mode::Shadow, Some("noop"));
        only.matchers = vec![Matcher::parse("alertname=\"A\"").unwrap()];
        let notices = Notices::default();
        let observer = MetricsObserver::new(metrics.clone(), WORDS, notices.clone());
        let silence = observer.silence();
        let options = options(Arc::new(Memory::new()), &clock, policy(vec![only]));
        let (engine, handle) = engine::start(StartOptions { observer, ..options }).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(engine.run());
        metrics.rules_taken(MORNING, "h", 1, &["P1".to_owned()]);
        handle.intake(vec![firing("A", MORNING), firing("B", MORNING)]).await.unwrap();
        handle.intake(vec![firing("A", MORNING), resolved("B", MORNING + Span::seconds(9))]).await.unwrap();
        let pause = Command::Pause { reason: "why not".to_owned() };
        handle.command(Input::Command { by: "ana".to_owned(), via: Via::Api, command: pause }).await.unwrap();
        refresh_gauges(&metrics, &silence, &handle).await;
        let text = metrics.encode();
        for line in [
            "nightshift_alerts_total{outcome=\"new\"} 1",
            "nightshift_alerts_total{outcome=\"unmatched\"} 1",
            "nightshift_alerts_total{outcome=\"known\"} 1",
            "nightshift_alerts_total{outcome=\"resolved\"} 1",
            "nightshift_inputs_total{kind=\"alert\"} 4",
            "nightshift_incidents{severity=\"P1\",state=\"open\"} 1",
            "nightshift_paused 1",
            "nightshift_may_act 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        // Nobody delivers anything here.
        clock.advance(Span::minutes(4));
        refresh_gauges(&metrics, &silence, &handle).await;
        let shown = notices.lines();
        assert!(shown.len() == 1 && shown[0].starts_with("slack:#incidents has taken nothing since "), "{shown:?}");
        let owed = handle.read(|seen| seen.state.letters_due(1)).await.unwrap().remove(0);
        let result = Told::Sent { external: None };
        handle.result(Input::Told { letter: owed.key, up_to: owed.want, result }).await.unwrap();
        refresh_gauges(&metrics, &silence, &handle).await;
        assert_eq!(notices.lines(), Vec::<String>::new(), "something was taken");
    }
}
