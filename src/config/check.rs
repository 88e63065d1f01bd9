//! From as written to as used: what values mean, whether they fit together, whether files are there.
//!
//! Every problem is collected. A value that is wrong gives a stand-in, so that the rest is checked too; the
//! stand-ins never leave here, because any error refuses the whole.

use super::{
    file::{self, File},
    settings::{
        Alertmanager, AlertmanagerSource, BasicAuth, DEFAULTS_NAME, Itself, Journal, Kubernetes, Listen, Log,
        LogFormat, Mode, Person, RulesFrom, Settings, Slack, Tls, Token,
    },
    suggest,
    yaml::{Located, OneOrMany},
};
use crate::model::{problem::Problem, time::Span};
use jiff::tz::TimeZone;
use secrecy::{ExposeSecret, SecretString};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};
use tracing_subscriber::EnvFilter;

/// No token, password or connection URL is longer; a larger file is another file.
const LARGEST_SECRET_BYTES: u64 = 16 * 1024;
/// While a token is being replaced, the old and the new one are valid.
const MOST_LIVE_TOKENS: usize = 2;
/// Below this, one missed repeat of Alertmanager's notification looks like a lost alert.
const SHORTEST_LOST_AFTER: Span = Span::minutes(10);

/// The settings with warnings, or every problem (warnings among them).
pub(super) fn checked(file: File) -> Result<(Settings, Vec<Problem>), Vec<Problem>> {
    let mut check = Check { problems: Vec::new() };
    let settings = check.settings(file);
    check
        .problems
        .sort_by(|one, other| (&one.file, one.line, one.column).cmp(&(&other.file, other.line, other.column)));
    if check.problems.iter().all(|problem| problem.warning) {
        Ok((settings, check.problems))
    } else {
        Err(check.problems)
    }
}

struct Check {
    problems: Vec<Problem>,
}

impl Check {
    fn settings(&mut self, file: File) -> Settings {
        let alertmanager = self.alertmanager(file.alertmanager.unwrap_or_default());
        let alertmanager_source =
            self.alertmanager_source(file.sources.unwrap_or_default().alertmanager.unwrap_or_default());
        let tokens = self.tokens(file.api.unwrap_or_default().tokens.unwrap_or_default());
        let listen = self.listen(file.listen.unwrap_or_default(), &alertmanager_source, &tokens);
        if let Some(mode) = &file.mode
            && mode.value != Mode::Shadow
            && alertmanager.urls.is_empty()
        {
            let what = "modes ask and auto need alertmanager.urls: nothing acts on an alert that may be over";
            self.problems.push(mode.error(what).hint("set alertmanager.urls, or `mode: shadow`"));
        }
        let (timezone, timezone_name) = self.timezone(file.timezone);
        Settings {
            read_from: None,
            mode: file.mode.map_or(Mode::Shadow, |mode| mode.value),
            journal: self.journal(file.journal),
            journal_keep: self.duration(file.journal_keep.as_ref()),
            evidence_keep: self.duration(file.evidence_keep.as_ref()),
            rules: self.rules(file.rules),
            timezone,
            timezone_name,
            pause_file: file.pause_file.and_then(|path| self.filled(path)).map(PathBuf::from),
            listen,
            alertmanager_source,
            kubernetes: self.kubernetes(file.kubernetes.unwrap_or_default()),
            slack: self.slack(file.slack.unwrap_or_default()),
            alertmanager,
            prometheus_url: file.prometheus.and_then(|it| it.url).and_then(|url| self.url(&url)),
            tokens,
            people: self.people(file.people.unwrap_or_default()),
            log: self.log(file.log.unwrap_or_default()),
        }
    }

    fn listen(&mut self, written: file::Listen, source: &AlertmanagerSource, tokens: &[Token]) -> Listen {
        let webhooks = self.address(written.webhooks.as_ref());
        let admin = self.address(written.admin.as_ref());
        let tls = written.tls.and_then(|tls| self.tls(tls));
        if let Some(place) = &written.webhooks
            && !webhooks.ip().is_loopback()
        {
            if !source.authenticates() {
                let what = format!("`{webhooks}` is beyond loopback, and sources.alertmanager does not authenticate");
                let hint = "set sources.alertmanager.bearer_token_file, basic_auth or client_certificates";
                self.problems.push(place.error(what).hint(hint));
            } else if tls.is_none() {
                let what = format!("`{webhooks}` is beyond loopback without listen.tls: secrets travel in the clear");
                self.problems.push(place.warning(what).hint("set listen.tls, unless something before it speaks TLS"));
            }
        }
        if let Some(place) = &written.admin
            && !admin.ip().is_loopback()
        {
            if tokens.is_empty() {
                let what = format!("`{admin}` is beyond loopback, and there are no api.tokens");
                self.problems.push(place.error(what).hint("add a token to api.tokens, or listen on 127.0.0.1"));
            } else if tls.is_none() {
                let what = format!("`{admin}` is beyond loopback without listen.tls: tokens travel in the clear");
                self.problems.push(place.warning(what).hint("set listen.tls, unless something before it speaks TLS"));
            }
        }
        if let Some(place) = &written.admin
            && webhooks == admin
            && admin.port() != 0
        {
            self.problems.push(place.error("listen.webhooks and listen.admin are the same address"));
        }
        if !source.client_certificates.is_empty()
            && tls.as_ref().is_none_or(|tls| tls.client_ca_file.is_none())
            && let Some(place) = &written.webhooks
        {
            let what = "sources.alertmanager.client_certificates needs listen.tls.client_ca_file";
            self.problems.push(place.error(what).hint("name the file of the authority that signs the clients"));
        }
        Listen { webhooks, admin, tls }
    }

    fn tls(&mut self, written: Located<file::Tls>) -> Option<Tls> {
        let place = written.place;
        let cert_file = self.needed(written.value.cert_file, "listen.tls.cert_file", &place);
        let key_file = self.needed(written.value.key_file, "listen.tls.key_file", &place);
        if let Some(key_file) = &key_file {
            self.kept_private(key_file);
        }
        let client_ca_file = written.value.client_ca_file.and_then(|path| self.readable(&path));
        Some(Tls {
            cert_file: cert_file.and_then(|path| self.readable(&path))?,
            key_file: key_file.and_then(|path| self.readable(&path))?,
            client_ca_file,
        })
    }

    fn alertmanager_source(&mut self, written: file::AlertmanagerSource) -> AlertmanagerSource {
        let files = written.bearer_token_file.map(|OneOrMany(files)| files).unwrap_or_default();
        if let Some(third) = files.get(MOST_LIVE_TOKENS) {
            let what = format!("{} bearer tokens are live at once, at most {MOST_LIVE_TOKENS} may be", files.len());
            self.problems.push(third.error(what).hint("keep the old and the new one while it is being replaced"));
        }
        let bearer_tokens = files.iter().filter_map(|file| self.secret(file)).collect();
        let basic_auth = written.basic_auth.and_then(|Located { value, place }| {
            let username = self.needed(value.username, "sources.alertmanager.basic_auth.username", &place);
            let password = self.needed(value.password_file, "sources.alertmanager.basic_auth.password_file", &place);
            let password = password.and_then(|file| self.secret(&file));
            let username = username.and_then(|name| {
                if name.contains(':') {
                    self.problems.push(name.error("a user name of basic authentication holds no `:`"));
                }
                self.filled(name)
            });
            Some(BasicAuth { username: username?, password: password? })
        });
        let names = written.client_certificates.map(|OneOrMany(names)| names).unwrap_or_default();
        let client_certificates = names.into_iter().filter_map(|name| self.filled(name)).collect();
        AlertmanagerSource { bearer_tokens, basic_auth, client_certificates }
    }

    fn alertmanager(&mut self, written: file::Alertmanager) -> Alertmanager {
        let lost_after = self.duration(written.lost_after.as_ref());
        if let Some(place) = &written.lost_after
            && lost_after > Span::ZERO
            && lost_after < SHORTEST_LOST_AFTER
        {
            let what = format!("alerts count as lost after {lost_after}, under {SHORTEST_LOST_AFTER}");
            self.problems
                .push(place.warning(what).hint("at least twice the repeat_interval of the route to nightshift"));
        }
        let urls: Vec<Located<String>> = written.urls.map(|OneOrMany(urls)| urls).unwrap_or_default();
        let mut checked: Vec<String> = Vec::new();
        for written in urls {
            let Some(url) = self.url(&written) else { continue };
            if checked.contains(&url) {
                self.problems.push(written.error(format!("`{url}` stands twice")));
            } else {
                checked.push(url);
            }
        }
        Alertmanager { urls: checked, lost_after }
    }

    fn kubernetes(&mut self, written: file::Kubernetes) -> Kubernetes {
        Kubernetes {
            kubeconfig: written.kubeconfig.and_then(|path| self.readable(&path)),
            context: written.context.and_then(|context| self.filled(context)),
            itself: written.itself.and_then(|Located { value, place }| {
                let namespace = self.needed(value.namespace, "kubernetes.self.namespace", &place);
                let deployment = self.needed(value.deployment, "kubernetes.self.deployment", &place);
                let namespace = namespace.and_then(|name| self.filled(name));
                let deployment = deployment.and_then(|name| self.filled(name));
                Some(Itself { namespace: namespace?, deployment: deployment? })
            }),
        }
    }

    fn slack(&mut self, written: file::Slack) -> Option<Slack> {
        let api_url = written.api_url.and_then(|url| self.url(&url));
        let channel = written.channel.and_then(|channel| {
            let place = channel.place.clone();
            let channel = self.filled(channel)?;
            if !is_slack_id(&channel) && !is_channel_name(&channel) {
                let what = format!("`{channel}` is neither `#name` nor a Slack id");
                self.problems.push(place.error(what).hint("such as '#incidents' (in quotes) or C0123ABC"));
            }
            Some((channel, place))
        });
        let bot_token = written.bot_token_file.as_ref().and_then(|file| self.secret(file));
        match (channel, written.bot_token_file) {
            (Some((channel, _)), Some(_)) => Some(Slack { channel, bot_token: bot_token?, api_url: api_url? }),
            (Some((_, place)), None) => {
                self.problems.push(place.error("slack.channel needs slack.bot_token_file"));
                None
            }
            (None, Some(file)) => {
                self.problems.push(file.error("slack.bot_token_file needs slack.channel"));
                None
            }
            (None, None) => None,
        }
    }

    fn tokens(&mut self, written: Vec<file::Token>) -> Vec<Token> {
        let mut names = BTreeSet::new();
        let mut tokens: Vec<Token> = Vec::new();
        for file::Token { name, token_file, may } in written {
            if !names.insert(name.value.clone()) {
                let hint = "who did what must be told apart in the journal";
                self.problems.push(name.error(format!("token name `{}` stands twice", name.value)).hint(hint));
            }
            if !is_name(&name.value) {
                let what = format!("`{}` is not a name: letters, digits, `.`, `_` and `-`, at most 64", name.value);
                self.problems.push(name.error(what));
            }
            if may.value.is_empty() {
                let what = format!("token `{}` may do nothing", name.value);
                self.problems.push(may.error(what).hint("known rights: read, ack, approve, undo, pause, admin"));
            }
            let Some(token) = self.secret(&token_file) else { continue };
            if let Some(same) = tokens.iter().find(|have| have.token.expose_secret() == token.expose_secret()) {
                let what = format!("tokens `{}` and `{}` are the same secret", same.name, name.value);
                self.problems.push(token_file.error(what));
            }
            let may: BTreeSet<_> = may.value.into_iter().collect();
            tokens.push(Token { name: name.value, token, may: may.into_iter().collect() });
        }
        tokens
    }

    fn people(&mut self, written: BTreeMap<String, Located<file::Person>>) -> BTreeMap<String, Person> {
        let mut people = BTreeMap::new();
        for (name, Located { value, place }) in written {
            let Some(slack) = value.slack else {
                self.problems.push(place.error(format!("`{name}` cannot be reached")).hint("set slack: S0123ABC"));
                continue;
            };
            if !is_slack_id(&slack) && !is_channel_name(&slack) {
                let what = format!("`{}` is neither a Slack id nor `#name`", slack.value);
                self.problems.push(slack.error(what).hint("the id of a user, user group or channel, such as S0123ABC"));
            }
            people.insert(name, Person { slack: Some(slack.value) });
        }
        people
    }

    fn journal(&mut self, written: Option<Located<file::Journal>>) -> Journal {
        match written.map(|journal| journal.value) {
            Some(file::Journal::Sqlite(path)) => Journal::Sqlite(PathBuf::from(path)),
            Some(file::Journal::Postgres { url_file }) => {
                let url = self.secret(&url_file).unwrap_or_default();
                let given = url.expose_secret();
                if !given.is_empty() && !given.starts_with("postgres://") && !given.starts_with("postgresql://") {
                    let what = "the file holds no PostgreSQL URL";
                    self.problems.push(url_file.error(what).hint("such as postgres://user:password@host/database"));
                }
                Journal::Postgres(url)
            }
            None => Journal::Sqlite(PathBuf::new()),
        }
    }

    fn rules(&mut self, written: Option<Located<String>>) -> RulesFrom {
        let Some(written) = written else { return RulesFrom::Starter };
        let path = PathBuf::from(&written.value);
        if path.exists() {
            return RulesFrom::Path(path);
        }
        if &*written.place.file != DEFAULTS_NAME {
            let what = format!("`{}` does not exist", written.value);
            self.problems
                .push(written.error(what).hint("without `rules` the starter rules inside the binary are used"));
        }
        RulesFrom::Starter
    }

    fn timezone(&mut self, written: Option<Located<String>>) -> (TimeZone, String) {
        let Some(written) = written else { return (TimeZone::UTC, "UTC".to_owned()) };
        match TimeZone::get(&written.value) {
            Ok(zone) => (zone, written.value),
            Err(_) => {
                let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
                let closest = suggest::closest(&written.value, known.iter().map(String::as_str));
                let hint = match closest {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => "an IANA name, such as Europe/Berlin".to_owned(),
                };
                let what = format!("`{}` is not a time zone", written.value);
                self.problems.push(written.error(what).hint(hint));
                (TimeZone::UTC, "UTC".to_owned())
            }
        }
    }

    fn log(&mut self, written: file::Log) -> Log {
        let level = written.level.map_or_else(
            || "info".to_owned(),
            |level| {
                if let Err(error) = EnvFilter::builder().parse(&level.value) {
                    let what = format!("`{}` is not a log filter: {error}", level.value);
                    self.problems
                        .push(level.error(what).hint("error, warn, info, debug, trace, or info,nightshift=debug"));
                }
                level.value
            },
        );
        Log { format: written.format.map_or(LogFormat::Human, |format| format.value), level }
    }

    // What single values may be.

    fn duration(&mut self, written: Option<&Located<String>>) -> Span {
        let Some(written) = written else { return Span::ZERO };
        match Span::parse(&written.value) {
            Ok(Span::ZERO) => {
                self.problems.push(written.error("expected a duration longer than nothing"));
                Span::ZERO
            }
            Ok(span) => span,
            Err(what) => {
                self.problems.push(written.error(what).hint("such as 90s, 5m, 1h30m, 14d"));
                Span::ZERO
            }
        }
    }

    fn address(&mut self, written: Option<&Located<String>>) -> SocketAddr {
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let Some(written) = written else { return nowhere };
        written.value.parse().unwrap_or_else(|_| {
            let what = format!("`{}` is not an address with a port", written.value);
            self.problems.push(written.error(what).hint("such as 127.0.0.1:9393, [::1]:9393 or 0.0.0.0:9393"));
            nowhere
        })
    }

    /// A peer's base URL. Credentials and queries would show up in logs.
    fn url(&mut self, written: &Located<String>) -> Option<String> {
        let mut refuse = |what: &str, hint: &str| {
            self.problems.push(written.error(what).hint(hint));
            None
        };
        let Ok(url) = reqwest::Url::parse(&written.value) else {
            return refuse("not a URL", "such as http://alertmanager:9093");
        };
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return refuse(
                "a peer's URL begins with http:// or https:// and names a host",
                "such as http://prometheus:9090",
            );
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("a peer's URL holds no user or password", "secrets are only named by a file");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return refuse("a peer's base URL has no `?` and no `#`", "paths are added to it");
        }
        Some(url.as_str().trim_end_matches('/').to_owned())
    }

    fn filled(&mut self, written: Located<String>) -> Option<String> {
        if written.value.trim().is_empty() {
            self.problems.push(written.error("expected a text, found an empty one"));
            return None;
        }
        Some(written.value)
    }

    fn needed<T>(&mut self, value: Option<T>, key: &str, place: &super::node::Place) -> Option<T> {
        if value.is_none() {
            self.problems.push(place.error(format!("key `{key}` is missing")));
        }
        value
    }

    fn readable(&mut self, written: &Located<String>) -> Option<PathBuf> {
        let path = Path::new(&written.value);
        let opened = std::fs::File::open(path).and_then(|file| file.metadata());
        match opened {
            Ok(about) if about.is_file() => Some(path.to_path_buf()),
            Ok(_) => {
                self.problems.push(written.error(format!("`{}` is not a file", written.value)));
                None
            }
            Err(error) => {
                self.problems.push(written.error(format!("`{}` cannot be read: {error}", written.value)));
                None
            }
        }
    }

    /// Reads a secret: one line; blanks and line ends around it are no part of it.
    fn secret(&mut self, written: &Located<String>) -> Option<SecretString> {
        let path = self.readable(written)?;
        self.kept_private(written);
        let size = std::fs::metadata(&path).map_or(0, |about| about.len());
        if size > LARGEST_SECRET_BYTES {
            let what = format!("`{}` has {size} bytes, more than a secret has", written.value);
            self.problems.push(written.error(what));
            return None;
        }
        let Ok(text) = std::fs::read_to_string(&path).map(SecretString::from) else {
            self.problems.push(written.error(format!("`{}` is not UTF-8 text", written.value)));
            return None;
        };
        let secret = text.expose_secret().trim();
        if secret.is_empty() {
            let hint = "an empty secret would let everybody in";
            self.problems.push(written.error(format!("`{}` is empty", written.value)).hint(hint));
            return None;
        }
        if secret.chars().any(char::is_control) {
            let what = format!("`{}` holds more than one line", written.value);
            self.problems.push(written.error(what).hint("one file holds one secret"));
            return None;
        }
        Some(SecretString::from(secret.to_owned()))
    }

    /// Warns of a secret that every user of the machine can read.
    fn kept_private(&mut self, written: &Located<String>) {
        use std::os::unix::fs::PermissionsExt;
        const READ_BY_ALL: u32 = 0o004;
        let mode = std::fs::metadata(&written.value).map_or(0, |about| about.permissions().mode());
        if mode & READ_BY_ALL != 0 {
            let what = format!("`{}` can be read by every user of this machine", written.value);
            self.problems.push(written.warning(what).hint("chmod o-r, or defaultMode: 0440 of a Kubernetes volume"));
        }
    }
}

/// C, D, G (channels), S (user groups), U, W (users).
fn is_slack_id(text: &str) -> bool {
    let mut letters = text.chars();
    let kind = letters.next().is_some_and(|first| "CDGSUW".contains(first));
    kind && text.len() >= 3 && text.len() <= 32 && letters.all(|it| it.is_ascii_uppercase() || it.is_ascii_digit())
}

fn is_channel_name(text: &str) -> bool {
    text.strip_prefix('#').is_some_and(|name| {
        !name.is_empty()
            && name.chars().count() <= 80
            && !name.contains(|it: char| it.is_whitespace() || it.is_control())
    })
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.chars().all(|it| it.is_ascii_alphanumeric() || ".-_".contains(it))
}
