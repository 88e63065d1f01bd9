//! The cheapest nightshift that does all of it: one rule whose action changes nothing, an Alertmanager that many share, and
//! its own Slack, PagerDuty and status page. What the three have in the end is compared with what those of another row have.

use std::net::SocketAddr;
use std::time::Duration;

use nightshift::model::id::IncidentId;
use nightshift::model::input::{Command, Via};
use serde_json::{Value, json};

use crate::night::Nightshift;
use crate::stage::{LEAD, PEOPLE, SENTENCES, WAR_ROOM, quiet_port, write_secret};
use crate::statuspage::CLAIMS;
use crate::support::pagerduty::{API_TOKEN, FROM, PagerDuty, ROUTING_KEY};
use crate::support::peers::Alertmanager;
use crate::support::slack::{Message, SIGNING_SECRET, Slack, TOKEN};
use crate::support::statuspage::{KEY, PAGE, Statuspage};
use crate::support::wait_until;

/// The courier tries again after at most a minute and a quarter.
pub const DELIVERED: Duration = Duration::from_secs(100);
const SOON: Duration = Duration::from_secs(60);

pub struct Row {
    pub name: String,
    pub slack: Slack,
    pub pagerduty: PagerDuty,
    pub page: Statuspage,
    pub night: Nightshift,
    /// Where Slack's clicks come in.
    pub door: String,
    _folder: tempfile::TempDir,
}

/// Ports of so many rows, and the Alertmanager that sends to each what is labelled with its number.
pub async fn shared(rows: usize) -> (Alertmanager, Vec<[u16; 2]>) {
    let ports: Vec<[u16; 2]> = (0..rows).map(|_| [quiet_port(), quiet_port()]).collect();
    let mut routes = String::new();
    let mut receivers = String::new();
    for (number, [port, _]) in ports.iter().enumerate() {
        routes.push_str(&format!("  - receiver: row{number}\n    matchers: ['row=\"{number}\"']\n"));
        receivers.push_str(&format!(
            "- name: row{number}\n  webhook_configs:\n  - url: http://127.0.0.1:{port}/webhooks/alertmanager\n"
        ));
    }
    let config = format!(
        "route:\n  receiver: nobody\n  group_by: [alertname, row]\n  group_wait: 0s\n  group_interval: 1s\n  repeat_interval: 5m\n  \
         routes:\n{routes}receivers:\n- name: nobody\n{receivers}"
    );
    (Alertmanager::start(&config).await, ports)
}

/// What a row has beyond the plain one.
pub struct More {
    /// Keys of `slack` in the settings, with a comma before each.
    pub slack: &'static str,
    /// Lines of the settings.
    pub settings: &'static str,
    /// In place of the rules.
    pub rules: Option<&'static str>,
}

impl Default for More {
    fn default() -> Self {
        Self { slack: "", settings: "approvers: {P0..P1: [U0ANA0001]}\n", rules: None }
    }
}

impl Row {
    pub async fn start(name: &str, alertmanager: SocketAddr, ports: [u16; 2]) -> Self {
        Self::start_with(name, alertmanager, ports, More::default()).await
    }

    pub async fn start_with(name: &str, alertmanager: SocketAddr, ports: [u16; 2], more: More) -> Self {
        let folder = tempfile::Builder::new().prefix("nightshift-row-").tempdir().expect("a temporary folder");
        let slack = Slack::start(&[("incidents", "C0INCIDENTS"), ("war-room", WAR_ROOM), ("security", "C0SECURITY1")]);
        let (pagerduty, page) = (PagerDuty::start(), Statuspage::start(&[CLAIMS]));
        let file = |name: &str| folder.path().join(name);
        let shown = |name: &str| file(name).display().to_string();
        for (name, secret) in [
            ("slack-token", TOKEN),
            ("slack-signing", SIGNING_SECRET),
            ("routing-key", ROUTING_KEY),
            ("api-token", API_TOKEN),
            ("webhook-secret", crate::support::pagerduty::SIGNING_SECRET),
            ("statuspage-key", KEY),
        ] {
            write_secret(&file(name), secret);
        }
        std::fs::write(file("claims.yaml"), SENTENCES).expect("written");
        std::fs::write(file("rules.yaml"), more.rules.unwrap_or(RULES)).expect("written");
        let [webhooks, admin] = ports;
        let settings = format!(
            "mode: auto\njournal: 'sqlite:{}'\nrules: {}\npause_file: {}\n\
             listen: {{webhooks: '127.0.0.1:{webhooks}', admin: '127.0.0.1:{admin}'}}\n\
             slack: {{channel: '#incidents', bot_token_file: {}, signing_secret_file: {}, api_url: '{}'{}}}\n\
             pagerduty: {{routing_key_file: {}, api_token_file: {}, from: {FROM}, events_url: '{pages}', api_url: '{pages}'}}\n\
             sources: {{pagerduty: {{signing_secret_file: {}}}}}\n\
             statuspage: {{api_key_file: {}, page: {PAGE}, api_url: '{}', publish: auto, \
             components: {{claims: {{id: {CLAIMS}, sentences_file: {}}}}}}}\n\
             alertmanager: {{urls: ['http://{alertmanager}']}}\n\
             people: {{platform: {{slack: {PEOPLE}}}, lead: {{slack: {LEAD}}}, war-room: {{slack: {WAR_ROOM}}}}}\n{}",
            shown("nightshift.db"),
            shown("rules.yaml"),
            shown("pause"),
            shown("slack-token"),
            shown("slack-signing"),
            slack.url(),
            more.slack,
            shown("routing-key"),
            shown("api-token"),
            shown("webhook-secret"),
            shown("statuspage-key"),
            page.url(),
            shown("claims.yaml"),
            more.settings,
            pages = pagerduty.url(),
        );
        std::fs::write(file("nightshift.yaml"), settings).expect("written");
        let door = format!("http://127.0.0.1:{webhooks}");
        pagerduty.tells(&door);
        let night = Nightshift::on(file("nightshift.yaml"), file("nightshift.db")).await;
        Self { name: name.to_owned(), slack, pagerduty, page, night, door, _folder: folder }
    }

    /// A person's command, without command line and API.
    pub async fn does(&self, command: Command) {
        self.night.command("ana", Via::Api, command).await;
    }

    pub async fn acknowledges(&self) {
        self.does(Command::Acknowledge { incident: IncidentId(1) }).await;
    }

    /// Approves what waits, and it is done.
    pub async fn approves(&self) {
        let step = self.night.until_step_within(SOON, "asking").await;
        self.night.approve("ana", &step).await;
        self.night.until_step_within(SOON, "verifying").await;
    }

    /// It fires no more; what was done is verified, and it is over.
    pub async fn until_over(&self) {
        self.night.until_step_within(SOON, "verified").await;
        self.night.until_within(SOON, "it is over", |incident| incident.state == "resolved").await;
    }

    /// Waits until what was told is as `holds` wants it.
    pub async fn until(&self, what: &str, holds: impl Fn(&Told) -> bool) {
        wait_until(&format!("{}: {what}", self.name), DELIVERED, async || {
            let told = self.told();
            if holds(&told) { Ok(()) } else { Err(format!("{told:#?}")) }
        })
        .await;
    }

    /// What people have been told, as it stands.
    pub fn told(&self) -> Told {
        let messages = self.slack.messages();
        let (replies, cards): (Vec<Message>, Vec<Message>) =
            messages.into_iter().partition(|message| message.thread_ts.is_some());
        let cards: Vec<String> = cards.iter().map(|card| card.blocks[0]["text"]["text"].to_string()).collect();
        let there = self.pagerduty.incidents();
        let done = self.pagerduty.calls().into_iter().filter(|call| call.done && call.what == "POST /v2/enqueue");
        Told {
            cards: cards.iter().map(|card| card.trim_matches('"').to_owned()).collect(),
            thread: replies.iter().map(said).collect(),
            pages: there.iter().map(|it| (it.status.to_owned(), it.triggers)).collect(),
            events: done.map(|call| text_of(&call.body["event_action"])).collect(),
            notes: there.iter().flat_map(|it| it.notes.clone()).collect(),
            public: self.page.incidents().iter().flat_map(|it| it.updates.clone()).map(|(_, says, _)| says).collect(),
            component: self.page.component(CLAIMS),
        }
    }

    /// What `nightshift status` shows to be wrong.
    pub async fn attention(&self) -> String {
        let status = self.night.does("ana", &["status"]).await;
        status.lines().filter(|line| line.contains("ATTENTION")).collect()
    }

    /// Stops it; none of the three would have refused anything.
    pub async fn stop(self) {
        self.slack.assert_nothing_broken();
        self.pagerduty.assert_nothing_broken();
        self.page.assert_nothing_broken();
        self.night.stop().await;
    }
}

/// Everything that people read.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub cards: Vec<String>,
    pub thread: Vec<String>,
    /// PagerDuty's incidents: how each stands, and how often it was triggered.
    pub pages: Vec<(String, usize)>,
    pub events: Vec<String>,
    pub notes: Vec<String>,
    pub public: Vec<String>,
    pub component: String,
}

/// The sentence of a reply, without its times.
fn said(message: &Message) -> String {
    let sections = message.blocks.iter().filter(|block| block["text"]["type"] == "plain_text");
    let texts: Vec<String> = sections.map(|block| text_of(&block["text"]["text"])).collect();
    without_times(&texts.join(" · "))
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Dates, times and spans differ from row to row.
pub fn without_times(text: &str) -> String {
    let is_time = |word: &str| word.contains([':', '-']) && word.contains(|next: char| next.is_ascii_digit());
    let kept = text.split(' ').map(|word| if is_time(word.trim_end_matches(['.', ','])) { "T" } else { word });
    kept.collect::<Vec<_>>().join(" ")
}

/// As Prometheus posts it; `over`: it has resolved.
pub async fn posts(alertmanager: &Alertmanager, number: usize, over: bool) {
    let now = jiff::Timestamp::now();
    let mut alert = json!({
        "labels": {"alertname": "Slow", "row": number.to_string(), "nightshift_hold": "true"},
        "annotations": {"summary": "claims are slow"},
    });
    if over {
        alert["endsAt"] = now.to_string().into();
    }
    alertmanager.post_alerts(&json!([alert])).await;
}

const RULES: &str = "\
settle_after_start: 0s
targets:
  nothing: {noop: {}}
escalations:
  urgent: {severities: P0..P1, levels: [{after: 0m, to: platform}]}
rules:
- name: slow
  match: ['alertname = \"Slow\"']
  severity: P1
  service: claims
  mode: ask
  cooldown: 1s
  quiet: 8s
  notify: {statuspage: {component: claims, when: P0..P1}}
  remediate:
  - {action: noop, target: nothing, verify: {settle: 1s, resolved_within: 2m}}
- {name: everything-else, match: [], severity: P3, group_by: [alertname]}
";
