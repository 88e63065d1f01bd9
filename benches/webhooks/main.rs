//! `cargo bench`: what nightshift takes, beside a bare server that only stores; how soon it acts; what memory it needs.
//! One table, from one run: machines are noisy, so bare and nightshift take turns, and the ratio is the figure to keep.
//!
//! `cargo bench -- --quick` is the same in a minute, with shorter runs. README.md in the folder above says what each
//! number means.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a measurement that fails ends; it has clocks and tasks of its own"
)]

mod bare;
mod bodies;
mod child;
mod load;
mod peers;
mod reaction;
mod rules;
#[path = "../../tests/support/mod.rs"]
mod support;

use bodies::Bodies;
use child::Served;
use load::{Run, Until};
use std::{
    io::{Read, Write},
    path::Path,
    time::Duration,
};

/// How long and how often.
struct Plan {
    warm: Duration,
    counted: Duration,
    /// Turns of bare and nightshift for each cell.
    turns: usize,
    reactions: usize,
    /// Against a real API server.
    real_reactions: usize,
    starts: usize,
}

const WHOLE: Plan = Plan {
    warm: Duration::from_millis(500),
    counted: Duration::from_millis(2500),
    turns: 3,
    reactions: 300,
    real_reactions: 50,
    starts: 7,
};
const QUICK: Plan = Plan {
    warm: Duration::from_millis(300),
    counted: Duration::from_millis(1000),
    turns: 1,
    reactions: 50,
    real_reactions: 0,
    starts: 3,
};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match (arguments.first().map(String::as_str), arguments.get(1)) {
        (Some(child::BARE), Some(database)) => serve_bare(Path::new(database)),
        _ => {
            let quick = arguments.iter().any(|argument| argument == "--quick");
            let only: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
            // A start of a control plane and of its Deployments takes longer than all that --quick measures.
            measure(if quick { &QUICK } else { &WHOLE }, |part| only.is_empty() || only.iter().any(|one| *one == part));
        }
    }
}

/// As a child: prints its address and serves until the parent goes away.
fn serve_bare(database: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let address = runtime.block_on(bare::start(database));
    println!("{address}");
    std::io::stdout().flush().unwrap();
    let _ = std::io::stdin().read(&mut [0]);
    std::process::exit(0);
}

fn measure(plan: &Plan, wanted: impl Fn(&str) -> bool) {
    let disk = Path::new(env!("CARGO_TARGET_TMPDIR"));
    if wanted("webhooks") {
        println!("durable webhooks, {} turns of {:?} each\n", plan.turns, plan.counted);
        println!("| alerts in a body | connections | server | webhooks/s | p50 ms | p99 ms | refused | of bare |");
        println!("|---|---|---|---|---|---|---|---|");
        for (alerts, connections) in [(1, 64), (1, 16), (100, 64), (100, 16)] {
            webhooks(disk, plan, alerts, connections);
        }
        println!();
    }
    if wanted("rules") {
        number_of_rules(disk, plan);
    }
    if wanted("reaction") {
        let micros = reaction::measure(disk, plan.reactions);
        println!(
            "webhook to PATCH at 10/s, peers that answer at once, {} times: p50 {:.1} ms, p99 {:.1} ms\n",
            micros.len(),
            load::percentile_of(&micros, 50.0),
            load::percentile_of(&micros, 99.0)
        );
    }
    if wanted("outage") {
        outage(disk, plan);
    }
    if wanted("cluster") && plan.real_reactions > 0 && !support::hermetic() {
        let micros = reaction::measure_real(disk, plan.real_reactions);
        println!(
            "webhook to PATCH answered by a real API server, at 10/s, {} times: p50 {:.1} ms, p99 {:.1} ms\n",
            micros.len(),
            load::percentile_of(&micros, 50.0),
            load::percentile_of(&micros, 99.0)
        );
    }
    if wanted("memory") {
        memory(disk, plan);
    }
}

/// What a remediation waits for people's services: none configured, and all of them taking calls and never answering, in
/// turns. All three have letters on their way the whole time: cards, a status, and a page.
fn outage(disk: &Path, plan: &Plan) {
    let (address, _listener) = reaction::hanging();
    let (mut without, mut hanging) = (Vec::new(), Vec::new());
    for _ in 0..plan.turns {
        without.extend(reaction::measure_telling(disk, plan.reactions, None));
        hanging.extend(reaction::measure_telling(disk, plan.reactions, Some(address)));
    }
    let [alone, down] =
        [&without, &hanging].map(|micros| [50.0, 99.0].map(|percent| load::percentile_of(micros, percent)));
    println!(
        "webhook to PATCH at 10/s, {} times each: nobody to tell p50 {:.1}, p99 {:.1} ms; Slack, PagerDuty and status page \
         hanging p50 {:.1}, p99 {:.1} ms: {:+.1} and {:+.1} ms\n",
        without.len(),
        alone[0],
        alone[1],
        down[0],
        down[1],
        down[0] - alone[0],
        down[1] - alone[1]
    );
}

/// One cell: bare and nightshift take turns, each on an empty database.
fn webhooks(disk: &Path, plan: &Plan, alerts: u64, connections: usize) {
    let bodies = Bodies::of(alerts);
    let until = Until::Time { warm: plan.warm, counted: plan.counted };
    let (mut bare, mut opened, mut joined) = (Run::default(), Run::default(), Run::default());
    for _ in 0..plan.turns {
        let served = Served::bare(disk);
        bare.add(load::run(served.webhooks, connections, &bodies, 0, until).0);
        drop(served);
        let served = Served::nightshift(disk, rules::INCIDENT_PER_ALERT, "");
        opened.add(load::run(served.webhooks, connections, &bodies, 0, until).0);
        drop(served);
        let served = Served::nightshift(disk, rules::INCIDENT_PER_NAME, "");
        joined.add(load::run(served.webhooks, connections, &bodies, 0, until).0);
    }
    for (server, run) in [("bare", &bare), ("an incident for each", &opened), ("joining one of 100", &joined)] {
        println!(
            "| {alerts}: {:.1} kB | {connections} | {server} | {:.0} | {:.2} | {:.2} | {} | {:.0} % |",
            bodies.bytes as f64 / 1000.0,
            run.per_second(),
            run.milliseconds(50.0),
            run.milliseconds(99.0),
            run.refused,
            100.0 * run.per_second() / bare.per_second()
        );
    }
}

/// The same load with one rule and with a thousand, in turns.
fn number_of_rules(disk: &Path, plan: &Plan) {
    let bodies = Bodies::of(1);
    let until = Until::Time { warm: plan.warm, counted: plan.counted };
    let thousand = rules::thousand();
    let (mut one, mut many) = (Run::default(), Run::default());
    for _ in 0..plan.turns {
        let served = Served::nightshift(disk, rules::INCIDENT_PER_ALERT, "");
        one.add(load::run(served.webhooks, 64, &bodies, 0, until).0);
        drop(served);
        let served = Served::nightshift(disk, &thousand, "");
        many.add(load::run(served.webhooks, 64, &bodies, 0, until).0);
    }
    println!(
        "rules, one-alert bodies at 64 connections: 1 rule {:.0}/s, 1,000 rules {:.0}/s, {:.0} % of it\n",
        one.per_second(),
        many.per_second(),
        100.0 * many.per_second() / one.per_second()
    );
}

/// Resident memory of a process with so many active alerts, sent in bodies of a hundred; how soon it is ready.
fn memory(disk: &Path, plan: &Plan) {
    let mut ready: Vec<Duration> = Vec::new();
    for _ in 0..plan.starts {
        ready.push(Served::nightshift(disk, rules::INCIDENT_PER_NAME, "").ready_after);
    }
    ready.sort();
    println!(
        "start to ready, empty journal: median {:.0} ms, worst {:.0} ms\n",
        ready[ready.len() / 2].as_secs_f64() * 1000.0,
        ready[ready.len() - 1].as_secs_f64() * 1000.0
    );
    println!("| active alerts | incidents | resident MiB | at most MiB |\n|---|---|---|---|");
    for (alerts, rules, incidents) in [
        (0, rules::INCIDENT_PER_NAME, "0"),
        (10_000, rules::INCIDENT_PER_NAME, "100"),
        (10_000, rules::INCIDENT_PER_ALERT, "10,000"),
        (100_000, rules::INCIDENT_PER_NAME, "100"),
        (100_000, rules::INCIDENT_PER_ALERT, "100,000"),
    ] {
        let served = Served::nightshift(disk, rules, "");
        let bodies = Bodies::of(100);
        load::run(served.webhooks, 4, &bodies, 0, Until::Requests(alerts / 100));
        // What a storm needed for a moment, a snapshot above all, is given back by then, or it is kept for good.
        std::thread::sleep(Duration::from_secs(6));
        println!("| {alerts} | {incidents} | {:.1} | {:.1} |", served.memory(), served.most_memory());
    }
    let binary = Path::new(env!("CARGO_BIN_EXE_nightshift"));
    let bytes = std::fs::metadata(binary).unwrap().len();
    println!("\nbinary: {:.1} MiB", bytes as f64 / (1024.0 * 1024.0));
}
