//! The usual run of the simulator: seeds from 1 on, one line at the end. See README.md beside this file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod simulator;

use simulator::{Options, end_of_story, run_many};

/// Some seconds on two cores: an unoptimised build needs about 30 ms a scenario.
const SEEDS: u64 = if cfg!(debug_assertions) { 300 } else { 5_000 };

fn main() -> std::process::ExitCode {
    if std::env::args().any(|argument| argument == "--list") {
        println!("simulation: test");
        return std::process::ExitCode::SUCCESS;
    }
    let sum = run_many(1, SEEDS, 10, Options::default());
    println!("{}", sum.line());
    if let Some((seed, _)) = sum.failed.first() {
        println!("the end of seed {seed}:\n{}", end_of_story(*seed, Options::default()));
    }
    if sum.effects.is_empty() {
        println!("simulation: nothing took effect: that proves nothing");
        return std::process::ExitCode::FAILURE;
    }
    if sum.failed.is_empty() { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
}
