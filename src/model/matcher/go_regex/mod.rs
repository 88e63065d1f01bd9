//! Go's pattern syntax (RE2), translated for the `regex` crate.
//!
//! The two look alike and are not: `\d`, `\w`, `\s`, `\b` know ASCII only in Go, `[a&&b]` is three characters, `\<` is a
//! literal, `\Q…\E` quotes, `a{1001}` and `(?x)` are errors. So the pattern is read here as Go reads it, into
//! `regex-syntax`'s syntax tree, and the tree is printed for the crate to compile. Only "does it match" is asked, hence
//! greediness is read and forgotten, and no group captures.
//!
//! Matching takes time linear in the text. What a pattern may cost to compile is bounded by the constants below.

mod escape;
mod unicode;

use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Dot, Hir, HirKind, Look, Repetition};

/// Longest pattern, in bytes. Go has no such bound.
const PATTERN_BYTES_MAX: usize = 64 * 1024;
/// Largest compiled program, in bytes. `[^x]{1000}` and a list of a thousand host names fit with room to spare.
const COMPILED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most code point ranges over all classes of a pattern; `\pL` has some 650.
const CLASS_RANGES_MAX: usize = 100_000;
/// Deepest syntax tree. Go allows 1000, but compilation recurses: without optimisation 160 levels fill a task's stack of
/// 2 MiB.
const NESTING_MAX: u32 = 50;
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
