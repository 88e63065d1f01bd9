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

/// The rules that lie in the folder, for settings that have what they need.
fn policy() -> Arc<Policy> {
    let home = tempfile::tempdir().unwrap();
    let settings = home.path().join("nightshift.yaml");
    let rules = folder().join("rules.yaml");
    let text = format!(
        "mode: auto\nrules: {}\nalertmanager: {{urls: ['http://127.0.0.1:9093']}}\nprometheus: {{url: 'http://127.0.0.1:9090'}}\n",
        rules.display()
    );
    fs::write(&settings, text).unwrap();
    let (settings, _) = Settings::load(Some(&settings), std::iter::empty()).unwrap();
    let loaded =
        policy::load(&settings, &Abilities::unconnected(&settings)).map_err(|problems| format!("{problems:#?}"));
    loaded.unwrap().policy
}

fn said(checked: &Checked) -> String {
    checked.problems.iter().map(|problem| format!("{problem}\n")).collect()
}

#[test]
fn every_file_that_does_not_fit_is_told_the_words_beside_it() {
    let policy = self::policy();
    let mut files: Vec<PathBuf> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yml"));
    files.sort();
    assert!(files.len() >= 14, "{} files", files.len());
    let mut wrong = Vec::new();
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let checked = check(name, &fs::read_to_string(&path).unwrap(), Some(&policy));
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
    let policy = self::policy();
    for (name, text) in [
        ("shipped", shipped.unwrap()),
        ("old words", format!("{old_words}{RECEIVERS}")),
        ("nested", format!("{nested}{RECEIVERS}")),
    ] {
        let checked = check("a.yml", &text, Some(&policy));
        assert_eq!(said(&checked), "", "{name}");
        assert!(checked.found.iter().any(|found| found.contains("wait for `pagerduty`, 6m")), "{:?}", checked.found);
        assert_eq!(said(&check("a.yml", &text, None)), "", "{name}, without rules");
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
    let told = said(&check("a.yml", &format!("{text}{RECEIVERS}"), Some(&self::policy())));
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
    let checked = check("a.yml", &text, Some(&self::policy()));
    assert!(checked.problems.len() > 50, "{}", said(&checked));
}
