//! What Slack or PagerDuty signed is taken once: whoever plays it again to another replica, on the same PostgreSQL
//! journal, changes nothing.

use std::net::SocketAddr;
use std::time::Duration;

use nightshift::decide::people::TAKEN;
use nightshift::http::client::install_crypto;
use nightshift::http::signature::SigningKeys;
use nightshift::model::event::Event;
use nightshift::model::input::Input;
use nightshift::model::plan::hex;
use serde_json::{Value, json};

use crate::books::Books;
use crate::daemon::{Daemon, Home};
use crate::instances::until_taken_over;
use crate::support::postgres::Postgres;
use crate::support::slack::{self, Message, Slack, TOKEN, pressed, typed};
use crate::support::{self, pagerduty, wait_until};
use crate::webhooks::{Alert, body, now, post_once};

const RULES: &str = "rules:\n- {name: everything, match: [], severity: P1, group_by: [alertname, title]}\n";
const SOON: Duration = Duration::from_secs(20);

/// A request as it went over the wire, to be sent again to the byte.
struct Signed {
    path: &'static str,
    headers: Vec<(&'static str, String)>,
    body: String,
}

fn hmac(secret: &str, parts: &str) -> String {
    hex(&SigningKeys::new(&[secret.into()]).sign(&[parts.as_bytes()]).expect("a secret"))
}

impl Signed {
    fn of_slack(path: &'static str, fields: &[(&str, &str)]) -> Signed {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
        let signature = format!("v0={}", hmac(slack::SIGNING_SECRET, &format!("v0:{time}:{body}")));
        let headers = vec![("x-slack-request-timestamp", time.to_string()), ("x-slack-signature", signature)];
        Signed { path, headers, body }
    }

    fn of_pagerduty(event: &Value) -> Signed {
        let body = event.to_string();
        let signature = format!("v1={}", hmac(pagerduty::SIGNING_SECRET, &body));
        Signed { path: "/webhooks/pagerduty", headers: vec![("x-pagerduty-signature", signature)], body }
    }

    async fn sent_to(&self, address: SocketAddr, more: &[(&str, &str)]) -> (u16, String) {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let mut request = client.post(format!("http://{address}{}", self.path));
        request = request.header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in
            self.headers.iter().map(|(name, value)| (*name, value.as_str())).chain(more.iter().copied())
        {
            request = request.header(name, value);
        }
        let answer = request.body(self.body.clone()).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a body"))
    }
}

/// Two on one new PostgreSQL journal, with Slack and PagerDuty at their doors.
async fn two(slack: &Slack) -> (Home, Home) {
    let server = Postgres::shared().await;
    let first = Home::new(RULES);
    for (name, text) in [
        ("url", server.database().as_str()),
        ("token", TOKEN),
        ("slack-secret", slack::SIGNING_SECRET),
        ("pagerduty-secret", pagerduty::SIGNING_SECRET),
    ] {
        std::fs::write(first.path(name), text).expect("written");
    }
    let journal = json!({"postgres": {"url_file": first.path("url")}});
    let at_slack = json!({
        "channel": "#night", "api_url": slack.url(),
        "bot_token_file": first.path("token"), "signing_secret_file": first.path("slack-secret"),
    });
    let sources = json!({"pagerduty": {"signing_secret_file": first.path("pagerduty-secret")}});
    let set = |home: Home| {
        home.set("journal", journal.clone()).set("slack", at_slack.clone()).set("sources", sources.clone())
    };
    (set(first), set(Home::new(RULES)))
}

async fn card(slack: &Slack, daemon: &Daemon) -> Message {
    let alert = Alert::firing(&[("alertname", "Slow")]);
    assert_eq!(post_once(daemon.webhooks(), &body(&[alert])).await.unwrap(), 200);
    wait_until("a message with a button", SOON, async || {
        let card = slack.messages().into_iter().find(|message| message.button("Acknowledge").is_some());
        card.ok_or_else(|| format!("{:#?}", slack.messages()))
    })
    .await
}

fn resumes(daemon: &Daemon, home: &Home) {
    let resumed = home.run(&["resume", "--url", &format!("http://{}", daemon.admin())]);
    assert!(resumed.status.success(), "{resumed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_signed_and_taken_is_not_taken_by_another_replica() {
    if support::hermetic() {
        return;
    }
    install_crypto();
    let slack = Slack::start(&[("night", "C0NIGHT")]);
    slack.knows("U0ANA0001", "Ana", json!({}));
    let (first, second) = two(&slack).await;
    let mut one = first.start().await;
    let message = card(&slack, &one).await;

    let button = message.button("Acknowledge").expect("it is there");
    let click = pressed("U0ANA0001", &message, &button).to_string();
    let click = Signed::of_slack("/slack/interactions", &[("payload", &click)]);
    let pause = typed("U0ANA0001", "pause for lunch");
    let pause: Vec<(&str, &str)> = pause
        .as_object()
        .expect("fields")
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().expect("text")))
        .collect();
    let pause = Signed::of_slack("/slack/commands", &pause);
    let data = json!({"id": "PGR0VU2", "type": "incident", "number": 2, "status": "triggered", "title": "Odd",
                      "created_at": now(), "urgency": "high"});
    let event = json!({"event": {"id": "01BYZ6M2", "event_type": "incident.triggered", "resource_type": "incident",
                                 "occurred_at": now(), "agent": null, "client": null, "data": data}});
    let webhook = Signed::of_pagerduty(&event);
    let delivery = [("x-webhook-id", "cc7dc2f8")];

    assert_eq!(click.sent_to(one.webhooks(), &[]).await.0, 200);
    let (status, says) = pause.sent_to(one.webhooks(), &[]).await;
    assert!(status == 200 && says.contains("Paused: nothing acts any more"), "{status} {says}");
    assert_eq!(webhook.sent_to(one.webhooks(), &delivery).await.0, 202);
    resumes(&one, &first);
    wait_until("all of it is journalled", SOON, async || {
        let found = taken(&Books::read(&first.options()).await);
        if found == (1, 1, 1) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    assert!(one.kill());

    let (mut two, _) = until_taken_over(&second).await;
    assert_eq!(click.sent_to(two.webhooks(), &[]).await.0, 200);
    let (status, says) = pause.sent_to(two.webhooks(), &[]).await;
    assert!(status == 200 && says.contains(TAKEN), "{status} {says}");
    for more in [&delivery[..], &[("x-webhook-id", "another")], &[]] {
        assert_eq!(webhook.sent_to(two.webhooks(), more).await.0, 202);
    }
    wait_until("whoever clicked is told", SOON, async || {
        let whispers = slack.whispers();
        if whispers.iter().any(|whisper| whisper.text.contains(TAKEN)) { Ok(()) } else { Err(format!("{whispers:?}")) }
    })
    .await;
    // Another one, that nobody has taken yet, is taken here.
    let mut other = event;
    other["event"]["id"] = json!("01BYZ6M3");
    assert_eq!(Signed::of_pagerduty(&other).sent_to(two.webhooks(), &[("x-webhook-id", "third")]).await.0, 202);
    assert!(two.kill());

    let books = Books::read(&second.options()).await;
    assert_eq!(taken(&books), (1, 1, 2));
    assert_eq!(books.state["paused"], Value::Null);
    Books::verify(&second.options()).await;
    slack.assert_nothing_broken();
}

/// Acknowledges, pauses, and news of PagerDuty that were taken.
fn taken(books: &Books) -> (usize, usize, usize) {
    let count = |is_it: fn(&Event) -> bool| books.events().filter(|(_, event)| is_it(event)).count();
    (
        count(|event| matches!(event, Event::IncidentAcknowledged { .. })),
        count(|event| matches!(event, Event::Paused { .. })),
        books.entries.iter().filter(|entry| matches!(entry.input, Input::Peer(_))).count(),
    )
}
