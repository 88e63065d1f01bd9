//! I-28, I-29: a pause by file or by signal is in force within a second with every peer gone, survives a kill -9, and
//! is ended by a named person; what it stopped does not come back by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nightshift::model::event::Event;
use nightshift::model::input::{Input, Via};
use serde_json::json;
use tokio::task::JoinSet;

use crate::acting;
use crate::books::Books;
use crate::daemon::{Daemon, Home};
use crate::dice::Dice;
use crate::played::Played;
use crate::support::supervised::free_ports;
use crate::support::wait_until;
use crate::webhooks::{Alert, body, post_once};

const PAUSES: u64 = 10;
const IN_FORCE_WITHIN: Duration = Duration::from_secs(1);

async fn until_paused(home: &Home, via: Via, asked: Instant) -> Duration {
    wait_until("the pause is in the journal", Duration::from_secs(10), async || {
        let books = Books::read(&home.options()).await;
        let pauses = |input: &Input| matches!(input, Input::Command { via: by, .. } if *by == via);
        let found = books.events().any(|(entry, event)| matches!(event, Event::Paused { .. }) && pauses(&entry.input));
        if found { Ok(()) } else { Err(format!("{} entries", books.entries.len())) }
    })
    .await;
    asked.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_works_with_every_peer_gone_and_survives_a_kill() {
    let [nobody] = free_ports();
    let gone = format!("http://127.0.0.1:{nobody}");
    let played = Played::start();
    let kubeconfig = played.kubeconfig().replace(&played.url(), &gone);
    for via in [Via::File, Via::Signal] {
        let home = acting::home(&acting::rules("gone", "200ms"), &kubeconfig, &gone);
        std::fs::write(home.path("token"), "xoxb-1-abc").expect("written");
        let slack = json!({"channel": "#night", "bot_token_file": home.path("token"), "api_url": gone});
        let home = home.set("slack", slack);
        let mut daemon = home.start().await;
        let alert = Alert::firing(&[("alertname", "HighLoad")]);
        assert_eq!(post_once(daemon.webhooks(), &body(&[alert])).await.unwrap(), 200);
        let asked = Instant::now();
        match via {
            Via::File => std::fs::write(home.path("pause"), "").expect("written"),
            _ => daemon.signal("USR1"),
        }
        let took = until_paused(&home, via.clone(), asked).await;
        println!("I-29 pause by {via:?} with Slack, Kubernetes and Alertmanager gone: journalled after {took:.0?}");
        assert!(took < IN_FORCE_WITHIN + Duration::from_millis(500), "{took:?}");
        assert!(daemon.kill());
        if via == Via::File {
            std::fs::remove_file(home.path("pause")).expect("removed");
        }
        let mut daemon = home.start().await;
        assert!(daemon.kill());
        assert!(Books::read(&home.options()).await.paused().is_some(), "forgotten by a restart");
    }
}

/// Pauses at a moment of the story; no write may come later than a second after. True: it came before the write, and
/// the action never happened, not even after a death and a resume.
async fn pause_after(wait: Duration, by_file: bool) -> bool {
    let played = Arc::new(Played::start());
    // Queued for a while, so that there are moments before, in and after the action.
    let rules = acting::rules("paused", "200ms").replace("  mode: auto\n", "  mode: auto\n  for: 500ms\n");
    let home = acting::home(&rules, &played.kubeconfig(), &played.url());
    played.deploy("paused", 2, home.head_file());
    let mut daemon = home.start().await;
    let alert = Alert::firing(&[("alertname", "HighLoad")]);
    played.fires(&alert);
    assert_eq!(post_once(daemon.webhooks(), &body(std::slice::from_ref(&alert))).await.unwrap(), 200);
    tokio::time::sleep(wait).await;
    let asked = Instant::now();
    let via = if by_file {
        std::fs::write(home.path("pause"), "").expect("written");
        Via::File
    } else {
        daemon.signal("USR1");
        Via::Signal
    };
    until_paused(&home, via.clone(), asked).await;
    // Long enough for anything that was queued.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let writes = played.writes("paused");
    assert!(writes.len() <= 1);
    for write in &writes {
        let late = write.at.saturating_duration_since(asked);
        assert!(late < IN_FORCE_WITHIN, "a write {late:?} after the pause");
    }
    if !writes.is_empty() {
        return false;
    }
    // Still paused after a death, though the alert comes again.
    assert!(daemon.kill());
    let _ = std::fs::remove_file(home.path("pause"));
    let mut daemon = home.start().await;
    let text = body(std::slice::from_ref(&alert));
    again(&daemon, &text).await;
    assert_eq!(played.writes("paused").len(), 0, "acted while paused");
    let url = format!("http://{}", daemon.admin());
    let resumed = home.run(&["resume", "--url", &url]);
    assert!(resumed.status.success(), "{resumed:?}");
    again(&daemon, &text).await;
    assert_eq!(played.writes("paused").len(), 0, "what waited meanwhile was not dropped");
    assert!(daemon.kill());
    let books = Books::read(&home.options()).await;
    let by = books.events().find_map(|(_, event)| match event {
        Event::Resumed { by } => Some(by.clone()),
        _ => None,
    });
    assert!(by.as_deref().is_some_and(|by| by.starts_with("local:")), "{by:?}");
    assert!(books.paused().is_none());
    Books::verify(&home.options()).await;
    true
}

/// For a second, which is longer than the settle time.
async fn again(daemon: &Daemon, text: &str) {
    for _ in 0..10 {
        assert_eq!(post_once(daemon.webhooks(), text).await.unwrap(), 200);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_at_any_moment_stops_what_is_queued_until_a_person_resumes() {
    let mut dice = Dice::new();
    println!("seed {}", dice.seed);
    let mut running = JoinSet::new();
    for number in 0..PAUSES {
        running.spawn(pause_after(dice.millis(0, 700), number % 2 == 0));
    }
    let mut stopped = 0;
    while let Some(one) = running.join_next().await {
        stopped += u64::from(one.expect("no panic"));
    }
    assert!(stopped > 0, "no pause came before a write: nothing was tested");
    println!(
        "I-28: {PAUSES} pauses at random moments, no write later than {IN_FORCE_WITHIN:?} after one; {stopped} came before \
         the write and stopped it for good"
    );
}
