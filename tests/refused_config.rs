//! Every settings file in `fixtures/refused/config` is refused with exactly the words beside it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use nightshift::{
    config::{Settings, show},
    model::problem::Problem,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Fixtures name their files relative to their own folder; the texts they expect do too.
fn enter_fixtures() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/refused/config");
    std::env::set_current_dir(&folder).unwrap();
    folder
}

fn environment(path: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(path.with_extension("env")).unwrap_or_default();
    text.lines()
        .map(|line| line.split_once('=').expect("NAME=value"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The problems as `check` prints them where nobody looks, without the warnings (who may read the fixtures' secrets
/// depends on how they were checked out).
fn printed(problems: Vec<Problem>) -> String {
    let errors: Vec<Problem> = problems.into_iter().filter(|problem| !problem.warning).collect();
    show::problems(&errors, &BTreeMap::new(), show::Style::Plain)
}

#[test]
fn every_refused_file_is_refused_in_exactly_these_words() {
    let folder = enter_fixtures();
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| PathBuf::from(entry.unwrap().file_name()))
        .filter(|name| name.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    assert!(files.len() >= 40, "only {} fixtures were found", files.len());
    let accept = std::env::vars().any(|(name, _)| name == "NIGHTSHIFT_ACCEPT");
    let mut wrong = Vec::new();
    for file in files {
        let problems = match Settings::load(Some(&file), environment(&file).into_iter()) {
            Ok(_) => {
                wrong.push(format!("{}: was accepted", file.display()));
                continue;
            }
            Err(problems) => problems,
        };
        let said = printed(problems);
        let expected_file = file.with_extension("expected");
        if accept {
            std::fs::write(&expected_file, &said).unwrap();
        }
        let expected = std::fs::read_to_string(&expected_file).unwrap_or_default();
        if said != expected {
            wrong.push(format!("{}: expected\n{expected}but it says\n{said}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_of_ten_megabytes_is_refused_before_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("big.yaml");
    std::fs::write(&path, "# filler\n".repeat(10 * 1024 * 1024 / 9)).unwrap();
    let problems = Settings::load(Some(&path), std::iter::empty()).unwrap_err();
    assert_eq!(
        printed(problems),
        format!(
            "{}: error: the file has 10485756 bytes, more than 1048576\n\
             hint: a settings or rules file is never that large: is it the right one?\n1 error\n",
            path.display()
        )
    );
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let problems = Settings::load(Some(Path::new("/no/such/nightshift.yaml")), std::iter::empty()).unwrap_err();
    assert!(printed(problems).starts_with("/no/such/nightshift.yaml: error: cannot be read:"));
}
