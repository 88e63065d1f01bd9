//! `fixtures/refused/rules`: every file there is refused with exactly the words beside it.
//!
//! A first line `# without: alertmanager prometheus slack statuspage people` takes these away from the settings that the file is
//! checked against. With `NIGHTSHIFT_BLESS` set the words are written anew.

use super::World;
use crate::rules::{RulesSource, load};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/refused/rules")
}

fn told(path: &Path, shown: &str) -> String {
    let first = fs::read(path).unwrap();
    let first = String::from_utf8_lossy(&first).lines().next().unwrap_or_default().to_owned();
    let mut world = World::with_everything();
    for word in first.strip_prefix("# without:").unwrap_or_default().split_whitespace() {
        match word {
            "alertmanager" | "prometheus" => world.configured = false,
            "slack" => world.slack = false,
            "statuspage" => world.components = None,
            "people" => world.people = BTreeMap::new(),
            other => panic!("{}: nothing is called {other}", path.display()),
        }
    }
    let problems = load(&RulesSource::Path(path.to_path_buf()), &world.context()).unwrap_err();
    assert!(problems.iter().any(|problem| !problem.warning), "only warnings refuse nothing");
    let told: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
    told.replace(&path.display().to_string(), shown)
}

#[test]
fn every_refused_file_is_refused_in_the_words_beside_it() {
    let mut files: Vec<PathBuf> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(files.len() >= 27, "{} files", files.len());
    let mut wrong = Vec::new();
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let told = told(&path, name);
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

#[test]
fn a_file_of_ten_megabytes_is_refused_before_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.yaml");
    fs::write(&path, "# nothing but a comment\n".repeat(10 * 1024 * 1024 / 24 + 1)).unwrap();
    assert_eq!(
        told(&path, "large.yaml"),
        "large.yaml: error: the file has 10485768 bytes, more than 1048576\nhint: a settings or rules file is never \
         that large: is it the right one?\n"
    );
}

#[test]
fn what_is_no_text_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, b"rules:\n  - name: \xff\xfe\n").unwrap();
    assert_eq!(told(&path, "a.yaml"), "a.yaml:2: error: the file is not UTF-8\n");
    let missing = folder.path().join("missing.yaml");
    let problems = load(&RulesSource::Path(missing), &World::with_everything().context()).unwrap_err();
    assert!(problems[0].what.starts_with("cannot be read"), "{problems:?}");
}
