//! Runs one story on a runtime of its own, and reads what nightshift logged meanwhile: a WARN or an ERROR that the story
//! did not expect fails it.

use std::fmt::Write as _;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{Layer, Registry};

use crate::support;

/// Said by every story, because its times are short.
const SHORT_TIMES: &str = "it may be measured before anything changes";

/// `troubles`: what the WARN and ERROR lines of this story may hold.
pub fn story<Tale: Future<Output = ()>>(troubles: &[&str], tale: impl FnOnce() -> Tale) {
    if support::hermetic() {
        return;
    }
    let log = Log::default();
    let _shown = ShownOnFailure(log.clone());
    let listens = Dispatch::new(Registry::default().with(log.clone()));
    let of_threads = listens.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .on_thread_start(move || std::mem::forget(tracing::dispatcher::set_default(&of_threads)))
        .build()
        .expect("a runtime");
    let here = tracing::dispatcher::set_default(&listens);
    runtime.block_on(tale());
    drop(here);
    runtime.shutdown_timeout(Duration::from_secs(5));
    let expected = |line: &String| line.contains(SHORT_TIMES) || troubles.iter().any(|trouble| line.contains(trouble));
    let unexpected: Vec<String> = log.troubles().into_iter().filter(|line| !expected(line)).collect();
    assert!(unexpected.is_empty(), "nightshift logged what nobody expected: {unexpected:#?}");
}

/// nightshift's lines, INFO and above. Shown when the story fails.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(Level, String)>>>);

impl Log {
    fn troubles(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|(level, _)| *level <= Level::WARN).map(|(_, line)| line.clone()).collect()
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let about = event.metadata();
        if *about.level() > Level::INFO || !about.target().starts_with("nightshift") {
            return;
        }
        let mut line = Line(format!("{} {} {}:", jiff::Timestamp::now(), about.level(), about.target()));
        event.record(&mut line);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((*about.level(), line.0));
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

/// On the story's own thread, so that it is shown with the failure.
struct ShownOnFailure(Log);

impl Drop for ShownOnFailure {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
            lines.iter().for_each(|(_, line)| eprintln!("{line}"));
        }
    }
}
