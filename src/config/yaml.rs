//! Reads a YAML text into any type and tells every problem at once: place, what, how to mend it.
//!
//! The text becomes a tree ([`super::node`]), the tree the type ([`super::typed`]). A YAML 1.2 reading: `no` is a
//! text, one document, no duplicate or merge keys. A text over 1 MiB is refused before it is looked at.

use super::{
    mistakes,
    node::{Builder, Kind, Node, Place, Raw},
};
use crate::model::problem::Problem;
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde_saphyr::{DuplicateKeyPolicy, Error, MergeKeyPolicy, Spanned};
use std::{
    fs::{self, File},
    io::Read,
    path::Path,
};

/// No settings or rules file that a person keeps is larger; a larger one is a mistake (a log, a dump).
pub const LARGEST_TEXT_BYTES: usize = 1024 * 1024;
/// Nodes after aliases are put in: 1 MiB of the densest YAML stays below it.
const MOST_NODES: usize = 250_000;
/// How often aliases may be used in one file, and how many nodes they may add: a bomb grows, a rules file does not.
const MOST_ALIASES: usize = 1_000;
const MOST_ALIASED_NODES: usize = 50_000;
/// Deeper nesting is not something that a person wrote.
const DEEPEST: usize = 32;
/// Tabs are told line by line, but not thousands of them.
const MOST_TAB_PROBLEMS: usize = 20;

/// A value and where it was written, for checks that come after reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    pub value: T,
    pub place: Place,
}

impl<T> Located<T> {
    /// An error about this value.
    #[must_use]
    pub fn error(&self, what: impl Into<String>) -> Problem {
        self.place.error(what)
    }

    /// A warning about this value.
    #[must_use]
    pub fn warning(&self, what: impl Into<String>) -> Problem {
        self.place.warning(what)
    }

    /// Line and column, both from 1.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.place.line
    }
    #[must_use]
    pub fn column(&self) -> u32 {
        self.place.column
    }
}

impl<T> std::ops::Deref for Located<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Located<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Located<T>, D::Error> {
        super::typed::located(deserializer)
    }
}

/// A list that may be written as its only element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OneOrMany<T>, D::Error> {
        super::typed::one_or_many(deserializer).map(OneOrMany)
    }
}

/// Reads `text` into `T`, or gives every problem found. Unknown keys of structs are refused, whether or not the type
/// says so. `file` is what the problems name.
pub fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Vec<Problem>> {
    let (node, mut problems) = tree(file, text)?;
    match super::typed::read(&node) {
        Ok(value) if problems.is_empty() => Ok(value),
        Ok(_) => Err(problems),
        Err(more) => {
            problems.extend(more);
            problems.sort_by_key(|problem| (problem.line, problem.column));
            Err(problems)
        }
    }
}

/// Reads `text` into a tree; with it the problems that leave a tree to look at (keys given twice).
pub fn tree(file: &str, text: &str) -> Result<(Node, Vec<Problem>), Vec<Problem>> {
    tree_with(file, text, MergeKeyPolicy::Error)
}

/// As [`tree`], of another program's file: its merge keys (`<<`) mean what they mean there.
pub fn foreign_tree(file: &str, text: &str) -> Result<(Node, Vec<Problem>), Vec<Problem>> {
    tree_with(file, text, MergeKeyPolicy::Merge)
}

fn tree_with(file: &str, text: &str, merge_keys: MergeKeyPolicy) -> Result<(Node, Vec<Problem>), Vec<Problem>> {
    let whole = Place::of(file);
    if text.len() > LARGEST_TEXT_BYTES {
        return Err(too_large(file, text.len() as u64));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.lines().all(|line| matches!(line.trim().chars().next(), None | Some('#'))) {
        return Err(vec![whole.error("the file is empty").hint("remove it, or write at least one key")]);
    }
    let raw: Spanned<Raw> = serde_saphyr::from_str_with_options(text, options(merge_keys))
        .map_err(|error| explained(file, text, error.without_snippet()))?;
    let mut builder = Builder { file: file.into(), text, problems: Vec::new() };
    let node = builder.node(raw);
    if node.kind == Kind::Null {
        return Err(vec![whole.error("the file is empty").hint("remove it, or write at least one key")]);
    }
    let mut problems = builder.problems;
    mistakes::texts_lost(text, &node, &mut problems);
    Ok((node, problems))
}

/// The problem of a file over [`LARGEST_TEXT_BYTES`], for readers that look at the size first.
#[must_use]
pub fn too_large(file: &str, bytes: u64) -> Vec<Problem> {
    let what = format!("the file has {bytes} bytes, more than {LARGEST_TEXT_BYTES}");
    vec![Place::of(file).error(what).hint("a settings or rules file is never that large: is it the right one?")]
}

/// The text of a file, refused before it is read where it is larger than any settings or rules file.
pub fn text_of(path: &Path) -> Result<String, Vec<Problem>> {
    let shown = path.display().to_string();
    let whole = |what: String| vec![Problem::error(shown.clone(), 0, 0, what)];
    let unreadable = |error: std::io::Error| whole(format!("cannot be read: {error}"));
    let about = fs::metadata(path).map_err(unreadable)?;
    if !about.is_file() {
        return Err(whole("is not a file".to_owned()));
    }
    if about.len() > LARGEST_TEXT_BYTES as u64 {
        return Err(too_large(&shown, about.len()));
    }
    // It may grow between the look and the read.
    let mut bytes = Vec::new();
    let most = LARGEST_TEXT_BYTES as u64 + 1;
    File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        vec![Problem::error(shown.clone(), u32::try_from(line).unwrap_or(0), 0, "the file is not UTF-8")]
    })
}

fn options(merge_keys: MergeKeyPolicy) -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MOST_NODES,
            max_aliases: MOST_ALIASES,
            max_depth: DEEPEST,
            flow_nesting_limit: DEEPEST,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MOST_ALIASED_NODES,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: merge_keys,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

/// What the YAML reader says, in our words where it is a mistake that people make.
fn explained(file: &str, text: &str, error: &Error) -> Vec<Problem> {
    let location = error.location().unwrap_or(serde_saphyr::Location::UNKNOWN);
    let number = |value: u64| u32::try_from(value).unwrap_or(0);
    let place = Place { line: number(location.line()), column: number(location.column()), ..Place::of(file) };
    let error = match error {
        Error::AliasError { error, .. } => error.without_snippet(),
        error => error,
    };
    match error {
        Error::MultipleDocuments { .. } => {
            let line = second_document(text).unwrap_or(place.line);
            let place = Place { line, column: 1, ..place };
            return vec![
                place
                    .error("a second YAML document begins here")
                    .hint("one file holds one document: remove the `---`, or put the rest into a file of its own"),
            ];
        }
        Error::Budget { .. } | Error::AliasReplayLimitExceeded { .. } | Error::AliasExpansionLimitExceeded { .. } => {
            return vec![
                place
                    .error("the file is too deeply nested, too large, or its aliases multiply too much")
                    .hint("write the repeated part out, without `&` and `*`"),
            ];
        }
        Error::MergeKeyNotAllowed { .. } => {
            return vec![place.error("merge keys (`<<`) are not read").hint("write the keys out")];
        }
        _ => {}
    }
    let tabs: Vec<Problem> = text
        .lines()
        .enumerate()
        .filter_map(|(row, line)| {
            let blank = line.len() - line.trim_start().len();
            let column = line.get(..blank)?.find('\t')?;
            let only_comment = line.trim_start().starts_with('#') || line.trim().is_empty();
            (!only_comment).then(|| {
                Place { line: number(row as u64 + 1), column: number(column as u64 + 1), ..place.clone() }
                    .error("a tab is used for indentation")
                    .hint("YAML wants spaces")
            })
        })
        .take(MOST_TAB_PROBLEMS)
        .collect();
    if tabs.is_empty() { vec![mistakes::explained(text, &syntax(error), &place)] } else { tabs }
}

/// The line of the second `---`, or of the first one after content.
fn second_document(text: &str) -> Option<u32> {
    let mut content = false;
    for (row, line) in text.lines().enumerate() {
        let marker = line == "---" || line.starts_with("--- ");
        if marker && content {
            return u32::try_from(row + 1).ok();
        }
        content |= marker || !matches!(line.trim().chars().next(), None | Some('#' | '%'));
    }
    None
}

/// The reader's own sentence without its place: ours is shown already.
fn syntax(error: &Error) -> String {
    let said = error.to_string();
    let said = match said.rfind(" at line ") {
        Some(end) => said.get(..end).unwrap_or(&said).to_owned(),
        None => said,
    };
    said.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Rule {
        name: Located<String>,
        #[serde(default)]
        replicas: Option<u32>,
        #[serde(default)]
        mode: Option<Mode>,
        #[serde(default)]
        with: Option<Node>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        Shadow,
        Auto,
        At { url_file: String },
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Rules {
        #[serde(default)]
        rules: Vec<Rule>,
        #[serde(default)]
        targets: BTreeMap<String, Rule>,
    }

    fn told(text: &str) -> Vec<String> {
        read::<Rules>("r.yaml", text).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_good_file_is_read_with_its_places() {
        let text =
            "rules:\n  - name: one\n    replicas: 3\n    mode: {at: {url_file: x}}\n    with: {to: +2, v: 1.10}\n";
        let rules: Rules = read("r.yaml", text).unwrap();
        let rule = &rules.rules[0];
        assert_eq!((rule.name.line(), rule.name.column(), rule.name.as_str()), (2, 11, "one"));
        assert_eq!(rule.mode, Some(Mode::At { url_file: "x".to_owned() }));
        let with = rule.with.as_ref().unwrap();
        assert_eq!(with.get("to").unwrap().kind, Kind::Number("+2".to_owned()));
        let spelled: BTreeMap<String, String> = crate::config::typed::read(with).unwrap();
        assert_eq!(spelled["to"], "+2");
        assert_eq!(spelled["v"], "1.10");
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let text = "rules:\n  - name: one\n    replcas: 3\n    replicas: many\n  - {nme: two}\n  - name: [x]\n    \
                    mode: shadwo\n  - name: a\n    name: b\nrulez: 1\ntargets: 5\n";
        assert_eq!(
            told(text),
            [
                "r.yaml:3:5: error: unknown key `replcas`\nhint: did you mean `replicas`?",
                "r.yaml:4:15: error: expected a whole number, 0 or more, found the text \"many\"",
                "r.yaml:5:5: error: key `name` is missing",
                "r.yaml:5:6: error: unknown key `nme`\nhint: did you mean `name`?",
                "r.yaml:6:11: error: expected a text, found a list",
                "r.yaml:7:11: error: expected one of `shadow`, `auto`, `at`, found `shadwo`\nhint: did you mean `shadow`?",
                "r.yaml:9:5: error: key `name` stands twice\nhint: it is first given in line 8",
                "r.yaml:10:1: error: unknown key `rulez`\nhint: did you mean `rules`?",
                "r.yaml:11:10: error: expected a mapping, found the number 5",
            ]
        );
    }

    #[test]
    fn a_word_like_no_is_a_text_and_true_is_not() {
        let rules: Rules = read("r.yaml", "rules: [{name: no}]").unwrap();
        assert_eq!(rules.rules[0].name.as_str(), "no");
        assert_eq!(
            told("rules: [{name: true}]"),
            ["r.yaml:1:16: error: expected a text, found `true`\nhint: put it into quotes: \"true\""]
        );
    }

    #[test]
    fn an_alias_bomb_is_refused_quickly() {
        let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..9 {
            let before = format!("*a{},", level - 1).repeat(10);
            text.push_str(&format!("a{level}: &a{level} [{before}]\n"));
        }
        assert!(told(&text)[0].contains("aliases multiply"), "{:?}", told(&text));
    }

    #[test]
    fn deep_nesting_is_refused() {
        let text = format!("rules: {}{}", "[".repeat(5000), "]".repeat(5000));
        assert_eq!(told(&text).len(), 1);
        let text: String = (0..200).map(|depth| format!("{}a:\n", "  ".repeat(depth))).collect();
        assert_eq!(told(&text).len(), 1, "{:?}", told(&text));
    }

    #[test]
    fn a_text_that_is_wrong_all_over_gets_a_bounded_answer() {
        let unknown: String = (0..20_000).map(|number| format!("k{number}: 1\n")).collect();
        let twice = "a: 1\n".repeat(20_000);
        let wrong = format!("rules:\n{}", "- {name: [1]}\n".repeat(5_000));
        for text in [unknown, twice, wrong] {
            assert!(matches!(told(&text).len(), 1..=200));
        }
    }

    proptest::proptest! {
        /// Whatever stands in a file: an answer, in bounds, with places that exist.
        #[test]
        fn any_text_gets_an_answer(text in "([a-z]{1,5}(: |:\n  |\n- |, |\\[|\\]|\\{|\\}|&a |\\*a|\t|'|\"|#|---\n|é|\n)){0,40}") {
            if let Err(problems) = read::<Rules>("r.yaml", &text) {
                proptest::prop_assert!(!problems.is_empty() && problems.len() <= 150);
                let lines = u32::try_from(text.lines().count()).unwrap() + 1;
                proptest::prop_assert!(problems.iter().all(|problem| problem.line <= lines), "{:?}", problems);
            }
        }
    }
}
