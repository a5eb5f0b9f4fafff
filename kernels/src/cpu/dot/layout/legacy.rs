//! Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0; their bytes are described in
//! `format/legacy.rs`.

use super::{Heads, Layout, Order, Quads, Source, bytes_at, halves, nibbles, row_halves, splat};
use crate::cpu::simd::{Pair, Simd, four};

pub(in crate::cpu::dot) struct Q4_0;
pub(in crate::cpu::dot) struct Q4_1;
pub(in crate::cpu::dot) struct Q5_0;
pub(in crate::cpu::dot) struct Q5_1;
pub(in crate::cpu::dot) struct Q8_0;

/// The codes' bytes of the two blocks of a quarter, which lie at `offset` in
/// each block.
#[inline(always)]
pub(super) fn two_blocks<S: Simd, const UNIT: usize>(
    set: S,
    source: &impl Source<S>,
    quarter: usize,
    offset: usize,
) -> [S::Bytes; 4] {
    let start = 2 * quarter * (UNIT / 8) + offset;
    let first = source.chunk(set, start);
    let second = source.chunk(set, start + UNIT / 8);
    [first, second, first, second]
}

/// The nibbles of two blocks: of each the low ones, then the high ones.
#[inline(always)]
pub(super) fn two_blocks_nibbles<S: Simd>(set: S, chunks: [S::Bytes; 4]) -> [S::Bytes; 4] {
    let ([a, b], [c, d]) = (nibbles(set, chunks[0]), nibbles(set, chunks[1]));
    [a, b, c, d]
}

/// The codes of the two blocks of a quarter with their fifth bits at `high`
/// and the others at `low` of each block.
#[inline(always)]
fn five_bits<S: Simd, const UNIT: usize>(
    set: S,
    source: &impl Source<S>,
    quarter: usize,
    high: usize,
    low: usize,
) -> [S::Bytes; 4] {
    let nibbles = two_blocks_nibbles(set, two_blocks::<S, UNIT>(set, source, quarter, low));
    let bits = set.splat16(&BITS);
    four!(i => {
        // The four bytes are followed by those of the low nibbles, so that 16
        // can be read.
        let bytes = source.chunk(set, (2 * quarter + i / 2) * (UNIT / 8) + high);
        let bytes = set.shuffle(bytes, set.splat16(&FIFTHS[i % 2]));
        let fifth = set.equal(set.and(bytes, bits), bits);
        set.or(nibbles[i], set.and(fifth, splat(set, 0x10)))
    })
}

/// Which of four bytes has the fifth bits of the values of a half block.
const FIFTHS: [[u8; 16]; 2] = [
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1],
    [2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3],
];

/// Which bit of it.
const BITS: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];

/// The nibbles at `offset` of the four blocks of a group of a row, the low ones
/// in the first lane.
#[inline(always)]
pub(super) fn row_nibbles<S: Pair, const UNIT: usize>(
    set: S,
    unit: &[u8; UNIT],
    group: usize,
    offset: usize,
) -> [S::Bytes; 4] {
    four!(i => set.nibble_halves(bytes_at(unit, (4 * group + i) * (UNIT / 8) + offset)))
}

/// As [`row_nibbles`] with the fifth bits at `high`.
#[inline(always)]
fn row_five_bits<S: Pair, const UNIT: usize>(
    set: S,
    unit: &[u8; UNIT],
    group: usize,
    high: usize,
    low: usize,
) -> [S::Bytes; 4] {
    let nibbles = row_nibbles(set, unit, group, low);
    let bits = set.splat16(&BITS);
    let places = set.load([&FIFTHS[0], &FIFTHS[1], &FIFTHS[0], &FIFTHS[1]]);
    four!(i => {
        let bytes: &[u8; 4] = bytes_at(unit, (4 * group + i) * (UNIT / 8) + high);
        let bytes = set.shuffle(set.splat4(*bytes), places);
        let fifth = set.equal(set.and(bytes, bits), bits);
        set.or(nibbles[i], set.and(fifth, splat(set, 0x10)))
    })
}

/// What is subtracted from the weights of the four blocks of group `group`: the
/// file's second halves are added.
#[inline(always)]
fn block_mins<S: Simd, const UNIT: usize>(
    set: S,
    quads: &Quads<'_, UNIT>,
    group: usize,
) -> [S::Floats; 4] {
    four!(i => {
        let offsets = halves(set, quads, (4 * group + i) * (UNIT / 8) + 2);
        set.mul(set.splat(-1.0), offsets)
    })
}

impl Layout<144> for Q4_0 {
    const FINE: bool = false;
    const MINS: bool = false;
    const ZERO: i16 = 8;
    const ORDER: Order = Order::Blocks;
    const CHUNKS: usize = 2;

    #[inline(always)]
    fn chunks<S: Simd, const Q: usize>(set: S, source: &impl Source<S>) -> [S::Bytes; 4] {
        two_blocks::<S, 144>(set, source, Q, 2)
    }

    #[inline(always)]
    fn codes<S: Simd, const Q: usize>(set: S, chunks: [S::Bytes; 4]) -> [S::Bytes; 4] {
        two_blocks_nibbles(set, chunks)
    }

    #[inline(always)]
    fn row_codes<S: Pair, const G: usize>(set: S, unit: &[u8; 144]) -> [S::Bytes; 4] {
        row_nibbles(set, unit, G, 2)
    }
}

impl Layout<160> for Q4_1 {
    const FINE: bool = false;
    const MINS: bool = true;
    const ORDER: Order = Order::Blocks;
    const CHUNKS: usize = 2;

    #[inline(always)]
    fn chunks<S: Simd, const Q: usize>(set: S, source: &impl Source<S>) -> [S::Bytes; 4] {
        two_blocks::<S, 160>(set, source, Q, 4)
    }

    #[inline(always)]
    fn codes<S: Simd, const Q: usize>(set: S, chunks: [S::Bytes; 4]) -> [S::Bytes; 4] {
        two_blocks_nibbles(set, chunks)
    }

    #[inline(always)]
    fn mins<S: Simd, const Q: usize>(
        set: S,
        quads: &Quads<'_, 160>,
        _heads: &Heads<S>,
    ) -> [S::Floats; 4] {
        block_mins::<S, 160>(set, quads, Q / 2)
    }

    #[inline(always)]
    fn row_codes<S: Pair, const G: usize>(set: S, unit: &[u8; 160]) -> [S::Bytes; 4] {
        row_nibbles(set, unit, G, 4)
    }

    #[inline(always)]
    fn row_mins<S: Pair, const G: usize>(set: S, unit: &[u8; 160]) -> S::Floats {
        // The file's offset is added.
        set.mul(set.splat(-1.0), row_halves(set, unit, 2))
    }
}

impl Layout<176> for Q5_0 {
    const FINE: bool = false;
    const MINS: bool = false;
    const ZERO: i16 = 16;
    const ORDER: Order = Order::Blocks;
    const CHUNKS: usize = 4;

    #[inline(always)]
    fn chunks<S: Simd, const Q: usize>(set: S, source: &impl Source<S>) -> [S::Bytes; 4] {
        five_bits::<S, 176>(set, source, Q, 2, 6)
    }

    #[inline(always)]
    fn row_codes<S: Pair, const G: usize>(set: S, unit: &[u8; 176]) -> [S::Bytes; 4] {
        row_five_bits(set, unit, G, 2, 6)
    }
}

impl Layout<192> for Q5_1 {
    const FINE: bool = false;
    const MINS: bool = true;
    const ORDER: Order = Order::Blocks;
    const CHUNKS: usize = 4;

    #[inline(always)]
    fn chunks<S: Simd, const Q: usize>(set: S, source: &impl Source<S>) -> [S::Bytes; 4] {
        five_bits::<S, 192>(set, source, Q, 4, 8)
    }

    #[inline(always)]
    fn mins<S: Simd, const Q: usize>(
        set: S,
        quads: &Quads<'_, 192>,
        _heads: &Heads<S>,
    ) -> [S::Floats; 4] {
        block_mins::<S, 192>(set, quads, Q / 2)
    }

    #[inline(always)]
    fn row_codes<S: Pair, const G: usize>(set: S, unit: &[u8; 192]) -> [S::Bytes; 4] {
        row_five_bits(set, unit, G, 4, 8)
    }

    #[inline(always)]
    fn row_mins<S: Pair, const G: usize>(set: S, unit: &[u8; 192]) -> S::Floats {
        // The file's offset is added.
        set.mul(set.splat(-1.0), row_halves(set, unit, 2))
    }
}

impl Layout<272> for Q8_0 {
    const FINE: bool = false;
    const MINS: bool = false;
    const SIGNED: bool = true;
    const ORDER: Order = Order::Blocks;
    const CHUNKS: usize = 4;

    #[inline(always)]
    fn chunks<S: Simd, const Q: usize>(set: S, source: &impl Source<S>) -> [S::Bytes; 4] {
        four!(i => source.chunk(set, (2 * Q + i / 2) * 34 + 2 + 16 * (i % 2)))
    }

    #[inline(always)]
    fn row_codes<S: Pair, const G: usize>(set: S, unit: &[u8; 272]) -> [S::Bytes; 4] {
        four!(i => set.read(bytes_at::<32>(unit, (4 * G + i) * 34 + 2)))
    }
}
