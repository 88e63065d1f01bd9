//! What people ask for by Slack's Socket Mode is decided once, whenever the process dies: it is acknowledged once it is
//! durable, and until then Slack sends it again, to whoever connects next.

use std::time::Duration;

use nightshift::model::event::Event;
use serde_json::json;

use crate::books::Books;
use crate::daemon::{Daemon, Home};
use crate::dice::Dice;
use crate::support::slack::{Message, Slack, TOKEN};
use crate::support::slack_socket::APP_TOKEN;
use crate::support::wait_until;
use crate::webhooks::{Alert, body, post_once};

const RULES: &str = "rules:\n- {name: everything, match: [], severity: P1, group_by: [alertname]}\n";
const KILLS: usize = 6;
const SOON: Duration = Duration::from_secs(20);

fn home(slack: &Slack) -> Home {
    let home = Home::new(RULES);
    for (name, token) in [("token", TOKEN), ("app-token", APP_TOKEN)] {
        std::fs::write(home.path(name), token).expect("written");
    }
    let settings = json!({
        "channel": "#night", "api_url": slack.url(),
        "bot_token_file": home.path("token"), "app_token_file": home.path("app-token"),
    });
    home.set("slack", settings)
}

fn slack() -> Slack {
    let slack = Slack::start(&[("night", "C0NIGHT")]);
    slack.knows("U0ANA0001", "Ana", json!({}));
    slack
}

/// Another alert fires, and its incident's message stands in Slack, the `number`-th from 0 on.
async fn card(slack: &Slack, daemon: &Daemon, number: usize) -> Message {
    let alert = Alert::firing(&[("alertname", &format!("Number{number}"))]);
    assert_eq!(post_once(daemon.webhooks(), &body(&[alert])).await.unwrap(), 200);
    wait_until("a message with a button", SOON, async || {
        let mut cards = slack.messages().into_iter().filter(|message| message.button("Why?").is_some());
        let card = cards.nth(number).filter(|card| card.button("Acknowledge").is_some());
        card.ok_or_else(|| format!("{:#?}", slack.messages()))
    })
    .await
}

async fn taken(home: &Home) -> usize {
    let books = Books::read(&home.options()).await;
    books.events().filter(|(_, event)| matches!(event, Event::IncidentAcknowledged { .. })).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_click_that_died_with_the_process_before_it_was_acknowledged_is_taken_once() {
    let slack = slack();
    let home = home(&slack);
    let sockets = slack.sockets();
    let mut daemon = home.start().await;
    sockets.until_opened(1).await;
    let message = card(&slack, &daemon, 0).await;
    // Slack's end does not see the acknowledgement.
    sockets.go_silent(0);
    let id = slack.press_by_socket("U0ANA0001", &message, "Acknowledge");
    wait_until("the click is in the journal", SOON, async || match taken(&home).await {
        1 => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
    assert!(daemon.kill());
    assert_eq!(sockets.acknowledged(&id).len(), 0);
    let _daemon = home.start().await;
    sockets.until_opened(2).await;
    sockets.send_again(&id);
    sockets.until_acknowledged(&id).await;
    assert_eq!(taken(&home).await, 1);
    wait_until("whoever clicked is told that it was taken", SOON, async || {
        let whispers = slack.whispers();
        let told = whispers.iter().any(|whisper| whisper.text.contains("this was taken already"));
        if told { Ok(()) } else { Err(format!("{whispers:?}")) }
    })
    .await;
    slack.assert_nothing_broken();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_it_is_killed_a_click_is_taken_once() {
    let slack = slack();
    let home = home(&slack);
    let sockets = slack.sockets();
    let mut dice = Dice::new();
    let mut sent_again = 0;
    let mut daemon = home.start().await;
    for round in 0..KILLS {
        sockets.until_opened(sockets.opened().max(1)).await;
        let message = card(&slack, &daemon, round).await;
        let id = slack.press_by_socket("U0ANA0001", &message, "Acknowledge");
        tokio::time::sleep(Duration::from_micros(dice.between(0, 40_000))).await;
        assert!(daemon.kill());
        let was_acknowledged = !sockets.acknowledged(&id).is_empty();
        assert!(!was_acknowledged || taken(&home).await == round + 1, "acknowledged, and not durable");
        let opened = sockets.opened();
        daemon = home.start().await;
        sockets.until_opened(opened + 1).await;
        if !was_acknowledged {
            sent_again += 1;
            sockets.send_again(&id);
            sockets.until_acknowledged(&id).await;
        }
        assert_eq!(taken(&home).await, round + 1);
    }
    println!("{KILLS} kills around a click, {sent_again} before it was acknowledged; seed {}", dice.seed);
    slack.assert_nothing_broken();
}
