//! The rules of the house, as tests: who may name whom, where tasks begin, what a file and a folder owe their reader.
//!
//! - [`imports`] — which part of the crate may name which other
//! - [`source`] — what each file of source code keeps to
//! - [`guards`] — what each guard brings with it
//! - [`tree`] — READMEs, the changelog, paths that documents name
//! - [`shipped`] — the rules that we ship
//! - [`licences`] — what the dependencies may be licensed under, and where they may come from
//!
//! Each rule is a function on texts, and has a test that shows it what breaks it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod code;
mod guards;
mod imports;
mod licences;
mod shipped;
mod source;
mod tree;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A file of the project: its path from the top, with `/`, and its text.
pub struct File {
    pub path: String,
    pub text: String,
}

pub fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file under `folder` (from the top) that is text, in the order of paths.
pub fn files(folder: &str) -> Vec<File> {
    let mut found = Vec::new();
    let mut folders = vec![top().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.push(File { path: shown(&path), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "{folder} holds no text");
    found
}

/// The files of `folder` that are Rust.
pub fn rust(folder: &str) -> Vec<File> {
    files(folder).into_iter().filter(|file| file.path.ends_with(".rs")).collect()
}

pub fn text(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Files at the top, without what git ignores: that has no dot-less name, or ends in `.db`.
pub fn documents() -> Vec<File> {
    let all = fs::read_dir(top()).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<File> = all
        .filter(|path| path.extension().is_some_and(|extension| extension == "md" || extension == "toml"))
        .map(|path| File { text: fs::read_to_string(&path).unwrap(), path: shown(&path) })
        .collect();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn shown(path: &Path) -> String {
    let path = path.strip_prefix(top()).unwrap();
    path.components().map(|part| part.as_os_str().to_str().unwrap()).collect::<Vec<_>>().join("/")
}

/// Fails with all of them, one a line.
pub fn none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}
