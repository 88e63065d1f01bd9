//! What nightshift understands of a real Alertmanager and a real Prometheus.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod support;

use nightshift::{
    decide::work::AskedAlert,
    model::{
        alert::Source,
        firing::{Firing, FiringAnswer},
        id::Fingerprint,
        observation::{QueryReading, RuleReading},
        time::Micros,
    },
    peer::{
        alertmanager::Alertmanagers,
        prometheus::{Parsed, Prometheus},
    },
};
use serde_json::json;
use std::time::Duration;
use support::{peers, wait_until};

const WITHIN: Duration = Duration::from_secs(5);
const START: &str = "2026-03-01T02:12:09.123Z";
const CONFIG: &str = "route: {receiver: none}\nreceivers: [{name: none}]\n";

fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

fn asked(fingerprint: &str, alertname: &str) -> AskedAlert {
    AskedAlert {
        fingerprint: Fingerprint::new(fingerprint),
        source: Source::Alertmanager,
        starts_at: Micros::parse(START).unwrap(),
        labels: [("alertname".to_owned(), alertname.to_owned())].into(),
    }
}

#[tokio::test]
async fn alertmanager_says_what_is_active_silenced_or_absent() {
    if support::hermetic() {
        return;
    }
    let (one, other) = tokio::join!(peers::Alertmanager::start(CONFIG), peers::Alertmanager::start(CONFIG));
    // A name with all that a matcher could trip over.
    let odd = "a\"b\\c, d=~e{}\n/é";
    let alert = |name: &str| {
        json!({"labels": {"alertname": name, "pod": "p1"}, "startsAt": START,
                                    "endsAt": "2099-01-01T00:00:00Z"})
    };
    one.post_alerts(&json!([alert("Up"), alert(odd)])).await;
    other.post_alerts(&json!([alert("Up")])).await;
    let fingerprint = async |name: &str| -> String {
        let listed = wait_until("the alert is listed", Duration::from_secs(10), async || {
            let all = one.alerts().await;
            let found = all.as_array().unwrap().iter().find(|one| one["labels"]["alertname"] == name).cloned();
            found.ok_or(all.to_string())
        })
        .await;
        listed["fingerprint"].as_str().unwrap().to_owned()
    };
    let (up, odd_print) = (fingerprint("Up").await, fingerprint(odd).await);
    let urls = [one.server().url(), other.server().url()];
    let both = Alertmanagers::new(http(), &urls);
    let alerts = [asked(&up, "Up"), asked(&odd_print, odd), asked("0000000000000000", "Gone")];
    let ask = async |peers: &Alertmanagers, alerts: &[AskedAlert]| {
        let FiringAnswer::Answered { alerts, .. } = peers.ask(alerts, Micros(7), WITHIN).await else { panic!() };
        alerts
    };
    let active = Firing::Active { starts_at: Micros::parse(START).unwrap() };
    wait_until("both are active", Duration::from_secs(10), async || {
        // All three at once (a regex), and each alone (an equality).
        let answers = ask(&both, &alerts).await;
        let firing: Vec<&Firing> = alerts.iter().map(|alert| &answers[&alert.fingerprint]).collect();
        let alone = ask(&both, &alerts[1..2]).await;
        let good = firing == [&active, &active, &Firing::Absent] && alone[&alerts[1].fingerprint] == active;
        if good { Ok(()) } else { Err(format!("{answers:?} {alone:?}")) }
    })
    .await;

    // Silenced on one of two is silenced.
    let silence = other.silence(&[("alertname", "Up")], "2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z").await;
    wait_until("it is suppressed", Duration::from_secs(10), async || {
        let answers = ask(&both, &alerts[..1]).await;
        let firing = answers[&alerts[0].fingerprint].clone();
        if firing == (Firing::Suppressed { by: vec![silence.clone()] }) { Ok(()) } else { Err(format!("{firing:?}")) }
    })
    .await;

    // A reachable peer is enough; none is unknown.
    let [port] = support::supervised::free_ports();
    let nobody = format!("http://127.0.0.1:{port}");
    let half = Alertmanagers::new(http(), &[one.server().url(), nobody.clone()]);
    assert_eq!(ask(&half, &alerts[..1]).await[&alerts[0].fingerprint], active);
    let none = Alertmanagers::new(http(), &[nobody]);
    assert!(matches!(none.ask(&alerts, Micros(7), WITHIN).await, FiringAnswer::Unreachable { .. }));
}

#[tokio::test]
async fn prometheus_says_whether_rules_are_evaluated_and_what_a_query_gives() {
    if support::hermetic() {
        return;
    }
    let rules = r#"
groups:
  - name: g
    interval: 1s
    rules:
      - {alert: Up, expr: vector(1) > 2}
      - {alert: "Odd name&x=1", expr: vector(1) > 2}
      - {alert: Broken, expr: 'label_replace(vector(1), "a", "$1", "b", "(.*)") * on(a) group_left() (vector(1) or label_replace(vector(2), "c", "d", "", ""))'}
"#;
    let peer = peers::Prometheus::start(rules, &[], &[]).await;
    let prometheus = Prometheus::new(http(), &peer.server().url());
    let names = ["Up".to_owned(), "Odd name&x=1".to_owned()];
    let first = wait_until("the rules are evaluated", Duration::from_secs(20), async || {
        match prometheus.rules(&names, WITHIN).await {
            RuleReading::Evaluated { at } => Ok(at),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    wait_until("they are evaluated again", Duration::from_secs(20), async || {
        match prometheus.rules(&names, WITHIN).await {
            RuleReading::Evaluated { at } if at > first => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    for (name, word) in [("Broken", "Broken"), ("Nobody", "no alerting rule")] {
        let RuleReading::Unhealthy { says } = prometheus.rules(&[name.to_owned()], WITHIN).await else { panic!() };
        assert!(says.contains(word), "{says}");
    }
    assert_eq!(prometheus.query("vector(0.42)", WITHIN).await, QueryReading::Data { says: "0.42".to_owned() });
    assert_eq!(prometheus.query("vector(1) > 2", WITHIN).await, QueryReading::Empty);
    assert_eq!(prometheus.query("nothing_of_that_name", WITHIN).await, QueryReading::Empty);
    assert_eq!(prometheus.parse("rate(up[5m]) < 0.8 # é", WITHIN).await, Parsed::Well);
    assert!(matches!(prometheus.parse("rate(up[5m]", WITHIN).await, Parsed::Wrong { .. }));
}
