//! What each file of source code keeps to.

use crate::{
    File,
    code::{bare, is_test, test_files, without_tests},
    documents, files, none, rust,
};

/// A file holds one idea; beyond this it holds two.
const LONGEST: usize = 600;
/// The two closed enums and their fold may be longer: a reader wants them whole.
const LONGER: &[&str] = &["src/decide/apply.rs", "src/model/event.rs", "src/model/input.rs"];

/// Where tasks begin, each with an owner that knows what their end means.
const SPAWNS: &[(&str, &str)] = &[
    ("src/app/tasks.rs", "background tasks, by name"),
    ("src/source/alertmanager/route.rs", "a large body is parsed aside and awaited where it is asked for"),
];

fn has_head(file: &File) -> Option<String> {
    let first = file.text.lines().next().unwrap_or_default();
    let says = first.strip_prefix("//!").unwrap_or_default().trim();
    // One word is a name, not what the module is for.
    (!says.contains(' ')).then(|| format!("{}:1: opens without a `//!` that says what it is for", file.path))
}

fn is_too_long(file: &File) -> Option<String> {
    let lines = file.text.lines().count();
    (lines > LONGEST && !LONGER.contains(&file.path.as_str()))
        .then(|| format!("{}: has {lines} lines, and {LONGEST} are enough for one idea", file.path))
}

/// Words for what is left undone. Put together here, so that this file is not one of them.
fn unfinished() -> Vec<String> {
    [["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["unimplemen", "ted!"], ["to", "do!"]]
        .map(|parts| parts.concat())
        .to_vec()
}

/// Places of one machine.
fn machine_paths() -> Vec<String> {
    [["/ho", "me/"], ["/ro", "ot/"], ["/wo", "rk/"], ["/Use", "rs/"], ["/tmp/", "wt/"]]
        .map(|parts| parts.concat())
        .to_vec()
}

/// Every line that has one of the words, on its own.
fn lines_with(file: &File, words: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        for word in words {
            let stands_alone = |(begin, _): (usize, &str)| {
                !line[..begin].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.')
                    && !line[begin + word.len()..]
                        .starts_with(|c: char| word.ends_with(char::is_alphabetic) && (c.is_alphanumeric() || c == '_'))
            };
            if line.match_indices(word.as_str()).any(stands_alone) {
                found.push(format!("{}:{}: has {word:?}", file.path, at + 1));
            }
        }
    }
    found
}

/// Every line of bare text that begins a task.
fn spawns(path: &str, bare: &str) -> Vec<String> {
    let calls = ["tokio::spawn(", "task::spawn(", "spawn_blocking(", "thread::spawn(", "spawn_local("];
    let mut found = Vec::new();
    for (at, line) in bare.lines().enumerate() {
        if calls.iter().any(|call| line.contains(call)) {
            found.push(format!("{path}:{}: begins a task that nobody owns: see src/app/tasks.rs", at + 1));
        }
    }
    found
}

fn everything() -> Vec<File> {
    let folders = ["src", "tests", "rules", "deploy", "migrations", "benches", ".ci"];
    let mut all: Vec<File> = folders.iter().flat_map(|folder| files(folder)).collect();
    all.extend(documents());
    all
}

#[test]
fn every_module_says_what_it_is_for() {
    let all = rust("src");
    let tests = test_files(&all);
    // What stands beside a module as its tests needs no words of its own.
    let modules = all.iter().filter(|file| !is_test(&file.path, &tests));
    let binaries = rust("tests");
    let problems: Vec<String> = modules.chain(&binaries).filter_map(has_head).collect();
    none(&problems);
}

#[test]
fn no_file_holds_two_ideas() {
    let problems: Vec<String> = rust("src").iter().filter_map(is_too_long).collect();
    none(&problems);
}

#[test]
fn nothing_is_left_undone() {
    let words = unfinished();
    let problems: Vec<String> = everything().iter().flat_map(|file| lines_with(file, &words)).collect();
    none(&problems);
}

#[test]
fn nothing_names_a_place_of_one_machine() {
    let words = machine_paths();
    let problems: Vec<String> = everything().iter().flat_map(|file| lines_with(file, &words)).collect();
    none(&problems);
}

#[test]
fn every_task_has_an_owner() {
    let all = rust("src");
    let tests = test_files(&all);
    let problems: Vec<String> = all
        .iter()
        .filter(|file| !is_test(&file.path, &tests) && !SPAWNS.iter().any(|(path, _)| *path == file.path))
        .flat_map(|file| spawns(&file.path, without_tests(&bare(&file.text))))
        .collect();
    none(&problems);
    for (path, _) in SPAWNS {
        assert!(all.iter().any(|file| file.path == *path), "{path} is gone: take it from the list");
    }
}

#[test]
fn what_breaks_these_rules_is_seen() {
    let file = |text: &str| File { path: "src/a.rs".to_owned(), text: text.to_owned() };
    assert!(has_head(&file("//! Alerts, as they come.\nuse b;")).is_none());
    assert!(has_head(&file("use b;\n//! Too late.")).is_some() && has_head(&file("//! alerts\n")).is_some());
    assert!(is_too_long(&file(&"\n".repeat(LONGEST))).is_none());
    assert!(is_too_long(&file(&"\n".repeat(LONGEST + 1))).is_some());
    for word in unfinished() {
        assert_eq!(lines_with(&file(&format!("fn a() {{\n  // {word} later\n")), &unfinished()).len(), 1, "{word}");
    }
    assert!(lines_with(&file("mastodon XXXIV"), &unfinished()).is_empty());
    for place in machine_paths() {
        assert_eq!(lines_with(&file(&format!("let a = \"{place}x\";")), &machine_paths()).len(), 1, "{place}");
    }
    assert_eq!(
        spawns("src/a.rs", "\n  tokio::spawn(async {});\n let a = set.spawn(b);"),
        ["src/a.rs:2: begins a task that nobody owns: see src/app/tasks.rs"]
    );
}
