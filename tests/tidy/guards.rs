//! What each guard brings with it: a file of its own, with its law as a property over made-up inputs.
//!
//! That it is a word of the metrics is `app`'s test, and that `why` has a line of it is `decide::guard`'s.

use crate::{File, none, rust};
use nightshift::model::step::Guard;
use std::collections::BTreeSet;

const FOLDER: &str = "src/decide/guard/";
/// They are no guard.
const SHARED: [&str; 2] = ["mod", "laws"];

/// `for` is a word of Rust.
fn file_of(guard: Guard) -> &'static str {
    match guard {
        Guard::For => "fires_for",
        other => other.word(),
    }
}

/// Guards whose file is missing, or has no law that asks the guard; and files that no guard has.
fn problems(files: &[File]) -> Vec<String> {
    let path = |name: &str| format!("{FOLDER}{name}.rs");
    let mut found = Vec::new();
    for guard in Guard::ALL {
        let path = path(file_of(guard));
        let asks = format!("says(Guard::{guard:?})");
        match files.iter().find(|file| file.path == path) {
            None => found.push(format!("{path}: guard `{}` has no file", guard.word())),
            Some(file) if !(file.text.contains("proptest! {") && file.text.contains(&asks)) => {
                found.push(format!("{path}: no property test holds `{asks}` against a law (see {FOLDER}laws.rs)"));
            }
            Some(_) => {}
        }
    }
    let known: BTreeSet<String> = Guard::ALL.into_iter().map(file_of).chain(SHARED).map(path).collect();
    found.extend(
        files
            .iter()
            .filter(|file| !known.contains(&file.path))
            .map(|file| format!("{}: no guard of `Guard::ALL` has this file", file.path)),
    );
    found
}

#[test]
fn every_guard_has_its_file_and_its_law() {
    none(&problems(&rust(FOLDER.trim_end_matches('/'))));
}

#[test]
fn a_guard_without_a_law_is_seen() {
    let law = |guard: Guard| File {
        path: format!("{FOLDER}{}.rs", file_of(guard)),
        text: format!("proptest! {{ fn law() {{ scene.says(Guard::{guard:?}) }} }}"),
    };
    let mut files: Vec<File> = Guard::ALL.into_iter().map(law).collect();
    assert!(problems(&files).is_empty());
    files[3].text = "fn guard() {}".to_owned();
    files[4].path = format!("{FOLDER}another.rs");
    let found = problems(&files);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].contains("freeze.rs: no property test") && found[1].contains("guard `for` has no file"));
    assert!(found[2].contains("another.rs: no guard"));
}
