//! I-39: SIGTERM under load. No new action, the call in flight is finished, and the journal ends with `Stopped`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nightshift::model::input::Input;
use tokio::task::JoinSet;

use crate::acting;
use crate::books::Books;
use crate::dice::Dice;
use crate::played::{Played, Strike};
use crate::webhooks::{Alert, Sender, body, post_once};

const ENDED_WITHIN: Duration = Duration::from_secs(20);
const SENDERS: usize = 2;
const STOPS: u64 = 9;

/// One life: load, an action, SIGTERM after `wait`. `slowly`: the API server takes its time with the write.
async fn stop_after(wait: Duration, slowly: bool) -> (Duration, usize) {
    let played = Arc::new(Played::start());
    let home = acting::home(&acting::rules("stopping", "200ms"), &played.kubeconfig(), &played.url());
    played.deploy("stopping", 2, home.head_file());
    if slowly {
        played.strike("stopping", Some(Strike::Slowly(Duration::from_secs(3))));
    }
    let mut daemon = home.start().await;
    let alert = Alert::firing(&[("alertname", "HighLoad")]);
    played.fires(&alert);
    assert_eq!(post_once(daemon.webhooks(), &body(&[alert])).await.unwrap(), 200);
    let ended = Arc::new(AtomicBool::new(false));
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let (address, ended) = (daemon.webhooks(), ended.clone());
        senders.spawn(async move {
            let mut taken = Vec::new();
            let mut number = 0;
            while !ended.load(Ordering::Relaxed) {
                let Ok(mut connection) = Sender::connect(address).await else { break };
                loop {
                    number += 1;
                    let name = format!("{sender}-{number}");
                    let alert = Alert::firing(&[("alertname", "Load"), ("number", &name)]);
                    match connection.post(&body(std::slice::from_ref(&alert))).await {
                        Ok(200) => taken.push(alert.fingerprint),
                        Ok(503) => {}
                        Ok(other) => panic!("answered {other}"),
                        Err(_) => break,
                    }
                }
            }
            taken
        });
    }
    tokio::time::sleep(wait).await;
    let asked = Instant::now();
    daemon.signal("TERM");
    let status = daemon.until_ended(ENDED_WITHIN + Duration::from_secs(5)).await;
    let took = asked.elapsed();
    ended.store(true, Ordering::Relaxed);
    let said = daemon.said();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{said}");
    assert!(took < ENDED_WITHIN, "{took:?}\n{said}");
    let mut taken = Vec::new();
    while let Some(one) = senders.join_next().await {
        taken.extend(one.expect("no panic"));
    }
    let books = Books::read(&home.options()).await;
    assert_eq!(books.entries.last().map(|entry| &entry.input), Some(&Input::Stopped), "{said}");
    let held = books.fingerprints();
    assert!(taken.iter().all(|print| held.contains(print)), "an acknowledged alert is lost");
    let started = books.started();
    let undecided: Vec<_> = started.iter().filter(|(_, step)| step.outcome.is_none()).collect();
    assert!(undecided.is_empty(), "{undecided:?}\n{said}");
    assert_eq!(played.writes("stopping").len(), started.len(), "each started step wrote, and nothing else");
    Books::verify(&home.options()).await;
    let errors = home.logged("ERROR");
    assert!(errors.is_empty(), "{errors:?}");
    (took, started.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_finishes_what_was_begun() {
    let mut dice = Dice::new();
    println!("seed {}", dice.seed);
    let (mut acted, mut slowest, mut running) = (0, Duration::ZERO, JoinSet::new());
    for number in 0..STOPS {
        // A third of them meets a write that is under way.
        let slowly = number % 3 == 2;
        let wait = if slowly { dice.millis(900, 1_500) } else { dice.millis(0, 700) };
        running.spawn(stop_after(wait, slowly));
    }
    while let Some(one) = running.join_next().await {
        let (took, started) = one.expect("no panic");
        acted += started;
        slowest = slowest.max(took);
    }
    assert!(acted >= 2, "hardly anything was begun: nothing was tested");
    println!("I-39: {STOPS} SIGTERMs under load, {acted} steps begun and decided, the slowest stop took {slowest:.1?}");
}
