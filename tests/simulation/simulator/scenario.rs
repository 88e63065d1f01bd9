//! One scenario: a seed, from an empty journal to a calm world. The loop moves the only clock from moment to moment.

use super::{
    customers, landing,
    model::{Broken, Happening, Model, Shared, Violation, locked},
    nature, pagerduty,
    process::{self, Process},
    schedule,
    things::Without,
};
use nightshift::{
    engine::{Clock, replay},
    model::{
        alert::Alert,
        input::{Command, Input, Via},
        step::Phase,
        time::{Micros, Span},
    },
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use tokio::task::JoinSet;

pub const BEGIN: Micros = Micros(1_772_334_000_000_000);
/// After the world is calm: longer than any approval, lease, quiet time and back-off.
const CALM: Span = Span::hours(9);
/// Moments of one scenario: more means that something spins.
const MOMENTS: u32 = 30_000;
/// Timers that one scenario may handle.
const WAKES: u64 = 3_000;
/// How often Alertmanager may be asked in one.
const ASKS: u64 = 1_000;
/// What a scenario came to.
pub struct Outcome {
    pub violations: Vec<Violation>,
    pub entries: u64,
    pub writes: u64,
    /// By action.
    pub effects: BTreeMap<String, u64>,
    pub processes: u64,
    pub trace: Vec<String>,
}

#[derive(Clone, Copy, Default)]
pub struct Options {
    pub traces: bool,
    pub without: Option<Without>,
}

pub fn run(seed: u64, options: Options) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(run_one(seed, options))
}

struct Scenario {
    shared: Shared,
    process: Option<Process>,
    senders: JoinSet<()>,
    calm_at: Micros,
}

async fn run_one(seed: u64, options: Options) -> Outcome {
    let mut model = Model::new(seed, BEGIN, options.traces);
    model.without = options.without;
    let horizon = schedule::draw(&mut model);
    model.at(BEGIN, Happening::Starts);
    let shared: Shared = Arc::new(Mutex::new(model));
    let mut scenario = Scenario { shared, process: None, senders: JoinSet::new(), calm_at: BEGIN + horizon };
    scenario.play().await;
    scenario.judge().await;
    let mut model = locked(&scenario.shared);
    let mut effects = BTreeMap::new();
    for call in model.calls.iter().filter(|call| call.took_effect) {
        *effects.entry(call.plan.action.clone()).or_default() += 1;
    }
    Outcome {
        violations: std::mem::take(&mut model.violations),
        entries: model.ledger.seq,
        writes: model.calls.len() as u64,
        effects,
        processes: model.processes,
        trace: model.trace.take().unwrap_or_default(),
    }
}

/// Returns when nothing else can run: the runtime's own clock is paused, and moves on only then.
async fn settle() {
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
}

impl Scenario {
    fn model(&self) -> std::sync::MutexGuard<'_, Model> {
        locked(&self.shared)
    }

    async fn play(&mut self) {
        let end = self.calm_at + CALM;
        for _ in 0..MOMENTS {
            settle().await;
            self.bury().await;
            while self.senders.try_join_next().is_some() {}
            if !self.model().violations.is_empty() {
                return;
            }
            let Some(at) = self.next_moment().filter(|at| *at <= end) else { return };
            let clock = self.model().clock.clone();
            clock.advance(at - clock.now());
            while let Some(what) = self.due() {
                self.happens(what).await;
            }
        }
        self.model().breaks("timers don't spin", format!("after {MOMENTS} moments it is still busy"));
    }

    fn next_moment(&mut self) -> Option<Micros> {
        let mut model = self.model();
        let calm = if model.is_calm { None } else { Some(self.calm_at) };
        let happens = model.queue.first_key_value().map(|((at, _), _)| *at);
        let waits = model.clock.next_wait();
        let now = model.now();
        if !model.is_calm && now >= self.calm_at {
            nature::calms_down(&mut model);
        }
        [calm, happens, waits].into_iter().flatten().min().map(|at| at.max(now))
    }

    fn due(&self) -> Option<Happening> {
        let mut model = self.model();
        let now = model.now();
        let key = *model.queue.first_key_value().filter(|((at, _), _)| *at <= now)?.0;
        model.queue.remove(&key)
    }

    /// A killed process is taken away; one that ended by itself, too.
    async fn bury(&mut self) {
        if let Some(process) = &mut self.process {
            if self.shared.lock().unwrap().crash_after_fault && process.handle.health().journal_down {
                locked(&self.shared).dies();
            }
            let mut ended = None;
            while let Some(joined) = process.tasks.try_join_next() {
                match joined {
                    Ok(Some(end)) => ended = Some(end),
                    Ok(None) => {}
                    Err(error) => locked(&self.shared).breaks("no task dies unseen", error.to_string()),
                }
            }
            if let Some(end) = ended {
                let mut model = locked(&self.shared);
                if let Err(fatal) = &end
                    && !model.has_crashed
                    && !process.says_goodbye
                {
                    model.breaks("the engine goes on", fatal.to_string());
                }
                model.note(|| format!("the engine ended: {end:?}"));
                model.dies();
            }
        }
        if self.model().has_crashed && self.process.is_some() {
            self.process = None;
            self.senders.abort_all();
            settle().await;
            let mut model = self.model();
            process::catch_up(&mut model);
        }
    }

    async fn happens(&mut self, what: Happening) {
        self.model().note(|| format!("{what:?}").chars().take(200).collect());
        match what {
            Happening::Starts => self.starts().await,
            Happening::StopsCleanly => {
                if let Some(process) = &mut self.process {
                    process.says_goodbye = true;
                    process.stop.send_replace(true);
                }
            }
            Happening::Delivers { alert, tries } => self.delivers(alert, tries),
            Happening::Asks { by, command } => self.asks(by, command),
            Happening::Reloads => self.reloads(),
            other => nature::happens(&mut self.model(), other),
        }
    }

    async fn starts(&mut self) {
        // It may have died in this very moment, where the clock jumped.
        self.bury().await;
        if self.process.is_some() {
            return;
        }
        match process::begin(&self.shared).await {
            Ok(process) => self.process = Some(process),
            Err(why) => {
                let mut model = self.model();
                model.note(|| format!("it did not start: {why}"));
                model.dies();
            }
        }
    }

    fn delivers(&mut self, mut alert: Box<Alert>, tries: u32) {
        let shared = Arc::clone(&self.shared);
        let handle = self.process.as_ref().map(|process| process.handle.clone());
        alert.received_at = self.model().now();
        if self.model().is_broken(Broken::AlertmanagerCutOff) {
            return self.model().later(Span::seconds(20), Happening::Delivers { alert, tries });
        }
        let again = move |model: &mut Model, alert: Box<Alert>| {
            if tries < 40 {
                let after = model.random.seconds(5, 20) + Span::seconds(5 * i64::from(tries));
                model.later(after, Happening::Delivers { alert, tries: tries + 1 });
            }
        };
        // Alertmanager does not give up: a copy comes again when the process is killed before it answers.
        let Some(handle) = handle else { return again(&mut self.model(), alert) };
        let process = self.model().processes;
        let guard = Unanswered { shared: Arc::clone(&shared), alert: Some(alert.clone()), tries };
        self.senders.spawn(async move {
            let mut guard = guard;
            let answer = handle.intake(vec![Input::Alert(alert.clone())]).await;
            guard.alert = None;
            let mut model = locked(&shared);
            match answer {
                Ok(answer) if model.is_alive(process) => landing::acknowledged(&mut model, answer.seq, &alert),
                Ok(_) | Err(_) => again(&mut model, alert),
            }
        });
    }

    fn asks(&mut self, by: String, command: Command) {
        let Some(handle) = self.process.as_ref().map(|process| process.handle.clone()) else { return };
        if matches!(command, Command::Pause { .. }) {
            handle.pause_flag().set();
            self.model().pause_asked = true;
            self.model().pauses += 1;
        }
        let pauses = self.model().pauses;
        let shared = Arc::clone(&self.shared);
        self.senders.spawn(async move {
            let resumes = matches!(command, Command::Resume { .. });
            let answer = handle.command(Input::Command { by, via: Via::Api, command }).await;
            let mut model = locked(&shared);
            if resumes && answer.is_ok() && !model.ledger.paused && model.pauses == pauses {
                model.pause_asked = false;
            }
        });
    }

    fn reloads(&mut self) {
        let policy = {
            let mut model = self.model();
            let spec = model.spec.clone();
            let spec = super::policies::reload(&mut model.random, &spec);
            model.spec = spec.clone();
            let policy = super::policies::compile(spec);
            model.policies.insert(policy.hash.clone(), Arc::clone(&policy));
            model.policy = Arc::clone(&policy);
            policy
        };
        let Some(handle) = self.process.as_ref().map(|process| process.handle.clone()) else { return };
        self.senders.spawn(async move {
            // Refused: the old rules run on.
            let _ = handle.load_policy(policy, "ana").await;
        });
    }

    /// At the end of a calm world nothing is left, and the journal gives the same again.
    async fn judge(&mut self) {
        if !self.model().violations.is_empty() {
            return;
        }
        let Some(process) = &self.process else {
            return self.model().breaks("it comes back", "no process lives at the end".to_owned());
        };
        let asked = process.handle.read(|seen| (seen.state.counts(), seen.state.digest(), seen.state.work()));
        let published = process.handle.published().work().borrow().clone();
        let read = tokio::join!(asked, settle()).0;
        let health = process.handle.health();
        let journal = self.model().journal.clone();
        let replayed = replay::replay(&journal).await;
        let mut model = self.model();
        let Ok((counts, digest, work)) = read else {
            return model.breaks("it answers", format!("{health:?}"));
        };
        if work != *published {
            model.breaks("the driver hears what there is to do", format!("{published:?} is now {work:?}"));
        }
        if model.asks > ASKS {
            let asks = model.asks;
            model.breaks("nobody is asked in vain", format!("Alertmanager was asked {asks} times"));
        }
        if counts.acting + counts.asking + counts.holding + counts.leases > 0 {
            model.breaks("nothing is left at the end", format!("{counts:?}"));
        }
        let open: BTreeMap<_, _> = counts.incidents.iter().filter(|((_, word), _)| *word != "resolved").collect();
        if !open.is_empty() {
            model.breaks("every incident ends", format!("{open:?}"));
        }
        let live = model.ledger.steps.iter().find(|(_, step)| !step.phase.is_terminal());
        if let Some((id, phase)) = live.map(|(id, step)| (*id, step.phase)) {
            model.breaks("no step lives for ever", format!("step {id} is {}", Phase::word(phase)));
        }
        if counts.locks > 0 {
            model.breaks("no lock is left", format!("{} locks", counts.locks));
        }
        if counts.pages_held > 0 {
            model.breaks("no page is held for ever", format!("{} are", counts.pages_held));
        }
        if counts.letters_owed > 0 {
            model.breaks("I-30 no letter is lost", format!("{} are still owed", counts.letters_owed));
        }
        let lost = model
            .ledger
            .posts_owed
            .iter()
            .find(|post| !model.slack.posts.contains(post) && !model.ledger.posts_failed.contains(post));
        if let Some(post) = lost.copied() {
            model.breaks("I-30 no letter is lost", format!("post {post} came nowhere"));
        }
        pagerduty::judge(&mut model);
        customers::judge(&mut model);
        if let Some(step) = model.ledger.broke_and_stayed() {
            model.breaks("I-23 what broke is put back", format!("step {step}"));
        }
        if model.ledger.wakes > WAKES {
            let wakes = model.ledger.wakes;
            model.breaks("timers don't spin", format!("{wakes} wakes"));
        }
        match replayed {
            Ok(report) => {
                if let Some(difference) = report.difference {
                    model.breaks("I-40 a replay gives the same", format!("{difference:?}"));
                } else if report.state_digest != nightshift::model::plan::hex(&digest) {
                    model.breaks("I-40 a replay gives the same", "another state".to_owned());
                }
            }
            Err(error) => model.breaks("I-40 a replay gives the same", error.to_string()),
        }
    }
}

/// A webhook whose connection broke is sent again.
struct Unanswered {
    shared: Shared,
    alert: Option<Box<Alert>>,
    tries: u32,
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(alert) = self.alert.take() {
            let tries = self.tries + 1;
            locked(&self.shared).later(Span::seconds(10), Happening::Delivers { alert, tries });
        }
    }
}
