//! What single values of the settings may be: durations, addresses, URLs, files, secrets, names, filters of log lines.

use super::{check::Check, node::Place, paths, yaml::Located};
use crate::model::time::Span;
use secrecy::{ExposeSecret, SecretString};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};
use tracing_subscriber::EnvFilter;

/// No token, password or connection URL is longer; a larger file is another file.
const LARGEST_SECRET_BYTES: u64 = 16 * 1024;
const LOG_LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl Check {
    pub(super) fn duration(&mut self, written: Option<&Located<String>>) -> Span {
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

    pub(super) fn address(&mut self, written: Option<&Located<String>>) -> SocketAddr {
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let Some(written) = written else { return nowhere };
        written.value.parse().unwrap_or_else(|_| {
            let what = format!("`{}` is not an address with a port", written.value);
            self.problems.push(written.error(what).hint("such as 127.0.0.1:9393, [::1]:9393 or 0.0.0.0:9393"));
            nowhere
        })
    }

    /// A peer's base URL. Credentials and queries would show up in logs.
    pub(super) fn url(&mut self, written: &Located<String>) -> Option<String> {
        let mut refuse = |what: &str, hint: &str| {
            self.problems.push(written.error(what).hint(hint));
            None
        };
        let Ok(url) = reqwest::Url::parse(&written.value) else {
            return refuse("not a URL", "such as http://alertmanager:9093");
        };
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            // `alertmanager:9093` reads as a scheme and a path.
            let whole = format!("http://{}", written.value);
            let meant = reqwest::Url::parse(&whole).is_ok_and(|url| url.host_str().is_some_and(|host| host.len() > 1));
            let meant = meant && !written.value.contains("//");
            let hint =
                if meant { format!("did you mean {whole}?") } else { "such as http://prometheus:9090".to_owned() };
            return refuse("a peer's URL begins with http:// or https:// and names a host", &hint);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("a peer's URL holds no user or password", "secrets are only named by a file");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return refuse("a peer's base URL has no `?` and no `#`", "paths are added to it");
        }
        Some(url.as_str().trim_end_matches('/').to_owned())
    }

    /// A peer that is sent a secret with every call. Beyond loopback `http://` shows it to whoever is on the way.
    pub(super) fn secret_url(&mut self, written: &Located<String>) -> Option<String> {
        let url = self.url(written)?;
        let parsed = reqwest::Url::parse(&url).ok()?;
        if parsed.scheme() == "http" && !is_loopback(&parsed) {
            let what = format!("`{url}` is beyond loopback and not https: secrets travel in the clear");
            self.problems.push(written.warning(what).hint("write https://"));
        }
        Some(url)
    }

    pub(super) fn filled(&mut self, written: Located<String>) -> Option<String> {
        if written.value.trim().is_empty() {
            self.problems.push(written.error("expected a text, found an empty one"));
            return None;
        }
        Some(written.value)
    }

    pub(super) fn needed<T>(&mut self, value: Option<T>, key: &str, place: &Place) -> Option<T> {
        if value.is_none() && self.complete {
            self.problems.push(place.error(format!("key `{key}` is missing")));
        }
        value
    }

    pub(super) fn readable(&mut self, written: &Located<String>) -> Option<PathBuf> {
        let path = written.place.path(&written.value);
        let opened = std::fs::File::open(&path).and_then(|file| file.metadata());
        match opened {
            Ok(about) if about.is_file() => return Some(path),
            Ok(_) => self.problems.push(written.error(format!("`{}` is not a file", path.display()))),
            Err(error) => {
                let problem = written.error(format!("`{}` cannot be read: {error}", path.display()));
                self.problems.push(paths::explained(problem, written, &path));
            }
        }
        None
    }

    /// Reads a secret: one line; blanks and line ends around it are no part of it.
    pub(super) fn secret(&mut self, written: &Located<String>) -> Option<SecretString> {
        let path = self.readable(written)?;
        self.kept_private(written);
        let size = std::fs::metadata(&path).map_or(0, |about| about.len());
        if size > LARGEST_SECRET_BYTES {
            let what = format!("`{}` has {size} bytes, more than a secret has", path.display());
            self.problems.push(written.error(what));
            return None;
        }
        let Ok(text) = std::fs::read_to_string(&path).map(SecretString::from) else {
            self.problems.push(written.error(format!("`{}` is not UTF-8 text", path.display())));
            return None;
        };
        let secret = text.expose_secret().trim();
        if secret.is_empty() {
            let hint = "write the secret into it, or take the key out of the settings";
            self.problems.push(written.error(format!("`{}` is empty", path.display())).hint(hint));
            return None;
        }
        if secret.chars().any(char::is_control) {
            let what = format!("`{}` holds more than one line", path.display());
            self.problems.push(written.error(what).hint("one file holds one secret"));
            return None;
        }
        Some(SecretString::from(secret.to_owned()))
    }

    /// The token that opens Socket Mode: the app's own, which is another one than its bot's.
    pub(super) fn app_token(&mut self, written: &Located<String>) -> Option<SecretString> {
        let token = self.secret(written)?;
        if token.expose_secret().starts_with("xapp-") {
            return Some(token);
        }
        let is =
            if token.expose_secret().starts_with("xox") { "a bot's or a user's token" } else { "no token of Slack's" };
        let what = format!("`{}` holds {is}, and Socket Mode is opened by an app-level token", written.value);
        let hint =
            "it begins with xapp-: the app's Basic Information, App-Level Tokens, with the scope connections:write";
        self.problems.push(written.error(what).hint(hint));
        None
    }

    /// Warns of a secret that every user of the machine can read.
    pub(super) fn kept_private(&mut self, written: &Located<String>) {
        use std::os::unix::fs::PermissionsExt;
        const READ_BY_ALL: u32 = 0o004;
        let path = written.place.path(&written.value);
        let mode = std::fs::metadata(&path).map_or(0, |about| about.permissions().mode());
        if mode & READ_BY_ALL != 0 {
            let what = format!("`{}` can be read by every user of this machine", path.display());
            self.problems.push(written.warning(what).hint("chmod o-r, or defaultMode: 0440 of a Kubernetes volume"));
        }
    }
}

/// Whether a URL names this machine as nobody else can reach it.
#[must_use]
pub fn is_loopback(url: &reqwest::Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or_else(|_| host == "localhost" || host.ends_with(".localhost"), |address| address.is_loopback())
}

/// C, D, G (channels), S (user groups), U, W (users).
pub(super) fn is_slack_id(text: &str) -> bool {
    let mut letters = text.chars();
    let kind = letters.next().is_some_and(|first| "CDGSUW".contains(first));
    kind && text.len() >= 3 && text.len() <= 32 && letters.all(|it| it.is_ascii_uppercase() || it.is_ascii_digit())
}

pub(super) fn is_channel_name(text: &str) -> bool {
    text.strip_prefix('#').is_some_and(|name| {
        !name.is_empty()
            && name.chars().count() <= 80
            && !name.contains(|it: char| it.is_whitespace() || it.is_control())
    })
}

pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.chars().all(|it| it.is_ascii_alphanumeric() || ".-_".contains(it))
}

/// Why a text is no filter of log lines, if it is none. A word without `=` is a level here, and nothing else: to tracing
/// it is a module's name too, so that a misspelt level shuts out every line.
pub(super) fn no_log_filter(text: &str) -> Option<String> {
    let is_level = |word: &str| LOG_LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let mut words = text.split(',').map(str::trim).filter(|word| !word.contains('='));
    if let Some(word) = words.find(|word| !is_level(word)) {
        return Some(format!("`{word}` is not a level"));
    }
    EnvFilter::builder().parse(text).err().map(|error| error.to_string())
}
