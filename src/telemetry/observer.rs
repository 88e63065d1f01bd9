//! Metrics of what the engine commits: counted from the journalled events, so that both always say the same.

use super::{
    labels::{AlertOutcome, LetterFailure, Receiver, StepOutcome, Verdict},
    metrics::Metrics,
};
use crate::{
    engine::EngineObserver,
    model::{
        event::Event,
        id::StepId,
        input::Input,
        letter::{self, LetterKey},
        reason::Reason,
        step::{self, Answer},
        time::{Micros, Span},
    },
};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Hears of every commit.
pub struct Observer {
    metrics: Metrics,
    /// The action of each step that is not over, and when its call was allowed to begin.
    steps: Mutex<BTreeMap<StepId, Running>>,
    /// When each owed letter was first wanted.
    letters: Mutex<BTreeMap<LetterKey, Micros>>,
    head: AtomicU64,
}

struct Running {
    action: &'static str,
    started: Option<Micros>,
}

impl Observer {
    #[must_use]
    pub fn new(metrics: Metrics) -> Observer {
        Observer { metrics, steps: Mutex::default(), letters: Mutex::default(), head: AtomicU64::new(0) }
    }

    fn step_event(&self, at: Micros, id: StepId, event: &Event) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Event::StepPlanned { rung, .. } = event {
            steps.insert(id, Running { action: known(&rung.action), started: None });
            return;
        }
        // A step of before the start is counted under its own name only if it was planned since.
        let running = steps.entry(id).or_insert(Running { action: "other", started: None });
        let action = running.action;
        let outcome = match event {
            Event::StepJudged { trace, .. } => {
                for line in trace {
                    self.metrics.guard_said(line.guard.word(), verdict(&line.verdict));
                }
                None
            }
            Event::StepStarted { .. } => {
                running.started = Some(at);
                self.metrics.call_began();
                None
            }
            Event::StepApplied { .. } => {
                self.call_ended(running, at);
                None
            }
            Event::StepFailed { .. } => Some(StepOutcome::Failed),
            Event::StepUnknown { .. } => Some(StepOutcome::Unknown),
            Event::StepDropped { reason: Reason::Shadow, .. } => Some(StepOutcome::WouldHave),
            Event::StepDropped { .. } => Some(StepOutcome::Dropped),
            Event::StepVerified { answer, .. } => Some(match answer {
                Answer::Helped => StepOutcome::Verified,
                Answer::DidNot => StepOutcome::Ineffective,
                Answer::Inconclusive { .. } | Answer::CouldNotMeasure { .. } => StepOutcome::Inconclusive,
            }),
            _ => None,
        };
        if let Some(outcome) = outcome {
            self.call_ended(running, at);
            steps.remove(&id);
            self.metrics.step_ended(action, outcome);
        }
    }

    fn wanted(&self, letter: &LetterKey) -> Option<Micros> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).remove(letter)
    }

    fn call_ended(&self, running: &mut Running, at: Micros) {
        if let Some(started) = running.started.take() {
            self.metrics.call_ended(running.action, at - started);
        }
    }
}

impl EngineObserver for Observer {
    fn batch(&self, inputs: usize, _entries: usize, commit_micros: u64) {
        let took = Span(i64::try_from(commit_micros).unwrap_or(i64::MAX));
        self.metrics.batch_committed(inputs, took, self.head.load(Ordering::Relaxed));
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
            if let Some(id) = event.step() {
                self.step_event(at, id, event);
            }
            match event {
                Event::AlertFired { rule: Some(_), .. } => self.metrics.alert_seen(AlertOutcome::New),
                Event::AlertFired { rule: None, .. } => self.metrics.alert_seen(AlertOutcome::Unmatched),
                Event::AlertResolved { .. } => self.metrics.alert_seen(AlertOutcome::Resolved),
                Event::AlertStale => self.metrics.alert_seen(AlertOutcome::Stale),
                Event::PageReleased { .. } => self.metrics.paged(),
                Event::Tell { letter, .. } => {
                    let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
                    letters.entry(letter.clone()).or_insert(at);
                }
                Event::LetterTold { letter, .. } => {
                    let lag = self.wanted(letter).map_or(Span::ZERO, |wanted| at - wanted);
                    self.metrics.letter_sent(receiver(&letter.receiver), lag);
                }
                Event::LetterFailed { letter, reason } => {
                    self.wanted(letter);
                    self.metrics.letter_failed(receiver(&letter.receiver), failure(reason));
                }
                _ => {}
            }
        }
    }

    fn commit_failed(&self) {
        self.metrics.commit_failed();
    }
}

fn known(action: &str) -> &'static str {
    ["kubernetes/scale", "kubernetes/restart", "noop"].into_iter().find(|name| *name == action).unwrap_or("other")
}

fn verdict(verdict: &step::Verdict) -> Verdict {
    match verdict {
        step::Verdict::Allow | step::Verdict::WouldHave => Verdict::Allow,
        step::Verdict::Ask { .. } => Verdict::Ask,
        step::Verdict::Hold { .. } => Verdict::Hold,
        step::Verdict::Deny { .. } => Verdict::Deny,
    }
}

fn receiver(receiver: &letter::Receiver) -> Receiver {
    match receiver {
        letter::Receiver::Slack { .. } => Receiver::Slack,
    }
}

/// The notifier's word for a permanent failure, as a closed label.
fn failure(reason: &str) -> LetterFailure {
    match reason {
        "invalid_auth" | "not_authed" | "account_inactive" | "token_revoked" | "token_expired" | "missing_scope"
        | "no_permission" | "access_denied" => LetterFailure::Unauthorized,
        "channel_not_found" | "not_in_channel" | "is_archived" | "message_not_found" => LetterFailure::NotFound,
        "invalid_blocks" | "msg_too_long" | "no_text" | "invalid_arguments" => LetterFailure::Refused,
        _ => LetterFailure::Other,
    }
}
