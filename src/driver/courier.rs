//! The courier of letters: what is owed goes out, per incident in order, one at a time per (receiver, incident).
//!
//! A receiver that is down delays its own letters only. Back-off lives in memory: after a start everything owed is
//! simply tried again. What is said, and whether at all, was decided before.

use super::tasks::{End, TaskSet};
use crate::{
    decide::state::DueLetter,
    engine::EngineHandle,
    model::{
        id::IncidentId,
        input::Input,
        letter::{LetterKey, Receiver, Told},
        page::DedupKey,
        time::{Micros, Span},
        view::IncidentView,
    },
    notify::{Notifiers, Transient},
};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

/// One call of a notifier.
const SEND_WITHIN: Duration = Duration::from_secs(15);
/// Incidents looked at at a time of each receiver, and as many that owe a page; the rest follow when these are told.
const LOOKED_AT: usize = 128;
/// Letters in flight per receiver: its rate limit is the notifier's affair.
const IN_FLIGHT: usize = 4;
/// Back-off doubles from the first to the last.
const BACK_OFF_FIRST: Span = Span::seconds(1);
const BACK_OFF_LAST: Span = Span::seconds(60);
/// A receiver that asks for more is asked again after this all the same.
const RETRY_AFTER_MOST: Span = Span::minutes(10);
/// What waits for somebody to set its receiver right is tried again so often.
const SET_RIGHT: Duration = Duration::from_secs(30);
/// After the process was told to stop.
const FINISH_WITHIN: Span = Span::seconds(5);
/// Between two looks at what is owed, while changes come fast: the engine has other things to do.
const LOOK_AGAIN: Span = Span::millis(20);
/// While the engine cannot be asked.
const ASK_AGAIN: Span = Span::seconds(1);

/// One letter at a time. Pages in PagerDuty go by themselves: nothing that is noted there delays one.
type Line = (Receiver, IncidentId, bool);
/// What backs off together: a receiver's pages, and everything else that it gets.
type Lane = (Receiver, bool);

struct Courier {
    engine: EngineHandle,
    notifiers: Notifiers,
    tasks: TaskSet<Line, Sent>,
    back_off: BTreeMap<Lane, BackOff>,
    /// Lines that failed before something else of their lane was taken. The next failure is a line's own, and it alone
    /// waits.
    faults: BTreeMap<Line, Wait>,
}

/// A lane that fails.
#[derive(Debug)]
struct BackOff {
    wait: Wait,
    /// What has failed meanwhile: the next to be tried is another one, for it may be the letter's fault.
    tried: BTreeSet<Line>,
}

#[derive(Debug, Clone, Copy)]
struct Wait {
    failures: u32,
    not_before: Micros,
}

/// How sending one letter ended, for the back-off.
struct Sent {
    key: LetterKey,
    result: Result<(), Transient>,
}

/// Runs until `stop` ends or the engine does. Then waits shortly for what is in flight.
pub async fn run(engine: EngineHandle, notifiers: Notifiers, stop: impl Future<Output = ()> + Send) {
    let mut changes = engine.published().letters();
    let clock = Arc::clone(engine.clock());
    let mut courier =
        Courier { engine, notifiers, tasks: TaskSet::default(), back_off: BTreeMap::new(), faults: BTreeMap::new() };
    let mut stop = std::pin::pin!(stop);
    loop {
        changes.borrow_and_update();
        let next = courier.begin_all().await;
        let pause = async {
            match next {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let looked_at = clock.now();
        let change = async {
            let changed = changes.changed().await;
            clock.sleep_until(looked_at + LOOK_AGAIN).await;
            changed
        };
        tokio::select! {
            biased;
            () = &mut stop => break,
            changed = change => if changed.is_err() { break },
            (line, end) = courier.tasks.next_end() => courier.ended(line, end, clock.now()),
            () = pause => {}
        }
    }
    courier.finish(clock.now() + FINISH_WITHIN).await;
}

impl Courier {
    /// Begins the first letter of every (receiver, incident) that is free; returns when to look again.
    async fn begin_all(&mut self) -> Option<Micros> {
        let now = self.engine.clock().now();
        let Ok(owed) = self.engine.read(|seen| seen.state.letters_due(LOOKED_AT)).await else {
            return Some(now + ASK_AGAIN);
        };
        let mut next: Option<Micros> = None;
        let mut in_flight: BTreeMap<Lane, usize> = BTreeMap::new();
        let mut lines: BTreeSet<Line> = BTreeSet::new();
        for letter in &owed {
            let line = line_of(&letter.key);
            if self.tasks.is_in_flight(&line) && lines.insert(line) {
                *in_flight.entry(lane_of(&letter.key)).or_default() += 1;
            }
        }
        let mut tried = Vec::new();
        // Pages of two incidents may have one key, and of them what is wanted last must come last.
        let mut keys: BTreeSet<(Receiver, DedupKey)> = BTreeSet::new();
        for letter in owed {
            let (line, lane) = (line_of(&letter.key), lane_of(&letter.key));
            if !lines.insert(line.clone()) {
                continue;
            }
            let key = letter.page.as_ref().map(|page| (lane.0.clone(), page.dedup_key));
            if key.as_ref().is_some_and(|key| keys.contains(key)) {
                continue;
            }
            if let Some(at) = self.waits_until(&line, &lane).filter(|at| *at > now) {
                next = Some(next.map_or(at, |next| next.min(at)));
                keys.extend(key);
                continue;
            }
            let back_off = self.back_off.get(&lane);
            if back_off.is_some_and(|back_off| back_off.tried.contains(&line)) {
                tried.push(letter);
                keys.extend(key);
                continue;
            }
            // While a receiver fails, one letter at a time finds out whether it is back.
            let most = if lane.1 || back_off.is_some() { 1 } else { IN_FLIGHT };
            let busy = in_flight.entry(lane).or_default();
            if *busy < most {
                *busy += 1;
                self.begin(line, letter);
            }
        }
        // Where all were tried it begins anew.
        for letter in tried {
            let busy = in_flight.entry(lane_of(&letter.key)).or_default();
            if *busy == 0 {
                *busy += 1;
                if let Some(back_off) = self.back_off.get_mut(&lane_of(&letter.key)) {
                    back_off.tried.clear();
                }
                self.begin(line_of(&letter.key), letter);
            }
        }
        self.faults.retain(|line, _| lines.contains(line));
        next
    }

    fn waits_until(&self, line: &Line, lane: &Lane) -> Option<Micros> {
        let lane = self.back_off.get(lane).map(|back_off| back_off.wait.not_before);
        lane.max(self.faults.get(line).map(|fault| fault.not_before))
    }

    fn begin(&mut self, line: Line, letter: DueLetter) {
        self.tasks.begin(line, send(self.engine.clone(), self.notifiers.clone(), letter));
    }

    fn ended(&mut self, line: Line, end: End<Sent>, now: Micros) {
        let lane = (line.0.clone(), line.2);
        let (failure, seed) = match end {
            End::Done(Sent { result: Ok(()), .. }) => {
                let failed = self.back_off.remove(&lane).map(|back_off| back_off.tried).unwrap_or_default();
                for failed in failed {
                    self.faults.entry(failed).or_insert(Wait { failures: 0, not_before: now });
                }
                self.faults.remove(&line);
                return;
            }
            End::Done(Sent { key, result: Err(failure) }) => (failure, format!("{key:?}")),
            End::Panicked(said) => {
                tracing::error!(receiver = %lane.0, said, "a notifier panicked");
                (Transient { reason: "panic", retry_after: None }, said)
            }
        };
        let is_lane_good = !self.back_off.contains_key(&lane);
        let (receiver, reason) = (lane.0.clone(), failure.reason);
        let fault = self.faults.get_mut(&line).filter(|fault| fault.failures > 0 || is_lane_good);
        let wait = match fault {
            Some(fault) => fault,
            None => {
                let wait = Wait { failures: 0, not_before: now };
                let back_off = self.back_off.entry(lane).or_insert(BackOff { wait, tried: BTreeSet::new() });
                back_off.tried.insert(line);
                &mut back_off.wait
            }
        };
        wait.failures = wait.failures.saturating_add(1);
        wait.not_before = now + wait_after(wait.failures, failure.retry_after, &seed);
        if wait.failures == 1 {
            tracing::warn!(%receiver, reason, "a letter was not taken; it is tried again");
        }
    }

    async fn finish(mut self, until: Micros) {
        let clock = Arc::clone(self.engine.clock());
        while !self.tasks.is_empty() {
            tokio::select! {
                (line, end) = self.tasks.next_end() => self.ended(line, end, clock.now()),
                () = clock.sleep_until(until) => break,
            }
        }
        self.tasks.let_go();
    }
}

fn line_of(key: &LetterKey) -> Line {
    (key.receiver.clone(), key.incident, key.is_page())
}

fn lane_of(key: &LetterKey) -> Lane {
    (key.receiver.clone(), key.is_page())
}

/// The receiver's own word counts; else it doubles. Jitter comes from the letter, so that no two follow in step.
fn wait_after(failures: u32, retry_after: Option<Duration>, seed: &str) -> Span {
    let base = match retry_after {
        Some(asked) => Span(i64::try_from(asked.as_micros()).unwrap_or(i64::MAX)).min(RETRY_AFTER_MOST),
        None => {
            let doubled = BACK_OFF_FIRST.0.saturating_mul(1_i64 << failures.saturating_sub(1).min(16));
            Span(doubled.min(BACK_OFF_LAST.0))
        }
    };
    let digest = Sha256::digest(format!("{seed} {failures}"));
    let share = i64::from(digest.first().copied().unwrap_or(0));
    base + Span(base.0.saturating_mul(share) / (4 * 255))
}

/// One letter, to its end: sent, recorded.
async fn send(engine: EngineHandle, notifiers: Notifiers, letter: DueLetter) -> Sent {
    let result = send_one(&engine, &notifiers, &letter).await;
    Sent { key: letter.key, result }
}

async fn send_one(engine: &EngineHandle, notifiers: &Notifiers, letter: &DueLetter) -> Result<(), Transient> {
    let told = match notifiers.of(&letter.key.receiver) {
        None => Told::Failed { reason: "no such receiver is configured".to_owned() },
        Some(notifier) => {
            let incident = letter.key.incident;
            let view = engine
                .read(move |seen| seen.state.incident_view(seen.policy, incident, seen.now))
                .await
                .map_err(|_| Transient { reason: "engine_busy", retry_after: None })?;
            let mut view = view.unwrap_or_else(|| of_itself(incident, engine.clock().now()));
            view.note.clone_from(&letter.note);
            notifier.send(letter, &view, SEND_WITHIN).await?
        }
    };
    let waits = matches!(told, Told::Waits { .. });
    let input = Input::Told { letter: letter.key.clone(), up_to: letter.want, result: told };
    match engine.result(input).await {
        Ok(_) if waits => Err(Transient { reason: "set_up_wrong", retry_after: Some(SET_RIGHT) }),
        Ok(_) => Ok(()),
        Err(_) => Err(Transient { reason: "engine_busy", retry_after: None }),
    }
}

/// What concerns no incident (a pause, a poisoned input) has no card: only its notes are sent.
fn of_itself(id: IncidentId, now: Micros) -> IncidentView {
    IncidentView {
        id,
        rule: String::new(),
        title: "nightshift".to_owned(),
        severity: String::new(),
        rank: u32::MAX,
        ranks: 0,
        service: None,
        runbook: None,
        state: "open".to_owned(),
        opened_at: now,
        resolved_at: None,
        quiet_until: None,
        acknowledged_by: None,
        acknowledged_at: None,
        lost_contact: false,
        firing: 0,
        resolved: 0,
        lost: 0,
        alerts: Vec::new(),
        ladder: String::new(),
        steps: Vec::new(),
        evidence: Vec::new(),
        pages: 0,
        calls: Vec::new(),
        next_call: None,
        pagerduty_pages: Vec::new(),
        page_held_until: None,
        pagerduty: Vec::new(),
        page_keys: Vec::new(),
        posted: None,
        parent: None,
        children: Vec::new(),
        more_children: 0,
        impact: None,
        team: None,
        channel: None,
        update_every: None,
        public: None,
        note: None,
    }
}

#[cfg(test)]
#[path = "courier_tests.rs"]
mod tests;
