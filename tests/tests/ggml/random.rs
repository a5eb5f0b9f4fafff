//! Numbers that are the same in every run.

/// A generator (xorshift32).
pub(crate) struct Random(pub(crate) u32);

impl Random {
    pub(crate) fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// From -1 to 1, even.
    pub(crate) fn even(&mut self) -> f32 {
        (self.next() >> 8) as f32 / (1 << 23) as f32 - 1.0
    }

    /// About normal: the sum of four even ones.
    pub(crate) fn values(&mut self, count: usize) -> Vec<f32> {
        let value = |_| (0..4).map(|_| self.even()).sum();
        (0..count).map(value).collect()
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.next() >> 16) as u8).collect()
    }
}
