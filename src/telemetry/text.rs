//! Text from outside, made safe to show: in terminals, in log lines, in messages.
//!
//! An alert's label is written by whoever writes alerts. Control characters move cursors, bidirectional overrides
//! make text read otherwise than it is, zero-width characters hide. None of them passes.

/// Longer texts are cut: a log line or a table cell is not the place for an essay.
pub const LONGEST_PLAIN_CHARS: usize = 500;

/// `text` on one line, without characters that steer or hide, at most [`LONGEST_PLAIN_CHARS`] long.
#[must_use]
pub fn plain(text: &str) -> String {
    shortened(text, LONGEST_PLAIN_CHARS)
}

/// The same with a limit in characters; what is cut is shown by `…`, which counts.
#[must_use]
pub fn shortened(text: &str, limit_chars: usize) -> String {
    let mut shown = String::new();
    let mut count = 0;
    let mut blank = false;
    for character in text.chars() {
        if steers(character) {
            continue;
        }
        let is_blank = character.is_whitespace();
        let breaks = is_blank && character != ' ';
        if breaks && blank {
            continue;
        }
        if count == limit_chars {
            shown.pop();
            shown.push('…');
            break;
        }
        shown.push(if breaks { ' ' } else { character });
        blank = is_blank;
        count += 1;
    }
    shown
}

/// Characters that change how others are shown, or are not shown at all. Line breaks and tabs become blanks instead.
pub(super) fn steers(character: char) -> bool {
    match character {
        '\n' | '\r' | '\t' => false,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' => true,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        '\u{fe00}'..='\u{fe0f}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}' => true,
        '\u{2028}' | '\u{2029}' => true,
        other => other.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_or_hides_is_taken_out() {
        assert_eq!(plain("\u{1b}[31mred\u{7}\u{0}"), "[31mred");
        assert_eq!(plain("user\u{202e}txt.exe"), "usertxt.exe");
        assert_eq!(plain("pay\u{200b}pal\u{feff}\u{2066}x\u{e0041}"), "paypalx");
        assert_eq!(plain("a\u{9b}31m"), "a31m");
    }

    #[test]
    fn line_breaks_become_one_blank() {
        assert_eq!(plain("one\r\n\ttwo\nthree  four"), "one two three  four");
        assert_eq!(plain("fake\nERROR line"), "fake ERROR line");
    }

    #[test]
    fn a_long_text_is_cut_with_an_ellipsis() {
        let shown = plain(&"ä".repeat(2000));
        assert_eq!(shown.chars().count(), LONGEST_PLAIN_CHARS);
        assert!(shown.ends_with('…'));
        assert_eq!(shortened("exactly", 7), "exactly");
        assert_eq!(shortened("exactly!", 7), "exactl…");
    }

    #[test]
    fn other_scripts_stay_as_they_are() {
        for text in ["Zürich – 東京 – مرحبا", "50 %", "日本語のラベル"] {
            assert_eq!(plain(text), text);
        }
    }
}
