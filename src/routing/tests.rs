//! `fixtures/refused/alertmanager`: every file there is told exactly the words beside it. And what fits is told nothing.

use super::{Checked, check};
use crate::{
    app::{policy, world::Abilities},
    config::Settings,
    decide::Policy,
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/refused/alertmanager")
}

/// The rules that lie in the folder, for settings that have what they need, and `more`.
fn loaded(more: &str) -> (Settings, Arc<Policy>) {
    let home = tempfile::tempdir().unwrap();
    let settings = home.path().join("nightshift.yaml");
    let rules = folder().join("rules.yaml");
    let text = format!(
        "mode: auto\nrules: {}\nalertmanager: {{urls: ['http://127.0.0.1:9093']}}\nprometheus: {{url: 'http://127.0.0.1:9090'}}\n{more}",
        rules.display()
    );
    fs::write(&settings, text).unwrap();
    fs::write(home.path().join("token"), "the-token").unwrap();
    fs::write(home.path().join("routing-key"), "0123456789abcdef0123456789abcdef").unwrap();
    let (settings, _) = Settings::load(Some(&settings), std::iter::empty()).unwrap();
    let loaded =
        policy::load(&settings, &Abilities::unconnected(&settings)).map_err(|problems| format!("{problems:#?}"));
    (settings, loaded.unwrap().policy)
}

fn policy() -> Arc<Policy> {
    loaded("").1
}

fn said(checked: &Checked) -> String {
    checked.problems.iter().map(|problem| format!("{problem}\n")).collect()
}

#[test]
fn every_file_that_does_not_fit_is_told_the_words_beside_it() {
    let mut files: Vec<PathBuf> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yml"));
    files.sort();
    assert!(files.len() >= 14, "{} files", files.len());
    let mut wrong = Vec::new();
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let more = fs::read_to_string(path.with_extension("settings")).unwrap_or_default();
        let (settings, policy) = loaded(&more);
        let checked = check(name, &fs::read_to_string(&path).unwrap(), Some(&settings), Some(&policy));
        assert!(checked.problems.iter().any(|problem| !problem.warning), "{name}: only warnings refuse nothing");
        let told = said(&checked);
        let beside = path.with_extension("expected");
        if std::env::var_os("NIGHTSHIFT_BLESS").is_some() {
            fs::write(&beside, &told).unwrap();
        }
        let expected = fs::read_to_string(&beside).unwrap_or_default();
        if told != expected {
            wrong.push(format!("{name}\n-- said\n{told}-- expected\n{expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const RECEIVERS: &str = "receivers:\n  - name: nightshift\n    webhook_configs: [{url: 'http://n:9393/webhooks/alertmanager'}]\n  \
                         - name: pagerduty\n    pagerduty_configs: [{routing_key_file: /key}]\n  - name: people\n    \
                         slack_configs: [{api_url_file: /slack}]\n  - {name: nobody}\n";

/// Each as a person might write it, and all of them right.
#[test]
fn what_fits_is_told_nothing() {
    let shipped =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/alertmanager/alertmanager.yml"));
    let old_words = "route:\n  receiver: people\n  routes:\n    - {receiver: nightshift, match: {nightshift_hold: true}, \
                     continue: true, group_by: ['...'], group_wait: 0s, group_interval: 10s, repeat_interval: 5m}\n    \
                     - {receiver: pagerduty, match: {nightshift_hold: 'true'}, group_by: ['...'], group_wait: 6m}\n    \
                     - {receiver: nightshift, match: {alertname: Watchdog}, continue: true, repeat_interval: 1m}\n    \
                     - {receiver: nobody, match: {alertname: Watchdog}}\n    \
                     - {receiver: nightshift, continue: on, group_by: ['...'], group_wait: 0s, group_interval: 10s, \
                     repeat_interval: 5m}\n    - {receiver: pagerduty, match_re: {severity: 'critical|page'}}\n    \
                     - {receiver: people}\n";
    let nested = "route:\n  receiver: people\n  group_by: [alertname]\n  routes:\n    \
                  - matchers: ['nightshift_hold=\"true\"']\n      group_by: [alertname, env, database, nightshift_hold]\n      \
                  routes:\n        - {receiver: nightshift, continue: true, group_wait: 0s, group_interval: 10s, repeat_interval: \
                  5m}\n        - {receiver: pagerduty, group_wait: 6m, continue: true}\n        - {receiver: people, matchers: \
                  [team=web]}\n    - receiver: nightshift\n      continue: true\n      group_wait: 0s\n      group_interval: 10s\n      \
                  repeat_interval: 5m\n    - receiver: people\n      routes:\n        - {receiver: pagerduty, matchers: \
                  ['severity=\"critical\", env!=\"\"']}\n";
    let (settings, policy) = loaded("");
    for (name, text) in [
        ("shipped", shipped.unwrap()),
        ("old words", format!("{old_words}{RECEIVERS}")),
        ("nested", format!("{nested}{RECEIVERS}")),
    ] {
        let checked = check("a.yml", &text, Some(&settings), Some(&policy));
        assert_eq!(said(&checked), "", "{name}");
        assert!(checked.found.iter().any(|found| found.contains("wait for `pagerduty`, 6m")), "{:?}", checked.found);
        assert_eq!(said(&check("a.yml", &text, None, None)), "", "{name}, without rules");
    }
}

#[test]
fn a_webhook_is_let_in_by_any_proof_that_is_taken_and_what_a_file_holds_is_not_asked() {
    let bearer = "sources: {alertmanager: {bearer_token_file: token}}\n";
    let basic = "sources: {alertmanager: {basic_auth: {username: am, password_file: token}}}\n";
    let both =
        "sources: {alertmanager: {bearer_token_file: token, basic_auth: {username: am, password_file: routing-key}}}\n";
    let told = |more: &str, global: &str, webhook: &str| {
        let text = format!(
            "{global}route: {{receiver: people, routes: [{{receiver: nightshift, continue: true, repeat_interval: 5m}}, {{receiver: \
             people}}]}}\n{}",
            RECEIVERS.replace("http://n:9393/webhooks/alertmanager'", webhook)
        );
        let checked = check("a.yml", &text, Some(&loaded(more).0), None);
        checked.problems.iter().map(|problem| problem.what.clone()).collect::<Vec<_>>()
    };
    let url = "http://n:9393/webhooks/alertmanager'";
    let by = |http: &str| format!("{url}, http_config: {{{http}}}");
    for (more, global, webhook) in [
        ("", "", url.to_owned()),
        (bearer, "", by("authorization: {credentials_file: /t}")),
        (bearer, "", by("authorization: {type: bearer, credentials: the-token}")),
        (bearer, "", by("authorization: {credentials: <secret>}")),
        (bearer, "", by("authorization: {credentials: '${TOKEN}'}")),
        (bearer, "", by("bearer_token_file: /t")),
        (bearer, "", by("http_headers: {Authorization: {files: [/t]}}")),
        (bearer, "global: {http_config: {authorization: {credentials_file: /t}}}\n", url.to_owned()),
        (bearer, "global: {http_config: {bearer_token: the-token}}\n", format!("{url}, http_config:")),
        (basic, "", by("basic_auth: {username: am, password_file: /p}")),
        (basic, "", by("basic_auth: {username: am, password: the-token}")),
        (basic, "", "http://am:the-token@n:9393/webhooks/alertmanager'".to_owned()),
        (both, "", by("authorization: {credentials: the-token}")),
    ] {
        assert_eq!(told(more, global, &webhook), Vec::<String>::new(), "{more}{global}{webhook}");
    }
    for (more, global, webhook, sends) in [
        (bearer, "", url.to_owned(), "no credentials"),
        (bearer, "global: {http_config: {bearer_token: the-token}}\n", by("enable_http2: false"), "no credentials"),
        (bearer, "", by("oauth2: {client_id: a}"), "a token of OAuth 2"),
        (bearer, "", by("tls_config: {cert_file: /c, key_file: /k}"), "a client certificate"),
        (basic, "", by("basic_auth: {username: Am, password_file: /p}"), "another user or password"),
        (basic, "", "http://am:another@n:9393/webhooks/alertmanager'".to_owned(), "another user or password"),
        (both, "", by("basic_auth: {username: am, password: the-token}"), "another user or password"),
    ] {
        let told = told(more, global, &webhook);
        let begins = format!("`nightshift` sends {sends}, and sources.alertmanager wants ");
        assert!(matches!(&told[..], [only] if only.starts_with(&begins)), "{webhook}: {told:?}");
        assert!(!told.concat().contains("the-token"), "{told:?}");
    }
}

/// `amtool config routes show` has `=~"^(?:true)$"` of the first, and `=~"true"` of the second.
#[test]
fn a_pattern_in_old_words_makes_another_key_than_one_in_new_words() {
    let text = "route:\n  receiver: people\n  routes:\n    - {receiver: nightshift, match_re: {nightshift_hold: 'true'}, \
                continue: true, group_by: ['...'], group_wait: 0s, group_interval: 10s, repeat_interval: 5m}\n    \
                - {receiver: pagerduty, matchers: ['nightshift_hold=~\"true\"'], group_by: ['...'], group_wait: 6m}\n    \
                - {receiver: nightshift, continue: true, group_by: ['...'], group_wait: 0s, group_interval: 10s, \
                repeat_interval: 5m}\n    - {receiver: people}\n";
    let told = said(&check("a.yml", &format!("{text}{RECEIVERS}"), None, Some(&self::policy())));
    assert!(told.contains("its matchers are not those of nightshift's route"), "{told}");
}

/// A large file is looked at in bounded time: nobody waits minutes for a check.
#[test]
fn a_large_tree_is_answered_all_the_same() {
    let routes: String = (0..600)
        .map(|number| {
            let pattern = "(a|b|c|d|e|f)(1|2|3|4)*";
            format!(
                "    - {{receiver: people, matchers: ['l{}=~\"{pattern}{number}\"', team!=\"t{number}\"]}}\n",
                number % 40
            )
        })
        .collect();
    let text = format!("route:\n  receiver: people\n  routes:\n{routes}    - {{receiver: nightshift}}\n{RECEIVERS}");
    let checked = check("a.yml", &text, None, Some(&self::policy()));
    assert!(checked.problems.len() > 50, "{}", said(&checked));
}
