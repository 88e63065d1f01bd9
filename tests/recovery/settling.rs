//! I-15: after a start nothing acts before the settle time is over, however many alerts fire; then it does act.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::acting;
use crate::books::Books;
use crate::daemon::Daemon;
use crate::played::Played;
use crate::support::wait_until;
use crate::webhooks::{Alert, body, post_once};

const ALERTS: usize = 500;
const SETTLE: Duration = Duration::from_secs(6);

/// As Alertmanager does it: a 503 is tried again.
async fn delivered(daemon: &Daemon, alerts: &[Alert]) {
    wait_until("the alerts are taken", Duration::from_secs(10), async || {
        match post_once(daemon.webhooks(), &body(alerts)).await {
            Ok(200) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acts_among_five_hundred_firing_alerts_before_the_settle_time_is_over() {
    let played = Arc::new(Played::start());
    // The first process must not act either: `for` holds it until it is dead.
    let rules =
        acting::rules("settling", "6s").replace("  mode: auto\n", "  mode: auto\n  group_by: [number]\n  for: 4s\n");
    let home = acting::home(&rules, &played.kubeconfig(), &played.url());
    played.deploy("settling", 2, home.head_file());
    let alerts: Vec<Alert> = (0..ALERTS)
        .map(|number| Alert::firing(&[("alertname", "HighLoad"), ("number", &number.to_string())]))
        .collect();
    alerts.iter().for_each(|alert| played.fires(alert));
    let mut daemon = home.start().await;
    delivered(&daemon, &alerts).await;
    assert!(daemon.kill());
    assert_eq!(played.writes("settling").len(), 0);
    // Beyond `for`: only the settle time is in the way now.
    tokio::time::sleep(Duration::from_secs(4)).await;

    let launched = Instant::now();
    let mut daemon = home.start().await;
    for chunk in alerts.chunks(50) {
        delivered(&daemon, chunk).await;
    }
    wait_until("the first write", Duration::from_secs(30), async || {
        let _ = post_once(daemon.webhooks(), &body(&alerts[..50])).await;
        if played.writes("settling").is_empty() { Err("none".to_owned()) } else { Ok(()) }
    })
    .await;
    let first = played.writes("settling")[0].at - launched;
    assert!(first >= SETTLE, "acted {first:?} after the start");
    assert!(daemon.kill());
    let books = Books::read(&home.options()).await;
    assert_eq!(books.fingerprints().len(), ALERTS);
    let opened = books
        .events()
        .filter(|(_, event)| matches!(event, nightshift::model::event::Event::IncidentOpened { .. }))
        .count();
    assert_eq!(opened, ALERTS);
    println!("I-15: {ALERTS} firing alerts, the first write {first:.1?} after a start that settles for {SETTLE:?}");
}
