//! PagerDuty's settings: where pages go, what it is asked by, and with what it signs.

use super::{
    check::{Check, MOST_LIVE_TOKENS},
    file,
    node::Place,
    settings::{PagerDuty, PagerDutyToken},
    yaml::{Located, OneOrMany},
};
use secrecy::{ExposeSecret, SecretString};

/// An integration key of the Events API v2.
const ROUTING_KEY_CHARS: usize = 32;

impl Check {
    pub(super) fn pagerduty(&mut self, written: file::PagerDuty) -> PagerDuty {
        let routing_key = written.routing_key_file.as_ref().and_then(|file| self.routing_key(file));
        let token = written.api_token_file.as_ref().and_then(|file| self.secret(file));
        let from = written.from.and_then(|from| {
            let place = from.place.clone();
            let from = self.filled(from)?;
            if !is_address(&from) {
                let what = format!("`{from}` is no e-mail address");
                self.problems.push(place.error(what).hint("that of a PagerDuty user, in whose name notes are written"));
            }
            Some((from, place))
        });
        if let (Some((_, place)), None, true) = (&from, &written.api_token_file, self.complete) {
            let what = "pagerduty.from needs pagerduty.api_token_file";
            self.problems.push(place.error(what).hint("notes are written by the REST API"));
        }
        let url = |check: &mut Check, url: Option<Located<String>>| {
            url.and_then(|url| check.secret_url(&url)).unwrap_or_default()
        };
        PagerDuty {
            routing_key,
            token: token.map(|token| PagerDutyToken { token, from: from.map(|(from, _)| from) }),
            events_url: url(self, written.events_url),
            api_url: url(self, written.api_url),
        }
    }

    /// Where pages go: another key would be refused when somebody must be woken.
    pub(super) fn routing_key(&mut self, file: &Located<String>) -> Option<SecretString> {
        let key = self.secret(file)?;
        let shown = key.expose_secret();
        let is_key = shown.len() == ROUTING_KEY_CHARS && shown.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_key {
            let what = format!("`{}` holds no integration key of {ROUTING_KEY_CHARS} letters and digits", file.value);
            let hint = "in PagerDuty: the service, Integrations, Events API V2, Integration Key";
            self.problems.push(file.error(what).hint(hint));
        }
        Some(key)
    }

    /// With what PagerDuty signs its webhooks: one secret, or two while it is being replaced.
    pub(super) fn pagerduty_source(&mut self, written: file::PagerDutySource) -> Vec<SecretString> {
        let files = written.signing_secret_file.map(|OneOrMany(files)| files).unwrap_or_default();
        if let Some(third) = files.get(MOST_LIVE_TOKENS) {
            let live = files.len();
            let what = format!("{live} signing secrets are live at once, at most {MOST_LIVE_TOKENS} may be");
            self.problems.push(third.error(what).hint("keep the new and the old one while it is being replaced"));
        }
        files.iter().filter_map(|file| self.secret(file)).collect()
    }

    /// What PagerDuty opened may be acted on only where it can be asked whether it still fires.
    pub(super) fn pagerduty_is_asked(&mut self, place: &Place, secrets: &[SecretString], pagerduty: &PagerDuty) {
        if !secrets.is_empty() && pagerduty.token.is_none() {
            let what = "sources.pagerduty without pagerduty.api_token_file: its incidents are only told";
            let hint = "with an API token it is asked whether they still fire, and which of them are our own pages";
            self.problems.push(place.warning(what).hint(hint));
        }
    }
}

fn is_address(text: &str) -> bool {
    let plain = text.len() <= 254 && text.bytes().all(|byte| byte.is_ascii_graphic());
    plain
        && text
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && host.contains('.') && !host.contains('@'))
}
