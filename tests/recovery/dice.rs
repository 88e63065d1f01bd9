//! Random choices that can be made again: one seed, printed with every failure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// SplitMix64: small, good enough to choose moments.
pub struct Dice {
    state: u64,
    pub seed: u64,
}

impl Dice {
    /// From `NIGHTSHIFT_SEED`, or a new one.
    pub fn new() -> Dice {
        let seed = std::env::var("NIGHTSHIFT_SEED").ok().map(|text| text.parse().expect("NIGHTSHIFT_SEED is a number"));
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").subsec_nanos();
        Dice::of(seed.unwrap_or_else(|| u64::from(clock())))
    }

    pub fn of(seed: u64) -> Dice {
        Dice { state: seed, seed }
    }

    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// At least `least`, less than `most`.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least)
    }

    pub fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.between(least, most))
    }
}

/// A count of the long sweep, `NIGHTSHIFT_KILLS`; `usual` where it isn't set.
pub fn kills(usual: u64) -> u64 {
    std::env::var("NIGHTSHIFT_KILLS").map_or(usual, |text| text.parse().expect("NIGHTSHIFT_KILLS is a number"))
}
