//! Mistakes that people make in YAML, in our words: what is wrong, where, and what to write.
//!
//! The reader's own sentences speak of what it was parsing. A person wants to know what they have written: a dash that is
//! missing, a line that stands too far in, a `#` that begins a comment.

use super::node::{Kind, Node, Place};
use crate::model::problem::Problem;

const IN_QUOTES: &str = "a `#` after a blank begins a comment: put the value in quotes, such as '#incidents'";
/// Keys whose values people write with `#`, and which are never left empty.
const OF_TEXTS: [&str; 6] = ["slack", "channel", "impact", "service", "title", "runbook"];

/// The `#name` that a line holds where a value could stand: not a comment with a blank after its `#`.
fn hashed(line: &str) -> Option<(usize, &str)> {
    let mut quoted = None;
    let mut before = ' ';
    for (at, letter) in line.char_indices() {
        match (quoted, letter) {
            (None, '"' | '\'') => quoted = Some(letter),
            (Some(quote), _) if quote == letter => quoted = None,
            (None, '#') if before.is_whitespace() => {
                let rest = line.get(at..)?;
                let ends = rest.find(|it: char| it.is_whitespace() || ",]}".contains(it)).unwrap_or(rest.len());
                let name = rest.get(..ends)?;
                return (name.len() > 1).then_some((at, name));
            }
            _ => {}
        }
        before = letter;
    }
    None
}

fn column_of(line: &str, at: usize) -> u32 {
    let letters = line.get(..at).map_or(0, |before| before.chars().count());
    u32::try_from(letters + 1).unwrap_or(0)
}

/// Keys that are left empty because their value is taken for a comment.
pub(super) fn texts_lost(text: &str, node: &Node, problems: &mut Vec<Problem>) {
    match &node.kind {
        Kind::Map(entries) => {
            for (key, value) in entries {
                let is_lost = value.kind == Kind::Null && OF_TEXTS.contains(&key.text.as_str());
                let row = usize::try_from(key.place.line).unwrap_or(0).checked_sub(1).filter(|_| is_lost);
                let line = row.and_then(|row| text.lines().nth(row)).unwrap_or_default();
                match hashed(line) {
                    Some((at, name)) => {
                        let place = Place { column: column_of(line, at), ..key.place.clone() };
                        let what = format!("`{name}` is a comment here, and `{}` is empty", key.text);
                        problems.push(place.error(what).hint(IN_QUOTES));
                    }
                    None => texts_lost(text, value, problems),
                }
            }
        }
        Kind::List(items) => items.iter().for_each(|item| texts_lost(text, item, problems)),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => {}
    }
}

/// What the reader says of a text that is no YAML. `said`: its own sentence, without a place.
pub(super) fn explained(text: &str, said: &str, place: &Place) -> Problem {
    let row = usize::try_from(place.line).unwrap_or(0).saturating_sub(1);
    let line = text.lines().nth(row).unwrap_or_default();
    let of_brackets = ["unclosed bracket", "flow", "illegal placement"];
    let is_flow = of_brackets.iter().any(|part| said.contains(part));
    if is_flow && let Some(problem) = comment_in_brackets(text, place) {
        return problem;
    }
    if said.contains("unclosed bracket") {
        let bracket = said.chars().rev().find(|it| "[{".contains(*it)).unwrap_or('{');
        let hint = "close it; a value that holds brackets, `,`, `: ` or ` #` stands in quotes";
        return place.error(format!("a `{bracket}` is never closed")).hint(hint);
    }
    if is_flow {
        let hint =
            "write `[A, B]` and `{KEY: VALUE, KEY: VALUE}`, and put values with `: `, ` #` or brackets in quotes";
        return place.error("a `[` or `{` before this is not closed, or a comma is missing").hint(hint);
    }
    if said.contains("mapping values are not allowed") && line.match_indices(": ").count() > 1 {
        let hint = "put the value in quotes, or give each key a line of its own";
        return place.error("a value holds a second `: `").hint(hint);
    }
    let of_indentation = ["mapping values are not allowed", "block mapping", "block collection", "block sequence"];
    if of_indentation.iter().any(|part| said.contains(part)) {
        let hint = "keys of one mapping begin in the same column, what belongs to a key stands two blanks further in, and each item of a list begins with `- `";
        return place.error("the indentation of this line does not fit the lines above it").hint(hint);
    }
    if said.contains("quoted scalar") || said.contains("end of stream") && said.contains("quot") {
        return place.error("a quote is opened and never closed").hint("close it on the same line");
    }
    place
        .error(format!("not valid YAML: {}", said.trim_end_matches('.')))
        .hint("look at this line and the one above it: quotes, brackets, indentation")
}

/// The first `#name` after an open bracket: it hides what would have closed it.
fn comment_in_brackets(text: &str, place: &Place) -> Option<Problem> {
    let (row, line, at, name) = text.lines().enumerate().find_map(|(row, line)| {
        let (at, name) = hashed(line)?;
        let before = line.get(..at)?;
        let open = |open: char, close: char| before.matches(open).count() > before.matches(close).count();
        (open('{', '}') || open('[', ']')).then_some((row, line, at, name))
    })?;
    let place = Place { line: u32::try_from(row + 1).ok()?, column: column_of(line, at), ..place.clone() };
    Some(
        place
            .error(format!("`{name}` is a comment here, which hides the end of the bracket before it"))
            .hint(IN_QUOTES),
    )
}

#[cfg(test)]
mod tests {
    use super::super::yaml::tree;

    /// Each problem in one line, with its hint's first words.
    fn told(text: &str) -> Vec<String> {
        let problems = tree("r.yaml", text).map_or_else(|problems| problems, |(_, problems)| problems);
        problems.iter().map(|it| format!("{}:{} {}", it.line, it.column, it.what)).collect()
    }

    #[test]
    fn a_channel_without_quotes_is_told_as_the_comment_that_it_is() {
        let lost = "`#incidents` is a comment here, and `channel` is empty";
        assert_eq!(told("slack:\n  channel: #incidents\n"), [format!("2:12 {lost}")]);
        assert_eq!(told("slack: #night\n"), ["1:8 `#night` is a comment here, and `slack` is empty"]);
        assert_eq!(
            told("rules:\n  - impact: #portal is slow\n    service:\n"),
            ["2:13 `#portal` is a comment here, and `impact` is empty"]
        );
        let hidden = "is a comment here, which hides the end of the bracket before it";
        assert_eq!(told("slack: {channel: #incidents, a: b}\n"), [format!("1:18 `#incidents` {hidden}")]);
        for fine in ["slack: {channel: '#incidents'}\n", "slack: # as follows\n  channel: a\n", "channel: a #b\n"] {
            assert_eq!(told(fine), Vec::<String>::new(), "{fine}");
        }
    }

    #[test]
    fn wrong_indentation_is_told_in_words_that_say_what_to_do() {
        let says = "the indentation of this line does not fit the lines above it";
        for (text, at) in [
            ("rules:\n  - name: a\n    match: []\n     severity: P1\n", "4:"),
            ("rules:\n  - name: a\n    match: []\n - name: b\n", "4:"),
            ("listen:\n  webhooks: a\n   admin: b\n", "3:"),
        ] {
            let told = told(text);
            assert!(told.len() == 1 && told[0].starts_with(at) && told[0].ends_with(says), "{told:?}");
        }
        assert_eq!(told("a: b: c\n").len(), 1);
        assert!(told("a: b: c\n")[0].ends_with("a value holds a second `: `"), "{:?}", told("a: b: c\n"));
        assert!(told("a: [b\nc: d\n")[0].contains("`[`"), "{:?}", told("a: [b\nc: d\n"));
    }
}
