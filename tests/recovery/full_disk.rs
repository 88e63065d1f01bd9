//! I-04: a journal that can't be written is answered with 503 within a second, never with 200, and never with anything
//! that Alertmanager would give up on; afterwards everything is taken.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::books::Books;
use crate::daemon::{Daemon, Home};
use crate::support::{
    self,
    postgres::{Fsync, Postgres},
};
use crate::webhooks::{Alert, body, post_once};

const RULES: &str = "rules:\n- {name: everything, match: [], severity: P3, group_by: [alertname]}\n";
/// The promise is one second; the rest is for two cores that many tests share.
const ANSWERED_WITHIN: Duration = Duration::from_millis(1_500);

/// A small file system of its own, gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(size: &str) -> SmallDisk {
        let folder = tempfile::Builder::new().prefix("nightshift-disk-").tempdir().expect("a folder").keep();
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&folder).status();
        let mounted = mounted.is_ok_and(|status| status.success());
        assert!(mounted, "a small file system needs root; NIGHTSHIFT_TESTS=hermetic skips this");
        SmallDisk(folder)
    }

    /// Leaves no byte free.
    fn fill(&self) -> PathBuf {
        use std::io::Write;
        let path = self.0.join("filler");
        let mut file = std::fs::File::create(&path).expect("created");
        for size in [1 << 16, 1 << 12] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a daemon that was killed a moment ago may still hold it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}

struct Sent {
    taken: BTreeSet<String>,
    refused: Vec<Alert>,
    slowest: Duration,
}

/// Posts new alerts, one after the other, for a while.
async fn send(daemon: &Daemon, name: &str, during: Duration) -> Sent {
    let end = Instant::now() + during;
    let mut sent = Sent { taken: BTreeSet::new(), refused: Vec::new(), slowest: Duration::ZERO };
    let mut number = 0;
    while Instant::now() < end {
        number += 1;
        let alert = Alert::firing(&[("alertname", name), ("number", &number.to_string())]);
        let asked = Instant::now();
        let status = post_once(daemon.webhooks(), &body(std::slice::from_ref(&alert))).await.expect("an answer");
        sent.slowest = sent.slowest.max(asked.elapsed());
        match status {
            200 => drop(sent.taken.insert(alert.fingerprint)),
            503 => sent.refused.push(alert),
            other => panic!("answered {other}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    sent
}

/// Sends everything again until it is taken, as Alertmanager does.
async fn send_again(daemon: &Daemon, sent: &mut Sent) -> Duration {
    let began = Instant::now();
    for alert in std::mem::take(&mut sent.refused) {
        loop {
            let status = post_once(daemon.webhooks(), &body(std::slice::from_ref(&alert))).await.expect("an answer");
            if status == 200 {
                break;
            }
            assert_eq!(status, 503);
            assert!(began.elapsed() < Duration::from_secs(30), "it takes nothing any more:\n{}", daemon.said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        sent.taken.insert(alert.fingerprint);
    }
    began.elapsed()
}

fn on(disk: &Path) -> Home {
    Home::new(RULES).set("journal", json!(format!("sqlite:{}", disk.join("nightshift.db").display())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_503_and_everything_is_taken_afterwards() {
    if support::hermetic() {
        return;
    }
    // Room for SQLite's log between two checkpoints (4 MiB) and what is in the database by then.
    let disk = SmallDisk::mount("16m");
    let home = on(&disk.0);
    let mut daemon = home.start().await;
    let before = send(&daemon, "Before", Duration::from_millis(500)).await;
    assert!(before.refused.is_empty() && !before.taken.is_empty());
    let filler = disk.fill();
    let mut sent = send(&daemon, "Full", Duration::from_secs(4)).await;
    let refused = sent.refused.len();
    assert!(refused > 0, "the disk was not full");
    assert!(sent.slowest < ANSWERED_WITHIN, "answered after {:?}", sent.slowest);
    // What was taken meanwhile is durable, or it was not taken: a death with the disk still full.
    assert!(daemon.kill());
    std::fs::remove_file(&filler).expect("removed");
    let held = Books::read(&home.options()).await.fingerprints();
    assert!(before.taken.union(&sent.taken).all(|print| held.contains(print)), "an acknowledged alert is lost");

    // The same with one process that lives through it.
    let mut daemon = home.start().await;
    let filler = disk.fill();
    let more = send(&daemon, "FullAgain", Duration::from_secs(2)).await;
    assert!(!more.refused.is_empty(), "the disk was not full");
    sent.refused.extend(more.refused);
    sent.taken.extend(more.taken);
    std::fs::remove_file(filler).expect("removed");
    let took = send_again(&daemon, &mut sent).await;
    assert!(daemon.kill());
    let held = Books::read(&home.options()).await.fingerprints();
    assert!(sent.taken.iter().all(|print| held.contains(print)), "an acknowledged alert is lost");
    Books::verify(&home.options()).await;
    println!(
        "I-04 full disk: {refused} webhooks refused with 503, the slowest after {:?}; with room again all {} were taken \
         within {took:?}, none lost",
        sent.slowest,
        sent.taken.len()
    );
}

/// Every process of a PostgreSQL server: the ones that answer are children of the first.
fn family(first: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children")).expect("Linux");
    std::iter::once(first).chain(children.split_whitespace().map(|pid| pid.parse().expect("a number"))).collect()
}

fn signal(signal: &str, pids: &[u32]) {
    // One that ends by itself at this moment is no fault; the first one is there.
    let _ = Command::new("kill").arg(format!("-{signal}")).args(pids.iter().map(u32::to_string)).output();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_hangs_is_503_within_a_second() {
    if support::hermetic() {
        return;
    }
    let server = Postgres::own(Fsync::Off).await;
    let home = Home::new(RULES);
    std::fs::write(home.path("url"), server.database()).expect("written");
    let path = home.path("url");
    let home = home.set("journal", json!({"postgres": {"url_file": path}}));
    let mut daemon = home.start().await;
    let before = send(&daemon, "Before", Duration::from_millis(300)).await;
    assert!(before.refused.is_empty() && !before.taken.is_empty());
    // The second is longer than the deadline of a transaction: the connection is given up with a commit under way.
    for (name, frozen) in [("Short", 1), ("Long", 12)] {
        let pids = family(server.process().pid());
        signal("STOP", &pids);
        let mut sent = send(&daemon, name, Duration::from_secs(frozen)).await;
        signal("CONT", &pids);
        assert!(sent.taken.is_empty(), "acknowledged while the journal hung");
        assert!(!sent.refused.is_empty() && sent.slowest < ANSWERED_WITHIN, "answered after {:?}", sent.slowest);
        let (refused, slowest) = (sent.refused.len(), sent.slowest);
        let took = send_again(&daemon, &mut sent).await;
        println!(
            "I-04 PostgreSQL frozen for {frozen} s: {refused} webhooks refused with 503, the slowest after {slowest:?}; \
             all {} taken within {took:?} of its return",
            sent.taken.len()
        );
        let held = Books::read(&home.options()).await.alerts();
        assert!(sent.taken.iter().all(|print| held.get(print) == Some(&1)), "lost, or decided twice");
    }
    assert!(daemon.kill());
    Books::verify(&home.options()).await;
}
