//! How many durable one-alert webhooks a second the engine takes on SQLite. Measures, so it is run by hand:
//! `cargo test --release --lib engine::load -- --ignored --nocapture`.

use super::{
    RealClock, start,
    testing::{MORNING, firing, options, rule},
};
use crate::{
    engine::{Clock, FakeClock, testing::policy},
    journal::{
        Journal, PAGE_ROWS,
        sql::{Options, Sql},
    },
    model::mode::Mode,
};
use std::sync::Arc;
use tokio::task::JoinSet;

const WEBHOOKS: usize = 40_000;

async fn measure(connections: usize) {
    let place = tempfile::tempdir().unwrap();
    let opened = Sql::open(&Options::sqlite(&place.path().join("journal.db"))).await.unwrap();
    let journal: Arc<dyn Journal> = Arc::new(opened.journal);
    let clock: Arc<dyn Clock> = Arc::new(RealClock::default());
    let policy = policy(vec![rule("everything", Mode::Shadow, None)]);
    let mut options = options(Arc::clone(&journal), &FakeClock::at(MORNING), policy);
    options.clock = Arc::clone(&clock);
    let (engine, handle) = start(options).await.unwrap();
    let mut engines = JoinSet::new();
    engines.spawn(engine.run());
    let began = clock.now();
    let mut senders = JoinSet::new();
    for connection in 0..connections {
        let (handle, clock) = (handle.clone(), Arc::clone(&clock));
        senders.spawn(async move {
            let mut slowest = 0;
            for number in 0..WEBHOOKS / connections {
                let sent = clock.now();
                let alert = firing(&format!("A{connection}-{number}"), sent);
                handle.intake(vec![alert]).await.unwrap();
                slowest = slowest.max((clock.now() - sent).0);
            }
            slowest
        });
    }
    let mut slowest = 0;
    while let Some(one) = senders.join_next().await {
        slowest = slowest.max(one.unwrap());
    }
    let took = (clock.now() - began).0;
    handle.stop();
    engines.join_next().await.unwrap().unwrap().unwrap();
    let sent = WEBHOOKS / connections * connections;
    let extent = journal.extent().await.unwrap().unwrap();
    assert_eq!(extent.count(), sent as u64 + 2, "each is in the journal, and started and stopped");
    assert!(!journal.rows(1, PAGE_ROWS).await.unwrap().is_empty());
    let rate = sent as i64 * 1_000_000 / took;
    println!("{connections} senders: {rate} webhooks/s, slowest {} ms", slowest / 1000);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures: run it by hand, with --release"]
async fn durable_webhooks_a_second() {
    for connections in [16, 64, 256] {
        measure(connections).await;
    }
}
