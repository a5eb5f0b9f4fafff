//! Random numbers, the same everywhere.

/// Numbers from a counter (SplitMix64: Steele, Lea and Flood, OOPSLA 2014).
pub(super) struct Random {
    state: u64,
}

impl Random {
    /// The numbers of one stream of a seed.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self { state: seed };
        let seed = random.next();
        Self {
            state: seed ^ stream.wrapping_mul(0xD129_0E1E_6A3F_8B45),
        }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// About a normal distribution of mean 0 and deviation 1: the sum of four
    /// uniform numbers.
    pub(super) fn normal(&mut self) -> f32 {
        let bits = self.next();
        let sum: i32 = (0..4).map(|i| i32::from((bits >> (16 * i)) as i16)).sum();
        // Each has a variance of (2^16)^2 / 12; half an ulp off the middle.
        (sum as f32 + 2.0) / (65_536.0 * 0.577_350_26)
    }
}
