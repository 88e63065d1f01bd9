//! Go's pattern syntax (RE2), translated for the `regex` crate.
//!
//! The two look alike and are not: `\d`, `\w`, `\s`, `\b` know ASCII only in Go, `[a&&b]` is three characters, `\<` is a
//! literal, `\Q…\E` quotes, `a{1001}` and `(?x)` are errors. So the pattern is read here as Go reads it, into
//! `regex-syntax`'s syntax tree, and the tree is printed for the crate to compile. Only "does it match" is asked, hence
//! greediness is read and forgotten, and no group captures.
//!
//! Matching takes time linear in the text. What a pattern may cost to compile is bounded by the constants below.

use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Dot, Hir, HirKind, Look, Repetition};

use super::go_unicode;

/// Longest pattern, in bytes. Go has no such bound.
const PATTERN_BYTES_MAX: usize = 64 * 1024;
/// Largest compiled program, in bytes: a hundred times what a list of a thousand names takes.
const COMPILED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most code point ranges over all classes of a pattern; `\pL` has some 650.
const CLASS_RANGES_MAX: usize = 100_000;
/// Deepest syntax tree. Go allows 1000; compilation recurses, and a task's stack is 2 MiB.
const NESTING_MAX: u32 = 250;
/// Most copies that counted repetitions may ask for, multiplied where they are nested. Go's own bound.
const COPIES_MAX: u64 = 1000;

/// What Go puts around a matcher's pattern: text, so that `a)|(?:b` is a pattern.
const PREFIX: &str = "^(?:";
const SUFFIX: &str = ")$";

/// Why a pattern was refused.
#[derive(Debug)]
pub(super) struct PatternError {
    pub what: String,
    /// Byte offset in the pattern, where one place is to blame.
    pub at: Option<usize>,
    pub hint: Option<&'static str>,
    /// A bound of ours: Go might accept the pattern.
    pub limit: bool,
}

/// Compiles a matcher's pattern, anchored at both ends.
pub(super) fn compile(pattern: &str) -> Result<Regex, PatternError> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(too_large(format!("it is longer than {PATTERN_BYTES_MAX} bytes")));
    }
    let anchored = format!("{PREFIX}{pattern}{SUFFIX}");
    let tree = Parser::new(&anchored).parse().map_err(|mut error| {
        error.at = error.at.map(|at| at.saturating_sub(PREFIX.len()).min(pattern.len()));
        error
    })?;
    RegexBuilder::new(&tree.to_string()).size_limit(COMPILED_BYTES_MAX).nest_limit(NESTING_MAX * 4).build().map_err(
        |error| match error {
            regex::Error::CompiledTooBig(most) => too_large(format!("compiled it takes more than {most} bytes")),
            error => too_large(format!("it cannot be compiled here: {error}")),
        },
    )
}

fn fault(at: usize, what: impl Into<String>) -> PatternError {
    PatternError { what: what.into(), at: Some(at), hint: None, limit: false }
}

fn too_large(what: String) -> PatternError {
    PatternError { what, at: None, hint: Some("use several matchers, or fewer and smaller repetitions"), limit: true }
}

#[derive(Clone, Copy)]
struct Flags {
    fold_case: bool,
    multi_line: bool,
    dot_matches_newline: bool,
}

/// A piece of the pattern with what the limits need to know of it.
struct Piece {
    tree: Hir,
    /// Least bound on copies that this piece respects; 0 without counted repetitions.
    copies: u64,
    height: u32,
}

/// An open group: the branches read, the one being read, and the flags to return to.
struct Group {
    captures: bool,
    outer_flags: Flags,
    branches: Vec<Piece>,
    branch: Vec<Piece>,
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    flags: Flags,
    outer: Vec<Group>,
    group: Group,
    class_ranges: usize,
}

type Parsed<T> = Result<T, PatternError>;

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Self {
        let flags = Flags { fold_case: false, multi_line: false, dot_matches_newline: false };
        Parser { text, at: 0, flags, outer: Vec::new(), group: Group::new(flags, false), class_ranges: 0 }
    }

    fn parse(mut self) -> Parsed<Hir> {
        let mut after_repetition = false;
        while let Some(c) = self.peek() {
            let start = self.at;
            let mut is_repetition = false;
            match c {
                '(' if self.rest().starts_with("(?") => self.group_or_flags()?,
                '(' => {
                    self.at += 1;
                    self.open(true, self.flags);
                }
                '|' => {
                    self.at += 1;
                    self.group.end_branch()?;
                }
                ')' => {
                    self.at += 1;
                    self.close(start)?;
                }
                '*' | '+' | '?' => {
                    self.at += 1;
                    let (min, max) = match c {
                        '*' => (0, None),
                        '+' => (1, None),
                        _ => (0, Some(1)),
                    };
                    self.repeat(start, min, max, false, after_repetition)?;
                    is_repetition = true;
                }
                '{' => match self.counts()? {
                    Some((min, max)) => {
                        self.repeat(start, min, max, true, after_repetition)?;
                        is_repetition = true;
                    }
                    None => self.single()?,
                },
                '^' => self.assertion(1, if self.flags.multi_line { Look::StartLF } else { Look::Start }),
                '$' => self.assertion(1, if self.flags.multi_line { Look::EndLF } else { Look::End }),
                '.' => {
                    self.at += 1;
                    let dot = if self.flags.dot_matches_newline { Dot::AnyChar } else { Dot::AnyCharExceptLF };
                    self.push(Hir::dot(dot));
                }
                '[' => self.class()?,
                '\\' => self.backslash()?,
                _ => self.single()?,
            }
            after_repetition = is_repetition;
        }
        if !self.outer.is_empty() {
            return Err(fault(self.at, "a `(` is not closed"));
        }
        Ok(self.group.end()?.tree)
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn push(&mut self, tree: Hir) {
        self.group.branch.push(Piece { tree, copies: 0, height: 1 });
    }

    fn assertion(&mut self, len: usize, look: Look) {
        self.at += len;
        self.push(Hir::look(look));
    }

    /// The next character as itself.
    fn single(&mut self) -> Parsed<()> {
        match self.next() {
            Some(c) => self.literal(u32::from(c)),
            None => Ok(()),
        }
    }

    /// A code point as itself. A surrogate, which an escape can name, is in no string.
    fn literal(&mut self, code: u32) -> Parsed<()> {
        let Some(c) = char::from_u32(code) else {
            self.push(Hir::fail());
            return Ok(());
        };
        if self.flags.fold_case {
            let mut class = ClassUnicode::new([ClassUnicodeRange::new(c, c)]);
            class.case_fold_simple();
            self.count_ranges(class.ranges().len())?;
            self.push(Hir::class(Class::Unicode(class)));
        } else {
            self.push(Hir::literal(c.encode_utf8(&mut [0; 4]).as_bytes()));
        }
        Ok(())
    }

    fn count_ranges(&mut self, more: usize) -> Parsed<()> {
        self.class_ranges += more;
        if self.class_ranges > CLASS_RANGES_MAX {
            return Err(too_large(format!("its classes have more than {CLASS_RANGES_MAX} ranges")));
        }
        Ok(())
    }

    // ---- repetition

    fn repeat(&mut self, start: usize, min: u32, max: Option<u32>, counted: bool, stacked: bool) -> Parsed<()> {
        if self.rest().starts_with('?') {
            self.at += 1;
        }
        if stacked {
            return Err(fault(start, "a repetition of a repetition").hint("put the inner one in `(?:…)`"));
        }
        let Some(sub) = self.group.branch.pop() else {
            return Err(fault(start, "nothing to repeat").hint("write `\\` before it"));
        };
        let copies = if counted { copies(min, max, sub.copies) } else { sub.copies };
        if counted && (min >= 2 || max.is_some_and(|max| max >= 2)) && copies > COPIES_MAX {
            return Err(fault(start, format!("nested repetitions ask for more than {COPIES_MAX} copies")));
        }
        let height = taller(sub.height)?;
        let tree = if (min, max) == (0, Some(1)) && matches!(sub.tree.kind(), HirKind::Repetition(_)) {
            // Printed as a repetition, `(?:a+)?` would read `a+?`, a lazy `a+`.
            Hir::alternation(vec![sub.tree, Hir::empty()])
        } else {
            Hir::repetition(Repetition { min, max, greedy: true, sub: Box::new(sub.tree) })
        };
        self.group.branch.push(Piece { tree, copies, height });
        Ok(())
    }

    /// Reads `{n}`, `{n,}` or `{n,m}`; anything else leaves `{` a literal.
    fn counts(&mut self) -> Parsed<Option<(u32, Option<u32>)>> {
        let start = self.at;
        let Some((inside, _)) = self.rest().get(1..).and_then(|rest| rest.split_once('}')) else { return Ok(None) };
        let (min, max) = match inside.split_once(',') {
            None => (inside, Some(inside)),
            Some((min, "")) => (min, None),
            Some((min, max)) => (min, Some(max)),
        };
        let is_number = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'))
        };
        if !is_number(min) || !max.is_none_or(is_number) {
            return Ok(None);
        }
        self.at += inside.len() + 2;
        let within = |text: &str| text.parse::<u32>().ok().filter(|n| u64::from(*n) <= COPIES_MAX);
        let (Some(min), Some(max)) = (within(min), max.map_or(Some(None), |max| within(max).map(Some))) else {
            return Err(fault(start, format!("a repetition of more than {COPIES_MAX}")));
        };
        if max.is_some_and(|max| min > max) {
            return Err(fault(start, "a repetition whose least is above its most"));
        }
        Ok(Some((min, max)))
    }

    // ---- groups and flags

    fn open(&mut self, captures: bool, outer_flags: Flags) {
        let group = std::mem::replace(&mut self.group, Group::new(outer_flags, captures));
        self.outer.push(group);
    }

    fn close(&mut self, start: usize) -> Parsed<()> {
        let Some(outer) = self.outer.pop() else { return Err(fault(start, "a `)` that closes nothing")) };
        let group = std::mem::replace(&mut self.group, outer);
        self.flags = group.outer_flags;
        let captures = group.captures;
        let mut piece = group.end()?;
        if captures {
            piece.height = taller(piece.height)?;
        }
        self.group.branch.push(piece);
        Ok(())
    }

    /// What begins with `(?`: a named group, a group with flags, or flags for the rest of this group.
    fn group_or_flags(&mut self) -> Parsed<()> {
        let start = self.at;
        let rest = self.rest();
        if let Some(name) = rest.strip_prefix("(?P<").or_else(|| rest.strip_prefix("(?<")) {
            let Some((name, _)) = name.split_once('>').filter(|(name, _)| is_group_name(name)) else {
                return Err(fault(start, "a group's name is missing or has other than letters, digits and `_`")
                    .hint("look-behind is not part of Go's patterns"));
            };
            self.at += rest.find('>').map_or(name.len(), |end| end + 1);
            self.open(true, self.flags);
            return Ok(());
        }
        self.at += 2;
        let outer = self.flags;
        let (mut negative, mut seen) = (false, false);
        while let Some(c) = self.next() {
            match c {
                'i' => self.flags.fold_case = !negative,
                'm' => self.flags.multi_line = !negative,
                's' => self.flags.dot_matches_newline = !negative,
                'U' => {}
                '-' if !negative => {
                    negative = true;
                    seen = false;
                    continue;
                }
                ':' | ')' if !negative || seen => {
                    if c == ':' {
                        self.open(false, outer);
                    }
                    return Ok(());
                }
                _ => break,
            }
            seen = true;
        }
        Err(fault(start, "neither a group nor flags `i`, `m`, `s`, `U`")
            .hint("look-around, `(?x)` and the like are not part of Go's patterns"))
    }

    // ---- escapes

    fn backslash(&mut self) -> Parsed<()> {
        let rest = self.rest();
        match rest.chars().nth(1) {
            Some('A') => self.assertion(2, Look::Start),
            Some('z') => self.assertion(2, Look::End),
            Some('b') => self.assertion(2, Look::WordAscii),
            Some('B') => self.assertion(2, Look::WordAsciiNegate),
            Some('Q') => {
                let quoted = rest.get(2..).unwrap_or_default();
                let (quoted, len) = match quoted.split_once(r"\E") {
                    Some((quoted, _)) => (quoted, quoted.len() + 4),
                    None => (quoted, quoted.len() + 2),
                };
                for c in quoted.chars() {
                    self.literal(u32::from(c))?;
                }
                self.at += len;
            }
            _ => match self.class_escape()? {
                Some(class) => {
                    self.count_ranges(class.ranges().len())?;
                    self.push(Hir::class(Class::Unicode(class)));
                }
                None => {
                    let code = self.escape()?;
                    self.literal(code)?;
                }
            },
        }
        Ok(())
    }

    /// `\d` and its kin, `\pL`, `\p{Greek}`; `None`, and nothing read, for other escapes.
    fn class_escape(&mut self) -> Parsed<Option<ClassUnicode>> {
        let start = self.at;
        let mut chars = self.rest().chars();
        let (Some('\\'), Some(kind)) = (chars.next(), chars.next()) else { return Ok(None) };
        let name = match kind.to_ascii_lowercase() {
            'd' => "digit",
            'w' => "word",
            's' => "perl space",
            'p' => {
                self.at += 2;
                return self.unicode_class(start, kind == 'P').map(Some);
            }
            _ => return Ok(None),
        };
        self.at += 2;
        Ok(ascii_class(name).map(|class| self.finish_group(class, kind.is_ascii_uppercase())))
    }

    fn unicode_class(&mut self, start: usize, negated: bool) -> Parsed<ClassUnicode> {
        let rest = self.rest();
        let (name, len) = match rest.strip_prefix('{') {
            Some(braced) => match braced.split_once('}') {
                Some((name, _)) => (name, name.len() + 2),
                None => return Err(fault(start, "`\\p{` is not closed")),
            },
            None => {
                let len = rest.chars().next().map_or(0, char::len_utf8);
                (rest.get(..len).unwrap_or_default(), len)
            }
        };
        self.at += len;
        let (name, negated) = match name.strip_prefix('^') {
            Some(name) => (name, !negated),
            None => (name, negated),
        };
        let class = go_unicode::class(name).ok_or_else(|| fault(start, "Go knows no Unicode class of this name"));
        Ok(self.finish_group(class?, negated))
    }

    /// Folds first, negates then: `(?i)\W` has no K of any kind.
    fn finish_group(&self, mut class: ClassUnicode, negated: bool) -> ClassUnicode {
        if self.flags.fold_case {
            class.case_fold_simple();
        }
        if negated {
            class.negate();
        }
        class
    }

    /// An escape for one code point, surrogates included.
    fn escape(&mut self) -> Parsed<u32> {
        let start = self.at;
        self.at += 1;
        let Some(c) = self.next() else { return Err(fault(start, "a `\\` with nothing after it")) };
        let code = match c {
            '0' => Some(self.octal(0)),
            '1'..='7' if self.rest().starts_with(|c: char| c.is_digit(8)) => {
                c.to_digit(8).map(|first| self.octal(first))
            }
            'x' => self.hexadecimal(),
            'a' => Some(0x07),
            'f' => Some(0x0c),
            'n' => Some(0x0a),
            'r' => Some(0x0d),
            't' => Some(0x09),
            'v' => Some(0x0b),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(u32::from(c)),
            _ => None,
        };
        code.ok_or_else(|| {
            let error = fault(start, "not an escape of Go's patterns");
            match c {
                '1'..='9' => error.hint("back-references are not part of Go's patterns"),
                'Z' => error.hint("the pattern is anchored anyway; `\\z` is the end of the text"),
                _ => error,
            }
        })
    }

    /// Up to two more octal digits.
    fn octal(&mut self, first: u32) -> u32 {
        let mut code = first;
        for _ in 0..2 {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else { break };
            self.at += 1;
            code = code * 8 + digit;
        }
        code
    }

    /// After `\x`: two digits, or any number of them in braces.
    fn hexadecimal(&mut self) -> Option<u32> {
        if let Some(braced) = self.rest().strip_prefix('{') {
            let (digits, _) = braced.split_once('}')?;
            self.at += digits.len() + 2;
            if digits.is_empty() {
                return None;
            }
            return digits.chars().try_fold(0, |code, c| {
                let code = code * 16 + c.to_digit(16)?;
                (code <= u32::from(char::MAX)).then_some(code)
            });
        }
        let high = self.next()?.to_digit(16)?;
        let low = self.next()?.to_digit(16)?;
        Some(high * 16 + low)
    }

    // ---- bracketed classes

    fn class(&mut self) -> Parsed<()> {
        let start = self.at;
        self.at += 1;
        let negated = self.peek() == Some('^');
        if negated {
            self.at += 1;
        }
        // What the user wrote as characters is folded at the end; the groups fold, and may negate, on their own.
        let mut characters = Vec::new();
        let mut groups = Vec::new();
        let mut first = true;
        while first || self.peek() != Some(']') {
            first = false;
            let group = match self.named_class()? {
                Some(class) => Some(class),
                None => self.class_escape()?,
            };
            if let Some(class) = group {
                self.count_ranges(class.ranges().len())?;
                groups.extend_from_slice(class.ranges());
                continue;
            }
            let range_start = self.at;
            let low = self.class_character(start)?;
            let mut high = low;
            let mut ahead = self.rest().chars();
            if ahead.next() == Some('-') && ahead.next().is_some_and(|c| c != ']') {
                self.at += 1;
                high = self.class_character(start)?;
                if high < low {
                    return Err(fault(range_start, "a range whose end is before its start"));
                }
            }
            self.count_ranges(1)?;
            characters.extend(without_surrogates(low, high));
        }
        self.at += 1;
        let mut class = ClassUnicode::new(characters);
        if self.flags.fold_case {
            class.case_fold_simple();
        }
        class.union(&ClassUnicode::new(groups));
        if negated {
            class.negate();
        }
        self.push(Hir::class(Class::Unicode(class)));
        Ok(())
    }

    fn class_character(&mut self, class_start: usize) -> Parsed<u32> {
        if self.peek() == Some('\\') {
            return self.escape();
        }
        match self.next() {
            Some(c) => Ok(u32::from(c)),
            None => Err(fault(class_start, "a `[` is not closed").hint("write `\\[`")),
        }
    }

    /// `[:alpha:]` and its kin; without a `:]` anywhere after it, `[:` is two characters.
    fn named_class(&mut self) -> Parsed<Option<ClassUnicode>> {
        let start = self.at;
        let Some(name) = self.rest().strip_prefix("[:") else { return Ok(None) };
        let Some((name, _)) = name.split_once(":]") else { return Ok(None) };
        self.at += name.len() + 4;
        let (plain, negated) = match name.strip_prefix('^') {
            Some(plain) => (plain, true),
            None => (name, false),
        };
        match ascii_class(plain).filter(|_| plain != "perl space") {
            Some(class) => Ok(Some(self.finish_group(class, negated))),
            None => Err(fault(start, "no class of this name between `[:` and `:]`")),
        }
    }
}

impl Group {
    fn new(outer_flags: Flags, captures: bool) -> Self {
        Group { captures, outer_flags, branches: Vec::new(), branch: Vec::new() }
    }

    fn end_branch(&mut self) -> Parsed<()> {
        let branch = std::mem::take(&mut self.branch);
        self.branches.push(join(branch, Hir::concat)?);
        Ok(())
    }

    fn end(mut self) -> Parsed<Piece> {
        self.end_branch()?;
        join(self.branches, Hir::alternation)
    }
}

impl PatternError {
    fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }
}

fn join(pieces: Vec<Piece>, how: fn(Vec<Hir>) -> Hir) -> Parsed<Piece> {
    let several = pieces.len() > 1;
    let copies = pieces.iter().map(|piece| piece.copies).max().unwrap_or(0);
    let height = pieces.iter().map(|piece| piece.height).max().unwrap_or(1);
    let tree = how(pieces.into_iter().map(|piece| piece.tree).collect());
    Ok(Piece { tree, copies, height: if several { taller(height)? } else { height } })
}

fn taller(height: u32) -> Parsed<u32> {
    if height >= NESTING_MAX {
        return Err(too_large(format!("it is nested more than {NESTING_MAX} deep")));
    }
    Ok(height + 1)
}

/// The least bound that a counted repetition respects: Go divides its bound by the count at each level, rounding down.
fn copies(min: u32, max: Option<u32>, inner: u64) -> u64 {
    match max {
        Some(0) => 0,
        max => match u64::from(max.unwrap_or(min)) {
            0 => inner,
            count => count.saturating_mul(inner.max(1)),
        },
    }
}

fn is_group_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
}

fn without_surrogates(low: u32, high: u32) -> impl Iterator<Item = ClassUnicodeRange> {
    let below = (low, high.min(0xD7FF));
    let above = (low.max(0xE000), high);
    [below, above]
        .into_iter()
        .filter(|(low, high)| low <= high)
        .filter_map(|(low, high)| Some(ClassUnicodeRange::new(char::from_u32(low)?, char::from_u32(high)?)))
}

/// Go's classes of ASCII characters. `perl space`, which is `\s`, lacks the vertical tab that `[:space:]` has.
fn ascii_class(name: &str) -> Option<ClassUnicode> {
    let ranges: &[(char, char)] = match name {
        "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        "alpha" => &[('A', 'Z'), ('a', 'z')],
        "ascii" => &[('\0', '\x7f')],
        "blank" => &[('\t', '\t'), (' ', ' ')],
        "cntrl" => &[('\0', '\x1f'), ('\x7f', '\x7f')],
        "digit" => &[('0', '9')],
        "graph" => &[('!', '~')],
        "lower" => &[('a', 'z')],
        "print" => &[(' ', '~')],
        "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "space" => &[('\t', '\r'), (' ', ' ')],
        "perl space" => &[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')],
        "upper" => &[('A', 'Z')],
        "word" => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => return None,
    };
    Some(ClassUnicode::new(ranges.iter().map(|(low, high)| ClassUnicodeRange::new(*low, *high))))
}
