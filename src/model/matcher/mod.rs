//! Alertmanager's matchers: `name op value`, read and applied as Alertmanager does in its default mode.
//!
//! Two grammars exist, `classic` and `utf8`. A text is read by both, and the fallback rule below picks one: where
//! they disagree the classic reading wins, because that is what a running Alertmanager would do with the same text.
//! Patterns are Go's (`go_regex`), anchored at both ends. An absent label is the empty string.
//!
//! Nothing here knows about alerts, files or time; `fixtures/matchers` holds the verdicts of Alertmanager's own code.

mod classic;
mod go_regex;
mod utf8;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use regex::Regex;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// How a label's value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`, the whole value matches a pattern
    Matches,
    /// `!~`
    NotMatches,
}

impl MatchOp {
    /// The operator as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Matches => "=~",
            MatchOp::NotMatches => "!~",
        }
    }

    /// Whether the value is a pattern.
    pub fn is_pattern(self) -> bool {
        match self {
            MatchOp::Equal | MatchOp::NotEqual => false,
            MatchOp::Matches | MatchOp::NotMatches => true,
        }
    }
}

impl fmt::Display for MatchOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One condition on one label. Two matchers are equal when name, operator and value are.
///
/// Its text form ([`fmt::Display`], serde) is canonical: `name="value"`, the name quoted only where it has to be. It
/// reads back as the same matcher.
#[derive(Debug, Clone)]
pub struct Matcher {
    name: String,
    op: MatchOp,
    value: String,
    pattern: Option<Regex>,
}

impl Matcher {
    /// Makes a matcher of its parts. Fails only where `value` has to be a pattern and is none, or is too large; the
    /// error's offset then counts in `value`.
    pub fn new(name: impl Into<String>, op: MatchOp, value: impl Into<String>) -> Result<Self, MatcherError> {
        Written { name: name.into(), op, value: value.into(), value_at: 0 }.compile()
    }

    /// Reads exactly one matcher, such as `severity=~"warning|critical"`. Braces at the ends are refused here, see
    /// [`parse_list`].
    pub fn parse(text: &str) -> Result<Self, MatcherError> {
        let brace = if text.starts_with('{') {
            Some(0)
        } else if text.ends_with('}') {
            Some(text.len() - 1)
        } else {
            None
        };
        if let Some(at) = brace {
            return Err(MatcherError::new(at, "unexpected brace around a single matcher")
                .with_hint("drop the braces, or write a list where a list is read; quote a value that ends in `}`"));
        }
        let classic = classic::read_one(text, 0).map(|one| vec![one]);
        let mut list = choose(classic, utf8::read_one(text))?;
        list.pop().ok_or_else(|| MatcherError::new(0, "there is no matcher here"))
    }

    /// The label's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The comparison.
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// The value or pattern, unquoted.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether the label set fulfils the condition; a label that is absent counts as empty.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches_value(labels.get(&self.name).map_or("", String::as_str))
    }

    /// Whether this value of the label fulfils the condition.
    pub fn matches_value(&self, value: &str) -> bool {
        let same = match &self.pattern {
            Some(pattern) => pattern.is_match(value),
            None => self.value == value,
        };
        match self.op {
            MatchOp::Equal | MatchOp::Matches => same,
            MatchOp::NotEqual | MatchOp::NotMatches => !same,
        }
    }

    /// Name and value if the label must be present with exactly this value: `=` and not empty. What an index may use.
    pub fn equality(&self) -> Option<(&str, &str)> {
        (self.op == MatchOp::Equal && !self.value.is_empty()).then_some((self.name.as_str(), self.value.as_str()))
    }
}

/// Reads a list such as `{a="b",c=~"d"}`; braces and a trailing comma are optional. The empty list matches everything.
pub fn parse_list(text: &str) -> Result<Vec<Matcher>, MatcherError> {
    choose(classic::read_list(text), utf8::read_list(text))
}

/// Writes a list in canonical form; [`parse_list`] reads it back.
pub fn format_list(matchers: &[Matcher]) -> String {
    let written: Vec<String> = matchers.iter().map(Matcher::to_string).collect();
    format!("{{{}}}", written.join(","))
}

/// Whether a label set fulfils all of the conditions.
pub fn matches_all(matchers: &[Matcher], labels: &BTreeMap<String, String>) -> bool {
    matchers.iter().all(|matcher| matcher.matches(labels))
}

/// The fallback rule. Only one reading holds: that one. Both hold: the classic one, whether or not they agree.
/// A pattern beyond our limits is an error of its own, never a reason to take the other reading: Go would accept it.
fn choose(
    classic: Result<Vec<Written>, MatcherError>,
    utf8: Result<Vec<Written>, MatcherError>,
) -> Result<Vec<Matcher>, MatcherError> {
    let agree = matches!((&classic, &utf8), (Ok(ours), Ok(theirs)) if same(ours, theirs));
    let classic_error = match classic.and_then(compile_all) {
        Ok(matchers) => return Ok(matchers),
        Err(error) if agree || error.is_limit() => return Err(error),
        Err(error) => error,
    };
    match utf8.and_then(compile_all) {
        Ok(matchers) => Ok(matchers),
        Err(error) if error.is_limit() => Err(error),
        // Alertmanager shows the classic reading's error; the one that came further says more about what was meant.
        Err(error) if error.at > classic_error.at => Err(error),
        Err(_) => Err(classic_error),
    }
}

fn same(ours: &[Written], theirs: &[Written]) -> bool {
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(a, b)| a.name == b.name && a.op == b.op && a.value == b.value)
}

fn compile_all(list: Vec<Written>) -> Result<Vec<Matcher>, MatcherError> {
    list.into_iter().map(Written::compile).collect()
}

/// A matcher as a grammar read it, its pattern not yet looked at.
#[derive(Debug)]
struct Written {
    name: String,
    op: MatchOp,
    value: String,
    /// Byte offset of the value in the text.
    value_at: usize,
}

impl Written {
    fn compile(self) -> Result<Matcher, MatcherError> {
        let pattern = if self.op.is_pattern() {
            Some(go_regex::compile(&self.value).map_err(|error| MatcherError::of_pattern(self.value_at, error))?)
        } else {
            None
        };
        Ok(Matcher { name: self.name, op: self.op, value: self.value, pattern })
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Only the three escapes that both grammars know: with any other the classic reading would win and differ.
        if self.name.is_empty() || self.name.chars().any(utf8::is_reserved) {
            write!(f, "\"{}\"", escape(&self.name))?;
        } else {
            f.write_str(&self.name)?;
        }
        write!(f, "{}\"{}\"", self.op, escape(&self.value))
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', r"\\").replace('\n', r"\n").replace('"', "\\\"")
}

impl FromStr for Matcher {
    type Err = MatcherError;

    fn from_str(text: &str) -> Result<Self, MatcherError> {
        Matcher::parse(text)
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.op == other.op && self.value == other.value
    }
}

impl Eq for Matcher {}

impl Hash for Matcher {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.name, self.op, &self.value).hash(state);
    }
}

impl Serialize for Matcher {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Matcher {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Matcher::parse(&text).map_err(de::Error::custom)
    }
}

/// Why a text is no matcher: what, where (byte offset in the text), and a hint where one is natural.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatcherError {
    at: usize,
    what: String,
    hint: Option<&'static str>,
    limit: bool,
}

impl MatcherError {
    fn new(at: usize, what: impl Into<String>) -> Self {
        MatcherError { at, what: what.into(), hint: None, limit: false }
    }

    fn with_hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    fn of_pattern(value_at: usize, error: go_regex::PatternError) -> Self {
        let what = match error.at {
            Some(at) => format!("not a pattern: {} (at byte {at} of the pattern)", error.what),
            None => format!("not a usable pattern: {}", error.what),
        };
        MatcherError { at: value_at, what, hint: error.hint, limit: error.limit }
    }

    /// Byte offset in the text where reading stopped; for a pattern, where the value begins.
    pub fn at(&self) -> usize {
        self.at
    }

    /// What is wrong, one line without a full stop.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        self.hint
    }

    /// The text is sound, but its pattern is larger than we are willing to compile.
    pub fn is_limit(&self) -> bool {
        self.limit
    }
}

impl fmt::Display for MatcherError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad matcher at byte {}: {}", self.at, self.what)
    }
}

impl std::error::Error for MatcherError {}
