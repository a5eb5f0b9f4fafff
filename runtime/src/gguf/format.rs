//! A stand-in until `outrigger_kernels::format::Format` is there.

/// A tensor type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Format(u32);

const TABLE: &[(u32, &str, usize, usize)] = &[
    (0, "F32", 1, 4),
    (1, "F16", 1, 2),
    (2, "Q4_0", 32, 18),
    (3, "Q4_1", 32, 20),
    (6, "Q5_0", 32, 22),
    (7, "Q5_1", 32, 24),
    (8, "Q8_0", 32, 34),
    (10, "Q2_K", 256, 84),
    (11, "Q3_K", 256, 110),
    (12, "Q4_K", 256, 144),
    (13, "Q5_K", 256, 176),
    (14, "Q6_K", 256, 210),
    (24, "I8", 1, 1),
    (26, "I32", 1, 4),
    (30, "BF16", 1, 2),
];

impl Format {
    fn row(self) -> &'static (u32, &'static str, usize, usize) {
        TABLE.iter().find(|r| r.0 == self.0).unwrap_or(&TABLE[0])
    }

    /// The format of a ggml type number.
    pub fn from_ggml_type(number: u32) -> Option<Self> {
        TABLE.iter().any(|r| r.0 == number).then_some(Self(number))
    }

    /// ggml's number.
    pub fn ggml_type(self) -> u32 {
        self.0
    }

    /// ggml's name.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Values in a block.
    pub fn block_len(self) -> usize {
        self.row().2
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        self.row().3
    }

    /// Bytes of a row, if it is a whole number of blocks.
    pub fn row_bytes(self, values: usize) -> Option<usize> {
        values
            .is_multiple_of(self.block_len())
            .then(|| (values / self.block_len()).checked_mul(self.block_bytes()))?
    }
}
