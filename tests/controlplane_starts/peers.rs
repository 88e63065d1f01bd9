//! The other peers: Prometheus, Alertmanager, PostgreSQL and the stand-in for Slack.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::peers::{Alertmanager, Gauges, Prometheus};
use crate::support::postgres::{Fsync, Postgres};
use crate::support::slack::{Behaviour, Slack, TOKEN};
use crate::support::stub::Stub;
use crate::support::{hermetic, wait_until};

const ALERTMANAGER: &str = "
route: {receiver: none, group_by: ['...'], group_wait: 0s, group_interval: 1s}
receivers: [{name: none}]
";

const RULES: &str = "
groups:
- name: test
  rules:
  - alert: PoolExhausted
    expr: pool_in_use > 15
    labels: {severity: critical}
    annotations: {summary: 'pool of {{ $labels.service }} is used up'}
";

#[tokio::test]
async fn a_gauge_above_its_limit_becomes_an_alert_in_alertmanager_and_goes_again() {
    if hermetic() {
        return;
    }
    let gauges = Gauges::start();
    gauges.set("pool_in_use{service=\"web\"}", 20.0);
    let alertmanager = Alertmanager::start(ALERTMANAGER).await;
    let prometheus = Prometheus::start(RULES, &[gauges.address()], &[alertmanager.server().address()]).await;
    let firing = async || -> Result<Vec<Value>, String> {
        let alerts = alertmanager.alerts().await;
        Ok(alerts.as_array().cloned().unwrap_or_default())
    };
    wait_until("the alert is in Alertmanager", Duration::from_secs(20), async || {
        let alerts = firing().await?;
        let found = alerts.iter().any(|alert| alert["labels"]["service"] == "web");
        if found { Ok(()) } else { Err(format!("{alerts:?}; rules: {:?}", prometheus.alerts().await)) }
    })
    .await;
    let value = prometheus.query("pool_in_use{service=\"web\"}").await.unwrap();
    assert_eq!(value[0]["value"][1], "20");

    gauges.set("pool_in_use{service=\"web\"}", 3.0);
    wait_until("the alert is gone", Duration::from_secs(20), async || {
        let alerts = firing().await?;
        if alerts.is_empty() { Ok(()) } else { Err(format!("{alerts:?}")) }
    })
    .await;
}

#[tokio::test]
async fn alertmanager_tells_a_webhook_of_the_first_firing() {
    if hermetic() {
        return;
    }
    let receiver = Stub::accepting();
    let config = format!(
        "route: {{receiver: hook, group_by: ['...'], group_wait: 0s, group_interval: 1s}}\n\
         receivers: [{{name: hook, webhook_configs: [{{url: '{}/webhooks/alertmanager'}}]}}]\n",
        receiver.url()
    );
    let alertmanager = Alertmanager::start(&config).await;
    alertmanager.post_alerts(&json!([{"labels": {"alertname": "A"}}])).await;
    let webhook = wait_until("the webhook came", Duration::from_secs(10), async || {
        receiver.received().first().cloned().ok_or_else(|| "nothing".to_owned())
    })
    .await;
    assert_eq!((webhook.method.as_str(), webhook.uri.as_str()), ("POST", "/webhooks/alertmanager"));
    assert_eq!(webhook.json()["alerts"][0]["labels"]["alertname"], "A");
}

#[tokio::test]
async fn two_alertmanagers_share_a_silence() {
    if hermetic() {
        return;
    }
    let first = Alertmanager::start(ALERTMANAGER).await;
    let second = Alertmanager::join(&first, ALERTMANAGER).await;
    first.silence(&[("alertname", "A")], "2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z").await;
    second.post_alerts(&json!([{"labels": {"alertname": "A"}}])).await;
    wait_until("the silence is known to both", Duration::from_secs(20), async || {
        let alerts = second.alerts().await;
        if alerts[0]["status"]["state"] == "suppressed" { Ok(()) } else { Err(alerts.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn postgres_gives_each_test_a_database() {
    if hermetic() {
        return;
    }
    let postgres = Postgres::shared().await;
    assert!(postgres.database() != postgres.database());
    assert_eq!(postgres.sql("postgres", "SELECT 1 + 1"), "2");
    let durable = Postgres::own(Fsync::On).await;
    assert_eq!(durable.sql("postgres", "SHOW fsync"), "on");
}

/// What the next test kills: it tells the process that it started and waits to be killed.
#[tokio::test]
#[ignore = "a part of nothing_outlives_a_test_process_that_is_killed"]
async fn victim() {
    let alertmanager = Alertmanager::start(ALERTMANAGER).await;
    println!("started {}", alertmanager.server().process().pid());
    tokio::time::sleep(Duration::from_secs(60)).await;
}

#[tokio::test]
async fn nothing_outlives_a_test_process_that_is_killed() {
    if hermetic() {
        return;
    }
    let mut killed = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "peers::victim"])
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(killed.stdout.take().unwrap()).lines();
    let pid = loop {
        let line = tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await.unwrap().unwrap();
        // The harness writes the test's name before it, on the same line.
        if let Some((_, pid)) = line.expect("it says what it started").split_once("started ") {
            break pid.to_owned();
        }
    };
    let folder = std::fs::read_link(format!("/proc/{pid}/fd/1")).unwrap().parent().unwrap().to_owned();
    assert!(folder.is_dir());
    killed.kill().await.unwrap();
    wait_until("the program and its folder are gone", Duration::from_secs(20), async || {
        let (runs, stays) = (std::path::Path::new("/proc").join(&pid).exists(), folder.exists());
        if runs || stays { Err(format!("runs: {runs}, folder stays: {stays}")) } else { Ok(()) }
    })
    .await;
}

async fn call(slack: &Slack, method: &str, token: &str, body: &Value) -> reqwest::Result<(u16, Value)> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()?;
    let request = client.post(format!("{}/{method}", slack.url())).bearer_auth(token);
    let request = request.header("content-type", "application/json; charset=utf-8").body(body.to_string());
    let answer = request.send().await?;
    Ok((answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null)))
}

#[tokio::test]
async fn slack_keeps_messages_and_changes_them_in_place() {
    let slack = Slack::start(&[("incidents", "C0INC")]);
    let block = json!({"type": "section", "text": {"type": "mrkdwn", "text": "a &lt;b&gt; <@U1>"}});
    let post = json!({"channel": "#incidents", "text": "it fires", "blocks": [block]});
    let (_, posted) = call(&slack, "chat.postMessage", TOKEN, &post).await.unwrap();
    assert_eq!((&posted["ok"], &posted["channel"]), (&json!(true), &json!("C0INC")));
    let reply = json!({"channel": "C0INC", "text": "scaled", "thread_ts": posted["ts"]});
    assert_eq!(call(&slack, "chat.postMessage", TOKEN, &reply).await.unwrap().1["ok"], true);
    let update = json!({"channel": "C0INC", "ts": posted["ts"], "text": "it is over"});
    assert_eq!(call(&slack, "chat.update", TOKEN, &update).await.unwrap().1["ok"], true);
    let messages = slack.messages();
    assert_eq!((messages[0].text.as_str(), messages[0].blocks.len(), messages[0].updates), ("it is over", 0, 1));
    assert_eq!(messages[1].thread_ts.as_deref(), Some(messages[0].ts.as_str()));
    slack.assert_nothing_broken();
}

#[tokio::test]
async fn slack_refuses_what_slack_refuses() {
    let slack = Slack::start(&[("incidents", "C0INC")]);
    let section = |text: &str| json!({"type": "section", "text": {"type": "mrkdwn", "text": text}});
    let button = |value: &str| {
        json!({"type": "actions", "elements": [{"type": "button", "action_id": "a", "value": value,
               "text": {"type": "plain_text", "text": "Approve"}}]})
    };
    for (method, body, error) in [
        ("chat.postMessage", json!({"channel": "C0INC"}), "no_text"),
        ("chat.postMessage", json!({"channel": "C0INC", "blocks": [section("x")]}), "no_text"),
        ("chat.postMessage", json!({"channel": "C9", "text": "x"}), "channel_not_found"),
        (
            "chat.postMessage",
            json!({"channel": "C0INC", "text": "x", "blocks": vec![section("x"); 51]}),
            "invalid_blocks",
        ),
        (
            "chat.postMessage",
            json!({"channel": "C0INC", "text": "x", "blocks": [section(&"x".repeat(3001))]}),
            "invalid_blocks",
        ),
        (
            "chat.postMessage",
            json!({"channel": "C0INC", "text": "x", "blocks": vec![section(&"x".repeat(2900)); 5]}),
            "msg_blocks_too_long",
        ),
        (
            "chat.postMessage",
            json!({"channel": "C0INC", "text": "x", "blocks": [button(&"v".repeat(2001))]}),
            "invalid_blocks",
        ),
        (
            "chat.postMessage",
            json!({"channel": "C0INC", "text": "x", "blocks": [button("1"), button("2")]}),
            "invalid_blocks",
        ),
        ("chat.postMessage", json!({"channel": "C0INC", "text": "a <b> c"}), "unescaped"),
        ("chat.postMessage", json!({"channel": "C0INC", "text": "a & c"}), "unescaped"),
        ("chat.postMessage", json!({"channel": "C0INC", "text": "x", "colour": "red"}), "invalid_arg_name"),
        ("chat.postMessage", json!({"channel": "C0INC", "text": "x", "thread_ts": "1.2"}), "thread_not_found"),
        ("chat.update", json!({"channel": "C0INC", "text": "x", "ts": "1.2"}), "message_not_found"),
        ("chat.update", json!({"channel": "incidents", "text": "x", "ts": "1.2"}), "channel_not_found"),
        ("chat.update", json!({"channel": "C0INC", "text": "x".repeat(4001), "ts": "1.2"}), "msg_too_long"),
        ("chat.delete", json!({"channel": "C0INC", "ts": "1.2"}), "unknown_method"),
    ] {
        let broken = slack.broken().len();
        let (status, answer) = call(&slack, method, TOKEN, &body).await.unwrap();
        assert_eq!((status, answer["error"].as_str()), (200, Some(error)), "{method} {body}");
        assert!(slack.broken().len() > broken);
    }
    let (_, answer) = call(&slack, "auth.test", "xoxb-other", &json!({})).await.unwrap();
    assert_eq!(answer["error"], "invalid_auth");
    assert!(slack.messages().is_empty());
}

#[tokio::test]
async fn slack_fails_in_every_way_it_is_told_to() {
    let slack = Slack::start(&[("incidents", "C0INC")]);
    let post = json!({"channel": "C0INC", "text": "x"});
    slack.next(Behaviour::RateLimited(7));
    slack.next(Behaviour::Status(503));
    slack.next(Behaviour::Error("is_archived"));
    slack.next(Behaviour::Reset);
    slack.next(Behaviour::LoseAnswer);
    slack.next(Behaviour::Hang);
    let send = async || call(&slack, "chat.postMessage", TOKEN, &post).await;
    assert_eq!(send().await.unwrap().0, 429);
    assert_eq!(send().await.unwrap().0, 503);
    assert_eq!(send().await.unwrap().1["error"], "is_archived");
    assert!(send().await.is_err());
    assert!(slack.messages().is_empty());
    assert!(send().await.is_err());
    assert_eq!(slack.messages().len(), 1, "the answer was lost, not the message");
    assert!(send().await.unwrap_err().is_timeout());
    slack.refuse();
    assert!(send().await.unwrap_err().is_connect());
    slack.listen_again();
    assert_eq!(send().await.unwrap().1["ok"], true);
    let done: Vec<bool> = slack.calls().iter().map(|call| call.done).collect();
    assert_eq!(done, [false, false, false, false, true, false, true]);
    slack.assert_nothing_broken();
}
