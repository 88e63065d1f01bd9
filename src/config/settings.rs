//! `nightshift.yaml` as used: every value there, typed, checked, its secrets read.
//!
//! [`Settings::load`] is the only way to get one. What cannot change while running is here; rules are not.

use super::{
    check,
    file::File,
    layers::{self, Flag},
    node::{Kind, Node, Place},
    typed,
    yaml::{self, Located},
};
use crate::model::{
    problem::Problem,
    public::{ComponentStatus, Publish},
    time::Span,
};
use jiff::tz::TimeZone;
use secrecy::SecretString;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::{Path, PathBuf},
};

pub use super::file::{LogFormat, Mode, Right};

/// The file that is looked for where none is named.
pub const DEFAULT_FILE: &str = "nightshift.yaml";
/// The commented defaults: the documentation of every key, and what the daemon really starts with.
pub const DEFAULTS: &str = include_str!("nightshift.default.yaml");
/// The name of the built-in defaults in problems.
pub const DEFAULTS_NAME: &str = "built-in defaults";

#[derive(Debug, Clone)]
pub struct Settings {
    /// The file that was read, where there was one.
    pub read_from: Option<PathBuf>,
    /// What the layers below the command line say, by key, as text: to see what has changed since.
    pub written: BTreeMap<String, String>,
    pub mode: Mode,
    pub journal: Journal,
    pub journal_keep: Span,
    pub evidence_keep: Span,
    pub rules: RulesFrom,
    pub timezone: TimeZone,
    /// The zone's IANA name, for policies and status.
    pub timezone_name: String,
    pub pause_file: Option<PathBuf>,
    /// Starts without a clean stop, one soon after the other, that end in observing only.
    pub unclean_starts: u32,
    pub listen: Listen,
    pub alertmanager_source: AlertmanagerSource,
    pub kubernetes: Kubernetes,
    /// Connection URLs of the PostgreSQL servers that steps act on, by name, as targets name them. They hold passwords.
    pub databases: BTreeMap<String, SecretString>,
    /// `None`: nothing is sent to Slack.
    pub slack: Option<Slack>,
    /// `None`: customers are told nothing.
    pub statuspage: Option<Statuspage>,
    pub pagerduty: PagerDuty,
    /// With what PagerDuty signs its webhooks: one, or two while it is being replaced. Empty: none are taken.
    pub pagerduty_secrets: Vec<SecretString>,
    pub alertmanager: Alertmanager,
    /// Base URL without a slash at its end.
    pub prometheus_url: Option<String>,
    pub tokens: Vec<Token>,
    /// Where smoke tests may go: host names in lower case, without a port.
    pub smoke_hosts: Vec<String>,
    /// Where what concerns security is told too.
    pub security_channel: Option<String>,
    /// By name, as rules and escalations name them.
    pub people: BTreeMap<String, Person>,
    /// Who may approve through Slack, by severity.
    pub approvers: Vec<Approvers>,
    pub log: Log,
}

#[derive(Debug, Clone)]
pub enum Journal {
    Sqlite(PathBuf),
    /// The connection URL holds a password.
    Postgres(SecretString),
}

/// Settings that are not used.
#[derive(Debug)]
pub struct RefusedSettings {
    /// All of them, warnings too.
    pub problems: Vec<Problem>,
    /// The rules that they name, where that much could be read.
    pub rules: Option<RulesFrom>,
}

/// Where rules come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RulesFrom {
    /// A file or a folder that exists.
    Path(PathBuf),
    /// The default folder, which does not exist: the rules inside the binary.
    Starter(PathBuf),
}

#[derive(Debug, Clone)]
pub struct Listen {
    pub webhooks: SocketAddr,
    pub admin: SocketAddr,
    pub tls: Option<Tls>,
}

/// Paths of PEM files that can be read.
#[derive(Debug, Clone)]
pub struct Tls {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
    /// Where set, clients may show a certificate signed by it.
    pub client_ca_file: Option<PathBuf>,
}

/// How Alertmanager proves who it is: any one of these suffices. All empty: loopback only, no proof wanted.
#[derive(Debug, Clone, Default)]
pub struct AlertmanagerSource {
    /// One, or two while a token is being replaced.
    pub bearer_tokens: Vec<SecretString>,
    pub basic_auth: Option<BasicAuth>,
    /// Names that a verified client certificate may carry (common name or DNS name).
    pub client_certificates: Vec<String>,
}

impl AlertmanagerSource {
    /// Whether a sender has to prove anything.
    #[must_use]
    pub fn authenticates(&self) -> bool {
        !self.bearer_tokens.is_empty() || self.basic_auth.is_some() || !self.client_certificates.is_empty()
    }
}

#[derive(Debug, Clone)]
pub struct BasicAuth {
    pub username: String,
    pub password: SecretString,
}

#[derive(Debug, Clone, Default)]
pub struct Kubernetes {
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<String>,
    /// nightshift's own Deployment, never a target. `None`: found from the pod's owner.
    pub itself: Option<Itself>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Itself {
    pub namespace: String,
    pub deployment: String,
}

#[derive(Debug, Clone)]
pub struct Slack {
    pub channel: String,
    pub bot_token: SecretString,
    /// With what Slack signs what it sends: one, or two while it is being replaced. Empty: nothing is taken over HTTP.
    pub signing_secrets: Vec<SecretString>,
    /// One severity or a range, in the words of the rules, with its place: their incidents get a channel of their own.
    pub incident_channels: Option<Located<String>>,
    /// Opens Socket Mode. `None`: there is no Socket Mode.
    pub app_token: Option<SecretString>,
    /// Without a slash at its end.
    pub api_url: String,
}

impl Slack {
    /// Whether buttons and commands are taken, over HTTP or by Socket Mode.
    #[must_use]
    pub fn takes_clicks(&self) -> bool {
        !self.signing_secrets.is_empty() || self.app_token.is_some()
    }
}

/// Without any of it nobody is paged there, and it is asked nothing.
#[derive(Debug, Clone)]
pub struct PagerDuty {
    /// The integration key of the service that is paged.
    pub routing_key: Option<SecretString>,
    pub token: Option<PagerDutyToken>,
    /// Base URLs without a slash at their ends.
    pub events_url: String,
    pub api_url: String,
}

#[derive(Debug, Clone)]
pub struct PagerDutyToken {
    pub token: SecretString,
    /// A user's address, in whose name notes are written. `None`: none are.
    pub from: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Statuspage {
    pub api_key: SecretString,
    pub page: String,
    /// Without a slash at its end.
    pub api_url: String,
    pub publish: Publish,
    /// Whether the service mails its subscribers when an incident begins and when it is over.
    pub notify_subscribers: bool,
    /// By name, as rules name them.
    pub components: BTreeMap<String, StatusComponent>,
}

#[derive(Debug, Clone)]
pub struct StatusComponent {
    pub id: String,
    /// It can be read, and is right: see [`super::statuspage::sentences`].
    pub sentences_file: PathBuf,
    /// One severity or a range, in the words of the rules, and how bad it makes the component.
    pub shows: Vec<(Located<String>, ComponentStatus)>,
    pub place: Place,
}

#[derive(Debug, Clone)]
pub struct Alertmanager {
    /// Base URLs without a slash at their ends.
    pub urls: Vec<String>,
    pub lost_after: Span,
}

#[derive(Debug, Clone)]
pub struct Token {
    /// "Who" in the journal.
    pub name: String,
    pub token: SecretString,
    pub may: Vec<Right>,
}

/// Reached in Slack, through PagerDuty, or both ways.
#[derive(Debug, Clone, Default)]
pub struct Person {
    /// A Slack user, user group or channel.
    pub slack: Option<String>,
    /// The integration key of the PagerDuty service that pages them.
    pub routing_key: Option<SecretString>,
}

/// `P0..P1: [U024BE7LH, S0123ABC]`.
#[derive(Debug, Clone)]
pub struct Approvers {
    /// One severity or a range, in the words of the rules, with its place.
    pub severities: Located<String>,
    /// Slack users and user groups.
    pub ids: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Log {
    pub format: LogFormat,
    /// tracing's filter syntax, already checked.
    pub level: String,
}

impl Settings {
    /// Somebody's service is paged there, or the default one.
    #[must_use]
    pub fn pages_through_pagerduty(&self) -> bool {
        self.pagerduty.routing_key.is_some() || self.people.values().any(|person| person.routing_key.is_some())
    }

    /// Reads the layers: built-in defaults < file < environment. With `path` the file must exist; without it
    /// `./nightshift.yaml` is read where it exists. Gives warnings with the settings, or every problem.
    pub fn load(
        path: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<(Settings, Vec<Problem>), Vec<Problem>> {
        Settings::load_below(path, environment, &[]).map_err(|refused| refused.problems)
    }

    /// As [`Settings::load`], with the command line above everything, and with what can be said of refused settings.
    pub fn load_below(
        path: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        flags: &[Flag],
    ) -> Result<(Settings, Vec<Problem>), RefusedSettings> {
        let path = path.map(Path::to_path_buf).or_else(|| {
            let usual = PathBuf::from(DEFAULT_FILE);
            usual.exists().then_some(usual)
        });
        let written = match &path {
            Some(path) => {
                let text = text_of(path).map_err(|problems| RefusedSettings { problems, rules: None })?;
                Some((path.display().to_string(), text))
            }
            None => None,
        };
        let text = written.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
        let (mut settings, warnings) = layered(text, environment, flags)?;
        settings.read_from = path;
        Ok((settings, warnings))
    }

    /// The same from a text that was read already: `(name, text)`.
    pub fn from_layers(
        written: Option<(&str, &str)>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<(Settings, Vec<Problem>), Vec<Problem>> {
        layered(written, environment, &[]).map_err(|refused| refused.problems)
    }
}

/// Keys that a reload takes too: secrets, read anew. Everything else waits for a restart.
const RELOADED: [&str; 7] = [
    "sources.alertmanager.",
    "sources.pagerduty.",
    "slack.app_token_file",
    "slack.bot_token_file",
    "slack.signing_secret_file",
    "statuspage.api_key_file",
    "api.tokens",
];

/// ... where there was one: what is told through it, and what may act by it, is decided at the start.
const REPLACED: [&str; 2] = ["pagerduty.api_token_file", "pagerduty.routing_key_file"];
const PERSONS_KEY: &str = ".pagerduty.routing_key_file";

impl Settings {
    /// The keys that say something else than `before`, and that only a restart takes.
    #[must_use]
    pub fn waiting_since(&self, before: &Settings) -> Vec<String> {
        let keys: BTreeSet<&String> = before.written.keys().chain(self.written.keys()).collect();
        let changed = keys.into_iter().filter(|key| before.written.get(*key) != self.written.get(*key));
        let both_have = |key: &str| before.written.contains_key(key) && self.written.contains_key(key);
        let is_taken = |key: &str| {
            let is_pagerdutys = REPLACED.contains(&key) || key.starts_with("people.") && key.ends_with(PERSONS_KEY);
            RELOADED.iter().any(|taken| key.starts_with(taken)) || is_pagerdutys && both_have(key)
        };
        changed.filter(|key| !is_taken(key)).cloned().collect()
    }

    /// Where the admin listener of these layers is, and whether it speaks TLS, for whoever asks it: as much as can be read, and
    /// nothing of what else is wrong.
    #[must_use]
    pub fn admin_listener(
        path: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Option<(SocketAddr, bool)> {
        let usual = || Some(PathBuf::from(DEFAULT_FILE)).filter(|usual| usual.exists());
        let path = path.map(Path::to_path_buf).or_else(usual);
        let text = path.as_deref().and_then(|path| text_of(path).ok());
        let (defaults, _) = yaml::tree(DEFAULTS_NAME, DEFAULTS).ok()?;
        let above = text.and_then(|text| yaml::tree(DEFAULT_FILE, &text).ok()).map(|(node, _)| node);
        let (variables, _) = layers::environment(environment);
        let layers: Vec<&Node> = std::iter::once(&defaults).chain(&above).chain(std::iter::once(&variables)).collect();
        let by_key = layers::merged(&layers).ok()?.by_key();
        let tls = by_key.keys().any(|key| key.starts_with("listen.tls."));
        Some((by_key.get("listen.admin")?.parse().ok()?, tls))
    }
}

fn layered(
    written: Option<(&str, &str)>,
    environment: impl Iterator<Item = (String, String)>,
    flags: &[Flag],
) -> Result<(Settings, Vec<Problem>), RefusedSettings> {
    let unread = |problems| RefusedSettings { problems, rules: None };
    let (defaults, _) = yaml::tree(DEFAULTS_NAME, DEFAULTS).map_err(unread)?;
    let mut problems = Vec::new();
    let mut above = Vec::new();
    let mut all_read = true;
    if let Some((name, text)) = written {
        match yaml::tree(name, text) {
            Ok(layer) => above.push(layer),
            Err(more) => {
                problems.extend(more);
                all_read = false;
            }
        }
    }
    above.push(layers::environment(environment));
    above.push((layers::command_line(flags), Vec::new()));
    for (node, more) in &mut above {
        problems.append(more);
        problems.extend(as_written(node).1);
    }
    let layers: Vec<&Node> = std::iter::once(&defaults).chain(above.iter().map(|(node, _)| node)).collect();
    let below_flags = layers.split_last().map_or(Vec::new(), |(_, below)| below.to_vec());
    let by_key = layers::merged(&below_flags).map_err(unread)?.by_key();
    let (file, more) = as_written(&layers::merged(&layers).map_err(unread)?);
    if problems.is_empty() {
        problems = more;
    }
    let written_in = Place::of(written.map_or(DEFAULT_FILE, |(name, _)| name));
    check::checked(file.unwrap_or_default(), written_in, problems)
        .map(|(settings, warnings)| (Settings { written: by_key, ..settings }, warnings))
        .map_err(|refused| RefusedSettings { rules: refused.rules.filter(|_| all_read), ..refused })
}

fn as_written(node: &Node) -> (Option<File>, Vec<Problem>) {
    match &node.kind {
        Kind::Map(entries) if entries.is_empty() => (Some(File::default()), Vec::new()),
        _ => typed::read_partly(node),
    }
}

/// The text of a file, refused before it is read where it is larger than any settings file.
fn text_of(path: &Path) -> Result<String, Vec<Problem>> {
    let name = path.display().to_string();
    let refused = |what: String| vec![Problem::error(name.clone(), 0, 0, what)];
    let about = std::fs::metadata(path).map_err(|error| refused(format!("cannot be read: {error}")))?;
    if about.is_dir() {
        return Err(refused("is a folder, not a file".to_owned()));
    }
    if about.len() > yaml::LARGEST_TEXT_BYTES as u64 {
        return Err(yaml::too_large(&name, about.len()));
    }
    std::fs::read_to_string(path).map_err(|error| refused(format!("cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_nothing_at_all_the_commented_defaults_are_used() {
        let (settings, warnings) = Settings::from_layers(None, std::iter::empty()).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(settings.mode, Mode::Shadow);
        assert!(matches!(&settings.journal, Journal::Sqlite(path) if path == Path::new("nightshift.db")));
        assert_eq!(settings.journal_keep, Span::hours(90 * 24));
        assert!(settings.listen.webhooks.ip().is_loopback() && settings.listen.admin.ip().is_loopback());
        assert!(
            settings.slack.is_none()
                && settings.statuspage.is_none()
                && settings.tokens.is_empty()
                && settings.people.is_empty()
        );
        assert!(!settings.alertmanager_source.authenticates());
        assert_eq!(settings.alertmanager.lost_after, Span::minutes(30));
    }

    #[test]
    fn the_defaults_name_every_key() {
        let (node, _) = yaml::tree(DEFAULTS_NAME, DEFAULTS).unwrap();
        let file: File = typed::read(&node).unwrap();
        let missing: Vec<&str> = [
            ("mode", file.mode.is_some()),
            ("journal", file.journal.is_some()),
            ("journal_keep", file.journal_keep.is_some()),
            ("evidence_keep", file.evidence_keep.is_some()),
            ("rules", file.rules.is_some()),
            ("timezone", file.timezone.is_some()),
            ("listen", file.listen.is_some()),
            ("sources", file.sources.is_some()),
            ("kubernetes", file.kubernetes.is_some()),
            ("postgres", file.postgres.is_some()),
            ("slack", file.slack.is_some()),
            ("statuspage", file.statuspage.is_some()),
            ("pagerduty", file.pagerduty.is_some()),
            ("alertmanager", file.alertmanager.is_some()),
            ("prometheus", file.prometheus.is_some()),
            ("api", file.api.is_some()),
            ("smoke_hosts", file.smoke_hosts.is_some()),
            ("security", file.security.is_some()),
            ("people", file.people.is_some()),
            ("approvers", file.approvers.is_some()),
            ("log", file.log.is_some()),
        ]
        .into_iter()
        .filter(|(_, there)| !there)
        .map(|(key, _)| key)
        .collect();
        assert_eq!(missing, Vec::<&str>::new());
    }

    #[test]
    fn what_only_a_restart_takes_is_told_by_its_keys() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("xoxb-{name}")).unwrap();
            path.display().to_string()
        };
        let (one, two) = (file("one"), file("two"));
        let read = |text: &str| {
            let secrets = text.replace("ONE", &one).replace("TWO", &two);
            Settings::from_layers(Some(("n.yaml", &secrets)), std::iter::empty()).unwrap().0
        };
        let before =
            read("slack: {channel: '#a', bot_token_file: ONE}\nsources: {alertmanager: {bearer_token_file: ONE}}\n");
        assert_eq!(before.waiting_since(&before), Vec::<String>::new());
        let after = read(
            "mode: shadow\ntimezone: Europe/Berlin\nprometheus: {url: 'http://p:1'}\nslack: {channel: '#b', bot_token_file: TWO}\n\
             sources: {alertmanager: {bearer_token_file: [ONE, TWO]}}\n",
        );
        assert_eq!(after.waiting_since(&before), ["prometheus.url", "slack.channel", "timezone"]);
        assert_eq!(before.waiting_since(&after), ["prometheus.url", "slack.channel", "timezone"]);

        let [key, token] = ["a", "b"].map(|letter| {
            let path = folder.path().join(letter);
            std::fs::write(&path, letter.repeat(32)).unwrap();
            path.display().to_string()
        });
        let with = |key: &str| {
            let people = format!("people: {{team: {{pagerduty: {{routing_key_file: '{key}'}}}}}}");
            read(&format!("pagerduty: {{routing_key_file: '{key}', api_token_file: '{key}'}}\n{people}\n"))
        };
        assert_eq!(with(&key).waiting_since(&with(&token)), Vec::<String>::new(), "they are replaced");
        let files =
            ["pagerduty.api_token_file", "pagerduty.routing_key_file", "people.team.pagerduty.routing_key_file"];
        assert_eq!(with(&key).waiting_since(&read("mode: shadow\n")), files, "nothing to be replaced was there");
    }

    #[test]
    fn the_admin_listener_is_found_whatever_else_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n.yaml");
        let found = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Settings::admin_listener(Some(&path), std::iter::empty()).map(|(address, tls)| (address.to_string(), tls))
        };
        assert_eq!(found("mode: shadow\n"), Some(("127.0.0.1:9394".to_owned(), false)));
        let text = "listen: {admin: '0.0.0.0:7000', tls: {cert_file: /none, key_file: /none}}\nmod: auto\n";
        assert_eq!(found(text), Some(("0.0.0.0:7000".to_owned(), true)));
        assert_eq!(found("listen: {admin: nowhere}\n"), None);
    }

    #[test]
    fn the_environment_stands_above_the_file() {
        let text = "log: {level: warn, format: json}\ntimezone: Europe/Berlin\n";
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let environment = [
            variable("NIGHTSHIFT__LOG__LEVEL", "debug"),
            variable("NIGHTSHIFT__ALERTMANAGER__URLS", "http://am:9093/"),
            variable("NIGHTSHIFT_PORT", "tcp://10.0.0.1:9393"),
        ];
        let (settings, _) = Settings::from_layers(Some(("n.yaml", text)), environment.into_iter()).unwrap();
        assert_eq!(settings.log.level, "debug");
        assert_eq!(settings.log.format, LogFormat::Json);
        assert_eq!(settings.timezone_name, "Europe/Berlin");
        assert_eq!(settings.alertmanager.urls, ["http://am:9093"]);
    }

    #[test]
    fn secrets_are_read_trimmed_and_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        std::fs::write(&one, "0123456789\n").unwrap();
        std::fs::write(&two, "s3cr3t-two").unwrap();
        let text =
            format!("sources: {{alertmanager: {{bearer_token_file: ['{}', '{}']}}}}\n", one.display(), two.display());
        let (settings, _) = Settings::from_layers(Some(("n.yaml", &text)), std::iter::empty()).unwrap();
        let tokens = &settings.alertmanager_source.bearer_tokens;
        use secrecy::ExposeSecret;
        assert_eq!(tokens.iter().map(|token| token.expose_secret()).collect::<Vec<_>>(), ["0123456789", "s3cr3t-two"]);
        let printed = format!("{settings:?}");
        assert!(!printed.contains("0123456789") && !printed.contains("s3cr3t"), "{printed}");
    }
}
