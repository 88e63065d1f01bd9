//! The simulator: the real engine, driver and courier on the memory journal, against a model world, from seeds.

mod alerts;
mod callings;
mod colours;
mod customers;
mod databases;
mod landing;
mod ledger;
mod model;
mod nature;
mod objects;
mod oracle;
mod pagerduty;
mod pods;
mod policies;
mod process;
mod random;
mod restraints;
mod revisions;
mod rollbacks;
mod scenario;
mod schedule;
mod things;
mod world;

pub use scenario::{Options, run};
use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Many scenarios, added up.
#[derive(Default)]
pub struct Sum {
    pub scenarios: u64,
    pub entries: u64,
    pub writes: u64,
    /// Writes that took effect, by action.
    pub effects: BTreeMap<String, u64>,
    pub processes: u64,
    pub failed: Vec<(u64, Vec<String>)>,
    pub took: Duration,
}

impl Sum {
    pub fn line(&self) -> String {
        let rate = self.scenarios as f64 / self.took.as_secs_f64().max(0.001);
        let by_action: Vec<String> =
            self.effects.iter().map(|(action, effects)| format!("{action} {effects}")).collect();
        let mut text = format!(
            "simulation: {} scenarios, {} failed; {} entries, {} processes, {} writes called, {} took effect ({}); {:.1} s, {rate:.0} scenarios/s",
            self.scenarios,
            self.failed.len(),
            self.entries,
            self.processes,
            self.writes,
            self.effects.values().sum::<u64>(),
            by_action.join(", "),
            self.took.as_secs_f64(),
        );
        for (seed, broken) in self.failed.iter().take(10) {
            let _ = write!(text, "\nseed {seed} broke: {}", broken.join(" | "));
            let _ = write!(text, "\n  again: cargo run --example simulate -- --seed {seed}");
        }
        text
    }
}

/// Runs seeds `first` to `first + count` on every core; stops early at `most` failures.
#[expect(clippy::disallowed_methods, reason = "how long it really took")]
pub fn run_many(first: u64, count: u64, most: usize, options: Options) -> Sum {
    quiet_simulated_panics();
    let began = Instant::now();
    let next = AtomicU64::new(first);
    let sum = Mutex::new(Sum::default());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || sum.lock().unwrap().failed.len() >= most {
                        return;
                    }
                    let outcome = run(seed, options);
                    let mut sum = sum.lock().unwrap();
                    sum.scenarios += 1;
                    sum.entries += outcome.entries;
                    sum.writes += outcome.writes;
                    for (action, effects) in outcome.effects {
                        *sum.effects.entry(action).or_default() += effects;
                    }
                    sum.processes += outcome.processes;
                    if !outcome.violations.is_empty() {
                        let broken = outcome
                            .violations
                            .iter()
                            .map(|one| format!("{}: {} (at {})", one.promise, one.says, one.at.rfc3339_seconds()));
                        sum.failed.push((seed, broken.collect()));
                    }
                }
            });
        }
    });
    let mut sum = sum.into_inner().unwrap();
    sum.failed.sort();
    sum.took = began.elapsed();
    sum
}

/// The end of one scenario's story.
pub fn end_of_story(seed: u64, options: Options) -> String {
    let story = run(seed, Options { traces: true, ..options }).trace;
    story[story.len().saturating_sub(25)..].join("\n")
}

/// Panics that the model world makes are part of the scenario.
fn quiet_simulated_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let said = info.payload().downcast_ref::<&str>().copied().unwrap_or_default();
        if !said.starts_with("simulated:") {
            usual(info);
        }
    }));
}
