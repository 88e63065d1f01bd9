//! I-03: what is delivered again and again, by two Alertmanagers, out of order, with answers lost, is decided once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nightshift::model::event::Event;
use nightshift::model::input::Input;

use crate::books::Books;
use crate::daemon::{Daemon, Home};
use crate::dice::Dice;
use crate::webhooks::{Alert, Sender, body, post_once};

const RULES: &str = "rules:\n- {name: everything, match: [], severity: P3, group_by: [alertname]}\n";
const ALERTS: u64 = 100;
/// Deliveries of one alert in all: [`ALERTS`] in each webhook.
const DELIVERIES: u64 = 100_000;
const SENDERS: u64 = 4;

/// Posts the same webhook again and again; every now and then it goes away before the answer.
async fn storm(daemon: &Daemon, alerts: &[Alert], dice: &mut Dice) -> (u64, u64) {
    let webhooks = DELIVERIES / 2 / ALERTS / SENDERS;
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..SENDERS {
        let (address, mut alerts, mut dice) = (daemon.webhooks(), alerts.to_vec(), Dice::of(dice.next()));
        running.spawn(async move {
            let (mut taken, mut lost) = (0, 0);
            let mut sender = Sender::connect(address).await.expect("it listens");
            for number in 0..webhooks {
                let turn = dice.between(0, ALERTS) as usize;
                alerts.rotate_left(turn);
                let text = body(&alerts);
                if number % 10 == 9 {
                    let _ = tokio::time::timeout(dice.millis(0, 20), post_once(address, &text)).await;
                    lost += 1;
                }
                // Refused: it comes again, as Alertmanager does it.
                let deadline = Instant::now() + Duration::from_secs(30);
                while sender.post(&text).await.expect("an answer") != 200 {
                    assert!(Instant::now() < deadline, "it takes nothing any more");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                taken += 1;
            }
            (taken, lost)
        });
    }
    let mut sum = (0, 0);
    while let Some(one) = running.join_next().await {
        let (taken, lost) = one.expect("no panic");
        sum = (sum.0 + taken, sum.1 + lost);
    }
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_duplicates_are_decided_once() {
    let (mut dice, began, home) = (Dice::new(), Instant::now(), Home::new(RULES));
    println!("seed {}", dice.seed);
    let numbers: Vec<String> = (0..ALERTS).map(|number| number.to_string()).collect();
    let firing: Vec<Alert> =
        numbers.iter().map(|number| Alert::firing(&[("alertname", "Storm"), ("number", number)])).collect();
    let mut daemon = home.start().await;
    let (one, lost_one) = storm(&daemon, &firing, &mut dice).await;
    // A death in the middle makes nobody forget.
    assert!(daemon.kill());
    let mut daemon = home.start().await;
    let (two, lost_two) = storm(&daemon, &firing, &mut dice).await;
    let resolved: Vec<Alert> = firing.iter().map(Alert::resolved).collect();
    // Both Alertmanagers say so; one of them is late and repeats that it fires.
    for text in [body(&resolved), body(&resolved), body(&firing), body(&resolved)] {
        assert_eq!(post_once(daemon.webhooks(), &text).await.expect("an answer"), 200);
    }
    assert!(daemon.kill());
    let books = Books::read(&home.options()).await;
    assert!(one + two >= DELIVERIES / ALERTS, "{one} + {two}");
    let counts = books.alerts();
    assert_eq!(counts.len() as u64, ALERTS);
    let (mut opened, mut fired) = (0, BTreeMap::<String, u64>::new());
    for (entry, event) in books.events() {
        match (event, &entry.input) {
            (Event::IncidentOpened { .. }, _) => opened += 1,
            (Event::AlertFired { .. }, Input::Alert(alert)) => {
                *fired.entry(alert.fingerprint.to_string()).or_default() += 1;
            }
            _ => {}
        }
    }
    assert_eq!(opened, 1, "one incident");
    // The storms were one decision for each alert; the late repetition after the end is news of its own (doubtful).
    assert!(fired.len() as u64 == ALERTS && fired.values().all(|times| *times == 2), "{fired:?}");
    assert!(counts.values().all(|times| *times == 4), "fired, resolved, doubtful, resolved: {counts:?}");
    println!(
        "I-03: {} deliveries of {ALERTS} alerts ({} answers lost on purpose, a kill -9 between) decided once each, {} \
         entries in the journal, {:.0?}, seed {}",
        (one + two) * ALERTS,
        lost_one + lost_two,
        books.entries.len(),
        began.elapsed(),
        dice.seed
    );
    Books::verify(&home.options()).await;
}
