//! Many scenarios, or one with its whole story:
//! `cargo run --release --example simulate -- [--seeds N] [--first N] [--most FAILURES] [--seed N] [--without GUARD]`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a tool for tests"
)]

mod simulator;

/// Scenarios are many small things that live shortly.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use anyhow::{Context, bail};
use simulator::{Options, end_of_story, run, run_many};
use std::process::{Command, ExitCode};

fn main() -> anyhow::Result<ExitCode> {
    let (mut first, mut seeds, mut most, mut one, mut options) = (1, 10_000, 10, None, Options::default());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().context(format!("{argument} needs a value"));
        match argument.as_str() {
            "--seeds" => seeds = value()?.parse()?,
            "--first" => first = value()?.parse()?,
            "--most" => most = value()?.parse()?,
            "--seed" => one = Some(value()?.parse()?),
            "--without" => {
                let guard = value()?;
                options.without = guard.parse().ok();
                // A peer's part is taken out of the model world. The product has no switch: it is taken out of a copy.
                if options.without.is_none() {
                    return without(&guard);
                }
            }
            other => bail!("unknown argument {other}: --seeds N, --first N, --seed N, --without GUARD"),
        }
    }
    if let Some(seed) = one {
        let outcome = run(seed, Options { traces: true, ..options });
        println!("{}", outcome.trace.join("\n"));
        for broken in &outcome.violations {
            println!("BROKEN at {}: {}: {}", broken.at.rfc3339_seconds(), broken.promise, broken.says);
        }
        println!("seed {seed}: {} entries, {} broken promises", outcome.entries, outcome.violations.len());
        return Ok(if outcome.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let sum = run_many(first, seeds, most, options);
    println!("{}", sum.line());
    if let Some((seed, _)) = sum.failed.first() {
        println!("the end of seed {seed}:\n{}", end_of_story(*seed, options));
    }
    Ok(if sum.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn without(guard: &str) -> anyhow::Result<ExitCode> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/simulation/guards");
    let status = Command::new(script).arg(guard).status().context("tests/simulation/guards")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
