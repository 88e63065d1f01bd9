//! Rust text made easy to search: comments and literals blanked, tests cut away, module paths named.

use crate::File;
use std::collections::BTreeSet;

/// The text with comments, strings and characters replaced by blanks; lines stay where they are.
pub fn bare(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = literal(rest, out.chars().next_back());
        let (skipped, after) = rest.split_at(if length == 0 { first.len_utf8() } else { length });
        if length == 0 {
            out.push(first);
        } else {
            out.extend(skipped.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        rest = after;
    }
    out
}

/// How many bytes of comment or literal begin here; 0: none.
fn literal(text: &str, before: Option<char>) -> usize {
    let until = |end: &str, from: usize| text[from..].find(end).map_or(text.len(), |at| from + at + end.len());
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return until("*/", 2);
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if !in_word {
        let raw = text.strip_prefix("br").or(text.strip_prefix('r')).unwrap_or_default();
        let hashes = raw.bytes().take_while(|b| *b == b'#').count();
        if raw.as_bytes().get(hashes) == Some(&b'"') {
            let opened = text.len() - raw.len() + hashes + 1;
            return until(&format!("\"{}", "#".repeat(hashes)), opened);
        }
    }
    if text.starts_with('"') {
        let mut escaped = false;
        for (at, c) in text.char_indices().skip(1) {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => return at + 1,
                _ => {}
            }
        }
        return text.len();
    }
    if let Some(inner) = text.strip_prefix('\'') {
        // A lifetime has no closing quote after its first character.
        let mut chars = inner.char_indices();
        match chars.next() {
            Some((_, '\\')) => return inner[2..].find('\'').map_or(0, |at| at + 4),
            Some((_, c)) if inner[c.len_utf8()..].starts_with('\'') => return c.len_utf8() + 2,
            _ => {}
        }
    }
    0
}

/// Files that only tests are made of: declared under `#[cfg(test)]`, with all that lies below them.
pub fn test_files(files: &[File]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in files {
        let bare = bare(&file.text);
        let lines = bare.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut under = false;
        for line in lines {
            let declared = line.rsplit("mod ").next().and_then(|name| name.strip_suffix(';'));
            if under
                && line.contains("mod ")
                && let Some(name) = declared
            {
                let folder = folder(&file.path);
                found.insert(format!("{folder}/{name}.rs"));
                found.insert(format!("{folder}/{name}/"));
            }
            // Another attribute may stand between the two.
            under = line.starts_with("#[cfg(test")
                || line.starts_with("#[cfg(any(test")
                || (under && line.starts_with("#["));
        }
    }
    found
}

pub fn is_test(path: &str, tests: &BTreeSet<String>) -> bool {
    // A file that is named so is declared by `#[path]`.
    path.ends_with("_tests.rs")
        || tests.iter().any(|test| path == test || (test.ends_with('/') && path.starts_with(test.as_str())))
}

/// The text before the tests that stand at the end of it.
pub fn without_tests(bare: &str) -> &str {
    let mut at = 0;
    let mut under = None;
    for line in bare.split_inclusive('\n') {
        let trimmed = line.trim();
        match under {
            Some(begin) if trimmed.starts_with("mod ") && trimmed.ends_with('{') => return &bare[..begin],
            Some(_) if trimmed.starts_with("#[") || trimmed.is_empty() => {}
            _ => under = None,
        }
        if trimmed == "#[cfg(test)]" && line.starts_with('#') {
            under = Some(at);
        }
        at += line.len();
    }
    bare
}

/// `src/a/b/mod.rs` and `src/a/b.rs` are `[a, b]`.
pub fn module(path: &str) -> Vec<String> {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    match path {
        "lib" | "main" => Vec::new(),
        _ => path.split('/').map(str::to_owned).collect(),
    }
}

/// Where the modules that a file declares lie.
fn folder(path: &str) -> String {
    match path.strip_suffix("/mod.rs").or(path.strip_suffix("/lib.rs")) {
        Some(folder) => folder.to_owned(),
        None => path.trim_end_matches(".rs").to_owned(),
    }
}

#[test]
fn comments_and_literals_are_blanked() {
    let text = "a // crate::b\nb /* tokio::spawn */ \"crate::c \\\" d\" r#\"crate::\"e\"# 'x' '\\'' &'a str";
    let bare = bare(text);
    assert_eq!(bare.len(), text.len());
    assert_eq!(bare.split_whitespace().collect::<Vec<_>>(), ["a", "b", "&'a", "str"]);
}

#[test]
fn tests_at_the_end_are_cut_away() {
    let text = "fn a() {}\n#[cfg(test)]\npub use b;\n#[cfg(test)]\nmod tests {\n use crate::c;\n}\n";
    assert_eq!(without_tests(text), "fn a() {}\n#[cfg(test)]\npub use b;\n");
}

#[test]
fn files_of_tests_are_known_by_their_declaration() {
    let text = "mod a;\n#[cfg(test)]\nmod b;\n#[cfg(test)]\n#[expect(x)]\npub mod c;\n".to_owned();
    let tests = test_files(&[File { path: "src/x/mod.rs".to_owned(), text }]);
    let is = |path| is_test(path, &tests);
    assert!(!is("src/x/a.rs") && is("src/x/b.rs") && is("src/x/c.rs") && is("src/x/b/deep.rs") && !is("src/x/bb.rs"));
}
