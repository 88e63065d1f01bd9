//! Everybody but nightshift: a namespace with one Deployment's worth of rights, Prometheus with one alerting rule,
//! Alertmanager (one or two) that sends to where nightshift will listen, and Slack.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::night::Nightshift;
use crate::support::pagerduty::{self, API_TOKEN, FROM, PagerDuty};
use crate::support::peers::{Alertmanager, Gauges, Prometheus};
use crate::support::slack::{Message, SIGNING_SECRET, Slack, TOKEN};
use crate::support::slack_socket::APP_TOKEN;
use crate::support::{ControlPlane, TestNamespace, wait_until};

/// One step of anything, on two busy cores.
pub const SOON: Duration = Duration::from_secs(40);
/// The group that a page mentions, and whom later levels call.
pub const PEOPLE: &str = "S0PLATFORM";
pub const LEAD: &str = "U0LEAD001";
pub const WAR_ROOM: &str = "C0WARROOM";

/// Files of the settings that are there where clicks are taken.
const SIGNING: &str = "slack-signing";
const APP: &str = "slack-app-token";
const APPROVERS: &str = "approvers";
/// ... and whose incidents have a channel of their own, where some have.
const INCIDENT_CHANNELS: &str = "incident-channels";
const PAGERDUTY: &str = "pagerduty";
const SECURITY: &str = "security";
/// ... and what the settings say of the status page.
const STATUSPAGE: &str = "statuspage";
pub const SENTENCES: &str = "title: Claims are slow\ninvestigating: We look for the cause.\nidentified: We repair it.\n\
                         monitoring: We watch it.\nresolved: It works.\n";
const SERIES: &str = "load{deployment=\"web\"}";
const ALERTING: &str = "\
groups:
- name: load
  interval: 200ms
  rules:
  - alert: HighLoad
    expr: load > 0.9
    labels: {severity: P1}
    annotations: {summary: web has too much load}
";

pub struct Stage {
    pub namespace: TestNamespace<'static>,
    pub gauges: Gauges,
    pub prometheus: Prometheus,
    /// Not a cluster: each believes to be alone, and sends.
    pub alertmanagers: Vec<Alertmanager>,
    pub slack: Slack,
    pub folder: tempfile::TempDir,
    ports: [u16; 2],
}

/// nightshift's rules for the alert `HighLoad`, as written; a second rule takes every other alert.
#[derive(Clone, Debug)]
pub struct Rules {
    pub mode: &'static str,
    pub action: &'static str,
    /// The action's parameters; empty for none.
    pub with: &'static str,
    /// `for`
    pub fires_for: &'static str,
    pub settle: &'static str,
    pub resolved_within: &'static str,
    pub quiet: &'static str,
    pub limits: &'static str,
    /// PromQL of `verify`; empty for none.
    pub query: &'static str,
}

impl Default for Rules {
    /// Two more replicas, at once.
    fn default() -> Self {
        Self {
            mode: "auto",
            action: "kubernetes/scale",
            with: "{replicas: +2}",
            fires_for: "0s",
            settle: "1s",
            resolved_within: "40s",
            quiet: "6s",
            limits: "10 per 1h",
            query: "",
        }
    }
}

impl Rules {
    pub fn text(&self, namespace: &str) -> String {
        let Self { mode, action, with, fires_for, settle, resolved_within, quiet, limits, query } = self;
        let with = if with.is_empty() { String::new() } else { format!("        with: {with}\n") };
        // What is chosen by a name is chosen in one namespace.
        let of =
            if *action == "kubernetes/delete_pod" { format!(", 'namespace = \"{namespace}\"'") } else { String::new() };
        let query = if query.is_empty() { String::new() } else { format!(", query: {query}") };
        format!(
            "settle_after_start: 0s\n\
             targets:\n  web:\n    kubernetes: {{namespace: {namespace}, deployment: web}}\n    replicas: {{min: 1, max: 10}}\n\
             escalations:\n  urgent: {{severities: P0..P1, levels: [{{after: 0m, to: platform}}]}}\n\
             rules:\n\
             \x20 - name: web-high-load\n    match: ['alertname = \"HighLoad\"'{of}]\n    severity: P1\n    service: web\n\
             \x20   for: {fires_for}\n    mode: {mode}\n    limits: [{limits}]\n    cooldown: 1s\n    quiet: {quiet}\n\
             \x20   remediate:\n      - action: {action}\n        target: web\n{with}\
             \x20       verify: {{settle: {settle}, resolved_within: {resolved_within}{query}}}\n\
             \x20 - name: everything-else\n    match: []\n    severity: P3\n    group_by: [alertname]\n"
        )
    }
}

impl Stage {
    /// With one Alertmanager. The Deployment is the story's own to make.
    pub async fn set(name: &str) -> Self {
        Self::with_alertmanagers(name, 1).await
    }

    pub async fn with_alertmanagers(name: &str, count: usize) -> Self {
        Self::with_routes(name, count, "", "").await
    }

    /// With these routes and receivers in Alertmanager's configuration, beside nightshift's.
    pub async fn with_routes(name: &str, count: usize, routes: &str, receivers: &str) -> Self {
        let config = |port| {
            format!(
                "route:\n  receiver: nightshift\n  group_wait: 0s\n  group_interval: 1s\n  repeat_interval: 5m\n{routes}\
                 receivers:\n- name: nightshift\n  webhook_configs:\n  - url: http://127.0.0.1:{port}/webhooks/alertmanager\n\
                 {receivers}"
            )
        };
        Self::with_config(name, count, ALERTING, config).await
    }

    /// Whose alert asks to hold its page, with this configuration of Alertmanager, by the port of nightshift's webhooks.
    pub async fn asking_to_hold(name: &str, config: impl Fn(u16) -> String) -> Self {
        let alerting = ALERTING.replace("{severity: P1}", "{severity: P1, nightshift_hold: \"true\"}");
        Self::with_config(name, 1, &alerting, config).await
    }

    async fn with_config(name: &str, count: usize, alerting: &str, config: impl Fn(u16) -> String) -> Self {
        let namespace = ControlPlane::shared().await.namespace(name).await;
        let ports = [quiet_port(), quiet_port()];
        let config = config(ports[0]);
        let mut alertmanagers = Vec::new();
        for _ in 0..count {
            alertmanagers.push(Alertmanager::start(&config).await);
        }
        let gauges = Gauges::start();
        gauges.set(SERIES, 0.2);
        let addresses: Vec<SocketAddr> = alertmanagers.iter().map(|one| one.server().address()).collect();
        let prometheus = Prometheus::start(alerting, &[gauges.address()], &addresses).await;
        let slack = Slack::start(&[("incidents", "C0INCIDENTS"), ("war-room", WAR_ROOM)]);
        let folder = tempfile::Builder::new().prefix("nightshift-service-").tempdir().expect("a temporary folder");
        write_secret(&folder.path().join("slack-token"), TOKEN);
        Self { namespace, gauges, prometheus, alertmanagers, slack, folder, ports }
    }

    /// The rule's expression is true from now on.
    pub fn load_rises(&self) {
        self.gauges.set(SERIES, 0.97);
    }

    pub fn load_falls(&self) {
        self.gauges.set(SERIES, 0.2);
    }

    /// Whatever showed the load is gone, and its series with it.
    pub fn load_vanishes(&self) {
        self.gauges.remove(SERIES);
    }

    pub fn alertmanager(&self) -> &Alertmanager {
        &self.alertmanagers[0]
    }

    /// Starts nightshift on these rules.
    pub async fn nightshift(&self, rules: &Rules) -> Nightshift {
        self.nightshift_through(self.namespace.plane().address(), rules).await
    }

    /// The same, by way of a proxy before the API server.
    pub async fn nightshift_through(&self, api_server: SocketAddr, rules: &Rules) -> Nightshift {
        self.nightshift_at(api_server, &rules.text(&self.namespace.name)).await
    }

    /// The same on rules of the story's own.
    pub async fn nightshift_by(&self, rules: &str) -> Nightshift {
        self.nightshift_at(self.namespace.plane().address(), rules).await
    }

    /// Both.
    pub async fn nightshift_at(&self, api_server: SocketAddr, rules: &str) -> Nightshift {
        Nightshift::start(self, self.config_at(api_server, rules)).await
    }

    /// The settings' file, for a nightshift that is a process of its own.
    pub fn config(&self, rules: &str) -> PathBuf {
        self.config_at(self.namespace.plane().address(), rules)
    }

    fn config_at(&self, api_server: SocketAddr, rules: &str) -> PathBuf {
        self.write_rules(rules);
        let config = self.file("nightshift.yaml");
        std::fs::write(&config, self.settings(api_server)).expect("written");
        config
    }

    pub fn write_rules(&self, text: &str) {
        std::fs::write(self.file("rules.yaml"), text).expect("written");
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn settings(&self, api_server: SocketAddr) -> String {
        let file = |name: &str| self.file(name).display().to_string();
        let alertmanagers: Vec<String> = self.alertmanagers.iter().map(|one| one.server().url()).collect();
        let [webhooks, admin] = self.ports;
        let door = |key: &str, name: &str| {
            let file = self.file(name);
            if file.exists() { format!(", {key}: {}", file.display()) } else { String::new() }
        };
        let doors = door("signing_secret_file", SIGNING) + &door("app_token_file", APP);
        let approvers = std::fs::read_to_string(self.file(APPROVERS)).unwrap_or_default();
        let channels = std::fs::read_to_string(self.file(INCIDENT_CHANNELS)).unwrap_or_default();
        let pagerduty = std::fs::read_to_string(self.file(PAGERDUTY)).unwrap_or_default();
        let statuspage = std::fs::read_to_string(self.file(STATUSPAGE)).unwrap_or_default();
        let security = std::fs::read_to_string(self.file(SECURITY)).unwrap_or_default();
        format!(
            "mode: auto\njournal: 'sqlite:{}'\nrules: {}\npause_file: {}\n\
             listen: {{webhooks: '127.0.0.1:{webhooks}', admin: '127.0.0.1:{admin}'}}\n\
             kubernetes: {{kubeconfig: {}}}\nsmoke_hosts: ['127.0.0.1']\n\
             slack: {{channel: '#incidents', bot_token_file: {}, api_url: '{}'{doors}{channels}}}\n\
             {approvers}{security}{pagerduty}{statuspage}\
             alertmanager: {{urls: ['{}']}}\nprometheus: {{url: '{}'}}\n\
             people: {{platform: {{slack: {PEOPLE}}}, lead: {{slack: {LEAD}}}, war-room: {{slack: {WAR_ROOM}}}}}\n",
            file("nightshift.db"),
            file("rules.yaml"),
            file("pause"),
            self.namespace.kubeconfig_through(api_server).display(),
            file("slack-token"),
            self.slack.url(),
            alertmanagers.join("', '"),
            self.prometheus.server().url(),
        )
    }

    /// Takes what people ask for in Slack, from now on; `approvers` as the settings have it. Before nightshift starts.
    pub fn takes_clicks(&self, approvers: &str) {
        write_secret(&self.file(SIGNING), SIGNING_SECRET);
        std::fs::write(self.file(APPROVERS), format!("approvers: {approvers}\n")).expect("written");
    }

    /// Incidents of these severities get a channel of their own. Before nightshift starts.
    pub fn makes_channels(&self, severities: &str) {
        std::fs::write(self.file(INCIDENT_CHANNELS), format!(", incident_channels: {severities}")).expect("written");
    }

    /// What concerns security is told there. Before nightshift starts.
    pub fn tells_security(&self, channel: &str) {
        std::fs::write(self.file(SECURITY), format!("security: {{slack: '{channel}'}}\n")).expect("written");
    }

    /// The same by Socket Mode.
    pub fn takes_clicks_by_socket(&self, approvers: &str) {
        write_secret(&self.file(APP), APP_TOKEN);
        std::fs::write(self.file(APPROVERS), format!("approvers: {approvers}\n")).expect("written");
    }

    /// Tells customers of one component, from now on. Before nightshift starts.
    pub fn publishes(&self, api_url: &str, component: &str, publish: &str) {
        write_secret(&self.file("statuspage-key"), crate::support::statuspage::KEY);
        std::fs::write(self.file("claims.yaml"), SENTENCES).expect("written");
        let settings = format!(
            "statuspage: {{api_key_file: {}, page: {}, api_url: '{api_url}', publish: {publish}, \
             components: {{claims: {{id: {component}, sentences_file: {}}}}}}}\n",
            self.file("statuspage-key").display(),
            crate::support::statuspage::PAGE,
            self.file("claims.yaml").display(),
        );
        std::fs::write(self.file(STATUSPAGE), settings).expect("written");
    }

    /// What the settings name as the bot's token, from now on.
    pub fn bot_token(&self, token: &str) {
        write_secret(&self.file("slack-token"), token);
    }

    /// Pages through PagerDuty and takes its webhooks, from now on. Before nightshift starts.
    pub fn takes_pages(&self, pagerduty: &PagerDuty, routing_key: &str) {
        let file = |name: &str, secret: &str| {
            write_secret(&self.file(name), secret);
            self.file(name).display().to_string()
        };
        let settings = format!(
            "pagerduty: {{routing_key_file: {}, api_token_file: {}, from: {FROM}, events_url: '{url}', api_url: '{url}'}}\n\
             sources: {{pagerduty: {{signing_secret_file: {}}}}}\n",
            file("routing-key", routing_key),
            file("api-token", API_TOKEN),
            file("webhook-secret", pagerduty::SIGNING_SECRET),
            url = pagerduty.url(),
        );
        std::fs::write(self.file(PAGERDUTY), settings).expect("written");
        pagerduty.tells(&self.door());
    }

    /// `http://127.0.0.1:PORT`, where Slack's clicks and PagerDuty's webhooks come in.
    pub fn door(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    /// `http://127.0.0.1:PORT` of the admin listener.
    pub fn admin(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[1])
    }

    // What Slack shows.

    /// The incidents' messages; what nightshift says of itself is left out.
    pub fn cards(&self) -> Vec<Message> {
        let in_channel = self.slack.messages().into_iter().filter(|message| message.thread_ts.is_none());
        let in_channel = in_channel.filter(|message| message.channel != WAR_ROOM);
        in_channel.filter(|message| !message.readable().contains("nightshift itself")).collect()
    }

    /// Everything that was said in threads, oldest first.
    pub fn replies(&self) -> Vec<String> {
        let all = self.slack.messages().into_iter();
        all.filter(|message| message.thread_ts.is_some()).map(|message| message.readable()).collect()
    }

    /// Waits until the newest incident's message shows all of `words`.
    pub async fn until_card(&self, words: &[&str]) {
        self.until_card_within(SOON, words).await;
    }

    pub async fn until_card_within(&self, within: Duration, words: &[&str]) {
        wait_until(&format!("a card that says {words:?}"), within, async || {
            let cards: Vec<String> = self.cards().iter().map(Message::readable).collect();
            let says = |card: &&String| words.iter().all(|word| card.contains(word));
            if cards.iter().any(|card| says(&card)) { Ok(()) } else { Err(cards.last().cloned().unwrap_or_default()) }
        })
        .await;
    }

    /// Waits until a reply in a thread shows all of `words`.
    pub async fn until_reply(&self, words: &[&str]) {
        wait_until(&format!("a reply that says {words:?}"), SOON, async || {
            let replies = self.replies();
            let said = replies.iter().any(|reply| words.iter().all(|word| reply.contains(word)));
            if said { Ok(()) } else { Err(format!("{replies:#?}")) }
        })
        .await;
    }

    /// Waits for a page: a reply that mentions the severity's people.
    pub async fn until_paged(&self, why: &str) {
        self.until_reply(&[&format!("<!subteam^{PEOPLE}>"), why]).await;
    }

    /// Nobody was woken.
    pub fn assert_nobody_paged(&self) {
        let paged: Vec<String> = self.replies().into_iter().filter(|reply| reply.contains(PEOPLE)).collect();
        assert!(paged.is_empty(), "somebody was paged: {paged:#?}");
    }

    // What the API server saw.

    /// The Deployment's `spec.replicas`.
    pub async fn replicas(&self) -> i64 {
        self.namespace.object("deployment", "web").await["spec"]["replicas"].as_i64().expect("a number")
    }

    /// nightshift changed something exactly so often.
    pub async fn assert_acts(&self, count: usize) {
        let acts = self.namespace.acts().await;
        assert_eq!(acts.len(), count, "{acts:#?}");
    }

    pub async fn until_acted(&self) {
        wait_until("a write in the audit log", SOON, async || {
            if self.namespace.acts().await.is_empty() { Err("none".to_owned()) } else { Ok(()) }
        })
        .await;
    }
}

/// A file that only its owner reads: nightshift warns of any other.
pub fn write_secret(path: &std::path::Path, secret: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path);
    std::io::Write::write_all(&mut file.expect("a new file"), secret.as_bytes()).expect("written");
}

/// A loopback port below those that the kernel hands out, so that no client's connection takes it before nightshift does.
pub fn quiet_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 12_000 + u16::try_from(std::process::id() % 45).expect("below 45") * 400;
    for _ in 0..400 {
        let port = start + NEXT.fetch_add(1, Ordering::Relaxed) % 400;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from {start} on");
}
