//! Alertmanager's webhook bodies, made fast: a template with holes of fixed width, so every body of a kind has one length.

/// Names of alerts; rules that group by `alertname` make as many incidents.
pub const ALERT_NAMES: u64 = 100;
/// When every alert of a run began to fire.
pub const STARTS_AT: &str = "2026-03-01T02:12:09.123Z";

const NUMBER: &str = "########";
const NAME: &str = "%%";
const FINGERPRINT: &str = "@@@@@@@@@@@@@@@@";

/// Sorted by name, as Alertmanager hashes them.
const LABELS: [(&str, &str); 10] = [
    ("alertname", "PodMemoryNearLimit-%%"),
    ("cluster", "production-eu-west-1"),
    ("container", "checkout"),
    ("deployment", "web-########"),
    ("instance", "10.24.17.9:9100"),
    ("job", "kube-state-metrics"),
    ("namespace", "production"),
    ("pod", "web-########-6c9f7d5b8d-x2k4p"),
    ("severity", "warning"),
    ("team", "payments"),
];

/// What stands in a hole.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hole {
    Number,
    Name,
    Fingerprint,
}

struct Template {
    pieces: Vec<(Vec<u8>, Option<Hole>)>,
}

impl Template {
    fn new(mut text: &str) -> Template {
        let holes = [(NUMBER, Hole::Number), (NAME, Hole::Name), (FINGERPRINT, Hole::Fingerprint)];
        let mut pieces = Vec::new();
        loop {
            let next = holes
                .iter()
                .filter_map(|(mark, hole)| Some((text.find(mark)?, *mark, *hole)))
                .min_by_key(|next| next.0);
            let Some((at, mark, hole)) = next else { break };
            pieces.push((text.as_bytes()[..at].to_vec(), Some(hole)));
            text = &text[at + mark.len()..];
        }
        pieces.push((text.as_bytes().to_vec(), None));
        Template { pieces }
    }

    fn fill(&self, number: u64, fingerprint: u64, into: &mut Vec<u8>) {
        use std::io::Write as _;
        for (text, hole) in &self.pieces {
            into.extend_from_slice(text);
            match hole {
                Some(Hole::Number) => write!(into, "{number:08}").unwrap(),
                Some(Hole::Name) => write!(into, "{:02}", number % ALERT_NAMES).unwrap(),
                Some(Hole::Fingerprint) => write!(into, "{fingerprint:016x}").unwrap(),
                None => {}
            }
        }
    }
}

/// Whole requests of one kind.
pub struct Bodies {
    head: Vec<u8>,
    alert: Template,
    tail: Vec<u8>,
    /// What the fingerprint is made of.
    hashed: Template,
    pub alerts: u64,
    /// Of one body.
    pub bytes: usize,
}

impl Bodies {
    /// Bodies of `alerts` alerts each.
    pub fn of(alerts: u64) -> Bodies {
        let list = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect::<Vec<_>>().join(",")
        };
        let alert = format!(
            "{{\"status\":\"firing\",\"labels\":{{{}}},\"annotations\":{{{}}},\"startsAt\":\"{STARTS_AT}\",\
             \"endsAt\":\"0001-01-01T00:00:00Z\",\"generatorURL\":\"{}\",\"fingerprint\":\"{FINGERPRINT}\"}}",
            list(&LABELS),
            list(&[
                (
                    "description",
                    "Container checkout of pod web-######## has used more than 90 % of its memory limit for ten minutes. It will be killed soon, and the requests that it answers are lost."
                ),
                ("runbook_url", "https://runbooks.example.org/payments/pod-memory-near-limit"),
                ("summary", "web-######## is close to its memory limit"),
            ]),
            "http://prometheus.example.org:9090/graph?g0.expr=container_memory_working_set_bytes+%2F+container_spec_memory_limit_bytes+%3E+0.9&g0.tab=1",
        );
        let common = list(&[
            ("cluster", "production-eu-west-1"),
            ("job", "kube-state-metrics"),
            ("namespace", "production"),
            ("severity", "warning"),
            ("team", "payments"),
        ]);
        let tail = format!(
            "],\"groupLabels\":{{\"namespace\":\"production\"}},\"commonLabels\":{{{common}}},\
             \"commonAnnotations\":{{\"runbook_url\":\"https://runbooks.example.org/payments/pod-memory-near-limit\"}},\
             \"externalURL\":\"http://alertmanager.example.org:9093\",\"version\":\"4\",\
             \"groupKey\":\"{{}}/{{team=\\\"payments\\\"}}:{{namespace=\\\"production\\\"}}\",\"truncatedAlerts\":0}}"
        );
        let mut hashed = String::new();
        for (name, value) in LABELS {
            hashed.push_str(name);
            hashed.push('\u{1}');
            hashed.push_str(value);
            hashed.push('\u{1}');
        }
        let head = b"{\"receiver\":\"nightshift\",\"status\":\"firing\",\"alerts\":[".to_vec();
        let mut bodies = Bodies {
            head,
            alert: Template::new(&alert),
            tail: tail.into_bytes(),
            hashed: Template::new(&hashed),
            alerts,
            bytes: 0,
        };
        let mut one = Vec::new();
        bodies.body(0, &mut one, &mut Vec::new());
        bodies.bytes = one.len();
        bodies
    }

    /// The request whose first alert has this number; the others follow.
    pub fn request(&self, first: u64, into: &mut Vec<u8>, scratch: &mut Vec<u8>) {
        use std::io::Write as _;
        into.clear();
        write!(
            into,
            "POST /webhooks/alertmanager HTTP/1.1\r\nhost: bench\r\nuser-agent: Alertmanager/0.34.0\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.bytes
        )
        .unwrap();
        self.body(first, into, scratch);
    }

    fn body(&self, first: u64, into: &mut Vec<u8>, scratch: &mut Vec<u8>) {
        into.extend_from_slice(&self.head);
        for number in first..first + self.alerts {
            if number > first {
                into.push(b',');
            }
            scratch.clear();
            self.hashed.fill(number, 0, scratch);
            self.alert.fill(number, fingerprint(scratch), into);
        }
        into.extend_from_slice(&self.tail);
    }
}

/// FNV-1a as Alertmanager uses it; each name and value ends in 0xFF, for which 1 stands here.
fn fingerprint(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        let byte = if *byte == 1 { 0xff } else { *byte };
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
