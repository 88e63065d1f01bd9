//! I-01: a webhook that was answered 2xx is never lost to a crash.
//!
//! Senders post alerts, each its own, as fast as they are taken, while the daemon is killed at a random moment or inside
//! the N-th system call that makes something durable. What was answered 200 must be in the journal, and the journal
//! whole; another daemon on the same journal goes on.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::books::Books;
use crate::daemon::{At, Daemon, Home};
use crate::dice::{Dice, kills};
use crate::webhooks::{Alert, Sender, body};

const SENDERS: usize = 8;
/// Then a journal is given up for a new one, so that folding it does not become the test.
const KILLS_A_JOURNAL: u64 = 10;
const RULES: &str = "rules:\n- {name: everything, match: [], severity: P3, group_by: [alertname]}\n";

/// How one process ends.
#[derive(Clone, Copy, Debug)]
enum Kill {
    After(Duration),
    Inside(At),
}

#[derive(Default)]
struct Tally {
    kills: u64,
    /// Killed before it said that it is ready.
    while_starting: u64,
    acknowledged: u64,
    /// In the journal without an answer that came through: allowed, and a sign that kills struck in between.
    unanswered: u64,
}

/// A journal that lives through several kills.
struct Load {
    home: Home,
    next: Arc<AtomicU64>,
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
}

impl Load {
    fn new() -> Load {
        Load { home: Home::new(RULES), next: Arc::default(), acknowledged: Arc::default() }
    }

    /// Posts until the daemon is gone.
    async fn send(&self, daemon: &Daemon) -> Vec<tokio::task::JoinHandle<()>> {
        let address = daemon.webhooks();
        let mut senders = Vec::new();
        for _ in 0..SENDERS {
            let (next, acknowledged) = (self.next.clone(), self.acknowledged.clone());
            senders.push(tokio::task::spawn(async move {
                let Ok(mut sender) = Sender::connect(address).await else { return };
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let alert = Alert::firing(&[("alertname", "Load"), ("number", &number.to_string())]);
                    match sender.post(&body(std::slice::from_ref(&alert))).await {
                        Ok(200) => drop(acknowledged.lock().unwrap().insert(alert.fingerprint)),
                        Ok(503) => {}
                        Ok(other) => panic!("answered {other}"),
                        Err(_) => return,
                    }
                }
            }));
        }
        senders
    }

    async fn one(&self, kill: Kill, tally: &mut Tally) {
        let mut daemon = self.home.launch(match kill {
            Kill::After(_) => None,
            Kill::Inside(at) => Some(at),
        });
        match daemon.until_ready().await {
            Err(end) => {
                assert!(matches!(kill, Kill::Inside(_)) && end.contains("signal: 9"), "{kill:?}: {end}");
                tally.while_starting += 1;
            }
            Ok(()) => {
                let senders = self.send(&daemon).await;
                match kill {
                    Kill::After(wait) => tokio::time::sleep(wait).await,
                    // Under load every sync comes; the bound is for a machine that is busy elsewhere.
                    Kill::Inside(_) => drop(daemon.until_ended(Duration::from_secs(20)).await),
                }
                let struck_here = matches!(kill, Kill::After(_));
                let ended = daemon.has_ended();
                assert!(struck_here || ended.is_some(), "{kill:?} did not strike");
                assert!(daemon.kill(), "{kill:?}: it ended by itself:\n{}", daemon.said());
                for sender in senders {
                    sender.await.expect("a sender that sees only 200 and 503");
                }
            }
        }
        tally.kills += 1;
        self.judge().await;
    }

    /// After the death, and before anything else touches the journal.
    async fn judge(&self) {
        let acknowledged = self.acknowledged.lock().unwrap().clone();
        if acknowledged.is_empty() && !self.home.journal().exists() {
            return;
        }
        match Books::try_read(&self.home.options()).await {
            Ok(books) => {
                let held = books.alerts();
                let lost: Vec<&String> = acknowledged.iter().filter(|print| !held.contains_key(*print)).collect();
                assert!(lost.is_empty(), "{} acknowledged alerts are lost: {lost:?}", lost.len());
                let twice: Vec<_> = held.iter().filter(|(_, times)| **times > 1).collect();
                assert!(twice.is_empty(), "decided twice: {twice:?}");
            }
            // Killed while it made its tables: nothing was promised yet.
            Err(why) => assert!(acknowledged.is_empty(), "{why}"),
        }
    }

    /// The next daemon goes on where they died, and the whole journal is sound.
    async fn finish(self, tally: &mut Tally) {
        let mut daemon = self.home.start().await;
        assert!(daemon.kill());
        Books::verify(&self.home.options()).await;
        let books = Books::read(&self.home.options()).await;
        let acknowledged = self.acknowledged.lock().unwrap();
        tally.acknowledged += acknowledged.len() as u64;
        tally.unanswered += books.fingerprints().difference(&acknowledged).count() as u64;
        let errors = self.home.logged("ERROR");
        assert!(errors.is_empty(), "{errors:?}");
    }
}

async fn sweep(dice: &mut Dice, kills: impl IntoIterator<Item = Kill>) -> Tally {
    let mut tally = Tally::default();
    let mut load = Load::new();
    for (number, kill) in (1_u64..).zip(kills) {
        load.one(kill, &mut tally).await;
        if number % KILLS_A_JOURNAL == 0 {
            std::mem::replace(&mut load, Load::new()).finish(&mut tally).await;
        }
        if number % 500 == 0 {
            println!("  {number} kills, {} acknowledged so far, seed {}", tally.acknowledged, dice.seed);
        }
    }
    load.finish(&mut tally).await;
    tally
}

fn tell(what: &str, tally: &Tally, seed: u64, began: Instant) {
    println!(
        "I-01 {what}: 0 of {} acknowledged webhooks lost in {} kills ({} while starting, {} alerts durable but \
         unanswered), {:.0?}, seed {seed}",
        tally.acknowledged,
        tally.kills,
        tally.while_starting,
        tally.unanswered,
        began.elapsed()
    );
    assert!(tally.acknowledged > 0, "nothing was acknowledged: nothing was tested");
}

async fn random(count: u64) {
    let (mut dice, began) = (Dice::new(), Instant::now());
    println!("seed {}", dice.seed);
    let kills: Vec<Kill> = (0..count).map(|_| Kill::After(dice.millis(1, 150))).collect();
    let tally = sweep(&mut dice, kills).await;
    tell("random moments", &tally, dice.seed, began);
}

async fn inside(count: u64) {
    let (mut dice, began) = (Dice::new(), Instant::now());
    let points = (1..=count).map(|number| match number % 3 {
        0 => Kill::Inside(At::Write(number * 2)),
        _ => Kill::Inside(At::Sync(number)),
    });
    let tally = sweep(&mut dice, points).await;
    tell("durable system calls", &tally, dice.seed, began);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_webhook_survives_kills_at_random_moments() {
    random(25).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_webhook_survives_kills_inside_durable_system_calls() {
    inside(15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the long sweep"]
async fn long_acknowledged_webhooks_survive() {
    let count = kills(500);
    random(count - count / 3).await;
    // Each thread's first syncs differ; far into the load they are all alike.
    for _ in 0..(count / 3).div_ceil(60) {
        inside(60.min(count / 3)).await;
    }
}
