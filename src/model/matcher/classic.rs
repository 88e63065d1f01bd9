//! The classic grammar: tolerant, made for people at a prompt. ASCII label names, anything as a value.
//!
//! It differs from [`super::utf8`] in ways that look like accidents and are contract: braces are stripped one by one,
//! quotes are optional, a backslash before anything but `"`, `n` and `\` stands for itself.

use super::{MatchOp, MatcherError, Written};

/// What the grammar's `\s` covers; the vertical tab and Unicode's spaces are part of a value.
const BLANKS: &[char] = &[' ', '\t', '\n', '\u{c}', '\r'];

/// Reads a list: one `{` and one `}` are stripped, each whether or not the other is there.
pub(super) fn read_list(text: &str) -> Result<Vec<Written>, MatcherError> {
    let (body, base) = match text.strip_prefix('{') {
        Some(rest) => (rest, 1),
        None => (text, 0),
    };
    let body = body.strip_suffix('}').unwrap_or(body);

    let mut written = Vec::new();
    let mut start = 0;
    for comma in separators(body) {
        written.push(read_one(body.get(start..comma).unwrap_or_default(), base + start)?);
        start = comma + 1;
    }
    // Only the last piece is trimmed of Unicode's spaces too, and only it may be empty.
    let last = body.get(start..).unwrap_or_default();
    let blank = last.len() - last.trim_start().len();
    if !last.trim().is_empty() {
        written.push(read_one(last.trim(), base + start + blank)?);
    }
    Ok(written)
}

/// Byte offsets of the commas outside quotes. A comma does not end an escape: in `"\,"` the second quote is escaped.
fn separators(body: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            ',' if !quoted => found.push(at),
            ',' => {}
            '"' if escaped => escaped = false,
            '"' => quoted = !quoted,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    found
}

/// Reads one matcher that starts at byte `base` of the text that errors speak of.
pub(super) fn read_one(text: &str, base: usize) -> Result<Written, MatcherError> {
    let after = text.trim_start_matches(BLANKS);
    let name_at = base + text.len() - after.len();
    let name_len = after.find(|c: char| !is_name(c)).unwrap_or(after.len());
    let (name, rest) = after.split_at_checked(name_len).unwrap_or((after, ""));
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(no_name(after, name_at));
    }

    let op_text = rest.trim_start_matches(BLANKS);
    let op_at = name_at + name_len + rest.len() - op_text.len();
    let (op, rest) = read_op(op_text).ok_or_else(|| no_operator(op_text, op_at))?;

    let raw = rest.trim_start_matches(BLANKS);
    let value_at = op_at + op.as_str().len() + rest.len() - raw.len();
    let value = unescape(raw.trim_end_matches(BLANKS), value_at)?;
    Ok(Written { name: name.to_owned(), op, value, value_at })
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// The operator at the start of `text`, longest first, and what follows it.
pub(super) fn read_op(text: &str) -> Option<(MatchOp, &str)> {
    [MatchOp::Matches, MatchOp::Equal, MatchOp::NotEqual, MatchOp::NotMatches]
        .into_iter()
        .find_map(|op| text.strip_prefix(op.as_str()).map(|rest| (op, rest)))
}

fn no_name(after: &str, at: usize) -> MatcherError {
    let error = MatcherError::new(at, "a label name is expected");
    if after.is_empty() || after.starts_with(',') {
        error.with_hint("remove the comma too much, or write a matcher such as `severity=\"critical\"`")
    } else {
        error.with_hint("write `name=\"value\"`; a name that is not letters, digits, `_` and `:` goes in quotes")
    }
}

/// The error for a missing operator, with a hint for operators of other languages.
pub(super) fn no_operator(text: &str, at: usize) -> MatcherError {
    let error = MatcherError::new(at, "one of `=`, `!=`, `=~`, `!~` is expected");
    if text.starts_with('~') {
        error.with_hint("use `=~` for a pattern")
    } else if text.starts_with('!') {
        error.with_hint("use `!=` for a value, `!~` for a pattern")
    } else if text.starts_with(['<', '>', ':']) {
        error.with_hint("labels are compared with `=`, `!=`, `=~` and `!~` only")
    } else {
        error
    }
}

fn unescape(raw: &str, at: usize) -> Result<String, MatcherError> {
    let (body, mut open) = match raw.strip_prefix('"') {
        Some(body) => (body, true),
        None => (raw, false),
    };
    let body_at = at + raw.len() - body.len();
    let mut value = String::with_capacity(body.len());
    let mut chars = body.char_indices().peekable();
    while let Some((offset, c)) = chars.next() {
        let last = chars.peek().is_none();
        match c {
            '\\' if !last => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c @ ('"' | '\\'))) => value.push(c),
                Some((_, c)) => value.extend(['\\', c]),
                None => {}
            },
            '"' if open && last => open = false,
            '"' => return Err(stray_quote(body, body_at + offset)),
            c => value.push(c),
        }
    }
    if open {
        return Err(MatcherError::new(at, "the quoted value has no end").with_hint("close it with `\"`"));
    }
    Ok(value)
}

fn stray_quote(body: &str, at: usize) -> MatcherError {
    let error = MatcherError::new(at, "a quote inside the value");
    if body.starts_with("=\"") {
        error.with_hint("`==` is not an operator, use `=`")
    } else {
        error.with_hint("quote the whole value and write `\\\"` for a quote in it; separate matchers by commas")
    }
}
