//! What `deploy/` ships is taken by those it is for: Alertmanager, Prometheus, Kubernetes, systemd, and nightshift.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "deploy/routes.rs"]
mod routes;
mod support;

use nightshift::{
    config::{Settings, settings},
    model::time::Micros,
    telemetry::metrics::{Metrics, Words},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use support::{ControlPlane, peers::Alertmanager, stub::Stub, wait_until};

/// Groups in which everybody may ask about themselves.
const EVERYBODYS: [&str; 2] = ["authorization.k8s.io", "authentication.k8s.io"];

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(shipped(path)).unwrap()
}

/// What a program says, and whether it was content.
fn run(program: &str, folder: &str, arguments: &[&str]) -> (bool, String) {
    let program = support::peers::installed(&[program]);
    let output = Command::new(&program).args(arguments).current_dir(shipped(folder)).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn alertmanager_takes_its_file_and_tells_nightshift_first() {
    if support::hermetic() {
        return;
    }
    let (content, said) = run("amtool", "alertmanager", &["check-config", "alertmanager.yml"]);
    assert!(content, "{said}");
    // Every alert goes to nightshift, and goes on to people.
    let arguments =
        ["config", "routes", "test", "--config.file=alertmanager.yml", "alertname=Any", "severity=critical"];
    let (content, said) = run("amtool", "alertmanager", &arguments);
    assert!(content && said.lines().any(|line| line == "nightshift,people"), "{said}");
    // One whose page waits for the fuse goes to PagerDuty, and to nobody who would page it before.
    let arguments = [&arguments[..], &["nightshift_hold=true"]].concat();
    let (content, said) = run("amtool", "alertmanager", &arguments);
    assert!(content && said.lines().any(|line| line == "nightshift,pagerduty"), "{said}");
}

#[tokio::test]
async fn a_real_alertmanager_sends_every_alert_to_both_with_the_token() {
    if support::hermetic() {
        return;
    }
    let (nightshift, people) = (Stub::accepting(), Stub::accepting());
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "the-token").unwrap();
    // The shipped file, at addresses of this test. Nobody waits 30 s for people.
    let config = text("alertmanager/alertmanager.yml")
        .replace("http://nightshift.nightshift.svc:9393", &nightshift.url())
        .replace("/etc/alertmanager/secrets/nightshift/token", &token.display().to_string())
        .replace("group_by: [alertname, cluster]", "group_by: [alertname, cluster]\n  group_wait: 0s")
        .replace(
            "  - name: people\n",
            &format!("  - name: people\n    webhook_configs: [{{url: '{}'}}]\n", people.url()),
        );
    let alertmanager = Alertmanager::start(&config).await;
    alertmanager
        .post_alerts(&json!([{"labels": {"alertname": "A", "pod": "1"}}, {"labels": {"alertname": "A", "pod": "2"}}]))
        .await;
    // Each alert alone to nightshift, both together to people.
    for (receiver, webhooks) in [(&nightshift, 2), (&people, 1)] {
        wait_until("the webhooks came", Duration::from_secs(10), async || {
            let received = receiver.received().len();
            if received >= webhooks { Ok(()) } else { Err(format!("{received} of {webhooks}")) }
        })
        .await;
    }
    for webhook in nightshift.received() {
        assert_eq!((webhook.method.as_str(), webhook.uri.as_str()), ("POST", "/webhooks/alertmanager"));
        assert_eq!(webhook.headers["authorization"], "Bearer the-token");
        assert_eq!(webhook.json()["alerts"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn the_image_holds_the_binary_alone_and_is_built_with_our_rust() {
    let text = text("container/Containerfile");
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.iter().rposition(|line| line.starts_with("FROM ")).unwrap();
    assert_eq!(lines[last], "FROM scratch");
    let user = lines[last..].iter().find_map(|line| line.strip_prefix("USER ")).expect("a user");
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "not by number, or root: {user}");
    let toolchain = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("rust-toolchain.toml")).unwrap();
    let version = toolchain.split('"').nth(1).unwrap().trim_end_matches(".0");
    assert!(text.contains(&format!("/rust:{version}-")), "rust-toolchain.toml says {version}");
}

#[test]
fn prometheus_takes_the_alerts_about_nightshift_and_they_fire_when_they_should() {
    if support::hermetic() {
        return;
    }
    for arguments in [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "nightshift.rules.yml"],
        ["test", "rules", "nightshift.rules.test.yml"],
    ] {
        let (content, said) = run("promtool", "prometheus", &arguments);
        assert!(content, "{said}");
    }
}

/// The series that a text asks for, by the metric's name.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_word(c));
    words.filter(|word| word.starts_with("nightshift_")).map(str::to_owned).collect()
}

#[test]
fn the_alerts_ask_for_metrics_and_words_that_there_are() {
    let metrics = Metrics::new("0.1.0", Micros(0), Words::default());
    let exposition = metrics.encode();
    let known: BTreeSet<&str> = exposition.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
    let rules = text("prometheus/nightshift.rules.yml");
    let asked = metrics_in(&rules);
    assert!(asked.len() >= 8, "{asked:?}");
    let unknown: Vec<&String> = asked.iter().filter(|name| !known.contains(name.as_str())).collect();
    assert!(unknown.is_empty(), "nightshift has no {unknown:?}");
    // Values of labels, as `label="word"` or `label=~"one|two"`.
    for line in rules.lines().filter(|line| line.contains("expr:")) {
        for (label, values) in line.split('{').skip(1).filter_map(|rest| rest.split('}').next()?.split_once('=')) {
            for word in values.trim_start_matches('~').trim_matches('"').split('|').filter(|_| label != "job") {
                assert!(exposition.contains(&format!("{label}=\"{word}\"")), "{label} is never {word:?}: {line}");
            }
        }
    }
    assert_eq!(metrics_in("rate(nightshift_a_total{b=\"c\"}[5m]) > nightshift_d").len(), 2);
}

#[test]
fn systemd_takes_its_unit() {
    if support::hermetic() {
        return;
    }
    let unit = text("systemd/nightshift.service");
    for line in ["DynamicUser=yes", "ProtectSystem=strict", "CapabilityBoundingSet=", "NoNewPrivileges=yes"] {
        assert!(unit.lines().any(|other| other == line), "the unit has no {line}");
    }
    // Not every Debian has systemd (a container has not); where it is, it judges.
    let Ok(_) = Command::new("systemd-analyze").arg("--version").output() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nightshift.service");
    // The binary isn't installed where the tests run.
    fs::write(&file, unit.replace("/usr/local/bin/nightshift", "/bin/true")).unwrap();
    let output = Command::new("systemd-analyze").arg("verify").arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !said.contains("nightshift.service"), "{said}");
}

/// `nightshift.yaml` out of the ConfigMap.
fn settings_in(manifest: &str) -> String {
    let (_, block) = manifest.split_once("  nightshift.yaml: |\n").unwrap();
    block.lines().map(|line| line.strip_prefix("    ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn nightshift_takes_the_settings_of_the_manifests() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("etc/secrets")).unwrap();
    fs::create_dir_all(at("etc/rules")).unwrap();
    for secret in ["alertmanager-token", "on-call-token"] {
        fs::write(at("etc/secrets").join(secret), format!("{secret}-0123456789abcdef0123456789abcdef")).unwrap();
    }
    let yaml = settings_in(&text("kubernetes/30-config.yaml"));
    let here = |path: &str| folder.path().join(path).display().to_string();
    let yaml = yaml.replace("/etc/nightshift", &here("etc")).replace("/var/lib/nightshift", &here("var"));
    fs::write(at("nightshift.yaml"), yaml).unwrap();
    let taken = Settings::load(Some(&at("nightshift.yaml")), std::iter::empty());
    let settings = taken.unwrap_or_else(|problems| panic!("{problems:#?}"));
    let settings = format!("{settings:?}");
    // Shadow, because what is copied must not act; on every address, because a pod is asked from outside.
    for part in ["mode: Shadow", "webhooks: 0.0.0.0:9393", "admin: 0.0.0.0:9394", "name: \"on-call\""] {
        assert!(settings.contains(part), "no {part} in {settings}");
    }
    assert_eq!(settings::DEFAULT_FILE, "nightshift.yaml");
}

async fn kubectl(plane: &ControlPlane, arguments: &[&str]) -> String {
    let output = plane.kubectl(arguments, None).await;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "kubectl {arguments:?}: {stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned() + &stderr
}

/// What a service account may do in a namespace, as `group/resource: verbs`; what everybody may is left out.
async fn rights(plane: &ControlPlane, token: &str, namespace: &str) -> BTreeMap<String, BTreeSet<String>> {
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
                        "spec": {"namespace": namespace}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let answer = plane.request_as(token, "POST", path, "application/json", Some(&review)).await.unwrap();
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for rule in answer["status"]["resourceRules"].as_array().unwrap() {
        for group in texts(&rule["apiGroups"]).iter().filter(|group| !EVERYBODYS.contains(&group.as_str())) {
            for resource in texts(&rule["resources"]) {
                all.entry(format!("{group}/{resource}")).or_default().extend(texts(&rule["verbs"]));
            }
        }
    }
    all
}

/// What [`the_api_server_admits_the_manifests`] finds, from the verbs that the actions and collectors use.
fn wanted() -> BTreeMap<String, BTreeSet<String>> {
    let workload = &["get", "list", "patch"][..];
    [
        ("apps/deployments", workload),
        ("apps/statefulsets", workload),
        ("apps/daemonsets", workload),
        ("apps/deployments/scale", &["patch"]),
        ("apps/statefulsets/scale", &["patch"]),
        ("autoscaling/horizontalpodautoscalers", workload),
        ("apps/replicasets", &["list"]),
        ("apps/controllerrevisions", &["list"]),
        ("/pods/eviction", &["create"]),
        ("/pods", &["list"]),
        ("/pods/log", &["get"]),
        ("/services", &["get", "patch"]),
        ("discovery.k8s.io/endpointslices", &["list"]),
    ]
    .into_iter()
    .map(|(resource, verbs)| (resource.to_owned(), verbs.iter().map(|verb| (*verb).to_owned()).collect()))
    .collect()
}

#[tokio::test]
async fn the_api_server_admits_the_manifests() {
    if support::hermetic() {
        return;
    }
    let plane = ControlPlane::shared().await;
    let folder = shipped("kubernetes").display().to_string();
    let namespace = shipped("kubernetes/10-namespace.yaml").display().to_string();
    kubectl(plane, &["create", "namespace", "production"]).await;
    // As deploy/README.md says: the namespace first, then what lies in it.
    kubectl(plane, &["apply", "-f", &namespace]).await;
    kubectl(plane, &["-n", "nightshift", "create", "secret", "generic", "nightshift", "--from-literal=a=b"]).await;
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/starter.yaml");
    let from = format!("--from-file={}", rules.display());
    kubectl(plane, &["-n", "nightshift", "create", "configmap", "nightshift-rules", &from]).await;
    let said = kubectl(plane, &["apply", "--dry-run=server", "-f", &folder]).await;
    assert!(!said.contains("Warning"), "{said}");
    let said = kubectl(plane, &["apply", "-f", &folder]).await;
    assert!(!said.contains("Warning"), "{said}");

    // The namespace admits restricted pods only: that the ReplicaSet has made one is the proof.
    wait_until("the pod is admitted", Duration::from_secs(20), async || {
        let pods = plane.get("/api/v1/namespaces/nightshift/pods").await.map_err(|refused| format!("{refused:?}"))?;
        match pods["items"].as_array().map_or(0, Vec::len) {
            1 => Ok(()),
            _ => Err(kubectl(plane, &["-n", "nightshift", "get", "events"]).await),
        }
    })
    .await;
    let privileged = json!({"metadata": {"name": "other"}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
    let refused = plane.post("/api/v1/namespaces/nightshift/pods", &privileged).await.unwrap_err();
    assert_eq!(refused.code, 403, "{refused:?}");

    let path = "/api/v1/namespaces/nightshift/serviceaccounts/nightshift/token";
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let answer = plane.post(path, &request).await.unwrap();
    let token = answer["status"]["token"].as_str().unwrap();
    wait_until("the rights hold", Duration::from_secs(10), async || {
        let has = rights(plane, token, "production").await;
        if has == wanted() { Ok(()) } else { Err(format!("{has:#?}")) }
    })
    .await;
    for elsewhere in ["default", "nightshift", "kube-system"] {
        assert!(rights(plane, token, elsewhere).await.is_empty(), "rights in {elsewhere}");
    }
}

/// What the app's own token may be asked for, and the one right that it needs; the bot has none of it.
const APP_LEVEL: (&str, &str) = ("apps.connections.open", "connections:write");

/// The rights that a method needs: its page at <https://docs.slack.dev/reference/methods>.
const SCOPES: [(&str, &[&str]); 11] = [
    ("conversations.create", &["channels:manage"]),
    ("conversations.list", &["channels:read"]),
    ("conversations.info", &["channels:read"]),
    ("chat.postMessage", &["chat:write"]),
    ("chat.update", &["chat:write"]),
    ("chat.postEphemeral", &["chat:write"]),
    ("conversations.history", &["channels:history", "groups:history"]),
    ("conversations.replies", &["channels:history", "groups:history"]),
    ("users.info", &["users:read"]),
    ("bots.info", &["users:read"]),
    ("usergroups.users.list", &["usergroups:read"]),
];

#[test]
fn the_slack_app_has_the_rights_that_are_used_and_no_other() {
    #[derive(serde::Deserialize)]
    struct Manifest {
        features: Features,
        oauth_config: Rights,
        settings: Settings,
    }
    #[derive(serde::Deserialize)]
    struct Features {
        slash_commands: Vec<SlashCommand>,
    }
    #[derive(serde::Deserialize)]
    struct SlashCommand {
        command: String,
        url: String,
    }
    #[derive(serde::Deserialize)]
    struct Rights {
        scopes: Scopes,
    }
    #[derive(serde::Deserialize)]
    struct Scopes {
        bot: BTreeSet<String>,
    }
    #[derive(serde::Deserialize)]
    struct Settings {
        interactivity: Interactivity,
        socket_mode_enabled: bool,
    }
    #[derive(serde::Deserialize)]
    struct Interactivity {
        request_url: String,
    }
    let written = text("slack/manifest.yaml");
    let manifest: Manifest = serde_saphyr::from_str(&written).unwrap();
    let client = fs::read_to_string("src/peer/slack/client.rs").unwrap();
    let mut used: BTreeSet<String> = ["commands".to_owned()].into();
    for line in client.lines().filter(|line| line.trim().starts_with("Call::") && line.contains("=> \"")) {
        let method = line.split('"').nth(1).unwrap();
        if method != "auth.test" && method != APP_LEVEL.0 {
            let (_, scopes) = SCOPES.iter().find(|(known, _)| *known == method).expect(method);
            used.extend(scopes.iter().map(|scope| (*scope).to_owned()));
        }
    }
    assert_eq!(manifest.oauth_config.scopes.bot, used);
    let command = &manifest.features.slash_commands[0];
    assert_eq!(command.command, "/nightshift");
    assert!(command.url.ends_with(nightshift::source::slack::route::COMMANDS));
    assert!(manifest.settings.interactivity.request_url.ends_with(nightshift::source::slack::route::INTERACTIONS));
    // Over HTTP as it is; its head says what Socket Mode needs besides.
    assert!(!manifest.settings.socket_mode_enabled, "Slack would send nothing over HTTP");
    assert!(client.contains(APP_LEVEL.0) && written.contains(APP_LEVEL.1), "the token's scope is not told");
    assert!(!manifest.oauth_config.scopes.bot.contains(APP_LEVEL.1), "Slack gives it to app-level tokens alone");
    assert!(written.contains("slack.app_token_file") && written.contains("socket_mode_enabled"));
}
