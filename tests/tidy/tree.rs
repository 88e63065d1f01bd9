//! What a contributor expects to find beside the code, and whether documents still say the truth about paths.

use crate::{File, documents, files, none, text, top};
use std::{fs, path::Path};

/// Folders that are not (only) source code.
const FOLDERS: &[&str] = &["benches", "deploy", "fixtures", "migrations", "rules", "tests"];
const DOCUMENTS: &[&str] =
    &["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LICENSE", "deny.toml"];

/// The paths that a document names in backticks and that are not there.
fn dead_paths(document: &File, is_there: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (at, line) in document.text.lines().enumerate() {
        for quoted in line.split('`').skip(1).step_by(2) {
            let path = quoted.trim_end_matches('/');
            let is_path = FOLDERS
                .iter()
                .chain(&["src", ".ci"])
                .any(|folder| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')));
            // A pattern, a placeholder or a command line is no path.
            if is_path && !path.contains(['*', '<', '{', ' ', '…']) && !path.contains("NAME") && !is_there(path) {
                found.push(format!("{}:{}: names `{path}`, which is not there", document.path, at + 1));
            }
        }
    }
    found
}

/// Whether the first section of a changelog is the one for what comes next, with something in it.
fn has_unreleased(changelog: &str) -> bool {
    let mut sections = changelog.split("\n## ").skip(1);
    sections.next().is_some_and(|first| {
        first.starts_with("[Unreleased]")
            && first.contains("\n### ")
            && first.lines().any(|line| line.starts_with("- "))
    })
}

/// Modules of a test binary: nothing but Rust, on the first level at least.
fn is_source(folder: &Path) -> bool {
    let is_rust = |path: &Path| path.is_dir() || path.extension().is_some_and(|extension| extension == "rs");
    let mut entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).peekable();
    entries.peek().is_some() && entries.all(|path| is_rust(&path))
}

#[test]
fn the_documents_are_there() {
    let missing: Vec<String> =
        DOCUMENTS.iter().filter(|name| !top().join(name).is_file()).map(|name| format!("no {name}")).collect();
    none(&missing);
}

#[test]
fn every_folder_beside_the_source_has_a_readme() {
    let mut problems = Vec::new();
    for folder in FOLDERS {
        let readme = format!("{folder}/README.md");
        if !top().join(&readme).is_file() {
            problems.push(format!("{folder}: has no README.md"));
            continue;
        }
        let says = text(&readme);
        for entry in fs::read_dir(top().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let told = says.contains(&format!("`{name}/")) || path.join("README.md").is_file();
            if path.is_dir() && !told && !is_source(&path) {
                problems.push(format!("{folder}/{name}: has no README.md, and {readme} does not name it"));
            }
        }
    }
    none(&problems);
}

#[test]
fn documents_name_paths_that_are_there() {
    let mut all = documents();
    for folder in FOLDERS {
        all.extend(files(folder).into_iter().filter(|file| file.path.ends_with(".md")));
    }
    let problems: Vec<String> =
        all.iter().flat_map(|document| dead_paths(document, |path| top().join(path).exists())).collect();
    none(&problems);
}

#[test]
fn the_changelog_has_a_place_for_what_comes_next() {
    assert!(has_unreleased(&text("CHANGELOG.md")));
}

#[test]
fn what_breaks_these_rules_is_seen() {
    let text = "see `src/a.rs` and `src/gone.rs`,\n`tests/*` and `cargo test` and `deploy/x y`".to_owned();
    let document = File { path: "README.md".to_owned(), text };
    let dead = dead_paths(&document, |path| path == "src/a.rs");
    assert_eq!(dead, ["README.md:1: names `src/gone.rs`, which is not there"]);
    assert!(is_source(&top().join("src/model")) && !is_source(&top().join("rules")));
    assert!(has_unreleased("# Changelog\n\n## [Unreleased]\n\n### Added\n- this\n\n## [1.0.0]\n"));
    assert!(!has_unreleased("# Changelog\n\n## [1.0.0]\n\n### Added\n- this\n"));
    assert!(!has_unreleased("# Changelog\n\n## [Unreleased]\n"));
}
