//! Stories of a page that waits, with the routes that are shipped and a real Alertmanager that pages when the fuse has burnt
//! down: what is verified in time wakes nobody, and whatever becomes of nightshift or of Prometheus, somebody is paged.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::stage::{Rules, Stage};
use crate::story::story;
use crate::support::pagerduty::{Incident, PagerDuty, ROUTING_KEY};
use crate::support::supervised::{End, Supervised, words};
use crate::support::wait_until;

/// The longest fuse, and room for two busy cores.
const BY_THE_FUSE: Duration = Duration::from_secs(110);
/// Seconds.
const FUSE: u32 = 30;
const HOLD: u32 = 25;
/// These holds are shorter than what the rule promises: seconds stand for minutes here.
const LATE_VERDICT: &str = "verdict may take";

/// `deploy/alertmanager/alertmanager.yml` at addresses and with times of a test. `Sentinel` is an alert that only its fuse
/// knows of: when PagerDuty has it, whatever came before it has had its own.
fn shipped(nightshift: u16, pagerduty: &str, fuse: u32) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/alertmanager/alertmanager.yml");
    let text = std::fs::read_to_string(file).expect("it is shipped");
    let needs_no_token =
        |line: &&str| !["authorization:", "type: Bearer", "credentials_file:"].iter().any(|it| line.contains(it));
    let text: String = text.lines().filter(needs_no_token).map(|line| format!("{line}\n")).collect();
    let sentinel = format!(
        "  routes:\n    - receiver: pagerduty\n      matchers: ['alertname = \"Sentinel\"']\n      group_by: ['...']\n      \
         group_wait: {fuse}s\n"
    );
    let key = format!("routing_key: {ROUTING_KEY}\n        url: '{pagerduty}/v2/enqueue'");
    text.replace("  routes:\n", &sentinel)
        .replace("http://nightshift.nightshift.svc:9393", &format!("http://127.0.0.1:{nightshift}"))
        .replace("routing_key_file: /etc/alertmanager/secrets/pagerduty/routing-key", &key)
        .replace("group_wait: 6m", &format!("group_wait: {fuse}s\n      group_interval: 1s"))
        .replace("group_interval: 10s", "group_interval: 1s")
}

/// `HighLoad` asks to hold its page.
pub async fn set(name: &str, pagerduty: &PagerDuty, fuse: u32) -> Stage {
    let url = pagerduty.url();
    let stage = Stage::asking_to_hold(name, |nightshift| shipped(nightshift, &url, fuse)).await;
    stage.namespace.deployment("web", 2).ready().await;
    stage.takes_pages(pagerduty, ROUTING_KEY);
    stage
}

fn rules(stage: &Stage, rules: &Rules, hold: u32) -> String {
    let text = rules.text(&stage.namespace.name);
    text.replacen("    for: ", &format!("    hold_page: {hold}s\n    for: "), 1)
}

/// Who triggered, in order, by the name under which PagerDuty shows it.
fn triggered_by(pagerduty: &PagerDuty) -> Vec<String> {
    let calls = pagerduty.calls().into_iter().filter(|call| call.body["event_action"] == "trigger");
    calls.map(|call| call.body["client"].as_str().unwrap_or_default().to_owned()).collect()
}

/// PagerDuty's incident of the load, once it is as wanted.
async fn until_paged(pagerduty: &PagerDuty, what: &str, holds: impl Fn(&Incident) -> bool) -> Incident {
    wait_until(what, BY_THE_FUSE, async || match pagerduty.incidents().pop() {
        None => Err("no incident".to_owned()),
        Some(incident) if holds(&incident) => Ok(incident),
        Some(incident) => Err(format!("{incident:#?}")),
    })
    .await
}

/// nightshift as a process of its own, to be killed and frozen.
async fn process(stage: &Stage, rules: &str) -> Supervised {
    let config = stage.config(rules).display().to_string();
    let command = words([env!("CARGO_BIN_EXE_nightshift"), "serve", "--config", &config]);
    let process = Supervised::start("nightshift", stage.folder.path(), End::Kill, None, &command);
    asked(stage, "it is ready", "/-/ready", |_| true).await;
    process
}

/// Waits until the admin listener answers as wanted.
async fn asked(stage: &Stage, what: &str, path: &str, holds: impl Fn(&Value) -> bool) {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().expect("a client");
    wait_until(what, BY_THE_FUSE, async || {
        let answer = client.get(format!("{}{path}", stage.admin())).send().await.map_err(|error| error.to_string())?;
        if !answer.status().is_success() {
            return Err(answer.status().to_string());
        }
        let text = answer.text().await.map_err(|error| error.to_string())?;
        let value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if holds(&value) { Ok(()) } else { Err(text) }
    })
    .await;
}

async fn until_verifying(stage: &Stage) {
    asked(stage, "its step is verified", "/api/v1/incidents/1", |answer| {
        answer["view"]["steps"]
            .as_array()
            .and_then(|steps| steps.last())
            .is_some_and(|step| step["phase"] == "verifying")
    })
    .await;
}

#[test]
fn verified_in_time_nobody_is_woken_by_anybody() {
    story(&[LATE_VERDICT], async || {
        let pagerduty = PagerDuty::start();
        let stage = set("held", &pagerduty, 70).await;
        let night = stage.nightshift_by(&rules(&stage, &Rules::default(), 60)).await;
        stage.load_rises();
        let held = night.until("its page is held", |incident| incident.page_held_until.is_some()).await;
        assert_eq!(held.pages, 0);
        stage.alertmanager().post_alerts(&json!([{"labels": {"alertname": "Sentinel"}}])).await;
        stage.until_card(&["Page held"]).await;
        stage.until_acted().await;
        stage.namespace.until_rolled_out("web").await;
        stage.load_falls();
        night.until_step("verified").await;
        stage.until_reply(&["Nobody was woken: what nightshift did helped in time."]).await;
        // The fuse of an alert that came later has burnt down.
        let paged = until_paged(&pagerduty, "the sentinel's page", |_| true).await;
        assert_eq!((pagerduty.events_taken().len(), triggered_by(&pagerduty)), (1, vec!["Alertmanager".to_owned()]));
        assert!(paged.title.contains("Sentinel"), "{paged:#?}");
        night.stop().await;
        stage.assert_nobody_paged();
        pagerduty.assert_nothing_broken();
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn nightshift_killed_in_mid_verification_the_page_goes_out_by_the_fuse() {
    story(&[LATE_VERDICT], async || {
        let pagerduty = PagerDuty::start();
        let stage = set("held_killed", &pagerduty, FUSE).await;
        let process = process(&stage, &rules(&stage, &Rules::default(), HOLD)).await;
        stage.load_rises();
        until_verifying(&stage).await;
        assert_eq!(pagerduty.events_taken(), []);
        process.crash();
        let paged = until_paged(&pagerduty, "a page", |_| true).await;
        assert_eq!(triggered_by(&pagerduty), ["Alertmanager"], "{paged:#?}");
        pagerduty.assert_nothing_broken();
    });
}

#[test]
fn nightshift_frozen_in_mid_verification_the_page_goes_out_by_the_fuse() {
    story(&[LATE_VERDICT], async || {
        let pagerduty = PagerDuty::start();
        let stage = set("held_frozen", &pagerduty, FUSE).await;
        let process = process(&stage, &rules(&stage, &Rules::default(), HOLD)).await;
        stage.load_rises();
        until_verifying(&stage).await;
        assert_eq!(pagerduty.events_taken(), []);
        process.pause();
        let paged = until_paged(&pagerduty, "a page", |_| true).await;
        assert_eq!(triggered_by(&pagerduty), ["Alertmanager"], "{paged:#?}");
        // Awake again it is late, and says so under the same key.
        process.resume();
        let joined = until_paged(&pagerduty, "nightshift's page", |incident| incident.triggers == 2).await;
        assert_eq!((joined.id, pagerduty.incidents().len()), (paged.id, 1));
        pagerduty.assert_nothing_broken();
    });
}

#[test]
fn paused_it_pages_at_once_and_alertmanagers_page_joins_it() {
    story(&[LATE_VERDICT, "page: a person is needed", "acting stops", "paused"], async || {
        let pagerduty = PagerDuty::start();
        let stage = set("held_paused", &pagerduty, FUSE).await;
        let night = stage.nightshift_by(&rules(&stage, &Rules::default(), HOLD)).await;
        night.does("ana", &["pause", "looking"]).await;
        stage.load_rises();
        let paged = until_paged(&pagerduty, "nightshift's page", |_| true).await;
        assert_eq!((triggered_by(&pagerduty), paged.triggers), (vec!["nightshift".to_owned()], 1));
        assert_eq!(paged.details["why"], "paused by local:ana: looking");
        let joined = until_paged(&pagerduty, "Alertmanager's page", |incident| incident.triggers == 2).await;
        assert_eq!(joined.id, paged.id);
        stage.load_falls();
        until_paged(&pagerduty, "it is over", |incident| incident.status == "resolved").await;
        assert_eq!(pagerduty.incidents().len(), 1);
        night.stop().await;
        stage.assert_acts(0).await;
        pagerduty.assert_nothing_broken();
    });
}

#[test]
fn what_did_not_help_is_paged_early_joined_by_the_fuse_and_closed() {
    story(&["page: a person is needed", "it did not help"], async || {
        let pagerduty = PagerDuty::start();
        let stage = set("held_helpless", &pagerduty, FUSE).await;
        let helpless = Rules { resolved_within: "4s", ..Rules::default() };
        let night = stage.nightshift_by(&rules(&stage, &helpless, HOLD)).await;
        stage.load_rises();
        let paged = until_paged(&pagerduty, "nightshift's page", |_| true).await;
        assert_eq!((triggered_by(&pagerduty), paged.triggers), (vec!["nightshift".to_owned()], 1));
        let joined = until_paged(&pagerduty, "Alertmanager's page", |incident| incident.triggers == 2).await;
        assert_eq!(joined.id, paged.id);
        stage.load_falls();
        until_paged(&pagerduty, "it is over", |incident| incident.status == "resolved").await;
        assert_eq!(pagerduty.incidents().len(), 1);
        night.stop().await;
        pagerduty.assert_nothing_broken();
        stage.slack.assert_nothing_broken();
    });
}

#[test]
fn prometheus_stopped_in_mid_verification_is_a_page_and_not_a_fix() {
    let troubles = ["page: a person is needed", "inconclusive", "could not measure"];
    story(&troubles, async || {
        let pagerduty = PagerDuty::start();
        let stage = set("held_unmeasured", &pagerduty, 70).await;
        let rules = rules(&stage, &Rules { resolved_within: "12s", ..Rules::default() }, 60);
        let night = stage.nightshift_by(&rules).await;
        stage.load_rises();
        stage.until_acted().await;
        stage.prometheus.server().process().pause();
        // Nobody refreshes the alert: Alertmanager lets it resolve by itself, and its own fuse goes out.
        night.until("nothing of it fires", |incident| incident.firing == 0).await;
        let paged = until_paged(&pagerduty, "nightshift's page", |_| true).await;
        assert_eq!(triggered_by(&pagerduty), ["nightshift"], "{paged:#?}");
        stage.until_paged("alerting rule").await;
        night.stop().await;
        stage.prometheus.server().process().resume();
        pagerduty.assert_nothing_broken();
        stage.slack.assert_nothing_broken();
    });
}
