//! The UTF-8 grammar: strict, any label name, values in quotes as Go writes them.
//!
//! `[{] [matcher {, matcher} [,]] [}]`, braces both or none. A name or a value is a run of unreserved characters or a
//! Go interpreted string.

use super::classic::{no_operator, read_op};
use super::{MatchOp, MatcherError, Written};

/// Whether a character must be in quotes in this grammar.
pub(super) fn is_reserved(c: char) -> bool {
    c.is_whitespace() || matches!(c, '{' | '}' | '!' | '=' | '~' | ',' | '\\' | '"' | '\'' | '`')
}

/// Reads a text that holds one matcher. A trailing comma is allowed, as Alertmanager's does.
pub(super) fn read_one(text: &str) -> Result<Vec<Written>, MatcherError> {
    let list = read_list(text)?;
    match list.len() {
        1 => Ok(list),
        0 => Err(MatcherError::new(0, "there is no matcher here").with_hint("write `name=\"value\"`")),
        found => Err(MatcherError::new(0, format!("one matcher is expected, found {found}"))
            .with_hint("write them as a list where a list is read")),
    }
}

/// Reads a list of matchers.
pub(super) fn read_list(text: &str) -> Result<Vec<Written>, MatcherError> {
    let mut reader = Reader { text, at: 0 };
    let mut written = Vec::new();
    let opened = reader.take('{');
    loop {
        if reader.at_end() || reader.sees('}') {
            break;
        }
        written.push(reader.matcher()?);
        if !reader.take(',') {
            break;
        }
    }
    if opened && !reader.take('}') {
        return Err(if reader.at_end() {
            reader.error("`}` is expected")
        } else {
            reader.error("`,` or `}` is expected").with_hint("quote the value")
        });
    }
    if reader.at_end() {
        Ok(written)
    } else if reader.sees('}') {
        Err(reader.error("`}` without `{`"))
    } else {
        Err(reader.error("`,` or the end is expected").with_hint("quote the value; separate matchers by commas"))
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn at_end(&mut self) -> bool {
        self.skip_blanks();
        self.rest().is_empty()
    }

    fn sees(&mut self, c: char) -> bool {
        self.skip_blanks();
        self.rest().starts_with(c)
    }

    fn take(&mut self, c: char) -> bool {
        let seen = self.sees(c);
        if seen {
            self.at += c.len_utf8();
        }
        seen
    }

    fn error(&self, what: impl Into<String>) -> MatcherError {
        MatcherError::new(self.at, what)
    }

    fn matcher(&mut self) -> Result<Written, MatcherError> {
        let name = self.word("a label name")?;
        let op = self.operator()?;
        self.skip_blanks();
        let value_at = self.at;
        let value = self.word("a value").map_err(|error| {
            if self.rest().starts_with('=') && op == MatchOp::Equal {
                error.with_hint("`==` is not an operator, use `=`")
            } else {
                error
            }
        })?;
        Ok(Written { name, op, value, value_at })
    }

    fn operator(&mut self) -> Result<MatchOp, MatcherError> {
        self.skip_blanks();
        let (op, _) = read_op(self.rest()).ok_or_else(|| no_operator(self.rest(), self.at))?;
        self.at += op.as_str().len();
        Ok(op)
    }

    /// A name or a value, quoted or not.
    fn word(&mut self, what: &str) -> Result<String, MatcherError> {
        self.skip_blanks();
        let rest = self.rest();
        if rest.starts_with('"') {
            return self.quoted();
        }
        let len = rest.find(is_reserved).unwrap_or(rest.len());
        if len == 0 {
            return Err(self.error(format!("{what} is expected")).with_hint("quote what holds a reserved character"));
        }
        self.at += len;
        Ok(rest.get(..len).unwrap_or_default().to_owned())
    }

    fn quoted(&mut self) -> Result<String, MatcherError> {
        let start = self.at;
        let unterminated = || MatcherError::new(start, "the quoted text has no end").with_hint("close it with `\"`");
        let mut bytes = Vec::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((offset, c)) = chars.next() {
            match c {
                '"' => {
                    self.at = start + offset + 1;
                    return String::from_utf8(bytes)
                        .map_err(|_| MatcherError::new(start, "the escapes do not give UTF-8 text"));
                }
                '\n' => {
                    return Err(MatcherError::new(start + offset, "a line break in quotes").with_hint("write `\\n`"));
                }
                '\\' => {
                    let mut next = || chars.next().map(|(_, c)| c);
                    let kind = next().ok_or_else(unterminated)?;
                    unescape(kind, next, &mut bytes).ok_or_else(|| {
                        MatcherError::new(start + offset, "not an escape of Go's strings")
                            .with_hint("write `\\\\` for a backslash")
                    })?;
                }
                c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        Err(unterminated())
    }
}

/// One escape after its backslash. `\x` and octal ones give a byte, `\u` and `\U` a character.
fn unescape(kind: char, mut next: impl FnMut() -> Option<char>, bytes: &mut Vec<u8>) -> Option<()> {
    let mut number = |first: u32, digits: u32, radix: u32| {
        (0..digits).try_fold(first, |sum, _| Some(sum * radix + next()?.to_digit(radix)?))
    };
    match kind {
        'a' => bytes.push(0x07),
        'b' => bytes.push(0x08),
        'f' => bytes.push(0x0c),
        'n' => bytes.push(b'\n'),
        'r' => bytes.push(b'\r'),
        't' => bytes.push(b'\t'),
        'v' => bytes.push(0x0b),
        '\\' => bytes.push(b'\\'),
        '"' => bytes.push(b'"'),
        'x' => bytes.push(u8::try_from(number(0, 2, 16)?).ok()?),
        '0'..='7' => bytes.push(u8::try_from(number(kind.to_digit(8)?, 2, 8)?).ok()?),
        'u' => push_char(number(0, 4, 16)?, bytes)?,
        'U' => push_char(number(0, 8, 16)?, bytes)?,
        _ => return None,
    }
    Some(())
}

fn push_char(code: u32, bytes: &mut Vec<u8>) -> Option<()> {
    bytes.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
    Some(())
}
