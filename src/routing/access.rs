//! Whether a webhook that leads to us would be let in: the right port, and a proof that `sources.alertmanager` takes.
//!
//! What a file of Alertmanager's holds is not looked into: that one is named is enough. What is written out is compared, and
//! never shown.

use super::{
    Check,
    file::{Webhook, Written},
};
use crate::config::{
    Settings, is_loopback,
    node::{Kind, Node},
    settings::AlertmanagerSource,
};
use secrecy::{ExposeSecret, SecretString};

/// As `amtool` and Alertmanager's API print every secret.
const MASKED: &str = "<secret>";

/// What a webhook shows to prove who sends it. None: it is in a file, or can't be told.
#[derive(Debug)]
pub(super) enum Proof {
    Bearer(Option<SecretString>),
    Basic {
        username: Option<String>,
        password: Option<SecretString>,
    },
    Certificate,
    /// A token that another server gives: never ours.
    Issued,
    /// A header of its own, or a kind that we do not know.
    Other,
}

/// What an `http_config`, and the address itself, prove by.
pub(super) fn proofs(http: Option<&Node>, url: &str) -> Vec<Proof> {
    let mut proofs = Vec::new();
    let secret = |part: Option<&Node>, key: &str| secret(of(part, key));
    let names = |part: Option<&Node>, keys: &[&str]| keys.iter().any(|key| of(part, key).is_some());
    let authorization = http.and_then(|http| http.get("authorization"));
    if names(authorization, &["credentials", "credentials_file", "credentials_ref"]) {
        let is_bearer = of(authorization, "type").is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
        proofs.push(if is_bearer { Proof::Bearer(secret(authorization, "credentials")) } else { Proof::Other });
    }
    if names(http, &["bearer_token", "bearer_token_file"]) {
        proofs.push(Proof::Bearer(secret(http, "bearer_token")));
    }
    if let Some(basic) = http.and_then(|http| http.get("basic_auth")) {
        let username = of(Some(basic), "username").map(str::to_owned);
        proofs.push(Proof::Basic { username, password: secret(Some(basic), "password") });
    }
    if let Ok(url) = reqwest::Url::parse(url)
        && let Some(password) = url.password()
    {
        // What is written in percents is not compared.
        let plain = |text: &str| (!text.contains('%')).then(|| text.to_owned());
        let password = self::secret(plain(password).as_deref());
        proofs.push(Proof::Basic { username: plain(url.username()), password });
    }
    if names(http.and_then(|http| http.get("oauth2")), &["client_id"]) {
        proofs.push(Proof::Issued);
    }
    if names(http.and_then(|http| http.get("tls_config")), &["cert_file", "cert", "cert_ref"]) {
        proofs.push(Proof::Certificate);
    }
    if let Some(Kind::Map(headers)) = http.and_then(|http| http.get("http_headers")).map(|headers| &headers.kind)
        && headers.iter().any(|(name, _)| name.text.eq_ignore_ascii_case("authorization"))
    {
        proofs.push(Proof::Other);
    }
    proofs
}

fn of<'n>(part: Option<&'n Node>, key: &str) -> Option<&'n str> {
    match &part?.get(key)?.kind {
        Kind::Text(text) | Kind::Number(text) if !text.is_empty() => Some(text),
        Kind::Text(_) | Kind::Number(_) | Kind::Null | Kind::Bool(_) | Kind::List(_) | Kind::Map(_) => None,
    }
}

/// A secret that is written out: none that is masked, or that a template puts in.
pub(super) fn secret(text: Option<&str>) -> Option<SecretString> {
    let is_written = |text: &&str| *text != MASKED && !["${", "$(", "{{"].iter().any(|begins| text.contains(begins));
    text.filter(is_written).map(|text| SecretString::from(text.trim().to_owned()))
}

/// Every webhook that leads to us, against what we listen at and ask for.
pub(super) fn webhooks(check: &mut Check, written: &Written, settings: &Settings) {
    for (name, receiver) in &written.receivers {
        for webhook in &receiver.ours {
            let_in(check, name, webhook, &settings.alertmanager_source);
            port(check, name, webhook, settings);
        }
    }
}

fn let_in(check: &mut Check, name: &str, webhook: &Webhook, source: &AlertmanagerSource) {
    if !source.authenticates() || webhook.proofs.iter().any(|proof| is_taken(proof, source)) {
        return;
    }
    let shown: Vec<&str> = webhook.proofs.iter().map(|proof| shows(proof, source)).collect();
    let shown = if shown.is_empty() { "no credentials".to_owned() } else { shown.join(" and ") };
    let what = format!(
        "`{name}` sends {shown}, and sources.alertmanager wants {}: every webhook would be answered 401",
        wanted(source)
    );
    let hint = if !source.bearer_tokens.is_empty() {
        "write `http_config: {authorization: {credentials_file: PATH}}`: a file with the token of sources.alertmanager.bearer_token_file"
    } else if source.basic_auth.is_some() {
        "write `http_config: {basic_auth: {username: NAME, password_file: PATH}}` as sources.alertmanager.basic_auth has it"
    } else {
        "write `http_config: {tls_config: {cert_file: PATH, key_file: PATH}}`: a certificate of sources.alertmanager.client_certificates"
    };
    check.error(&webhook.place, "not let in", "", what, hint);
}

fn is_taken(proof: &Proof, source: &AlertmanagerSource) -> bool {
    let is = |own: &SecretString, shown: &Option<SecretString>| {
        shown.as_ref().is_none_or(|shown| shown.expose_secret() == own.expose_secret())
    };
    match proof {
        Proof::Bearer(token) => source.bearer_tokens.iter().any(|own| is(own, token)),
        Proof::Basic { username, password } => source.basic_auth.as_ref().is_some_and(|own| {
            username.as_ref().is_none_or(|username| *username == own.username) && is(&own.password, password)
        }),
        Proof::Certificate => !source.client_certificates.is_empty(),
        Proof::Issued => false,
        Proof::Other => true,
    }
}

fn wanted(source: &AlertmanagerSource) -> String {
    let token = (!source.bearer_tokens.is_empty()).then(|| "its bearer token".to_owned());
    let basic = source.basic_auth.as_ref().map(|own| format!("the password of `{}`", own.username));
    let certificate = (!source.client_certificates.is_empty()).then(|| "a client certificate".to_owned());
    token.into_iter().chain(basic).chain(certificate).collect::<Vec<_>>().join(" or ")
}

fn shows(proof: &Proof, source: &AlertmanagerSource) -> &'static str {
    match proof {
        Proof::Bearer(_) if source.bearer_tokens.is_empty() => "a bearer token",
        Proof::Bearer(_) => "another bearer token",
        Proof::Basic { .. } if source.basic_auth.is_none() => "a user and a password",
        Proof::Basic { .. } => "another user or password",
        Proof::Certificate => "a client certificate",
        Proof::Issued => "a token of OAuth 2",
        Proof::Other => "something else",
    }
}

/// Anywhere but on this machine, something before nightshift may map one port to another.
fn port(check: &mut Check, name: &str, webhook: &Webhook, settings: &Settings) {
    let listens = settings.listen.webhooks;
    let Ok(url) = reqwest::Url::parse(&webhook.url) else { return };
    let Some(port) = url.port_or_known_default().filter(|_| is_loopback(&url)) else { return };
    if listens.port() != 0 && port != listens.port() {
        let what =
            format!("`{name}` calls port {port} of this machine, and nightshift listens for webhooks at {listens}");
        check.warning(
            &webhook.place,
            "port",
            "",
            what,
            format!("write port {}, or change listen.webhooks", listens.port()),
        );
    }
}
