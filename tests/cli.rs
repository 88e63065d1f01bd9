//! The binary as a person or a script runs it: exit codes, and what goes to which stream.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use assert_cmd::Command;
use std::{fs, path::Path};

/// In an empty folder, without any setting of whoever runs the tests.
fn nightshift(folder: &Path, line: &[&str]) -> Command {
    let mut command = Command::cargo_bin("nightshift").unwrap();
    command.current_dir(folder).env_clear().args(line);
    command
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/alertmanager").join(name)).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn check_with_nothing_configured_finds_the_starter_rules_fine() {
    let folder = tempfile::tempdir().unwrap();
    let ended = nightshift(folder.path(), &["check"]).assert().code(0);
    assert_eq!(
        text(&ended.get_output().stdout),
        "ok: 4 rules from starter rules, mode shadow\n\
         note: there is no rules/: the starter rules inside nightshift are used\n"
    );
}

#[test]
fn check_tells_every_problem_with_its_line_and_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("rules")).unwrap();
    fs::write(folder.path().join("rules/a.yaml"), "rules:\n  - {nam: x}\n  - {name: y, match: ['=']}\n").unwrap();
    let ended = nightshift(folder.path(), &["check"]).assert().code(2);
    let said = text(&ended.get_output().stderr);
    assert!(said.contains("rules/a.yaml:2:") && said.contains("rules/a.yaml:3:") && said.contains("hint:"), "{said}");
    assert_eq!(text(&ended.get_output().stdout), "");

    fs::write(folder.path().join("nightshift.yaml"), "mode: shadw\n").unwrap();
    let ended = nightshift(folder.path(), &["check", "--json"]).assert().code(2);
    let problems: serde_json::Value = serde_json::from_slice(&ended.get_output().stdout).unwrap();
    assert_eq!((&problems[0]["file"], &problems[0]["line"]), (&"nightshift.yaml".into(), &1.into()));
    let of_rules = problems.as_array().unwrap().iter().filter(|problem| problem["file"] == "rules/a.yaml").count();
    assert!(of_rules >= 2, "the rules' problems in the same run: {problems}");
}

#[test]
fn right_rules_do_not_look_wrong_because_the_settings_are() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("mine")).unwrap();
    let rules = concat!(
        "escalations: {urgent: {severities: P0..P1, levels: [{after: 0m, to: platform-team}]}}\n",
        "targets: {web: {kubernetes: {namespace: production, deployment: web}, replicas: {min: 2, max: 9}}}\n",
        "rules:\n  - name: one\n    match: ['alertname = \"A\"']\n    mode: auto\n    remediate:\n",
        "      - {action: kubernetes/scale, target: web, with: {replicas: +2}, verify: {query: 'up == 1'}}\n",
        "    notify: {slack: '#mine'}\n  - {name: rest, match: []}\n",
    );
    fs::write(folder.path().join("mine/a.yaml"), rules).unwrap();
    let settings = "rules: mine\nmode: autp\nalertmanager: {urls: [nowhere]}\nprometheus: {ur: x}\n";
    fs::write(folder.path().join("nightshift.yaml"), settings).unwrap();
    let ended = nightshift(folder.path(), &["check"]).assert().code(2);
    let said = text(&ended.get_output().stderr);
    assert!(said.contains("3 errors") && !said.contains("mine/"), "{said}");
}

#[test]
fn rules_that_act_on_kubernetes_without_a_cluster_are_warned_about() {
    let folder = tempfile::tempdir().unwrap();
    let rules = concat!(
        "targets: {web: {kubernetes: {namespace: production, deployment: web}}}\nrules:\n",
        "  - {name: one, match: ['alertname = \"A\"'], mode: ask, remediate: [{action: kubernetes/restart, target: web}]}\n",
        "  - {name: rest, match: []}\n",
    );
    fs::write(folder.path().join("a.yaml"), rules).unwrap();
    let settings = "rules: a.yaml\nmode: MODE\nalertmanager: {urls: 'http://127.0.0.1:1'}\n";
    fs::write(folder.path().join("nightshift.yaml"), settings.replace("MODE", "auto")).unwrap();
    let ended = nightshift(folder.path(), &["check"]).assert().code(0);
    let said = text(&ended.get_output().stderr);
    assert!(said.starts_with("a.yaml: warning: rule `one` acts on Kubernetes, and nothing says where"), "{said}");
    fs::write(folder.path().join("nightshift.yaml"), settings.replace("MODE", "shadow")).unwrap();
    let ended = nightshift(folder.path(), &["check"]).assert().code(0);
    assert_eq!(text(&ended.get_output().stderr), "", "shadow acts on nothing");
}

#[test]
fn a_problem_of_the_command_line_names_the_flag() {
    let folder = tempfile::tempdir().unwrap();
    let line = ["serve", "--mode", "loud", "--webhooks", "here"];
    let ended = nightshift(folder.path(), &line).assert().code(2);
    let said = text(&ended.get_output().stderr);
    assert!(said.contains("command line: error: --mode: expected one of `shadow`"), "{said}");
    assert!(said.contains("command line: error: --webhooks: `here` is not an address"), "{said}");
}

#[test]
fn a_problem_of_a_whole_file_has_no_line_in_json() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("nightshift.yaml"), "# nothing\n").unwrap();
    let ended = nightshift(folder.path(), &["check", "--json"]).assert().code(2);
    let problems: serde_json::Value = serde_json::from_slice(&ended.get_output().stdout).unwrap();
    assert_eq!((problems[0].get("line"), problems[0].get("column")), (None, None), "{problems}");
}

#[test]
fn explain_reads_a_webhook_from_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let body = fixture("v0.34-firing-one.json");
    let ended = nightshift(folder.path(), &["explain", "-"]).write_stdin(body).assert().code(0);
    let said = text(&ended.get_output().stdout);
    assert!(said.contains("everything-else") && said.contains("opens an incident"), "{said}");
    let high_load = concat!(
        r#"{"version":"4","groupKey":"{}:{}","alerts":[{"status":"firing","startsAt":"2026-03-01T02:11:09Z","#,
        r#""labels":{"alertname":"HighLoad","deployment":"web"}}]}"#
    );
    let ended = nightshift(folder.path(), &["explain", "-"]).write_stdin(high_load).assert().code(0);
    let said = text(&ended.get_output().stdout);
    assert!(said.contains("if it still fires after 1m") && said.contains("for           allow"), "{said}");
    let ended = nightshift(folder.path(), &["explain", "-"]).write_stdin("{}").assert().code(1);
    assert!(text(&ended.get_output().stderr).starts_with("error: it would be answered 400: "));
}

#[test]
fn schema_is_json_and_completions_are_a_script() {
    let folder = tempfile::tempdir().unwrap();
    let ended = nightshift(folder.path(), &["schema"]).assert().code(0);
    let schema: serde_json::Value = serde_json::from_slice(&ended.get_output().stdout).unwrap();
    assert_eq!(schema["title"], "nightshift rules");
    let ended = nightshift(folder.path(), &["completions", "bash"]).assert().code(0);
    assert!(text(&ended.get_output().stdout).contains("_nightshift()"));
}

#[test]
fn a_wrong_command_line_is_64_and_a_missing_journal_is_1() {
    let folder = tempfile::tempdir().unwrap();
    nightshift(folder.path(), &["incident"]).assert().code(64);
    nightshift(folder.path(), &["lease", "extend", "1.1", "soon"]).assert().code(64);
    let ended = nightshift(folder.path(), &["journal", "verify"]).assert().code(1);
    assert_eq!(
        text(&ended.get_output().stderr),
        "error: there is no journal at nightshift.db\n\
         hint: no settings were read: name the file that says where the journal is with -c/--config\n"
    );
    fs::write(folder.path().join("n.yaml"), "mode: shadow\n").unwrap();
    let ended = nightshift(folder.path(), &["journal", "verify", "--config", "n.yaml"]).assert().code(1);
    let said = text(&ended.get_output().stderr);
    assert!(
        said.contains("hint: look at `journal` in the settings; without it, it lies where `serve` was started"),
        "{said}"
    );
    assert!(!folder.path().join("nightshift.db").exists(), "looking makes nothing");
    nightshift(folder.path(), &["serve", "--config", "missing.yaml"]).assert().code(2);
}

/// Runs the daemon in `folder` on ports of its own choice, until its journal can be read; then stops it by SIGTERM.
fn serve_once(folder: &Path, more: &[&str]) -> std::process::ExitStatus {
    let mut daemon = std::process::Command::new(env!("CARGO_BIN_EXE_nightshift"))
        .args(["serve", "--webhooks", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .args(more)
        .current_dir(folder)
        .env_clear()
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(daemon.stderr.take().unwrap()));
    let ready = lines.by_ref().take(100).any(|line| line.unwrap().contains("nightshift is ready"));
    assert!(ready, "it says when it is ready");
    std::process::Command::new("kill").args(["-TERM", &daemon.id().to_string()]).status().unwrap();
    // Its last words must have somewhere to go.
    lines.for_each(drop);
    daemon.wait().unwrap()
}

#[test]
fn a_journal_is_verified_decided_anew_and_exported() {
    let folder = tempfile::tempdir().unwrap();
    assert!(serve_once(folder.path(), &[]).success());
    assert!(serve_once(folder.path(), &[]).success(), "a restart on the same journal");
    let ended = nightshift(folder.path(), &["journal", "verify", "--replay"]).assert().code(0);
    let said = text(&ended.get_output().stdout);
    assert!(said.starts_with("whole: 4 entries, 1 to 4\n"), "{said}");
    assert!(said.contains("decided anew: 4 entries give the same events\n"), "{said}");

    nightshift(folder.path(), &["journal", "export", "--output", "kept.jsonl"]).assert().code(0);
    let ended = nightshift(folder.path(), &["journal", "export", "--output", "kept.jsonl"]).assert().code(1);
    let said = text(&ended.get_output().stderr);
    assert!(said.contains("kept.jsonl") && said.contains("hint: remove it, or name another"), "{said}");
    let ended = nightshift(folder.path(), &["journal", "verify", "kept.jsonl"]).assert().code(0);
    assert!(text(&ended.get_output().stdout).starts_with("whole: 4 entries"));
    let kept = fs::read_to_string(folder.path().join("kept.jsonl")).unwrap();
    let forged = kept.replace("\"started\"", "\"startet\"");
    assert_ne!(kept, forged);
    fs::write(folder.path().join("forged.jsonl"), forged).unwrap();
    nightshift(folder.path(), &["journal", "verify", "forged.jsonl"]).assert().code(1);
}

#[test]
fn what_nightshift_yaml_names_is_beside_it_wherever_nightshift_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let settings = "journal: sqlite:mine.db\nsources: {alertmanager: {bearer_token_file: secrets/token}}\nstatuspage: {api_key_file: \
                    secrets/token, page: abc123, components: {claims: {id: c1, sentences_file: claims.yaml}}}\n";
    put("etc/nightshift.yaml", settings);
    put("etc/rules/a.yaml", "rules: [{name: rest, match: []}]\n");
    put("etc/secrets/token", "the-token");
    let sentences = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/statuspage/claims.yaml");
    put("etc/claims.yaml", &fs::read_to_string(sentences).unwrap());
    let said = |line: &[&str], code| {
        let ended = nightshift(folder.path(), line).assert().code(code);
        (text(&ended.get_output().stdout), text(&ended.get_output().stderr))
    };
    let check = ["check", "--config", "etc/nightshift.yaml"];
    let (ok, problems) = said(&check, 0);
    assert_eq!(ok, "ok: 1 rule from etc/rules/a.yaml, mode shadow\n", "{problems}");
    assert!(serve_once(folder.path(), &check[1..]).success());
    assert!(folder.path().join("etc/mine.db").exists() && !folder.path().join("mine.db").exists());

    // What lies elsewhere is not taken, and not passed over in silence.
    fs::rename(folder.path().join("etc/rules"), folder.path().join("rules")).unwrap();
    fs::rename(folder.path().join("etc/mine.db"), folder.path().join("mine.db")).unwrap();
    let (ok, problems) = said(&check, 0);
    assert!(ok.contains("from starter rules") && ok.contains("note: there is no etc/rules/: "), "{ok}");
    assert!(problems.contains("`rules/` of the working directory is not"), "{problems}");
    assert!(problems.contains("there is no journal at etc/mine.db, and one at mine.db"), "{problems}");
    fs::rename(folder.path().join("etc/secrets"), folder.path().join("secrets")).unwrap();
    let (_, problems) = said(&check, 2);
    let hint = "hint: a relative path is taken from the folder of the file that says it";
    assert!(problems.contains("`etc/secrets/token` cannot be read: ") && problems.contains(hint), "{problems}");
}

#[test]
fn check_notes_where_the_lesser_of_two_modes_counts() {
    let folder = tempfile::tempdir().unwrap();
    let settings = |mode: &str| {
        let text = format!("rules: a.yaml\nmode: {mode}\nalertmanager: {{urls: 'http://127.0.0.1:1'}}\n");
        fs::write(folder.path().join("nightshift.yaml"), text).unwrap();
    };
    let rules = |mode: &str| {
        let text = concat!(
            "targets: {drill: {noop: {}}}\nrules:\n  - {name: one, match: ['alertname = \"A\"'], mode: MODE, ",
            "remediate: [{action: noop, target: drill}]}\n  - {name: rest, match: []}\n",
        );
        fs::write(folder.path().join("a.yaml"), text.replace("MODE", mode)).unwrap();
    };
    let says = || text(&nightshift(folder.path(), &["check"]).assert().code(0).get_output().stdout);
    for (most, rule, note) in [
        ("shadow", "auto", Some("1 rule that goes further is shadow too (one)")),
        ("ask", "auto", Some("1 rule that goes further is ask too (one)")),
        ("auto", "shadow", Some("the settings say `mode: auto`, and every rule is shadow")),
        ("auto", "ask", None),
        ("shadow", "shadow", None),
    ] {
        settings(most);
        rules(rule);
        let said = says();
        assert!(said.starts_with("ok: 2 rules"), "{said}");
        assert_eq!(said.contains("note: "), note.is_some(), "{said}");
        assert!(note.is_none_or(|note| said.contains(note)), "{said}");
    }
}

#[test]
fn the_daemon_is_looked_for_where_the_settings_say() {
    let folder = tempfile::tempdir().unwrap();
    let asks = |line: &[&str]| text(&nightshift(folder.path(), line).assert().code(1).get_output().stderr);
    // Nobody listens there.
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (first, second) = (free(), free());
    fs::write(folder.path().join("nightshift.yaml"), format!("listen: {{admin: '{first}'}}\n")).unwrap();
    fs::write(folder.path().join("other.yaml"), format!("listen: {{admin: '{second}'}}\n")).unwrap();
    assert!(asks(&["status"]).contains(&format!("http://{first}")));
    assert!(asks(&["status", "--config", "other.yaml"]).contains(&format!("http://{second}")));
    assert!(asks(&["status", "--url", &format!("http://{second}")]).contains(&format!("http://{second}")));
}
