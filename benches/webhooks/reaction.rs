//! From a webhook to the PATCH that it leads to: ten alerts a second, each for a Deployment of its own, each scaled at
//! once. The peers answer at once too, so what is measured is nightshift's own share: two commits, one decision before
//! the target is read, one after.

pub use super::bodies::STARTS_AT;
use super::{child::Served, load::Connection, peers, support::ControlPlane};
use nightshift::{model::time::Micros, source::alertmanager::payload};
use serde_json::json;
use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant, SystemTime},
};
use tokio::sync::mpsc;

pub const ALERT_NAME: &str = "Busy";
const DEPLOYMENT: &str = "web-";
const PAGED: &str = "Paged";
/// Between two webhooks.
const PACE: Duration = Duration::from_millis(100);
/// A PATCH that has not come after this will not.
const GIVE_UP: Duration = Duration::from_secs(10);
/// Not counted: connections to the peers are made, caches filled.
const WARM: usize = 10;

pub fn labels(number: u64) -> BTreeMap<String, String> {
    let label = |name: &str, value: String| (name.to_owned(), value);
    BTreeMap::from([
        label("alertname", format!("{ALERT_NAME}{number}")),
        label("deployment", format!("{DEPLOYMENT}{number}")),
        label("namespace", "production".to_owned()),
        label("severity", "critical".to_owned()),
    ])
}

/// The number in a Deployment's name.
pub fn number_of(deployment: &str) -> u64 {
    deployment.strip_prefix(DEPLOYMENT).and_then(|digits| digits.parse().ok()).unwrap()
}

fn request(number: u64) -> Vec<u8> {
    posted(&labels(number), &format!("{{}}:{{n=\"{number}\"}}"))
}

/// An alert that people are paged for at once: it asks to hold its page, and nothing is done about it.
fn page() -> Vec<u8> {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let labels = [label("alertname", PAGED), label("severity", "critical"), label("nightshift_hold", "true")];
    posted(&BTreeMap::from(labels), "{}:{}")
}

fn posted(labels: &BTreeMap<String, String>, group: &str) -> Vec<u8> {
    let body = json!({
        "receiver": "nightshift", "status": "firing", "version": "4", "groupKey": group,
        "truncatedAlerts": 0, "externalURL": "http://alertmanager.example.org:9093", "groupLabels": {},
        "commonLabels": labels, "commonAnnotations": {},
        "alerts": [{
            "status": "firing", "labels": labels, "annotations": {"summary": "too busy"},
            "startsAt": STARTS_AT, "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus.example.org:9090/graph?g0.expr=busy",
            "fingerprint": payload::fingerprint(labels),
        }],
    })
    .to_string();
    let head = "POST /webhooks/alertmanager HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n";
    format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// One rule and one target for each alert: the budgets of one never hold another.
fn rules(alerts: usize, namespace: &str) -> String {
    let mut targets = String::from("targets:\n");
    let mut rules = String::from("rules:\n");
    for number in 0..alerts {
        targets.push_str(&format!(
            "  web-{number}: {{kubernetes: {{namespace: {namespace}, deployment: {DEPLOYMENT}{number}}}, replicas: {{min: 2, max: 10}}}}\n"
        ));
        rules.push_str(&format!(
            "  - name: busy-{number}\n    match: ['alertname = \"{ALERT_NAME}{number}\"']\n    mode: auto\n    remediate:\n      \
             - {{action: kubernetes/scale, target: web-{number}, with: {{replicas: +1}}, verify: {{settle: 10m, resolved_within: 20m}}}}\n"
        ));
    }
    let all = "settle_after_start: 0s\nbrake: {all: 10000}\nmax_concurrent: 100\nlimits: {namespace: 10000 per 1h, all: 10000 per 1h}\n";
    format!("{all}{targets}{rules}")
}

fn settings(kubeconfig: &Path, peers: std::net::SocketAddr) -> String {
    format!(
        "mode: auto\nkubernetes: {{kubeconfig: '{}'}}\nalertmanager: {{urls: ['http://{peers}']}}\n",
        kubeconfig.display()
    )
}

/// The same against a real API server: until it has answered the PATCH, by its audit log. Alertmanager stays a stub.
pub fn measure_real(disk: &Path, alerts: usize) -> Vec<u32> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (patched, _nobody_patches_the_stub) = mpsc::unbounded_channel();
        let peers = peers::start(patched).await;
        let plane = ControlPlane::shared().await;
        let namespace = plane.namespace("reaction").await;
        for number in 0..alerts + WARM {
            namespace.deployment(&format!("{DEPLOYMENT}{number}"), 2).create().await;
        }
        for number in 0..alerts + WARM {
            namespace.until_rolled_out(&format!("{DEPLOYMENT}{number}")).await;
        }
        let more = settings(&namespace.kubeconfig(), peers);
        let served = Served::nightshift(disk, &rules(alerts + WARM, &namespace.name), &more);
        let mut connection = Connection::open(served.webhooks).await;
        let mut sent = Vec::new();
        let mut ticks = tokio::time::interval(PACE);
        for number in 0..alerts + WARM {
            let request = request(number as u64);
            ticks.tick().await;
            sent.push(wall_clock());
            assert!(connection.exchange(&request).await, "a webhook was refused");
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let acts = namespace.acts().await;
        let mut micros = Vec::new();
        for act in &acts {
            let number = usize::try_from(number_of(&act.name)).unwrap();
            let answered = Micros::parse(&act.stage_timestamp).unwrap();
            if number >= WARM {
                micros.push(u32::try_from((answered - sent[number]).0).unwrap());
            }
        }
        assert_eq!(micros.len(), alerts, "each alert leads to one PATCH");
        micros
    })
}

fn wall_clock() -> Micros {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Micros(i64::try_from(since.as_micros()).unwrap())
}

/// Microseconds from each webhook's first byte to its PATCH.
pub fn measure(disk: &Path, alerts: usize) -> Vec<u32> {
    measure_telling(disk, alerts, None)
}

/// The same where everything is told to Slack, PagerDuty and a status page, all at this address, with a page on its way.
pub fn measure_telling(disk: &Path, alerts: usize, people: Option<std::net::SocketAddr>) -> Vec<u32> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (patched, patches) = mpsc::unbounded_channel();
    let peers = runtime.block_on(peers::start(patched));
    let cluster = tempfile::NamedTempFile::new_in(disk).unwrap();
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "bench",
        "clusters": [{"name": "bench", "cluster": {"server": format!("http://{peers}")}}],
        "users": [{"name": "bench", "user": {}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
    });
    std::fs::write(cluster.path(), kubeconfig.to_string()).unwrap();
    let secrets = tempfile::tempdir_in(disk).unwrap();
    let mut more = settings(cluster.path(), peers);
    let mut rules = rules(alerts + WARM, "production");
    if let Some(people) = people {
        more.push_str(&telling(secrets.path(), people));
        rules = rules
            .replace("    mode: auto\n", "    mode: auto\n    notify: {statuspage: {component: web, when: P0..P3}}\n");
        rules.push_str(&format!("  - {{name: paged, match: ['alertname = \"{PAGED}\"']}}\n"));
    }
    let served = Served::nightshift(disk, &rules, &more);
    runtime.block_on(send_and_wait(served.webhooks, alerts + WARM, people.is_some(), patches))
}

/// Settings for the three whom people read.
fn telling(folder: &Path, address: std::net::SocketAddr) -> String {
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let sentences = "title: We are looking into it\ninvestigating: We are looking into it.\nidentified: We know what it is.\n\
                     monitoring: It works again.\nresolved: It is over.\n";
    format!(
        "slack: {{channel: '#incidents', bot_token_file: '{}', api_url: 'http://{address}/api'}}\n\
         pagerduty: {{routing_key_file: '{}', events_url: 'http://{address}'}}\n\
         statuspage: {{api_key_file: '{}', page: page, api_url: 'http://{address}/v1', publish: auto, \
         components: {{web: {{id: component, sentences_file: '{}'}}}}}}\n",
        file("slack", "xoxb-of-the-bench-1234567890"),
        file("pagerduty", "0123456789abcdef0123456789abcdef"),
        file("statuspage", "key-of-the-bench"),
        file("sentences", sentences),
    )
}

/// Takes every connection and never answers, for as long as the listener lives.
pub fn hanging() -> (std::net::SocketAddr, std::net::TcpListener) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    (listener.local_addr().unwrap(), listener)
}

async fn send_and_wait(
    to: std::net::SocketAddr,
    alerts: usize,
    pages: bool,
    mut patches: mpsc::UnboundedReceiver<(u64, Instant)>,
) -> Vec<u32> {
    let mut connection = Connection::open(to).await;
    if pages {
        assert!(connection.exchange(&page()).await, "a webhook was refused");
    }
    let mut sent = Vec::with_capacity(alerts);
    let mut ticks = tokio::time::interval(PACE);
    for number in 0..alerts {
        let request = request(number as u64);
        ticks.tick().await;
        sent.push(Instant::now());
        assert!(connection.exchange(&request).await, "a webhook was refused");
    }
    let mut micros = Vec::with_capacity(alerts);
    for received in 0..alerts {
        let Ok(Some((number, came))) = tokio::time::timeout(GIVE_UP, patches.recv()).await else {
            panic!("{received} of {alerts} alerts led to a PATCH");
        };
        let number = usize::try_from(number).unwrap();
        if number >= WARM {
            micros.push(u32::try_from((came - sent[number]).as_micros()).unwrap_or(u32::MAX));
        }
    }
    micros
}
