//! A folder of rules: what is read, in which order, and what may stand twice.

use super::World;
use crate::model::problem::Problem;
use crate::rules::{Loaded, RulesSource, load};
use std::{fs, path::Path};
use tempfile::TempDir;

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn loaded(path: &Path) -> Result<Loaded, Vec<Problem>> {
    load(&RulesSource::Path(path.to_path_buf()), &World::with_everything().context())
}

fn told(folder: &TempDir) -> Vec<String> {
    let problems = match loaded(folder.path()) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems,
    };
    let root = format!("{}/", folder.path().display());
    problems.iter().map(|problem| problem.to_string().replace(&root, "")).collect()
}

const LAST: &str = "rules: [{name: last, match: []}]\n";

#[test]
fn files_are_put_together_in_the_order_of_their_names() {
    let folder = folder(&[
        ("b.yaml", LAST),
        ("a.yaml", "rules: [{name: first, match: [a=b], remediate: [{action: noop, target: drill}]}]\n"),
        ("c.yaml", "targets: {drill: {noop: {}}}\nmax_concurrent: 3\n"),
        ("tests/a_test.yaml", "not: rules\n"),
        (".hidden.yaml", "not: rules\n"),
        ("README.md", "text"),
    ]);
    let loaded = loaded(folder.path()).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let names: Vec<&str> = loaded.policy.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["first", "last"]);
    assert_eq!(loaded.policy.max_concurrent, 3);
    assert_eq!(loaded.files.len(), 3);
}

#[test]
fn a_section_stands_in_one_file_only() {
    let folder = folder(&[
        ("a.yaml", "defaults: {quiet: 5m}\nrules: [{name: one, match: [a=b]}]\n"),
        ("b.yaml", "rules: [{name: one, match: []}]\ndefaults: {quiet: 6m}\n"),
    ]);
    assert_eq!(
        told(&folder),
        [
            "b.yaml:1:16: error: a second rule is named `one`\nhint: the first one is in a.yaml:2",
            "b.yaml:2:11: error: `defaults` stands in a second file\nhint: it is first given in a.yaml:1; keep one of them",
        ]
    );
}

#[test]
fn a_target_is_listed_in_one_file_only() {
    let folder = folder(&[
        ("a.yaml", "targets: {drill: {noop: {}}}\n"),
        ("b.yaml", LAST),
        ("c.yaml", "targets: {drill: {noop: {}}}\n"),
    ]);
    assert_eq!(
        told(&folder),
        ["c.yaml:1:11: error: a second target is named `drill`\nhint: the first one is in a.yaml:1"]
    );
}

#[test]
fn what_is_not_read_is_told() {
    let folder = folder(&[("a.yaml", LAST), ("b.yml", LAST), ("more/c.yaml", LAST)]);
    assert_eq!(
        told(&folder),
        [
            "b.yml: warning: is not read: its name does not end in `.yaml`\nhint: rename it",
            "more: warning: is a folder, and is not read\nhint: rules files lie directly in the rules folder",
        ]
    );
}

#[test]
fn a_folder_without_rules_files_is_refused() {
    let folder = folder(&[("README.md", "text")]);
    let problems = loaded(folder.path()).unwrap_err();
    assert_eq!(problems[0].what, "there is no rules file (`*.yaml`) in this folder");
}

#[test]
fn a_target_in_an_unreadable_file_is_not_called_missing() {
    let folder = folder(&[
        ("a.yaml", "targets: {drill: {noop: {}}\n"),
        ("b.yaml", "rules: [{name: one, match: [], severity: P9, remediate: [{action: noop, target: drill}]}]\n"),
    ]);
    let told = told(&folder);
    assert!(told.iter().any(|line| line.starts_with("a.yaml:")), "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("b.yaml:1:42: error: severity `P9` is not listed")), "{told:?}");
    assert!(!told.iter().any(|line| line.contains("target `drill`")), "{told:?}");
}

#[cfg(unix)]
#[test]
fn a_mounted_config_map_is_read_through_its_links() {
    use std::os::unix::fs::symlink;
    let folder = folder(&[("..2026_01/a.yaml", LAST)]);
    symlink("..2026_01", folder.path().join("..data")).unwrap();
    symlink("..data/a.yaml", folder.path().join("a.yaml")).unwrap();
    assert_eq!(loaded(folder.path()).unwrap().files.len(), 1);
    symlink("nowhere", folder.path().join("b.yaml")).unwrap();
    assert!(told(&folder)[0].starts_with("b.yaml: error: cannot be read"), "{:?}", told(&folder));
}
