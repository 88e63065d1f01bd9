//! Anybody's words made fit to be shown: one line, nothing invisible, of bounded length.
//!
//! Labels, annotations, names and error texts come from outside. What is left here is only ever text; that it stays
//! text in a receiver's markup is that receiver's work ([`super::slack::blocks`]).

use std::{iter::Peekable, str::Chars};

/// What was cut ends with it.
pub const ELLIPSIS: char = '…';

/// One line of at most `most` characters (at least one): escape sequences, control, bidirectional and zero-width
/// characters are gone, blank runs are one space, what is too long ends with an ellipsis. Reads no more of `text` than
/// it shows.
#[must_use]
pub fn line(text: &str, most: usize) -> String {
    let mut shown = String::new();
    let mut count = 0;
    let mut blank = false;
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        if next == '\u{1b}' || next == '\u{9b}' {
            skip_escape(next, &mut rest);
            continue;
        }
        if next.is_whitespace() {
            blank = count > 0;
            continue;
        }
        if is_unseen(next) {
            continue;
        }
        let needed = if blank { 2 } else { 1 };
        if count + needed > most {
            // Room for the ellipsis is made by the last character.
            if count >= most {
                shown.pop();
            }
            shown.push(ELLIPSIS);
            return shown;
        }
        if blank {
            shown.push(' ');
        }
        shown.push(next);
        count += needed;
        blank = false;
    }
    shown
}

/// A terminal's control sequence: `ESC [`, parameters, intermediates, one final byte. Anything else loses its ESC only.
fn skip_escape(first: char, rest: &mut Peekable<Chars<'_>>) {
    if first == '\u{1b}' && rest.next_if_eq(&'[').is_none() {
        return;
    }
    while rest.next_if(|next| ('\u{20}'..='\u{3f}').contains(next)).is_some() {}
    let _ = rest.next_if(|next| ('\u{40}'..='\u{7e}').contains(next));
}

/// Shown as nothing, or changes how its neighbours are shown.
fn is_unseen(next: char) -> bool {
    next.is_control()
        || matches!(next,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_seen_is_taken_out() {
        assert_eq!(line("  a\tb\r\n c\u{2028}d  ", 80), "a b c d");
        assert_eq!(line("\u{1b}[1;31mred\u{1b}[0m \u{9b}2Kline \u{1b}]8;;x\u{7}", 80), "red line ]8;;x");
        assert_eq!(line("user\u{202e}gnp.exe\u{202c}", 80), "usergnp.exe");
        assert_eq!(line("\u{200b}<\u{200d}!\u{2060}channel\u{feff}>\u{e0041}", 80), "<!channel>");
        assert_eq!(line("\u{0}\u{7f}\u{85}", 80), "");
    }

    #[test]
    fn what_is_too_long_says_so() {
        assert_eq!(line("abcdef", 6), "abcdef");
        assert_eq!(line("abcdefg", 6), "abcde…");
        assert_eq!(line("abc def", 4), "abc…");
        assert_eq!(line("ééééééé", 3), "éé…");
        assert_eq!(line("ab", 1), "…");
    }

    proptest! {
        #[test]
        fn it_is_one_bounded_line(text in any::<String>(), most in 1_usize..200) {
            let shown = line(&text, most);
            prop_assert!(shown.chars().count() <= most);
            prop_assert!(!shown.chars().any(|next| is_unseen(next) || (next != ' ' && next.is_whitespace())));
            prop_assert_eq!(line(&shown, most), shown.clone(), "showing it again changes nothing");
        }
    }
}
