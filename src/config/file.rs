//! `nightshift.yaml` as written: every key optional, texts still texts, each with its place.
//!
//! A key stands here only when something uses it: a setting that nobody reads is refused, not ignored.
//! What the values mean, and whether they fit together, is checked in `check.rs`.

use super::yaml::{Located, OneOrMany};
use crate::model::public::{ComponentStatus, Publish};
pub use crate::{model::mode::Mode, telemetry::log::Format as LogFormat};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};
use std::{collections::BTreeMap, fmt};

#[derive(Debug, Default, Deserialize)]
pub struct File {
    pub mode: Option<Located<Mode>>,
    pub journal: Option<Located<Journal>>,
    pub journal_keep: Option<Located<String>>,
    pub evidence_keep: Option<Located<String>>,
    pub rules: Option<Located<String>>,
    pub timezone: Option<Located<String>>,
    pub pause_file: Option<Located<String>>,
    pub safe_mode: Option<SafeMode>,
    pub listen: Option<Listen>,
    pub sources: Option<Sources>,
    pub kubernetes: Option<Kubernetes>,
    pub postgres: Option<BTreeMap<String, Located<Database>>>,
    pub slack: Option<Slack>,
    pub statuspage: Option<Statuspage>,
    pub pagerduty: Option<PagerDuty>,
    pub alertmanager: Option<Alertmanager>,
    pub prometheus: Option<Prometheus>,
    pub api: Option<Api>,
    pub smoke_hosts: Option<OneOrMany<Located<String>>>,
    pub security: Option<Security>,
    pub people: Option<BTreeMap<String, Located<Person>>>,
    pub approvers: Option<BTreeMap<String, Located<OneOrMany<Located<String>>>>>,
    pub log: Option<Log>,
}

/// `sqlite:PATH` or `{postgres: {url_file: PATH}}`.
#[derive(Debug)]
pub enum Journal {
    Sqlite(String),
    Postgres { url_file: Located<String> },
}

#[derive(Debug, Default, Deserialize)]
pub struct Listen {
    pub webhooks: Option<Located<String>>,
    pub admin: Option<Located<String>>,
    pub tls: Option<Located<Tls>>,
}

/// Both files are needed; layers may give them one by one.
#[derive(Debug, Deserialize)]
pub struct Tls {
    pub cert_file: Option<Located<String>>,
    pub key_file: Option<Located<String>>,
    pub client_ca_file: Option<Located<String>>,
}

#[derive(Debug, Default, Deserialize)]
pub struct Sources {
    pub alertmanager: Option<AlertmanagerSource>,
    pub pagerduty: Option<PagerDutySource>,
}

#[derive(Debug, Default, Deserialize)]
pub struct PagerDutySource {
    pub signing_secret_file: Option<OneOrMany<Located<String>>>,
}

#[derive(Debug, Default, Deserialize)]
pub struct AlertmanagerSource {
    pub bearer_token_file: Option<OneOrMany<Located<String>>>,
    pub basic_auth: Option<Located<BasicAuth>>,
    pub client_certificates: Option<OneOrMany<Located<String>>>,
}

#[derive(Debug, Deserialize)]
pub struct BasicAuth {
    pub username: Option<Located<String>>,
    pub password_file: Option<Located<String>>,
}

#[derive(Debug, Default, Deserialize)]
pub struct Kubernetes {
    pub kubeconfig: Option<Located<String>>,
    pub context: Option<Located<String>>,
    #[serde(rename = "self")]
    pub itself: Option<Located<Itself>>,
}

#[derive(Debug, Deserialize)]
pub struct Itself {
    pub namespace: Option<Located<String>>,
    pub deployment: Option<Located<String>>,
}

#[derive(Debug, Deserialize)]
pub struct Database {
    pub url_file: Option<Located<String>>,
}

#[derive(Debug, Default, Deserialize)]
pub struct Slack {
    pub channel: Option<Located<String>>,
    pub bot_token_file: Option<Located<String>>,
    pub signing_secret_file: Option<OneOrMany<Located<String>>>,
    pub incident_channels: Option<Located<String>>,
    pub app_token_file: Option<Located<String>>,
    pub api_url: Option<Located<String>>,
}

#[derive(Debug, Default, Deserialize)]
pub struct Security {
    pub slack: Option<Located<String>>,
}

#[derive(Debug, Default, Deserialize)]
pub struct Statuspage {
    pub api_key_file: Option<Located<String>>,
    pub page: Option<Located<String>>,
    pub api_url: Option<Located<String>>,
    pub publish: Option<Located<Publish>>,
    pub notify_subscribers: Option<Located<bool>>,
    pub components: Option<BTreeMap<String, Located<StatusComponent>>>,
}

#[derive(Debug, Deserialize)]
pub struct StatusComponent {
    pub id: Option<Located<String>>,
    pub sentences_file: Option<Located<String>>,
    /// By severity or range, in the words of the rules.
    pub status: Option<BTreeMap<String, Located<ComponentStatus>>>,
}

#[derive(Debug, Default, Deserialize)]
pub struct PagerDuty {
    pub routing_key_file: Option<Located<String>>,
    pub api_token_file: Option<Located<String>>,
    pub from: Option<Located<String>>,
    pub events_url: Option<Located<String>>,
    pub api_url: Option<Located<String>>,
}

#[derive(Debug, Default, Deserialize)]
pub struct Alertmanager {
    pub urls: Option<OneOrMany<Located<String>>>,
    pub lost_after: Option<Located<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SafeMode {
    pub unclean_starts: Option<Located<u32>>,
}

#[derive(Debug, Default, Deserialize)]
pub struct Prometheus {
    pub url: Option<Located<String>>,
}

#[derive(Debug, Default, Deserialize)]
pub struct Api {
    pub tokens: Option<Vec<Token>>,
}

#[derive(Debug, Deserialize)]
pub struct Token {
    pub name: Located<String>,
    pub token_file: Located<String>,
    pub may: Located<Vec<Right>>,
}

/// What an API token may do. `Ack` covers resolve, `Approve` reject, `Undo` leases, `Pause` resume and rearm,
/// `Admin` reload and drills. None of them includes another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    Read,
    Ack,
    Approve,
    Undo,
    Pause,
    Admin,
}

#[derive(Debug, Deserialize)]
pub struct Person {
    pub slack: Option<Located<String>>,
    pub pagerduty: Option<Located<PagerDutyService>>,
}

#[derive(Debug, Deserialize)]
pub struct PagerDutyService {
    pub routing_key_file: Option<Located<String>>,
}

#[derive(Debug, Default, Deserialize)]
pub struct Log {
    pub format: Option<Located<LogFormat>>,
    pub level: Option<Located<String>>,
}

impl<'de> Deserialize<'de> for Journal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Journal, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Server {
            postgres: UrlFile,
        }
        #[derive(Deserialize)]
        struct UrlFile {
            url_file: Located<String>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Journal;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`sqlite:PATH` or `{postgres: {url_file: PATH}}`")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Journal, E> {
                match text.strip_prefix("sqlite:") {
                    Some(path) if !path.is_empty() => Ok(Journal::Sqlite(path.to_owned())),
                    // Not shown: it may be a URL with a password.
                    _ => Err(E::invalid_value(de::Unexpected::Other("another text"), &self)),
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Journal, A::Error> {
                let server = Server::deserialize(de::value::MapAccessDeserializer::new(access))?;
                Ok(Journal::Postgres { url_file: server.postgres.url_file })
            }
        }
        deserializer.deserialize_any(Either)
    }
}
