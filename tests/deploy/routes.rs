//! Our walk through Alertmanager's routes and Alertmanager's own agree, on what we ship, on what we refuse, and on trees
//! that nobody would write.

use super::{run, shipped};
use nightshift::{model::alert::Labels, routing};
use std::{fmt::Write, fs, os::unix::fs::PermissionsExt, path::Path};

/// Trees and, for each, alerts. A call of amtool takes some hundredths of a second.
const TREES: u64 = 40;
const ALERTS: u64 = 10;

/// A few numbers from a seed: the same trees in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[usize::try_from(self.below(words.len() as u64)).unwrap()]
    }
}

const NAMES: [&str; 3] = ["team", "severity", "nightshift_hold"];
const VALUES: [&str; 4] = ["true", "web", "db", ""];

/// One route and what is below it.
fn route(dice: &mut Dice, depth: usize, text: &mut String) {
    let pad = "  ".repeat(depth * 2);
    let _ = writeln!(text, "{pad}- receiver: {}", dice.pick(&["nightshift", "pagerduty", "people"]));
    let mut matchers = Vec::new();
    let mut old = Vec::new();
    for _ in 0..dice.below(3) {
        let (name, value) = (dice.pick(&NAMES), dice.pick(&VALUES));
        match dice.below(7) {
            0 => old.push(format!("match: {{{name}: {value:?}}}")),
            1 => old.push(format!("match_re: {{{name}: '{}'}}", dice.pick(&["w.*|true", "(web|db)", ".*", "[^w].+"]))),
            2 => matchers.push(format!("'{{{name}=~\"we?b|x\",{name}!=\"db\"}}'")),
            3 => matchers.push(format!("'{name} != {value:?}'")),
            4 => matchers.push(format!("'{name} !~ \"w.*|\"'")),
            _ => matchers.push(format!("'{name}={value:?}'")),
        }
    }
    old.sort();
    old.dedup_by_key(|line| line.split(':').next().map(str::to_owned));
    for line in old {
        let _ = writeln!(text, "{pad}  {line}");
    }
    if !matchers.is_empty() {
        let _ = writeln!(text, "{pad}  matchers: [{}]", matchers.join(", "));
    }
    if dice.below(2) == 0 {
        let _ = writeln!(text, "{pad}  continue: {}", dice.pick(&["true", "yes", "on"]));
    }
    if depth < 4 && dice.below(2) == 0 {
        let _ = writeln!(text, "{pad}  routes:");
        for _ in 0..=dice.below(2) {
            route(dice, depth + 1, text);
        }
    }
}

fn tree(dice: &mut Dice) -> String {
    let mut text = "route:\n  receiver: people\n  routes:\n".to_owned();
    for _ in 0..=dice.below(4) {
        route(dice, 1, &mut text);
    }
    text.push_str("receivers: [{name: nightshift}, {name: pagerduty}, {name: people}]\n");
    text
}

/// What amtool says, and what we say.
fn both(folder: &Path, name: &str, labels: &Labels) -> (Vec<String>, Vec<String>) {
    let text = fs::read_to_string(folder.join(name)).unwrap();
    let ours = routing::receivers(name, &text, labels).unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"));
    let config = format!("--config.file={}", folder.join(name).display());
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut arguments = vec!["config", "routes", "test", &config];
    arguments.extend(labels.iter().map(String::as_str));
    let (content, said) = run("amtool", "alertmanager", &arguments);
    assert!(content, "{said}\n{text}");
    let line = said.lines().find(|line| !line.starts_with("Warning")).unwrap_or_default();
    (line.split(',').map(str::to_owned).collect(), ours)
}

#[test]
fn amtool_and_we_agree_on_who_hears_of_an_alert() {
    if super::support::hermetic() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice(0x6e69_6768_7473_6869);
    let mut several = 0;
    for number in 0..TREES {
        let name = format!("{number}.yml");
        fs::write(folder.path().join(&name), tree(&mut dice)).unwrap();
        for _ in 0..ALERTS {
            let mut labels: Labels = [("alertname".to_owned(), "Any".to_owned())].into();
            for name in NAMES {
                let value = dice.pick(&VALUES);
                if !value.is_empty() {
                    labels.insert(name.to_owned(), value.to_owned());
                }
            }
            let (theirs, ours) = both(folder.path(), &name, &labels);
            several += usize::from(ours.len() > 1);
            let text = || fs::read_to_string(folder.path().join(&name)).unwrap();
            assert_eq!(ours, theirs, "{labels:?} in\n{}", text());
        }
    }
    assert!(several > 50, "only {several} of them were told to several");
}

#[test]
fn amtool_and_we_agree_on_what_is_shipped_and_on_what_does_not_fit() {
    if super::support::hermetic() {
        return;
    }
    let refused = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/refused/alertmanager");
    let mut files: Vec<_> = fs::read_dir(&refused).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yml"));
    files.push(shipped("alertmanager/alertmanager.yml"));
    let mut compared = 0;
    for path in files {
        let (folder, name) = (path.parent().unwrap(), path.file_name().unwrap().to_str().unwrap());
        let (content, _) = run("amtool", "alertmanager", &["check-config", &path.display().to_string()]);
        if !content {
            continue;
        }
        compared += 1;
        for more in [&[][..], &[("severity", "critical")], &[("team", "db"), ("env", "production")]] {
            for hold in [&[][..], &[("nightshift_hold", "true")]] {
                let labels = [("alertname", "PoolNearlyFull")].iter().chain(more).chain(hold);
                let labels = labels.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
                let (theirs, ours) = both(folder, name, &labels);
                assert_eq!(ours, theirs, "{labels:?} in {name}");
            }
        }
    }
    assert!(compared >= 11, "Alertmanager takes only {compared} of them");
}

/// The rules of an example that holds a page, with what it needs.
fn example(folder: &Path) {
    fs::create_dir(folder.join("rules")).unwrap();
    let rules = "targets: {drill: {noop: {}}}\nrules:\n  - name: pool-nearly-full\n    match: ['alertname = \"PoolNearlyFull\"']\n    \
                 severity: P1\n    for: 30s\n    hold_page: 5m\n    mode: auto\n    remediate: [{action: noop, target: drill, \
                 verify: {settle: 30s, resolved_within: 2m}}]\n  - {name: rest, match: [], severity: P3, group_by: [alertname]}\n";
    fs::write(folder.join("rules/rules.yaml"), rules).unwrap();
    let settings = "mode: auto\nrules: rules/\nalertmanager: {urls: ['http://127.0.0.1:9093']}\nprometheus: {url: \
                    'http://127.0.0.1:9090'}\nsources: {alertmanager: {bearer_token_file: token}}\npagerduty: {routing_key_file: key}\n";
    for (name, secret) in [("token", "the-token"), ("key", "0123456789abcdef0123456789abcdef")] {
        fs::write(folder.join(name), secret).unwrap();
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::write(folder.join("nightshift.yaml"), settings).unwrap();
}

/// As a person runs it, with the exit code.
fn checked(folder: &Path, alertmanager: &Path, more: &[&str]) -> (Option<i32>, String, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_nightshift"))
        .args(["check", "--alertmanager", &alertmanager.display().to_string()])
        .args(more)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn nightshift_takes_the_routes_that_are_shipped_and_refuses_a_short_fuse() {
    let folder = tempfile::tempdir().unwrap();
    example(folder.path());
    let file = shipped("alertmanager/alertmanager.yml");
    let (code, out, err) = checked(folder.path(), &file, &[]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(
        out.contains("receiver `nightshift` leads to nightshift") && out.contains("wait for `pagerduty`, 6m"),
        "{out}"
    );

    let short = folder.path().join("short.yml");
    fs::write(&short, fs::read_to_string(&file).unwrap().replace("group_wait: 6m", "group_wait: 5m")).unwrap();
    let (code, _, err) = checked(folder.path(), &short, &[]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("short.yml:25:19: error: `pool-nearly-full` holds its page for 5m, and this route"), "{err}");
    let (code, out, _) = checked(folder.path(), &short, &["--json"]);
    let problems: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, problems.as_array().unwrap().len()), (Some(2), 1), "{out}");
    assert_eq!(problems[0]["line"], 25);

    let (code, _, err) = checked(folder.path(), &folder.path().join("missing.yml"), &[]);
    assert_eq!(code, Some(2));
    assert!(err.contains("missing.yml: error: cannot be read"), "{err}");
}
