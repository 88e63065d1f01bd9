//! The known word that somebody probably meant.

/// More differences than this are another word, not a slip.
const FARTHEST: usize = 3;

/// The closest of `known` to `word`, where it is close enough to be a slip of the hand.
#[must_use]
pub fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).clamp(1, FARTHEST);
    known
        .into_iter()
        .map(|candidate| (distance(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The line after `hint:` for a word that is not among the known ones: the closest, or the list where it is short.
#[must_use]
pub fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    /// A longer list is read by nobody.
    const LONGEST_LIST: usize = 12;
    let as_file = format!("{word}_file");
    if known.clone().into_iter().any(|candidate| candidate == as_file) {
        return Some(format!("write `{as_file}: PATH`: it stands in a file of its own, and is never written here"));
    }
    if let Some(candidate) = closest(word, known.clone()) {
        return Some(format!("did you mean `{candidate}`?"));
    }
    let words: Vec<&str> = known.into_iter().collect();
    match words.as_slice() {
        [] => None,
        [only] => Some(format!("only `{only}` is known here")),
        words if words.len() > LONGEST_LIST => None,
        words => Some(format!("known here: {}", quoted(words))),
    }
}

/// `a`, `b`, `c`.
#[must_use]
pub fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// Insertions, removals, replacements and swaps of neighbours between two words.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().take(64).collect(), to.chars().take(64).collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, have) in from.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, want) in to.iter().enumerate() {
            let at = |list: &[usize], place: usize| list.get(place).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&above, column + 1) + 1)
                .min(at(&line, column) + 1)
                .min(at(&above, column) + usize::from(have != want));
            let swapped = row > 0
                && column > 0
                && from.get(row - 1) == Some(want)
                && to.get(column - 1) == Some(have)
                && !before.is_empty();
            if swapped {
                best = best.min(at(&before, column - 1) + 1);
            }
            line.push(best);
        }
        before = std::mem::replace(&mut above, line);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["cooldown", "channel", "mode", "replicas"];
        assert_eq!(closest("cooldwon", known), Some("cooldown"));
        assert_eq!(closest("chanel", known), Some("channel"));
        assert_eq!(closest("Mode", known), Some("mode"));
        assert_eq!(closest("replica", known), Some("replicas"));
        assert_eq!(closest("banana", known), None);
        assert_eq!(closest("x", known), None);
    }

    #[test]
    fn distances_are_those_of_single_slips() {
        for (from, to, expected) in [("abc", "abc", 0), ("abc", "acb", 1), ("abc", "ab", 1), ("", "abc", 3)] {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn what_stands_in_a_file_is_named_by_it() {
        let known = ["channel", "bot_token_file", "token", "token_file"];
        let said = hint("bot_token", known).unwrap();
        assert!(said.starts_with("write `bot_token_file: PATH`"), "{said}");
        assert_eq!(hint("tokn", known).unwrap(), "did you mean `token`?");
    }

    #[test]
    fn a_short_list_is_shown_when_nothing_is_close() {
        assert_eq!(hint("zzz", ["a", "b"]).unwrap(), "known here: `a`, `b`");
        assert_eq!(hint("zzz", std::iter::empty()), None);
    }
}
