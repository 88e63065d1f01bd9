//! Ten thousand damaged starter files: each is read, or refused with a line. None panics.

use super::{STARTER, World};

/// A small generator (xorshift) with a fixed seed: the same files in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

/// What people and editors do to files, and what breaks readers of YAML.
const INSERTED: [&str; 40] = [
    "\t",
    " ",
    "\n",
    ":",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "'",
    "\"",
    "#",
    "&a",
    "*a",
    "!!str ",
    "<<: ",
    "---\n",
    "...\n",
    "|",
    ">",
    "%",
    "@",
    "`",
    "\\",
    "\u{0}",
    "\u{7f}",
    "é",
    "𝄞",
    "\u{202e}",
    "null",
    "true",
    "-1",
    "0",
    "1e999",
    "99999999999999999999",
    "P0..P9",
    "=~\"(\"",
    "match: []\n",
    "name: x\n",
];

fn damaged(text: &str, random: &mut Random) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(3) {
        let at = random.below(characters.len());
        let length = random.below(40).min(characters.len().saturating_sub(at));
        match random.below(6) {
            0 => drop(characters.drain(at..at + length)),
            1 => {
                let word = random.pick(&INSERTED);
                characters.splice(at..at, word.chars());
            }
            2 => {
                let piece: Vec<char> = characters[at..at + length].to_vec();
                let to = random.below(characters.len());
                characters.splice(to..to, piece);
            }
            3 => {
                let word = random.pick(&INSERTED);
                characters.splice(at..at + length.min(1), word.chars());
            }
            4 => characters.truncate(at),
            _ => {
                let mut lines: Vec<String> = characters.iter().collect::<String>().lines().map(str::to_owned).collect();
                let (one, other) = (random.below(lines.len()), random.below(lines.len()));
                if !lines.is_empty() {
                    lines.swap(one, other);
                }
                characters = lines.join("\n").chars().collect();
            }
        }
    }
    characters.into_iter().collect()
}

/// How many of `count` damaged files load; the others are refused with a line.
fn loaded(starter: &str, seed: u64, count: usize) -> usize {
    let world = World::with_everything();
    let mut random = Random(seed);
    let mut loaded = 0;
    for number in 0..count {
        let text = damaged(starter, &mut random);
        match world.load(&text) {
            Ok(_) => loaded += 1,
            Err(problems) => {
                let nothing_there = problems.iter().any(|problem| problem.what == "the file is empty");
                let placed = problems.iter().any(|problem| !problem.warning && problem.line > 0);
                assert!(placed || nothing_there, "file {number} of seed {seed:#x}: {problems:?}\n{text}");
            }
        }
    }
    loaded
}

#[test]
fn ten_thousand_damaged_files_load_or_are_refused_with_a_line() {
    // Comments only make the interesting parts rarer.
    let starter: String =
        STARTER.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    let seeds = [0x5eed_0001, 0x5eed_0002, 0x5eed_0003, 0x5eed_0004];
    let starter = starter.as_str();
    let loaded: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = seeds.map(|seed| scope.spawn(move || loaded(starter, seed, 2_500))).into_iter().collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!((500..5_000).contains(&loaded), "{loaded} loaded: the damage is too small or too large");
}
