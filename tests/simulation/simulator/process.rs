//! One process of nightshift: the real engine, driver and courier on the memory journal and the simulated clock.

use super::{
    customers::Customers,
    landing,
    model::{Living, Model, Moment, Shared, locked},
    oracle, schedule,
    world::ModelWorld,
};
use nightshift::{
    driver::{self, Context, courier},
    engine::{EngineHandle, EngineObserver, Fatal, PauseFlag, StartOptions, entry, start},
    journal::{Journal, PAGE_ROWS},
    model::{event::Event, input::Input, time::Micros},
    notify::Notifiers,
};
use std::sync::Arc;
use tokio::{sync::watch, task::JoinSet};

pub struct Process {
    pub handle: EngineHandle,
    pub stop: watch::Sender<bool>,
    /// The engine's end; the driver and courier together are `None`.
    pub tasks: JoinSet<Option<Result<(), Fatal>>>,
    pub says_goodbye: bool,
}

/// Starts on what the journal holds. `Err`: it could not (it was killed meanwhile).
pub async fn begin(shared: &Shared) -> Result<Process, String> {
    let (options, number) = {
        let mut model = locked(shared);
        catch_up(&mut model);
        model.processes += 1;
        model.has_crashed = false;
        model.pause_asked = model.ledger.paused;
        let number = model.processes;
        let journal = model.journal.for_another_process();
        let pause = PauseFlag::default();
        model.living = Some(Living { number, journal: journal.clone(), pause: pause.clone() });
        let policy = Arc::clone(&model.policy);
        let options = StartOptions {
            journal: Arc::new(journal),
            clock: Arc::new(model.clock.clone()),
            observer: Arc::new(Watcher { shared: Arc::clone(shared), process: number }),
            policy,
            holder: "one".to_owned(),
            version: "simulated".to_owned(),
            damage: None,
            pause,
        };
        model.note(|| format!("process {number} starts"));
        (options, number)
    };
    let (engine, handle) = start(options).await.map_err(|error| error.to_string())?;
    let world = ModelWorld { shared: Arc::clone(shared), process: number };
    let mut notifiers = Notifiers::default();
    notifiers.add("slack", Arc::new(world.clone()));
    notifiers.add("pagerduty", Arc::new(world.clone()));
    notifiers.add("statuspage", Arc::new(Customers { shared: Arc::clone(shared), process: number }));
    let context = Context { engine: handle.clone(), world: Arc::new(world) };
    let stop = watch::Sender::new(false);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { Some(engine.run().await) });
    let (for_driver, for_courier) = (stop.subscribe(), stop.subscribe());
    let ends = handle.clone();
    tasks.spawn(async move {
        tokio::join!(
            driver::run(context, stopped(for_driver)),
            courier::run(ends.clone(), notifiers, stopped(for_courier))
        );
        ends.stop();
        None
    });
    Ok(Process { handle, stop, tasks, says_goodbye: false })
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What a killed process had committed and told nobody.
pub fn catch_up(model: &mut Model) {
    loop {
        let from = model.ledger.seq + 1;
        let rows = landing::now_or_never(model.journal.rows(from, PAGE_ROWS)).and_then(Result::ok).unwrap_or_default();
        if rows.is_empty() {
            return;
        }
        for row in rows {
            match entry::open(&row) {
                Ok(entry) => follow(model, entry.seq, entry.at, &entry.input, &entry.events, model.processes),
                Err(error) => model.breaks("the journal reads back", error.to_string()),
            }
        }
    }
}

struct Watcher {
    shared: Shared,
    process: u64,
}

impl EngineObserver for Watcher {
    fn entry(&self, seq: u64, at: Micros, input: &Input, events: &[Event]) {
        let mut model = locked(&self.shared);
        if !model.is_alive(self.process) {
            return;
        }
        follow(&mut model, seq, at, input, events, self.process);
        for event in events {
            schedule::people_react(&mut model, event);
            if matches!(event, Event::StepStarted { .. }) {
                model.moment(Moment::Started);
            }
        }
    }
}

fn follow(model: &mut Model, seq: u64, at: Micros, input: &Input, events: &[Event], process: u64) {
    model.note(|| format!("entry {seq} at {} {}: {}", at.rfc3339_seconds(), brief_input(input), brief(events)));
    if seq != model.ledger.seq + 1 {
        let last = model.ledger.seq;
        model.breaks("the journal has no gaps", format!("entry {seq} after {last}"));
    }
    model.ledger.seq = seq;
    if matches!(input, Input::Wake) {
        model.ledger.wakes += 1;
    }
    for event in events {
        oracle::before_event(model, at, input, event);
        let Model { ledger, policies, .. } = &mut *model;
        if let Err(why) = ledger.follow(seq, at, input, event, policies, process) {
            model.breaks("the table of phases holds", why);
        }
    }
}

fn brief_input(input: &Input) -> String {
    match input {
        Input::Alert(alert) => {
            format!("alert {} {:?} since {}", alert.fingerprint, alert.status, alert.starts_at.rfc3339_seconds())
        }
        Input::Performed { step, op, outcome } => format!("performed {step} {op:?} {outcome:?}"),
        Input::Command { by, command, .. } => format!("{by}: {command:?}"),
        Input::Measured { step, reading } => {
            format!("measured {step} {:?} {:?} {:?}", reading.target, reading.rule, reading.firing)
        }
        other => other.cause().to_owned(),
    }
}

fn brief(events: &[Event]) -> String {
    let words = events.iter().filter(|event| !matches!(event, Event::Tell { .. }));
    let words = words.map(|event| {
        let text = match event {
            Event::StepJudged { step, verdict, .. } => format!("StepJudged {step} {verdict:?}"),
            Event::StepStarted { step, plan, .. } => format!("StepStarted {step} {}", plan.proposal.summary),
            Event::StepPlanned { step, purpose, rung, .. } => {
                format!("StepPlanned {step} {purpose:?} {} {}", rung.action, rung.target.name)
            }
            Event::ApprovalAsked { step, .. } => format!("ApprovalAsked {step}"),
            Event::LadderBegan { incident, rungs, .. } => format!("LadderBegan {incident} {} rungs", rungs.len()),
            Event::IncidentOpened { incident, rule, .. } => format!("IncidentOpened {incident} {rule}"),
            other => format!("{other:?}"),
        };
        text.chars().take(220).collect::<String>()
    });
    words.collect::<Vec<_>>().join("; ")
}
