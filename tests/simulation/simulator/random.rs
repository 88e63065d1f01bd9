//! Numbers from a seed (splitmix64): the same seed gives the same scenario on every machine.

use nightshift::model::time::Span;

#[derive(Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5851_F42D_4C95_7F2D)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// 0 to `most` - 1.
    pub fn below(&mut self, most: u64) -> u64 {
        self.next() % most.max(1)
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        let place = self.below(among.len() as u64) as usize;
        among[place]
    }

    /// From `least` to `most`, in milliseconds.
    pub fn span(&mut self, least: Span, most: Span) -> Span {
        let millis = (most.0 - least.0).max(0) / 1000;
        least + Span::millis(self.below(millis as u64 + 1) as i64)
    }

    pub fn seconds(&mut self, least: i64, most: i64) -> Span {
        self.span(Span::seconds(least), Span::seconds(most))
    }
}
