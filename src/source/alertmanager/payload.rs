//! Alertmanager's webhook body, version "4", as typed alerts. Pure: bytes in, alerts or a reason out.
//!
//! Strict where a wrong guess would act on the wrong thing (version, status, times, fingerprints), lenient where
//! versions of Alertmanager differ (unknown fields are skipped, younger ones may be missing).
//!
//! A body is taken whole or refused whole. Taking a part of it and answering 2xx would lose the rest for good, resolves
//! above all: Alertmanager lists a resolved alert in exactly one successful delivery. A refusal loses nothing in
//! silence: Alertmanager counts it, sends again at each group_interval, and pages by its own route meanwhile. So the
//! bounds lie far beyond what a real group holds, and exist only to keep one body from taking all memory.
//!
//! Text is kept as it came, control and bidirectional characters included: display is what strips them.

use crate::model::time::Micros;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use std::{borrow::Cow, collections::BTreeMap, fmt};

/// Alerts in a body: with labels and annotations of usual size the body's own cap is reached before.
pub const MAX_ALERTS: usize = 10_000;
/// Labels of an alert, and annotations of an alert. Real ones have a few dozen.
pub const MAX_LABELS: usize = 512;
/// Bytes of a label's or annotation's name or value. Annotations carry whole templates' output; this is a novella.
pub const MAX_TEXT: usize = 64 * 1024;
/// Bytes of a group's key. It lies with every alert of a body, in memory and in the journal; a real one holds the labels
/// that a route groups by.
pub const MAX_GROUP_KEY: usize = 16 * 1024;
/// `0001-01-01T00:00:00Z`, Go's zero time: how Alertmanager writes "no end".
const YEAR_ONE: Micros = Micros(-62_135_596_800_000_000);
/// How much of a peer's or parser's text a refusal repeats.
const QUOTED: usize = 160;

/// One delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// As it came; `sha256` of it is what Alertmanager's own PagerDuty page uses. Never empty.
    pub group_key: String,
    /// The receiver's name as the configuration has it (it is sent escaped as a regular expression).
    pub receiver: String,
    /// Alerts left out because of `max_alerts`: above 0 the list says nothing about those that it lacks.
    pub truncated_alerts: u64,
    pub external_url: String,
    /// Firing ones and those resolved since the last successful delivery. One that is missing is not thereby resolved.
    pub alerts: Vec<WebhookAlert>,
    /// For people: why Alertmanager sent this. Older versions say nothing.
    pub notification_reason: Option<String>,
}

/// One alert of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookAlert {
    pub firing: bool,
    /// Never empty. Names are any UTF-8.
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub starts_at: Micros,
    /// `None` where Alertmanager sends year 1 (every firing alert) or nothing.
    pub ends_at: Option<Micros>,
    pub generator_url: String,
    /// 16 hexadecimal digits, of the labels only.
    pub fingerprint: String,
}

/// Why a body was refused, in words for whoever configured the sender. All of them are 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    #[error("the body is empty: Alertmanager sends a JSON object")]
    Empty,
    #[error("the body is not JSON: Alertmanager sends a JSON object, which begins with `{{`")]
    NotObject,
    /// It begins like an object. A body that was cut short does, and so does what a template of people's own makes.
    #[error("the body is not JSON, at line {line} column {column}: does the receiver set `payload:`?")]
    NotJson { line: usize, column: usize },
    #[error(
        "this is not Alertmanager's payload (version \"4\"; found {found}): does the receiver set `payload:`? Remove it"
    )]
    NotVersion4 { found: String },
    #[error("this is not Alertmanager's payload, at line {line} column {column}: {what}")]
    Shape { what: String, line: usize, column: usize },
    #[error("the payload has no `{field}`: it was not written by Alertmanager")]
    Missing { field: &'static str },
    #[error("the payload has more than {MAX_ALERTS} alerts: group by more labels, or set `max_alerts` in the receiver")]
    TooManyAlerts,
    #[error(
        "the payload's groupKey is longer than {MAX_GROUP_KEY} bytes: group by fewer labels, or by ones with shorter values"
    )]
    GroupKeyTooLong,
    #[error("alert {index} of the payload: {problem}")]
    Alert { index: usize, problem: AlertProblem },
}

/// What is wrong with one alert.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AlertProblem {
    #[error("its status is `{0}`, neither `firing` nor `resolved`")]
    Status(String),
    #[error("it has no labels")]
    NoLabels,
    #[error("it has more than {MAX_LABELS} labels or annotations")]
    TooManyLabels,
    #[error("a name or value among its labels or annotations is longer than {MAX_TEXT} bytes")]
    TextTooLong,
    #[error("its `{field}` is `{text}`, not an RFC 3339 time")]
    Time { field: &'static str, text: String },
    #[error("it has no startsAt")]
    NoStart,
    #[error("its fingerprint `{sent}` is not that of its labels, {computed}: the sender is not an Alertmanager")]
    Fingerprint { sent: String, computed: String },
}

impl PayloadError {
    /// The metric's label, the journal's word.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            PayloadError::Empty => "empty",
            PayloadError::NotObject | PayloadError::NotJson { .. } => "not_json",
            PayloadError::NotVersion4 { .. } => "not_version_4",
            PayloadError::Shape { .. } => "shape",
            PayloadError::Missing { .. } => "missing_field",
            PayloadError::TooManyAlerts => "too_many_alerts",
            PayloadError::GroupKeyTooLong => "group_key_too_long",
            PayloadError::Alert { problem: AlertProblem::Fingerprint { .. }, .. } => "fingerprint",
            PayloadError::Alert { .. } => "alert",
        }
    }
}

/// Parses a body.
pub fn parse(body: &[u8]) -> Result<Webhook, PayloadError> {
    if body.trim_ascii().is_empty() {
        return Err(PayloadError::Empty);
    }
    let wire: Wire<'_> = serde_json::from_slice(body).map_err(|error| refuse_json(body, &error))?;
    match wire.version {
        Some(Version(version)) if version == "4" => {}
        Some(Version(version)) => return Err(PayloadError::NotVersion4 { found: format!("`{}`", quoted(&version)) }),
        None => return Err(PayloadError::NotVersion4 { found: "none".to_owned() }),
    }
    let alerts = match wire.alerts.ok_or(PayloadError::Missing { field: "alerts" })? {
        Alerts::Good(alerts) => alerts,
        Alerts::TooMany => return Err(PayloadError::TooManyAlerts),
        Alerts::Bad { index, problem } => return Err(PayloadError::Alert { index, problem }),
    };
    let group_key = wire.group_key.filter(|key| !key.is_empty()).ok_or(PayloadError::Missing { field: "groupKey" })?;
    if group_key.len() > MAX_GROUP_KEY {
        return Err(PayloadError::GroupKeyTooLong);
    }
    Ok(Webhook {
        group_key,
        receiver: unescape_receiver(&wire.receiver.unwrap_or_default()),
        truncated_alerts: wire.truncated_alerts.unwrap_or(0),
        external_url: wire.external_url.unwrap_or_default(),
        alerts,
        notification_reason: wire.notification_reason,
    })
}

/// Alertmanager's fingerprint of a label set: FNV-1a, 64 bits, over the sorted names and values, each ended by 0xFF.
#[must_use]
pub fn fingerprint(labels: &BTreeMap<String, String>) -> String {
    format!("{:016x}", fingerprint_bits(labels))
}

fn fingerprint_bits(labels: &BTreeMap<String, String>) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let add = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    let add_text = |hash: u64, text: &str| add(text.bytes().fold(hash, add), 0xff);
    labels.iter().fold(OFFSET, |hash, (name, value)| add_text(add_text(hash, name), value))
}

/// Takes back Go's `regexp.QuoteMeta`, which Alertmanager applies to the receiver's name.
fn unescape_receiver(escaped: &str) -> String {
    let mut name = String::with_capacity(escaped.len());
    let mut letters = escaped.chars().peekable();
    while let Some(letter) = letters.next() {
        match letters.peek() {
            Some(&next) if letter == '\\' && r"\.+*?()|[]{}^$".contains(next) => {
                name.push(next);
                letters.next();
            }
            _ => name.push(letter),
        }
    }
    name
}

fn quoted(text: &str) -> String {
    // Escaped, because it goes into an answer and a log line.
    text.chars().take(QUOTED).flat_map(char::escape_debug).collect()
}

fn refuse_json(body: &[u8], error: &serde_json::Error) -> PayloadError {
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        serde_json::error::Category::Data => {
            let said = error.to_string();
            // The parser's own words end with the place, which is told already.
            let what = said.rfind(" at line ").and_then(|end| said.get(..end)).unwrap_or(&said);
            PayloadError::Shape { what: quoted(what), line, column }
        }
        _ if body.trim_ascii_start().starts_with(b"{") => PayloadError::NotJson { line, column },
        _ => PayloadError::NotObject,
    }
}

/// The body as it is on the wire. Everything may be missing here; [`parse`] says what may not.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
struct Wire<'a> {
    #[serde(borrow)]
    version: Option<Version<'a>>,
    group_key: Option<String>,
    receiver: Option<String>,
    truncated_alerts: Option<u64>,
    #[serde(rename = "externalURL")]
    external_url: Option<String>,
    #[serde(rename = "notification_reason")]
    notification_reason: Option<String>,
    alerts: Option<Alerts>,
}

/// A text that is not copied where it stands in the body without escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Version<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an alert")]
struct WireAlert<'a> {
    #[serde(borrow, default)]
    status: Cow<'a, str>,
    labels: Option<Labels>,
    annotations: Option<Labels>,
    #[serde(borrow, default)]
    starts_at: Cow<'a, str>,
    #[serde(borrow, default)]
    ends_at: Cow<'a, str>,
    #[serde(rename = "generatorURL")]
    generator_url: Option<String>,
    #[serde(borrow, default)]
    fingerprint: Cow<'a, str>,
}

impl WireAlert<'_> {
    fn checked(self) -> Result<WebhookAlert, AlertProblem> {
        let firing = match &*self.status {
            "firing" => true,
            "resolved" => false,
            other => return Err(AlertProblem::Status(quoted(other))),
        };
        let labels = self.labels.map_or(Ok(BTreeMap::new()), Labels::checked)?;
        if labels.is_empty() {
            return Err(AlertProblem::NoLabels);
        }
        let annotations = self.annotations.map_or(Ok(BTreeMap::new()), Labels::checked)?;
        let starts_at = instant("startsAt", &self.starts_at)?.ok_or(AlertProblem::NoStart)?;
        let ends_at = instant("endsAt", &self.ends_at)?;
        let computed = fingerprint_bits(&labels);
        // Rules, State and Alertmanager's API are joined by the fingerprint: a wrong one would act under another
        // alert's name, and Alertmanager never sends one.
        if !self.fingerprint.is_empty() && !is_hex_of(&self.fingerprint, computed) {
            let (sent, computed) = (quoted(&self.fingerprint), format!("{computed:016x}"));
            return Err(AlertProblem::Fingerprint { sent, computed });
        }
        let generator_url = self.generator_url.unwrap_or_default();
        let fingerprint = format!("{computed:016x}");
        Ok(WebhookAlert { firing, labels, annotations, starts_at, ends_at, generator_url, fingerprint })
    }
}

fn is_hex_of(text: &str, bits: u64) -> bool {
    text.len() == 16
        && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        && u64::from_str_radix(text, 16) == Ok(bits)
}

fn instant(field: &'static str, text: &str) -> Result<Option<Micros>, AlertProblem> {
    if text.is_empty() {
        return Ok(None);
    }
    let at = Micros::parse(text).map_err(|_| AlertProblem::Time { field, text: quoted(text) })?;
    Ok(if at <= YEAR_ONE { None } else { Some(at) })
}

/// The list of alerts, checked while it is read: a body full of `{}` must not become gigabytes before it is refused.
enum Alerts {
    Good(Vec<WebhookAlert>),
    TooMany,
    Bad { index: usize, problem: AlertProblem },
}

impl<'de> Deserialize<'de> for Alerts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Alerts, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Alerts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of alerts")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Alerts, A::Error> {
                let mut good = Vec::new();
                while let Some(alert) = list.next_element::<WireAlert<'de>>()? {
                    let verdict = if good.len() < MAX_ALERTS {
                        alert.checked().map_err(|problem| Alerts::Bad { index: good.len(), problem })
                    } else {
                        Err(Alerts::TooMany)
                    };
                    match verdict {
                        Ok(alert) => good.push(alert),
                        Err(refused) => {
                            // The rest is only skipped: the body may yet turn out not to be JSON at all.
                            while list.next_element::<IgnoredAny>()?.is_some() {}
                            return Ok(refused);
                        }
                    }
                }
                Ok(Alerts::Good(good))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

/// Labels or annotations, bounded while they are read.
enum Labels {
    Good(BTreeMap<String, String>),
    Bad(AlertProblem),
}

impl Labels {
    fn checked(self) -> Result<BTreeMap<String, String>, AlertProblem> {
        match self {
            Labels::Good(labels) => Ok(labels),
            Labels::Bad(problem) => Err(problem),
        }
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Labels, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut good = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    let problem = if good.len() >= MAX_LABELS {
                        AlertProblem::TooManyLabels
                    } else if name.len() > MAX_TEXT || value.len() > MAX_TEXT {
                        AlertProblem::TextTooLong
                    } else {
                        good.insert(name, value);
                        continue;
                    };
                    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                    return Ok(Labels::Bad(problem));
                }
                Ok(Labels::Good(good))
            }
        }
        deserializer.deserialize_map(Map)
    }
}

#[cfg(test)]
#[path = "payload_tests.rs"]
mod tests;
