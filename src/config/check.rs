//! From as written to as used: what values mean, whether they fit together, whether files are there.
//!
//! Every problem is collected. A value that is wrong gives a stand-in, so that the rest is checked too; the
//! stand-ins never leave here, because any error refuses the whole.

use super::{
    file::{self, File},
    node::Place,
    paths,
    settings::{
        Alertmanager, AlertmanagerSource, Approvers, BasicAuth, DEFAULTS_NAME, Itself, Kubernetes, Listen, Log,
        LogFormat, Mode, RefusedSettings, Settings, Slack, Tls, Token,
    },
    suggest,
    values::{is_name, is_slack_id, no_log_filter},
    yaml::{Located, OneOrMany},
};
use crate::model::{problem::Problem, time::Span};
use jiff::tz::TimeZone;
use secrecy::{ExposeSecret, SecretString};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

/// While a token is being replaced, the old and the new one are valid.
pub(super) const MOST_LIVE_TOKENS: usize = 2;
/// Below this, one missed repeat of Alertmanager's notification looks like a lost alert.
const SHORTEST_LOST_AFTER: Span = Span::minutes(10);

/// The settings with warnings, or every problem (warnings among them). `found` is what reading has found wrong
/// already: what it left out must not look like something that was never given, so then single values are checked
/// and what needs several of them is not.
pub(super) fn checked(
    file: File,
    written_in: Place,
    found: Vec<Problem>,
) -> Result<(Settings, Vec<Problem>), RefusedSettings> {
    let mut check = Check { complete: found.is_empty(), problems: found, written_in };
    let rules = file.rules.as_ref().and_then(|written| paths::rules_of(written, &check.written_in).ok());
    let settings = check.settings(file);
    // Stable: what was found in the same place keeps its order.
    check
        .problems
        .sort_by(|one, other| (&one.file, one.line, one.column).cmp(&(&other.file, other.line, other.column)));
    if check.problems.iter().all(|problem| problem.warning) {
        Ok((settings, check.problems))
    } else {
        Err(RefusedSettings { problems: check.problems, rules })
    }
}

/// Collects problems. What single values may be is in [`super::values`].
pub(super) struct Check {
    pub(super) problems: Vec<Problem>,
    /// Nothing was left out while reading.
    pub(super) complete: bool,
    /// nightshift.yaml, or what stands for it.
    pub(super) written_in: Place,
}

/// Where the values stand that are checked together, kept while the values themselves are used up.
struct Places {
    webhooks: Place,
    admin: Place,
    client_certificates: Place,
    /// The first of them.
    pagerduty_secrets: Option<Place>,
}

impl Places {
    fn of(file: &File) -> Places {
        let place = |written: Option<&Located<String>>| {
            written.map_or_else(|| Place::of(DEFAULTS_NAME), |written| written.place.clone())
        };
        let listen = file.listen.as_ref();
        let source = file.sources.as_ref().and_then(|sources| sources.alertmanager.as_ref());
        let names = source.and_then(|source| source.client_certificates.as_ref());
        let signs = file.sources.as_ref().and_then(|sources| sources.pagerduty.as_ref()?.signing_secret_file.as_ref());
        Places {
            webhooks: place(listen.and_then(|listen| listen.webhooks.as_ref())),
            admin: place(listen.and_then(|listen| listen.admin.as_ref())),
            client_certificates: place(names.and_then(|names| names.0.first())),
            pagerduty_secrets: signs.and_then(|files| files.0.first()).map(|first| first.place.clone()),
        }
    }
}

impl Check {
    fn settings(&mut self, file: File) -> Settings {
        let places = Places::of(&file);
        let alertmanager = self.alertmanager(file.alertmanager.unwrap_or_default());
        let sources = file.sources.unwrap_or_default();
        let alertmanager_source = self.alertmanager_source(sources.alertmanager.unwrap_or_default());
        let pagerduty = self.pagerduty(file.pagerduty.unwrap_or_default());
        let pagerduty_secrets = self.pagerduty_source(sources.pagerduty.unwrap_or_default());
        let tokens = self.tokens(file.api.unwrap_or_default().tokens.unwrap_or_default());
        let listen = self.listen(file.listen.unwrap_or_default());
        if self.complete {
            self.listeners_are_guarded(&listen, &places, &alertmanager_source, &tokens);
        }
        if let Some(mode) = &file.mode
            && self.complete
            && mode.value != Mode::Shadow
            && alertmanager.urls.is_empty()
            && pagerduty.token.is_none()
        {
            let what = "modes ask and auto need alertmanager.urls: nothing acts on an alert that may be over";
            let hint = "set `alertmanager: {urls: ['http://alertmanager:9093']}`, or `mode: shadow`";
            self.problems.push(mode.error(what).hint(hint));
        }
        if let (Some(place), true) = (&places.pagerduty_secrets, self.complete) {
            self.pagerduty_is_asked(place, &pagerduty_secrets, &pagerduty);
        }
        let has_slack = file.slack.as_ref().is_some_and(|slack| slack.channel.is_some());
        let calls = has_slack || pagerduty.routing_key.is_some();
        if self.complete {
            self.slack_is_whole(file.slack.as_ref(), file.approvers.as_ref());
        }
        let (timezone, timezone_name) = self.timezone(file.timezone);
        Settings {
            read_from: None,
            written: BTreeMap::new(),
            mode: file.mode.map_or(Mode::Shadow, |mode| mode.value),
            journal: self.journal(file.journal),
            journal_keep: self.duration(file.journal_keep.as_ref()),
            evidence_keep: self.duration(file.evidence_keep.as_ref()),
            rules: self.rules(file.rules),
            timezone,
            timezone_name,
            pause_file: self.pause_file(file.pause_file),
            unclean_starts: file.safe_mode.and_then(|it| it.unclean_starts).map_or(0, |given| given.value),
            listen,
            alertmanager_source,
            kubernetes: self.kubernetes(file.kubernetes.unwrap_or_default()),
            databases: self.databases(file.postgres.unwrap_or_default()),
            slack: self.slack(file.slack.unwrap_or_default()),
            statuspage: self.statuspage(file.statuspage.unwrap_or_default()),
            pagerduty,
            pagerduty_secrets,
            alertmanager,
            prometheus_url: file.prometheus.and_then(|it| it.url).and_then(|url| self.url(&url)),
            tokens,
            smoke_hosts: self.smoke_hosts(file.smoke_hosts.map(|OneOrMany(hosts)| hosts).unwrap_or_default()),
            security_channel: self.security(file.security.unwrap_or_default(), has_slack),
            people: self.people(file.people.unwrap_or_default(), calls),
            approvers: self.approvers(file.approvers.unwrap_or_default()),
            log: self.log(file.log.unwrap_or_default()),
        }
    }

    fn listen(&mut self, written: file::Listen) -> Listen {
        Listen {
            webhooks: self.address(written.webhooks.as_ref()),
            admin: self.address(written.admin.as_ref()),
            tls: written.tls.and_then(|tls| self.tls(tls)),
        }
    }

    /// Beyond loopback nobody gets in without proof of who they are.
    fn listeners_are_guarded(
        &mut self,
        listen: &Listen,
        places: &Places,
        source: &AlertmanagerSource,
        tokens: &[Token],
    ) {
        let Listen { webhooks, admin, tls } = listen;
        let in_the_clear = |place: &Place, address: &SocketAddr| {
            let what = format!("`{address}` is beyond loopback without listen.tls: secrets travel in the clear");
            place.warning(what).hint("set listen.tls, unless something before it speaks TLS")
        };
        if !webhooks.ip().is_loopback() {
            if !source.authenticates() {
                let what = format!("`{webhooks}` is beyond loopback, and sources.alertmanager does not authenticate");
                let hint = "set sources.alertmanager.bearer_token_file, basic_auth or client_certificates";
                self.problems.push(places.webhooks.error(what).hint(hint));
            } else if tls.is_none() {
                self.problems.push(in_the_clear(&places.webhooks, webhooks));
            }
        }
        if !admin.ip().is_loopback() {
            if tokens.is_empty() {
                let what = format!("`{admin}` is beyond loopback, and there are no api.tokens");
                let hint = "add a token to api.tokens, or listen on 127.0.0.1";
                self.problems.push(places.admin.error(what).hint(hint));
            } else if tls.is_none() {
                self.problems.push(in_the_clear(&places.admin, admin));
            }
        }
        if webhooks == admin && admin.port() != 0 {
            self.problems.push(places.admin.error("listen.webhooks and listen.admin are the same address"));
        }
        if !source.client_certificates.is_empty() && tls.as_ref().is_none_or(|tls| tls.client_ca_file.is_none()) {
            let what = "sources.alertmanager.client_certificates needs listen.tls.client_ca_file";
            let hint = "name the file of the authority that signs the clients";
            self.problems.push(places.client_certificates.error(what).hint(hint));
        }
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
        let api_url = written.api_url.and_then(|url| self.secret_url(&url));
        let channel = written.channel.and_then(|channel| {
            let place = channel.place.clone();
            Some((self.channel(channel, "'#incidents' (in quotes) or C0123ABC")?, place))
        });
        let bot_token = written.bot_token_file.as_ref().and_then(|file| self.secret(file));
        let signing_files = written.signing_secret_file.map(|OneOrMany(files)| files).unwrap_or_default();
        if let Some(third) = signing_files.get(MOST_LIVE_TOKENS) {
            let live = signing_files.len();
            let what = format!("{live} signing secrets are live at once, at most {MOST_LIVE_TOKENS} may be");
            self.problems.push(third.error(what).hint("keep the new and the old one while it is being replaced"));
        }
        let signing_secrets = signing_files.iter().filter_map(|file| self.secret(file)).collect();
        let app_token = written.app_token_file.as_ref().and_then(|file| self.app_token(file));
        match (channel, written.bot_token_file) {
            (Some((channel, _)), Some(file)) => {
                self.is_bot_token(&file, bot_token.as_ref()?);
                Some(Slack {
                    channel,
                    bot_token: bot_token?,
                    signing_secrets,
                    app_token,
                    incident_channels: written.incident_channels,
                    api_url: api_url?,
                })
            }
            (None, None) if self.complete => {
                if let Some(severities) = &written.incident_channels {
                    let what = "slack.incident_channels needs slack.channel and slack.bot_token_file";
                    self.problems.push(severities.error(what).hint("the bot makes the channels"));
                }
                let asks = [
                    ("signing_secret_file", signing_files.first()),
                    ("app_token_file", written.app_token_file.as_ref()),
                ];
                for (key, file) in asks {
                    if let Some(file) = file {
                        let what = format!("slack.{key} needs slack.channel and slack.bot_token_file");
                        self.problems.push(file.error(what).hint("who clicks is looked up, and answered, by the bot"));
                    }
                }
                None
            }
            (Some((_, place)), None) if self.complete => {
                self.problems.push(place.error("slack.channel needs slack.bot_token_file"));
                None
            }
            (None, Some(file)) if self.complete => {
                self.problems.push(file.error("slack.bot_token_file needs slack.channel"));
                None
            }
            _ => None,
        }
    }

    /// A token of another kind is refused by Slack at the first message. It is never shown.
    fn is_bot_token(&mut self, file: &Located<String>, token: &SecretString) {
        let token = token.expose_secret();
        // With token rotation they begin with `xoxe.`.
        if token.strip_prefix("xoxe.").unwrap_or(token).starts_with("xoxb-") {
            return;
        }
        let hint = if token.starts_with("xapp-") {
            "it is an app-level token (`xapp-`): the bot token is under \"OAuth & Permissions\" of the app"
        } else if token.starts_with("xoxp-") {
            "it is a user's token (`xoxp-`): take the bot's, under \"OAuth & Permissions\" of the app"
        } else {
            "copy the \"Bot User OAuth Token\" of the app, under \"OAuth & Permissions\""
        };
        let what = format!("`{}` holds no bot token: those begin with `xoxb-`", file.value);
        self.problems.push(file.error(what).hint(hint));
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

    /// Host names alone: a port or a path would look as if it were checked.
    fn smoke_hosts(&mut self, written: Vec<Located<String>>) -> Vec<String> {
        let mut hosts: Vec<String> = Vec::new();
        for written in written {
            let host = written.value.to_ascii_lowercase();
            let as_used = reqwest::Url::parse(&format!("http://{host}/"));
            if host.is_empty() || as_used.ok().is_none_or(|url| url.host_str() != Some(host.as_str())) {
                let shown = crate::telemetry::text::shortened(&written.value, 60);
                let hint = "a name alone, such as claims.internal.example: no scheme, port or path";
                self.problems.push(written.error(format!("`{shown}` is not the name of a host")).hint(hint));
            } else if hosts.contains(&host) {
                self.problems.push(written.error(format!("`{host}` stands twice")));
            } else {
                hosts.push(host);
            }
        }
        hosts
    }

    /// Whoever may approve can do so only where clicks are taken, and clicks let nothing act where nobody may approve.
    fn slack_is_whole(
        &mut self,
        slack: Option<&file::Slack>,
        approvers: Option<&BTreeMap<String, Located<OneOrMany<Located<String>>>>>,
    ) {
        let signing = slack.and_then(|slack| slack.signing_secret_file.as_ref()).and_then(|files| files.0.first());
        let door = signing.or(slack.and_then(|slack| slack.app_token_file.as_ref()));
        let first = approvers.and_then(|approvers| approvers.values().next());
        match (door, first) {
            (Some(file), None) => {
                let what = "nobody is listed under `approvers`: in Slack everybody may pause, and nobody may approve, undo or resume";
                self.problems.push(file.place.warning(what).hint("approvers: {P0..P3: [S0123ABC]}"));
            }
            (None, Some(listed)) => {
                let what = "`approvers` has no effect without slack.signing_secret_file or slack.app_token_file: nothing is taken from Slack";
                self.problems.push(listed.place.warning(what));
            }
            _ => {}
        }
    }

    fn approvers(&mut self, written: BTreeMap<String, Located<OneOrMany<Located<String>>>>) -> Vec<Approvers> {
        let mut approvers = Vec::new();
        for (severities, Located { value: OneOrMany(ids), place }) in written {
            if ids.is_empty() && self.complete {
                let what = format!("nobody may approve {severities}");
                self.problems.push(place.error(what).hint("list Slack users (U…) and user groups (S…)"));
            }
            for id in &ids {
                if !is_slack_id(&id.value) || !id.value.starts_with(['U', 'W', 'S']) {
                    let what = format!("`{}` is no Slack user or user group", id.value);
                    self.problems.push(id.error(what).hint("their ids begin with U, W or S, such as U024BE7LH"));
                }
            }
            let place = ids.first().map_or(place, |first| first.place.clone());
            let ids = ids.into_iter().map(|id| id.value).collect();
            approvers.push(Approvers { severities: Located { value: severities, place }, ids });
        }
        approvers
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
                if let Some(why) = no_log_filter(&level.value) {
                    let what = format!("`{}` is not a log filter: {why}", level.value);
                    self.problems
                        .push(level.error(what).hint("off, error, warn, info, debug, trace, or info,nightshift=debug"));
                }
                level.value
            },
        );
        Log { format: written.format.map_or(LogFormat::Human, |format| format.value), level }
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::Settings;
    use crate::model::problem::Problem;
    use std::os::unix::fs::PermissionsExt;

    fn warnings(text: &str) -> Vec<String> {
        let (_, warnings) = Settings::from_layers(Some(("n.yaml", text)), std::iter::empty()).unwrap();
        assert!(warnings.iter().all(|problem: &Problem| problem.warning));
        warnings.into_iter().map(|problem| problem.what).collect()
    }

    #[test]
    fn what_is_doubtful_is_told_and_taken() {
        let folder = tempfile::tempdir().unwrap();
        let secret = |name: &str, mode: u32| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("secret-{name}")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path.display().to_string()
        };
        let (kept, open) = (secret("kept", 0o600), secret("open", 0o644));
        let source = |file: &str| format!("sources: {{alertmanager: {{bearer_token_file: {file}}}}}\n");
        assert_eq!(warnings(&source(&kept)), Vec::<String>::new());
        assert_eq!(warnings(&source(&open)), [format!("`{open}` can be read by every user of this machine")]);
        assert_eq!(
            warnings(&format!("{}listen: {{webhooks: 0.0.0.0:9393}}\n", source(&kept))),
            ["`0.0.0.0:9393` is beyond loopback without listen.tls: secrets travel in the clear"]
        );
        assert_eq!(warnings("alertmanager: {lost_after: 1m}\n"), ["alerts count as lost after 1m, under 10m"]);
    }

    #[test]
    fn people_whom_nothing_can_call_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        std::fs::write(&key, "0123456789abcdef0123456789abcdef").unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let people = "people: {team: {slack: S0123ABC}}\n".to_owned();
        assert_eq!(warnings(&people), ["neither Slack nor PagerDuty is set up: none of these people can be called"]);
        let pagerduty = format!("pagerduty: {{routing_key_file: {}}}", key.display());
        let own_service = format!("people: {{team: {{slack: S0123ABC}}, jo: {{{pagerduty}}}}}\n");
        for fine in [people + &pagerduty, own_service] {
            assert_eq!(warnings(&fine), Vec::<String>::new(), "{fine}");
        }
    }

    #[test]
    fn a_service_that_is_sent_secrets_in_the_clear_is_told() {
        let clear = |url: &str| format!("`{url}` is beyond loopback and not https: secrets travel in the clear");
        for (key, url) in [
            ("slack: {api_url", "http://slack.example/api"),
            ("pagerduty: {events_url", "http://10.0.0.1:8080"),
            ("pagerduty: {api_url", "http://pagerduty.example"),
            ("statuspage: {api_url", "http://[2001:db8::1]/v1"),
        ] {
            assert_eq!(warnings(&format!("{key}: '{url}'}}\n")), [clear(url)]);
        }
        for url in ["https://slack.example", "http://127.0.0.1:1", "http://[::1]:1", "http://localhost"] {
            assert_eq!(warnings(&format!("slack: {{api_url: '{url}'}}\n")), Vec::<String>::new());
        }
        assert_eq!(
            warnings("prometheus: {url: 'http://prometheus:9090'}\n"),
            Vec::<String>::new(),
            "it is sent no secret"
        );
    }

    #[test]
    fn a_whole_file_is_taken_as_it_is_meant() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("postgres://{name}\n")).unwrap();
            path.display().to_string()
        };
        let bot_token = file("slack");
        std::fs::write(&bot_token, "xoxb-1-2-three\n").unwrap();
        let text = format!(
            "mode: auto\njournal: {{postgres: {{url_file: '{journal}'}}}}\ntimezone: America/New_York\n\
             listen: {{webhooks: '[::1]:0', admin: '127.0.0.1:0'}}\n\
             sources: {{alertmanager: {{basic_auth: {{username: am, password_file: '{basic}'}}}}}}\n\
             kubernetes: {{context: prod, self: {{namespace: ops, deployment: nightshift}}}}\n\
             postgres: {{claims-db: {{url_file: '{claims}'}}}}\n\
             slack: {{channel: '#incidents', bot_token_file: '{slack}', api_url: 'http://127.0.0.1:1/api/'}}\n\
             alertmanager: {{urls: ['http://a:9093', 'http://b:9093/am/'], lost_after: 1h}}\n\
             prometheus: {{url: 'https://prometheus/'}}\n\
             api: {{tokens: [{{name: bot, token_file: '{token}', may: [ack, read, ack]}}]}}\n\
             people: {{team: {{slack: S0123ABC}}}}\napprovers: {{P0..P1: [U024BE7LH], P2: S0123ABC}}\nlog: {{format: json, level: 'info,nightshift=debug'}}\n\
             smoke_hosts: [Blue.internal, 10.0.0.7]\n",
            journal = file("journal"),
            claims = file("claims"),
            basic = file("basic"),
            slack = bot_token,
            token = file("token"),
        );
        let (settings, _) = Settings::from_layers(Some(("n.yaml", &text)), std::iter::empty()).unwrap();
        assert!(matches!(settings.journal, super::super::settings::Journal::Postgres(_)));
        assert_eq!(settings.timezone_name, "America/New_York");
        assert_eq!(settings.alertmanager.urls, ["http://a:9093", "http://b:9093/am"]);
        assert_eq!(settings.prometheus_url.as_deref(), Some("https://prometheus"));
        assert_eq!(settings.slack.as_ref().unwrap().api_url, "http://127.0.0.1:1/api");
        assert_eq!(settings.tokens[0].may, [super::file::Right::Read, super::file::Right::Ack]);
        assert_eq!(settings.people["team"].slack.as_deref(), Some("S0123ABC"));
        let approvers: Vec<(&str, &[String])> =
            settings.approvers.iter().map(|it| (it.severities.value.as_str(), it.ids.as_slice())).collect();
        assert_eq!(approvers, [("P0..P1", &["U024BE7LH".to_owned()][..]), ("P2", &["S0123ABC".to_owned()])]);
        assert_eq!(settings.kubernetes.itself.as_ref().unwrap().deployment, "nightshift");
        assert_eq!(settings.smoke_hosts, ["blue.internal", "10.0.0.7"]);
        assert!(settings.alertmanager_source.authenticates());
        use secrecy::ExposeSecret;
        assert_eq!(settings.databases["claims-db"].expose_secret(), "postgres://claims");
    }
}
