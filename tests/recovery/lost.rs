//! An alert that nobody refreshes, while nothing else goes on: Alertmanager is asked about it, and not more often than that.

use std::time::Duration;

use nightshift::model::event::Event;
use serde_json::json;

use crate::acting;
use crate::books::Books;
use crate::played::Played;
use crate::support::wait_until;
use crate::webhooks::{Alert, body, post_once};

const LOST_AFTER: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_nightshift_asks_about_what_nobody_refreshes_and_says_what_is_lost() {
    let played = Played::start();
    let home = acting::home(&acting::rules("lost", "100ms"), &played.kubeconfig(), &played.url())
        .set("alertmanager", json!({"urls": [played.url()], "lost_after": "2s"}));
    let alert = Alert::firing(&[("alertname", "DiskFills")]);
    played.fires(&alert);
    let mut daemon = home.start().await;
    assert_eq!(post_once(daemon.webhooks(), &body(std::slice::from_ref(&alert))).await.unwrap(), 200);
    tokio::time::sleep(3 * LOST_AFTER + LOST_AFTER / 2).await;
    let asked = played.asked();
    assert!((1..=4).contains(&asked), "in seven seconds it asked {asked} times, and one answer is good for two");
    played.fires_no_more(&alert);
    wait_until("it says that it lost contact", 5 * LOST_AFTER, async || {
        let said = home.run(&["why", "1", "--url", &format!("http://{}", daemon.admin())]);
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        if said.contains("contact with its alerts is lost") { Ok(()) } else { Err(said) }
    })
    .await;
    assert!(daemon.kill());
    let books = Books::read(&home.options()).await;
    let lost = books.events().filter(|(_, event)| matches!(event, Event::IncidentLostContact { .. }));
    assert_eq!(lost.count(), 1);
}
