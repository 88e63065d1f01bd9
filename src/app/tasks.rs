//! Background tasks by name, each with an owner and a meaning of its end.
//!
//! Stopped in stages: first all that takes or does work, together; then what keeps the journal; the engine last.

use std::{future::Future, time::Duration};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The names, for the metric of panics.
pub const NAMES: &[&str] = &[
    "engine",
    "lead",
    "snapshot",
    "courier",
    "driver",
    "database",
    "admin",
    "webhooks",
    "signals",
    "pause file",
    "gauges",
    "slack desk",
    "slack socket",
    "slack token",
    "pagerduty token",
    "statuspage key",
    "connections",
];

/// What the end of a task means for the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExit {
    /// It should run until it is told to stop: when it ends by itself, the process stops.
    Stop,
    /// It may end.
    Ignore,
}

/// When a task stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// First: listeners, driver, courier, watchers.
    Work,
    /// Then what keeps the journal and the leadership.
    Keep,
    /// Last: the one writer.
    Core,
}

struct Task {
    name: &'static str,
    stage: Stage,
    stop: CancellationToken,
    handle: JoinHandle<Result<(), String>>,
}

/// All tasks of the process.
pub struct Tasks {
    running: Vec<Task>,
    /// Set when the process shall stop, by a signal or by a task's end.
    ending: CancellationToken,
    why: tokio::sync::watch::Sender<Option<String>>,
    on_panic: Box<dyn Fn(&'static str) + Send + Sync>,
}

impl Tasks {
    /// `ending`: cancelled when the process shall stop. `on_panic`: counts a panic, by the task's name.
    pub fn new(ending: CancellationToken, on_panic: impl Fn(&'static str) + Send + Sync + 'static) -> Tasks {
        Tasks { running: Vec::new(), ending, why: tokio::sync::watch::Sender::new(None), on_panic: Box::new(on_panic) }
    }

    /// Starts a task; it is given the token that tells it to stop.
    pub fn spawn<F>(
        &mut self,
        name: &'static str,
        stage: Stage,
        on_exit: OnExit,
        task: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let ending = self.ending.clone();
        let why = self.why.clone();
        let work = task(stop.clone());
        let told = stop.clone();
        #[expect(clippy::disallowed_methods, reason = "this is the owner that every background task has")]
        let handle = tokio::spawn(async move {
            // Dropped by a panic too: a task that dies must not die unseen.
            let _guard = EndsProcess { on_exit, told: told.clone(), ending };
            let result = work.await;
            if let Err(problem) = &result {
                note_first(&why, name, problem);
            }
            result
        });
        self.running.push(Task { name, stage, stop, handle });
    }

    /// Stops all tasks, stage by stage, each stage within `within`. The first failure, if one failed.
    pub async fn stop(self, within: Duration) -> Result<(), String> {
        let mut running = self.running;
        for stage in [Stage::Work, Stage::Keep, Stage::Core] {
            let (now, later): (Vec<Task>, Vec<Task>) = running.into_iter().partition(|task| task.stage == stage);
            running = later;
            for task in &now {
                task.stop.cancel();
            }
            let deadline = tokio::time::Instant::now() + within;
            for task in now {
                match tokio::time::timeout_at(deadline, task.handle).await {
                    Ok(Ok(Ok(()) | Err(_))) => {}
                    Ok(Err(error)) => {
                        (self.on_panic)(task.name);
                        tracing::error!(task = task.name, %error, "a background task panicked");
                        note_first(&self.why, task.name, &error.to_string());
                    }
                    Err(_) => tracing::warn!(task = task.name, "a background task did not end in time; it is let go"),
                }
            }
        }
        self.why.borrow().clone().map_or(Ok(()), Err)
    }
}

/// The first failure is the cause; what follows is its consequence.
fn note_first(why: &tokio::sync::watch::Sender<Option<String>>, name: &str, problem: &str) {
    why.send_if_modified(|first| {
        let is_first = first.is_none();
        if is_first {
            *first = Some(format!("{name}: {problem}"));
        }
        is_first
    });
}

struct EndsProcess {
    on_exit: OnExit,
    told: CancellationToken,
    ending: CancellationToken,
}

impl Drop for EndsProcess {
    fn drop(&mut self) {
        if self.on_exit == OnExit::Stop && !self.told.is_cancelled() {
            self.ending.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    #[tokio::test]
    async fn what_works_stops_first_and_the_engine_last() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Tasks::new(CancellationToken::new(), |_| {});
        for (name, stage) in [("engine", Stage::Core), ("driver", Stage::Work), ("lead", Stage::Keep)] {
            let order = Arc::clone(&order);
            tasks.spawn(name, stage, OnExit::Stop, |stop| async move {
                stop.cancelled().await;
                order.lock().unwrap().push(name);
                Ok(())
            });
        }
        tasks.stop(Duration::from_secs(5)).await.unwrap();
        assert_eq!(*order.lock().unwrap(), ["driver", "lead", "engine"]);
    }

    #[tokio::test]
    async fn a_task_that_ends_or_panics_by_itself_ends_the_process() {
        let panics = Arc::new(AtomicUsize::new(0));
        for panicking in [false, true] {
            let ending = CancellationToken::new();
            let seen = Arc::clone(&panics);
            let mut tasks = Tasks::new(ending.clone(), move |_| {
                seen.fetch_add(1, Ordering::SeqCst);
            });
            tasks.spawn("engine", Stage::Core, OnExit::Stop, |_| async move {
                assert!(!panicking, "on purpose");
                Err("fenced".to_owned())
            });
            tokio::time::timeout(Duration::from_secs(5), ending.cancelled()).await.unwrap();
            assert!(tasks.stop(Duration::from_secs(5)).await.is_err());
        }
        assert_eq!(panics.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_task_that_may_end_ends_nothing() {
        let ending = CancellationToken::new();
        let mut tasks = Tasks::new(ending.clone(), |_| {});
        tasks.spawn("signals", Stage::Work, OnExit::Ignore, |_| async { Ok(()) });
        tasks.stop(Duration::from_secs(5)).await.unwrap();
        assert!(!ending.is_cancelled());
    }
}
