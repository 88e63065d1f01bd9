//! Prints problems: the line of the file, a caret, and `hint:` on its own line.
//!
//! For people at a terminal. Where the output is not a terminal, each problem is one plain line and its hint, so
//! that editors and scripts find `file:line:column`.

use super::{
    settings::{DEFAULTS, DEFAULTS_NAME},
    yaml::LARGEST_TEXT_BYTES,
};
use crate::model::problem::Problem;
use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use std::{collections::BTreeMap, fmt::Write};

/// How problems are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `file:line:column: error: what`, then `hint: …`.
    Plain,
    /// With the line and a caret, without colours.
    Snippets,
    /// The same in colours.
    Coloured,
}

impl Style {
    /// Colours at a terminal, unless the user's `NO_COLOR` says otherwise; else plain.
    #[must_use]
    pub fn for_output(is_terminal: bool, no_color: bool) -> Style {
        match (is_terminal, no_color) {
            (false, _) => Style::Plain,
            (true, true) => Style::Snippets,
            (true, false) => Style::Coloured,
        }
    }
}

/// All problems as text, ending with how many there are. `texts` holds the files by the name that problems use;
/// a problem of a file that is not among them, or without a line, is shown without its line.
#[must_use]
pub fn problems(problems: &[Problem], texts: &BTreeMap<String, String>, style: Style) -> String {
    let mut shown = String::new();
    for problem in problems {
        let _ = match style {
            Style::Plain => writeln!(shown, "{}", problem),
            Style::Snippets => writeln!(shown, "{}\n", snippet(problem, texts, &Renderer::plain())),
            Style::Coloured => writeln!(shown, "{}\n", snippet(problem, texts, &Renderer::styled())),
        };
    }
    let warnings = problems.iter().filter(|problem| problem.warning).count();
    let errors = problems.len() - warnings;
    let _ = match (errors, warnings) {
        (0, 0) => Ok(()),
        (errors, 0) => writeln!(shown, "{}", counted(errors, "error")),
        (0, warnings) => writeln!(shown, "{}", counted(warnings, "warning")),
        (errors, warnings) => writeln!(shown, "{}, {}", counted(errors, "error"), counted(warnings, "warning")),
    };
    shown
}

/// The texts of the files that problems name, for [`problems`]; what can't be read is left out.
#[must_use]
pub fn texts(problems: &[Problem]) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for problem in problems.iter().filter(|problem| problem.line > 0) {
        if texts.contains_key(&problem.file) {
            continue;
        }
        let small = |about: std::fs::Metadata| about.len() <= LARGEST_TEXT_BYTES as u64;
        let text = match problem.file.as_str() {
            DEFAULTS_NAME => Some(DEFAULTS.to_owned()),
            file if std::fs::metadata(file).is_ok_and(small) => std::fs::read_to_string(file).ok(),
            _ => None,
        };
        texts.extend(text.map(|text| (problem.file.clone(), text)));
    }
    texts
}

/// `1 rule`, `2 rules`.
#[must_use]
pub fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn snippet(problem: &Problem, texts: &BTreeMap<String, String>, renderer: &Renderer) -> String {
    let level = if problem.warning { Level::WARNING } else { Level::ERROR };
    let title = level.primary_title(&*problem.what);
    let line = usize::try_from(problem.line).unwrap_or(0);
    let source = line.checked_sub(1).and_then(|row| texts.get(&problem.file)?.lines().nth(row));
    let group = match source {
        Some(source) => {
            let mark = marked(source, problem.column);
            let found = Snippet::source(source).line_start(line).path(&*problem.file);
            title.element(found.annotation(AnnotationKind::Primary.span(mark)))
        }
        None => {
            let mut origin = Origin::path(&*problem.file);
            if line > 0 {
                origin = origin.line(line);
            }
            title.element(origin)
        }
    };
    let shown = renderer.render(&[group]);
    match &problem.hint {
        Some(hint) => format!("{shown}\nhint: {hint}"),
        None => shown,
    }
}

/// The bytes under the caret: from the column to the end of the word there.
fn marked(source: &str, column: u32) -> std::ops::Range<usize> {
    let skipped = usize::try_from(column).unwrap_or(0).saturating_sub(1);
    let from = source.char_indices().nth(skipped).map_or(source.len(), |(byte, _)| byte);
    let rest = source.get(from..).unwrap_or_default();
    let ends = |letter: char| letter.is_whitespace() || ",:{}[]#".contains(letter);
    let length = rest.find(ends).unwrap_or(rest.len());
    let first = rest.chars().next().map_or(0, char::len_utf8);
    from..from + length.max(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> BTreeMap<String, String> {
        BTreeMap::from([("n.yaml".to_owned(), "mode: shadow\nlog: {levle: debug}\n".to_owned())])
    }

    #[test]
    fn a_terminal_shows_the_line_with_a_caret_and_the_hint_on_its_own_line() {
        let problem = Problem::error("n.yaml", 2, 7, "unknown key `levle`").hint("did you mean `level`?");
        let shown = problems(&[problem], &texts(), Style::Snippets);
        assert_eq!(
            shown,
            "error: unknown key `levle`\n --> n.yaml:2:7\n  |\n2 | log: {levle: debug}\n  |       ^^^^^\n\
             hint: did you mean `level`?\n\n1 error\n"
        );
    }

    #[test]
    fn elsewhere_it_is_one_line_and_the_hint() {
        let found = [
            Problem::error("n.yaml", 2, 7, "unknown key `levle`").hint("did you mean `level`?"),
            Problem::warning("environment", 0, 0, "something odd"),
        ];
        assert_eq!(
            problems(&found, &texts(), Style::Plain),
            "n.yaml:2:7: error: unknown key `levle`\nhint: did you mean `level`?\nenvironment: warning: something odd\n\
             1 error, 1 warning\n"
        );
    }

    #[test]
    fn a_place_outside_of_the_text_is_still_told() {
        for (file, line, column) in [("n.yaml", 99, 1), ("n.yaml", 1, 99), ("other.yaml", 3, 1), ("n.yaml", 0, 0)] {
            let shown = problems(&[Problem::error(file, line, column, "odd")], &texts(), Style::Snippets);
            assert!(shown.contains("error: odd") && shown.contains(file), "{shown}");
        }
    }
}
