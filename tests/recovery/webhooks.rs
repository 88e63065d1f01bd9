//! A small sender of webhooks: one connection, one request at a time, and what became of each.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than anything may take; a daemon that was killed closes at once.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// One alert of a webhook.
#[derive(Clone, Debug)]
pub struct Alert {
    pub fingerprint: String,
    pub labels: Value,
    pub starts_at: String,
    /// None: it fires.
    pub ends_at: Option<String>,
}

impl Alert {
    /// Firing since just now.
    pub fn firing(labels: &[(&str, &str)]) -> Alert {
        let labels: BTreeMap<String, String> =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Alert { fingerprint: fingerprint(&labels), labels: json!(labels), starts_at: now(), ends_at: None }
    }

    pub fn resolved(&self) -> Alert {
        Alert { ends_at: Some(now()), ..self.clone() }
    }

    fn json(&self) -> Value {
        json!({
            "status": if self.ends_at.is_some() { "resolved" } else { "firing" },
            "labels": self.labels, "annotations": {"summary": "too much load"},
            "startsAt": self.starts_at,
            "endsAt": self.ends_at.as_deref().unwrap_or("0001-01-01T00:00:00Z"),
            "generatorURL": "", "fingerprint": self.fingerprint,
        })
    }
}

/// As Alertmanager names an alert: FNV-1a over its sorted labels. Another one is refused.
fn fingerprint(labels: &BTreeMap<String, String>) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for text in labels.iter().flat_map(|(name, value)| [name, value]) {
        for byte in text.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

/// RFC 3339 with milliseconds, UTC.
pub fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

/// A webhook as Alertmanager sends it.
pub fn body(alerts: &[Alert]) -> String {
    let status = if alerts.iter().all(|alert| alert.ends_at.is_some()) { "resolved" } else { "firing" };
    let alerts: Vec<Value> = alerts.iter().map(Alert::json).collect();
    json!({
        "receiver": "nightshift", "status": status, "alerts": alerts, "groupLabels": {}, "commonLabels": {},
        "commonAnnotations": {}, "externalURL": "http://alertmanager.example:9093", "version": "4",
        "groupKey": "{}:{}", "truncatedAlerts": 0,
    })
    .to_string()
}

pub struct Sender {
    stream: TcpStream,
}

impl Sender {
    pub async fn connect(address: SocketAddr) -> io::Result<Sender> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Sender { stream })
    }

    /// Posts a webhook; the status of the answer. An error: no answer, so nothing was promised.
    pub async fn post(&mut self, body: &str) -> io::Result<u16> {
        let head = format!(
            "POST /webhooks/alertmanager HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        let exchange = async {
            self.stream.write_all(format!("{head}{body}").as_bytes()).await?;
            self.answer().await
        };
        tokio::time::timeout(ANSWER_WITHIN, exchange).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    async fn answer(&mut self) -> io::Result<u16> {
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        // Answers are small: one that is longer than this is none of ours.
        while bytes.len() < 64 * 1024 {
            let text = String::from_utf8_lossy(&bytes);
            if let Some((head, rest)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
                if rest.len() >= length.unwrap_or(0) {
                    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
                    return status.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData));
                }
            }
            let read = self.stream.read(&mut chunk).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes.extend_from_slice(&chunk[..read]);
        }
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// One webhook on a connection of its own.
pub async fn post_once(address: SocketAddr, body: &str) -> io::Result<u16> {
    Sender::connect(address).await?.post(body).await
}
