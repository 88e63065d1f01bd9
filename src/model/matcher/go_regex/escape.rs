//! What a backslash begins, and bracketed classes.
//!
//! Classes are those of ASCII but for `\p{…}`; nothing nests and nothing intersects. Folding comes before negation.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, Look};

use super::{Parsed, Parser, fault, unicode};

impl Parser<'_> {
    pub(super) fn backslash(&mut self) -> Parsed<()> {
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
        let class = unicode::class(name).ok_or_else(|| fault(start, "Go knows no Unicode class of this name"));
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

    pub(super) fn class(&mut self) -> Parsed<()> {
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
