//! Finds the rules files of a path and reads them, bounded: a wrong path must not fill the memory or block.
//!
//! A folder gives its `*.yaml`, in the order of their names. Symbolic links are followed (a mounted ConfigMap is made of
//! them), hidden names and `tests/` are left alone, and whatever else lies there is told, because a rule that is
//! silently not read is worse than a warning.

use crate::{config::yaml, model::problem::Problem};
use std::{fs, path::Path};

/// A folder of rules is kept by people.
const MOST_FILES: usize = 1_000;
/// Files of any kind in the folder.
const MOST_NAMES: usize = 10_000;
/// All files of a folder together.
const LARGEST_TOTAL_BYTES: u64 = 16 * 1024 * 1024;
/// Rule tests lie here, beside the rules.
const TESTS: &str = "tests";

/// Name and text of each file, and what is wrong with the path.
pub(super) fn read(path: &Path) -> (Vec<(String, String)>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut texts = Vec::new();
    if !path.is_dir() {
        match yaml::text_of(path) {
            Ok(text) => texts.push((path.display().to_string(), text)),
            Err(problem) => problems.extend(problem),
        }
        return (texts, problems);
    }
    let names = match names(path) {
        Ok(names) => names,
        Err(problem) => return (texts, vec![problem]),
    };
    let whole = |what: String| Problem::error(path.display().to_string(), 0, 0, what);
    let mut total: u64 = 0;
    for name in names {
        let file = path.join(&name);
        let shown = file.display().to_string();
        let is_folder = file.is_dir();
        match file.extension().and_then(|extension| extension.to_str()) {
            _ if name.starts_with('.') || (is_folder && name == TESTS) => {}
            _ if is_folder => {
                let what = "is a folder, and is not read";
                problems.push(Problem::warning(shown, 0, 0, what).hint("rules files lie directly in the rules folder"));
            }
            Some("yaml") => match yaml::text_of(&file) {
                Ok(text) => {
                    total = total.saturating_add(text.len() as u64);
                    texts.push((shown, text));
                }
                Err(problem) => problems.extend(problem),
            },
            Some("yml") => {
                let what = "is not read: its name does not end in `.yaml`";
                problems.push(Problem::warning(shown, 0, 0, what).hint("rename it"));
            }
            Some(_) | None => {}
        }
        if texts.len() > MOST_FILES {
            return (Vec::new(), vec![whole(format!("has more than {MOST_FILES} rules files"))]);
        }
        if total > LARGEST_TOTAL_BYTES {
            return (Vec::new(), vec![whole(format!("its rules files have more than {LARGEST_TOTAL_BYTES} bytes"))]);
        }
    }
    if texts.is_empty() && problems.iter().all(|problem| problem.warning) {
        let hint = "without the folder, nightshift uses the starter rules inside it";
        problems.push(whole("there is no rules file (`*.yaml`) in this folder".to_owned()).hint(hint));
    }
    (texts, problems)
}

fn names(folder: &Path) -> Result<Vec<String>, Problem> {
    let whole = |what: String| Problem::error(folder.display().to_string(), 0, 0, what);
    let entries = fs::read_dir(folder).map_err(|error| whole(format!("cannot be listed: {error}")))?;
    let mut names = Vec::new();
    // Files of other kinds count too, with room: this bounds the listing itself.
    for (count, entry) in entries.enumerate() {
        if count == MOST_NAMES {
            return Err(whole(format!("has more than {MOST_NAMES} files")).hint("rules want a folder of their own"));
        }
        let entry = entry.map_err(|error| whole(format!("cannot be listed: {error}")))?;
        match entry.file_name().into_string() {
            Ok(name) => names.push(name),
            Err(name) => return Err(whole(format!("a file's name is not UTF-8: {}", name.display()))),
        }
    }
    names.sort();
    Ok(names)
}
