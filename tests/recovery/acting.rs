//! I-07, I-10, I-24: a decision acts at most once, its way back is in the journal before, and what was begun is read
//! back to an outcome, however often the daemon dies on the way.
//!
//! The story: an alert fires, `web` gets two more replicas, the alert resolves, the step is verified. The daemon is
//! killed at random, inside each of its first syncs, and when its write arrives at the API server, before and after it
//! is done. The judge is the API server: the real one's audit log, or the played one's memory.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nightshift::model::time::Micros;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::books::Books;
use crate::daemon::{At, Daemon, Home};
use crate::dice::{Dice, kills};
use crate::played::{Played, Strike};
use crate::support::{self, ControlPlane, TestNamespace};
use crate::webhooks::{Alert, body, post_once};

/// A step whose call was in flight when the daemon died is read back 25 s after its start: trials wait side by side.
const AT_ONCE: usize = 16;
const OVER_WITHIN: Duration = Duration::from_secs(75);
const BEFORE: u64 = 2;
const PLANNED: u64 = 4;

pub fn rules(namespace: &str, settle: &str) -> String {
    format!(
        "targets:\n  web: {{kubernetes: {{namespace: {namespace}, deployment: web}}, replicas: {{min: 1, max: 20}}}}\n\
         settle_after_start: {settle}\n\
         rules:\n\
         - name: load\n  match: ['alertname = \"HighLoad\"']\n  severity: P1\n  mode: auto\n  cooldown: 1s\n  \
           limits: [10 per 1h]\n  remediate:\n  - action: kubernetes/scale\n    target: web\n    \
           with: {{replicas: +2}}\n    verify: {{settle: 1s, resolved_within: 1m}}\n    if_ineffective: keep\n\
         - {{name: everything, match: [], severity: P3, group_by: [alertname]}}\n"
    )
}

/// How one process of a trial ends.
#[derive(Clone, Copy, Debug)]
enum Kill {
    After(Duration),
    Inside(At),
    /// Only the played API server can.
    BeforeTheWrite,
    AfterTheWrite,
}

/// Where the target is, and who judges.
enum Judge {
    Played(Arc<Played>, String),
    Real(&'static TestNamespace<'static>),
}

impl Judge {
    async fn replicas(&self) -> u64 {
        match self {
            Judge::Played(played, namespace) => played.replicas(namespace),
            Judge::Real(namespace) => {
                namespace.object("deployment", "web").await["spec"]["replicas"].as_u64().expect("a number")
            }
        }
    }
}

#[derive(Default, Debug)]
struct Tally {
    trials: u64,
    kills: u64,
    writes: u64,
    started: u64,
    /// Written, and the daemon died before it knew.
    read_back: u64,
    failed: u64,
    unknown: u64,
    verified: u64,
}

struct Trial {
    home: Home,
    alert: Alert,
    judge: Judge,
    alertmanager: Arc<Played>,
    /// Where webhooks go now; none while the daemon is dead.
    address: Arc<Mutex<Option<SocketAddr>>>,
    resolved: Arc<AtomicBool>,
}

impl Trial {
    async fn run(self, kills: &[Kill]) -> Tally {
        self.alertmanager.fires(&self.alert);
        let sender = tokio::task::spawn(deliver(self.alert.clone(), self.address.clone(), self.resolved.clone()));
        let mut tally = Tally { trials: 1, ..Tally::default() };
        for kill in kills {
            tally.kills += u64::from(self.one(*kill).await);
        }
        let mut daemon = self.home.start().await;
        *self.address.lock().unwrap() = Some(daemon.webhooks());
        let books = self.until_over(kills).await;
        sender.abort();
        assert!(daemon.kill(), "{kills:?}: it ended by itself:\n{}", daemon.said());
        self.judge(&books, kills, &mut tally).await;
        Books::verify(&self.home.options()).await;
        tally
    }

    /// One process and its death. True: it was killed where it should be.
    async fn one(&self, kill: Kill) -> bool {
        let at = if let Kill::Inside(at) = kill { Some(at) } else { None };
        let mut daemon = self.home.launch(at);
        if let Err(end) = daemon.until_ready().await {
            assert!(at.is_some() && end.contains("signal: 9"), "{kill:?}: {end}");
            return true;
        }
        if let (Judge::Played(played, namespace), Some(strike)) = (&self.judge, strike_of(kill, &daemon)) {
            played.strike(namespace, Some(strike));
        }
        *self.address.lock().unwrap() = Some(daemon.webhooks());
        let struck = match kill {
            Kill::After(wait) => {
                tokio::time::sleep(wait).await;
                false
            }
            // A call that never comes (it was made before an earlier kill) must not hold the trial up.
            Kill::Inside(_) | Kill::BeforeTheWrite | Kill::AfterTheWrite => {
                daemon.until_ended(Duration::from_secs(4)).await.is_some()
            }
        };
        *self.address.lock().unwrap() = None;
        if let Judge::Played(played, namespace) = &self.judge {
            played.strike(namespace, None);
        }
        daemon.kill() && (struck || matches!(kill, Kill::After(_)))
    }

    /// Until a step started and ended, whatever its outcome; the alert resolves once its write was seen.
    async fn until_over(&self, kills: &[Kill]) -> Books {
        let deadline = Instant::now() + OVER_WITHIN;
        let mut head = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(150)).await;
            if self.judge.replicas().await > BEFORE && !self.resolved.load(Ordering::Relaxed) {
                self.alertmanager.fires_no_more(&self.alert);
                self.resolved.store(true, Ordering::Relaxed);
            }
            if self.home.head() == head && Instant::now() < deadline {
                continue;
            }
            head = self.home.head();
            let books = Books::read(&self.home.options()).await;
            let started = books.started();
            if !started.is_empty() && started.values().all(|step| step.over) {
                return books;
            }
            assert!(
                Instant::now() < deadline,
                "{kills:?}: no step that started and ended: {started:#?}\n{}",
                self.home.logged("INFO").join("\n")
            );
        }
    }

    async fn judge(&self, books: &Books, kills: &[Kill], tally: &mut Tally) {
        let started = books.started();
        let story = || format!("{kills:?}: {started:#?}");
        // The way back is a part of what was committed.
        for step in started.values() {
            assert_eq!(step.plan.proposal.undo, json!({"replicas": BEFORE}), "{}", story());
        }
        let first = started.values().map(|step| (step.seq, step.at)).min().expect("one started");
        let (writes, attempts) = match &self.judge {
            Judge::Played(played, namespace) => {
                let writes = played.writes(namespace);
                for write in &writes {
                    assert!(first.0 <= write.head, "written before entry {} was committed: {write:?}", first.0);
                    assert_eq!((write.from, write.to), (BEFORE, PLANNED), "{}", story());
                }
                (writes.len(), played.attempts(namespace))
            }
            Judge::Real(namespace) => {
                let attempts: Vec<_> = namespace.writes().await.into_iter().filter(|write| !write.dry_run).collect();
                for attempt in &attempts {
                    let at = Micros::parse(&attempt.stage_timestamp).expect("a time");
                    assert!(first.1 <= at, "written at {at:?}, started at {:?}", first.1);
                }
                // Nobody else changes it. The audit log alone would miss a write whose caller died in mid-call: the
                // API server gives the call up, records 504, and may well finish the write.
                let writes = namespace.spec_changes("deployment", "web").await;
                let may_have_acted = attempts.iter().filter(|write| write.may_have_acted()).count();
                let acted = attempts.iter().filter(|write| write.acted()).count();
                assert!((acted..=may_have_acted).contains(&writes), "{writes} writes, but {attempts:#?}");
                (writes, attempts.len())
            }
        };
        assert!(writes <= 1, "{writes} writes: {}", story());
        // Not even one that the precondition would have refused.
        assert!(attempts <= started.len(), "{attempts} attempts: {}", story());
        let replicas = self.judge.replicas().await;
        assert_eq!(replicas, if writes == 1 { PLANNED } else { BEFORE }, "{}", story());
        let lost =
            books.events().any(|(_, event)| matches!(event, nightshift::model::event::Event::ReadBackBegan { .. }));
        let unknown = started.values().any(|step| step.outcome == Some("step_unknown"));
        assert!(unknown || books.locks() == 0, "a lock stayed: {}", books.state["locks"]);
        tally.writes += writes as u64;
        tally.started += started.len() as u64;
        tally.read_back += u64::from(lost && writes == 1);
        for step in started.values() {
            match step.outcome {
                Some("step_verified") => tally.verified += 1,
                Some("step_failed") => tally.failed += 1,
                Some("step_unknown") => tally.unknown += 1,
                other => panic!("{other:?}: {}", story()),
            }
        }
    }
}

fn strike_of(kill: Kill, daemon: &Daemon) -> Option<Strike> {
    match kill {
        Kill::BeforeTheWrite => Some(Strike::BeforeIt(daemon.pid())),
        Kill::AfterTheWrite => Some(Strike::AfterIt(daemon.pid())),
        Kill::After(_) | Kill::Inside(_) => None,
    }
}

/// Sends the alert again and again, as Alertmanager would after a failure.
async fn deliver(alert: Alert, address: Arc<Mutex<Option<SocketAddr>>>, resolved: Arc<AtomicBool>) {
    loop {
        let to = *address.lock().unwrap();
        let now = if resolved.load(Ordering::Relaxed) { alert.resolved() } else { alert.clone() };
        if let Some(to) = to {
            let _ = post_once(to, &body(&[now])).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn all(trials: Vec<(Trial, Vec<Kill>)>) -> Tally {
    let gate = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for (trial, kills) in trials {
        let gate = gate.clone();
        running.spawn(async move {
            let _turn = gate.acquire().await.expect("never closed");
            trial.run(&kills).await
        });
    }
    let mut sum = Tally::default();
    while let Some(one) = running.join_next().await {
        let one = one.expect("a trial without a panic");
        sum.trials += one.trials;
        sum.kills += one.kills;
        sum.writes += one.writes;
        sum.started += one.started;
        sum.read_back += one.read_back;
        sum.failed += one.failed;
        sum.unknown += one.unknown;
        sum.verified += one.verified;
        if sum.trials % 200 == 0 {
            println!("  {sum:?}");
        }
    }
    sum
}

fn tell(what: &str, sum: &Tally, seed: u64, began: Instant) {
    println!(
        "I-07/I-10/I-24 {what}: 0 double writes in {} trials with {} kills; {} steps started, {} writes ({} of them \
         learned by reading back), ended: {} verified, {} failed, {} unknown; {:.0?}, seed {seed}",
        sum.trials,
        sum.kills,
        sum.started,
        sum.writes,
        sum.read_back,
        sum.verified,
        sum.failed,
        sum.unknown,
        began.elapsed()
    );
    assert!(sum.writes * 10 >= sum.trials * 6, "most trials must write, or nothing was tested: {sum:?}");
    assert_eq!(sum.unknown, 0, "every outcome could be read back here");
    assert!(sum.kills * 2 >= sum.trials, "most kills must strike: {sum:?}");
}

/// A home whose daemon acts on the played cluster.
pub fn home(rules: &str, kubeconfig: &str, alertmanager: &str) -> Home {
    let home = Home::new(rules);
    std::fs::write(home.path("kubeconfig"), kubeconfig).expect("written");
    let path = home.path("kubeconfig");
    home.set("mode", json!("auto"))
        .set("kubernetes", json!({"kubeconfig": path}))
        .set("alertmanager", json!({"urls": [alertmanager]}))
}

fn trial(judge: Judge, alertmanager: &Arc<Played>, namespace: &str, kubeconfig: &str) -> Trial {
    let home = home(&rules(namespace, "200ms"), kubeconfig, &alertmanager.url());
    let alert = Alert::firing(&[("alertname", "HighLoad"), ("namespace", namespace)]);
    if let Judge::Played(played, namespace) = &judge {
        played.deploy(namespace, BEFORE, home.head_file());
    }
    Trial { home, alert, judge, alertmanager: alertmanager.clone(), address: Arc::default(), resolved: Arc::default() }
}

/// The kills of trial `number`: each kind in its turn, now and then a second and a third death.
fn plan(number: u64, dice: &mut Dice, played: bool) -> Vec<Kill> {
    let random = |dice: &mut Dice| Kill::After(dice.millis(1, 900));
    let mut kills = vec![match number % 6 {
        0 | 1 => Kill::Inside(At::Sync(1 + number % 24)),
        2 => Kill::Inside(At::Write(1 + number * 3 % 90)),
        3 if played => Kill::BeforeTheWrite,
        4 if played => Kill::AfterTheWrite,
        _ => random(dice),
    }];
    if number % 4 == 1 {
        kills.push(random(dice));
    }
    if number % 8 == 5 {
        kills.push(random(dice));
    }
    kills
}

async fn with_the_played_one(count: u64) {
    let (mut dice, began, played) = (Dice::new(), Instant::now(), Arc::new(Played::start()));
    println!("seed {}", dice.seed);
    let mut trials = Vec::new();
    for number in 0..count {
        let namespace = format!("played-{number}");
        let judge = Judge::Played(played.clone(), namespace.clone());
        trials.push((trial(judge, &played, &namespace, &played.kubeconfig()), plan(number, &mut dice, true)));
    }
    let sum = all(trials).await;
    tell(&format!("played API server ({} died at their write)", played.struck()), &sum, dice.seed, began);
}

async fn with_the_real_one(count: u64) {
    let (mut dice, began, alertmanager) = (Dice::new(), Instant::now(), Arc::new(Played::start()));
    println!("seed {}", dice.seed);
    let plane = ControlPlane::shared().await;
    let mut trials = Vec::new();
    for number in 0..count {
        // As long as the process: the trials run as tasks.
        let namespace: &'static TestNamespace<'static> = Box::leak(Box::new(plane.namespace("recovery").await));
        namespace.deployment("web", 2).ready().await;
        let kubeconfig = std::fs::read_to_string(namespace.kubeconfig()).expect("a kubeconfig");
        let trial = trial(Judge::Real(namespace), &alertmanager, &namespace.name, &kubeconfig);
        trials.push((trial, plan(number, &mut dice, false)));
    }
    let sum = all(trials).await;
    tell("real API server", &sum, dice.seed, began);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_acts_at_most_once_whenever_the_daemon_dies() {
    with_the_played_one(24).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_api_server_sees_one_write_whenever_the_daemon_dies() {
    if support::hermetic() {
        return;
    }
    with_the_real_one(12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the long sweep"]
async fn long_a_decision_acts_at_most_once() {
    with_the_played_one(kills(500)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the long sweep"]
async fn long_the_real_api_server_sees_one_write() {
    if support::hermetic() {
        return;
    }
    with_the_real_one(kills(500).min(500)).await;
}
