//! One live instance per journal: a second refuses and says why, takes over once the first is dead, and a first that
//! wakes up afterwards writes nothing more.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::books::Books;
use crate::daemon::{Daemon, Home};
use crate::support::{self, postgres::Postgres};
use crate::webhooks::{Alert, body, post_once};

const RULES: &str = "rules:\n- {name: everything, match: [], severity: P3, group_by: [alertname]}\n";
/// The leadership holds for 15 s without being renewed.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(40);

async fn refused(home: &Home) -> String {
    let mut second = home.launch(None);
    let end = second.until_ready().await.expect_err("a second instance runs");
    assert!(second.has_ended().is_some_and(|status| status.code() == Some(1)), "{end}");
    end
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_daemon_on_a_sqlite_journal_refuses_to_start() {
    let home = Home::new(RULES);
    let mut daemon = home.start().await;
    let other = Home::new(RULES).set("journal", json!(format!("sqlite:{}", home.journal().display())));
    let said = refused(&other).await;
    assert!(said.contains("another nightshift is writing this journal"), "{said}");
    assert!(said.contains("hint:"), "{said}");
    // The first did not notice, and its death frees the file at once.
    let alert = Alert::firing(&[("alertname", "Here")]);
    assert_eq!(post_once(daemon.webhooks(), &body(&[alert])).await.unwrap(), 200);
    assert!(daemon.kill());
    let mut second = other.start().await;
    assert!(second.kill());
    Books::verify(&home.options()).await;
}

pub async fn until_taken_over(home: &Home) -> (Daemon, Duration) {
    let began = Instant::now();
    loop {
        let mut second = home.launch(None);
        match second.until_ready().await {
            Ok(()) => return (second, began.elapsed()),
            Err(end) => assert!(end.contains("another instance leads"), "{end}"),
        }
        assert!(began.elapsed() < TAKEN_OVER_WITHIN, "not taken over");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Two instances on one new PostgreSQL journal.
async fn two_on_postgresql() -> (Home, Home) {
    let server = Postgres::shared().await;
    let first = Home::new(RULES);
    std::fs::write(first.path("url"), server.database()).expect("written");
    let journal = json!({"postgres": {"url_file": first.path("url")}});
    (first.set("journal", journal.clone()), Home::new(RULES).set("journal", journal))
}

async fn taken_over_from_the_dead() {
    let (first, second) = two_on_postgresql().await;
    let mut one = first.start().await;
    let said = refused(&second).await;
    assert!(said.contains("another instance leads") && said.contains("hint:"), "{said}");
    assert!(one.kill());
    let (mut two, took) = until_taken_over(&second).await;
    println!("PostgreSQL journal: taken over {took:.1?} after a kill -9");
    assert!(two.kill());
    Books::verify(&first.options()).await;
}

async fn taken_over_from_the_frozen() {
    let (first, second) = two_on_postgresql().await;
    let mut one = first.start().await;
    one.signal("STOP");
    let (mut two, took) = until_taken_over(&second).await;
    let kept = Alert::firing(&[("alertname", "Kept")]);
    assert_eq!(post_once(two.webhooks(), &body(&[kept])).await.unwrap(), 200);
    one.signal("CONT");
    let stale = Alert::firing(&[("alertname", "Stale")]);
    // It may be gone already, or learn it by this very write; it must not take it.
    let answer = post_once(one.webhooks(), &body(&[stale])).await;
    assert!(!matches!(answer, Ok(200)), "taken by one that no longer leads");
    let end = one.until_ended(Duration::from_secs(20)).await;
    assert!(end.is_some_and(|status| status.code() == Some(1)), "{end:?}\n{}", one.said());
    assert!(one.said().contains("no longer leads"), "{}", one.said());
    println!("PostgreSQL journal: taken over {took:.1?} after a freeze, and the frozen one ended when it woke");
    assert!(two.kill());
    Books::verify(&first.options()).await;
    assert_eq!(Books::read(&first.options()).await.alerts().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgresql_a_second_instance_waits_for_the_firsts_end_and_fences_it() {
    if support::hermetic() {
        return;
    }
    tokio::join!(taken_over_from_the_dead(), taken_over_from_the_frozen());
}
