//! IQ4_NL, IQ4_XS and MXFP4, whose nibbles are places in a table; their bytes
//! are described in `format/iq4.rs` and `format/fp4.rs`.

use super::legacy::{row_nibbles, two_blocks, two_blocks_nibbles};
use super::{
    Heads, Layout, Order, Quads, Source, bytes_at, halves, made, one_half, signed_byte, spread_pair,
};
use crate::cpu::simd::{Pair, Simd, four};
use crate::format::{FP4_VALUES, IQ4_VALUES, e8m0_half};

pub(in crate::cpu::dot) struct Iq4Nl;
pub(in crate::cpu::dot) struct Iq4Xs;
pub(in crate::cpu::dot) struct Mxfp4;

/// What is added to the values of MXFP4 to make them unsigned.
const FP4_ZERO: i8 = 12;

/// `values + zero`, as bytes.
const fn table(values: &[i8; 16], zero: i8) -> [u8; 16] {
    let mut table = [0; 16];
    let mut i = 0;
    while i < 16 {
        table[i] = (values[i] + zero) as u8;
        i += 1;
    }
    table
}

/// What the table says of each nibble, one of `nibbles`.
#[inline(always)]
fn look_up_row<S: Pair>(set: S, table: &[u8; 16], nibbles: [S::Bytes; 4]) -> [S::Bytes; 4] {
    let table = set.splat16(table);
    four!(i => set.shuffle(table, nibbles[i]))
}

/// What the table says of each nibble of two blocks.
#[inline(always)]
fn look_up<S: Simd>(set: S, table: &[u8; 16], chunks: [S::Bytes; 4]) -> [S::Bytes; 4] {
    let table = set.splat16(table);
    let nibbles = two_blocks_nibbles(set, chunks);
    four!(i => set.shuffle(table, nibbles[i]))
}

impl Layout<144> for Iq4Nl {
    const FINE: bool = false;
    const MINS: bool = false;
    const SIGNED: bool = true;
    const ORDER: Order = Order::Blocks;
    const CHUNKS: usize = 2;

    #[inline(always)]
    fn chunks<S: Simd, const Q: usize>(set: S, source: &impl Source<S>) -> [S::Bytes; 4] {
        two_blocks::<S, 144>(set, source, Q, 2)
    }

    #[inline(always)]
    fn codes<S: Simd, const Q: usize>(set: S, chunks: [S::Bytes; 4]) -> [S::Bytes; 4] {
        look_up(set, const { &table(&IQ4_VALUES, 0) }, chunks)
    }

    #[inline(always)]
    fn row_codes<S: Pair, const G: usize>(set: S, unit: &[u8; 144]) -> [S::Bytes; 4] {
        let nibbles = row_nibbles(set, unit, G, 2);
        look_up_row(set, const { &table(&IQ4_VALUES, 0) }, nibbles)
    }
}

/// The eight scales of an IQ4_XS block, less 32, in the first eight bytes.
#[inline(always)]
fn iq4_xs_scales(block: &[u8; 136]) -> [u8; 16] {
    let high = u16::from_le_bytes(*bytes_at(block, 2));
    let low: &[u8; 4] = bytes_at(block, 4);
    let mut scales = [0; 16];
    for (i, scale) in scales[..8].iter_mut().enumerate() {
        let low = (low[i / 2] >> (4 * (i % 2))) & 0x0f;
        let high = (high >> (2 * i)) as u8 & 3;
        *scale = (low | (high << 4)).wrapping_sub(32);
    }
    scales
}

impl Layout<136> for Iq4Xs {
    const FINE: bool = false;
    const MINS: bool = false;
    const SIGNED: bool = true;
    const ORDER: Order = Order::Blocks;
    const CHUNKS: usize = 2;

    #[inline(always)]
    fn chunks<S: Simd, const Q: usize>(set: S, source: &impl Source<S>) -> [S::Bytes; 4] {
        let first = source.chunk(set, 8 + 32 * Q);
        let second = source.chunk(set, 24 + 32 * Q);
        [first, second, first, second]
    }

    #[inline(always)]
    fn codes<S: Simd, const Q: usize>(set: S, chunks: [S::Bytes; 4]) -> [S::Bytes; 4] {
        look_up(set, const { &table(&IQ4_VALUES, 0) }, chunks)
    }

    #[inline(always)]
    fn heads<S: Simd>(set: S, quads: &Quads<'_, 136>) -> Heads<S> {
        let codes = four!(i => made(set, &quads[i], iq4_xs_scales));
        Heads::new(set, codes, halves(set, quads, 0), set.splat(0.0))
    }

    #[inline(always)]
    fn scales<S: Simd, const Q: usize>(
        set: S,
        _quads: &Quads<'_, 136>,
        heads: &Heads<S>,
    ) -> [S::Floats; 4] {
        four!(i => set.mul(heads.scale, signed_byte(set, heads.words[Q / 2], i)))
    }

    #[inline(always)]
    fn row_codes<S: Pair, const G: usize>(set: S, unit: &[u8; 136]) -> [S::Bytes; 4] {
        let nibbles = four!(i => set.nibble_halves(bytes_at(unit, 8 + 64 * G + 16 * i)));
        look_up_row(set, const { &table(&IQ4_VALUES, 0) }, nibbles)
    }

    #[inline(always)]
    fn row_scales<S: Pair, const G: usize>(set: S, unit: &[u8; 136]) -> S::Floats {
        let index = set.read(const { &spread_pair([0, 4], 1, 3) });
        let scales = set.shuffle(set.splat16(&iq4_xs_scales(unit)), index);
        let scales = set.to_floats(set.shr_ints(set.ints(scales), 24));
        set.mul(one_half(set, unit, 0), scales)
    }
}

impl Layout<136> for Mxfp4 {
    const FINE: bool = false;
    const MINS: bool = false;
    const ZERO: i16 = FP4_ZERO as i16;
    const ORDER: Order = Order::Blocks;
    const CHUNKS: usize = 2;

    #[inline(always)]
    fn chunks<S: Simd, const Q: usize>(set: S, source: &impl Source<S>) -> [S::Bytes; 4] {
        two_blocks::<S, 136>(set, source, Q, 1)
    }

    #[inline(always)]
    fn codes<S: Simd, const Q: usize>(set: S, chunks: [S::Bytes; 4]) -> [S::Bytes; 4] {
        look_up(set, const { &table(&FP4_VALUES, FP4_ZERO) }, chunks)
    }

    #[inline(always)]
    fn scales<S: Simd, const Q: usize>(
        set: S,
        quads: &Quads<'_, 136>,
        _heads: &Heads<S>,
    ) -> [S::Floats; 4] {
        let scales = four!(i => made(set, &quads[i], |unit| {
            let mut bytes = [0; 16];
            for (block, bytes) in bytes.as_chunks_mut().0.iter_mut().enumerate() {
                *bytes = e8m0_half(unit[(4 * (Q / 2) + block) * 17]).to_le_bytes();
            }
            bytes
        }));
        let scales = set.transpose(scales);
        four!(i => set.floats(scales[i]))
    }

    #[inline(always)]
    fn row_codes<S: Pair, const G: usize>(set: S, unit: &[u8; 136]) -> [S::Bytes; 4] {
        let nibbles = row_nibbles(set, unit, G, 1);
        look_up_row(set, const { &table(&FP4_VALUES, FP4_ZERO) }, nibbles)
    }

    #[inline(always)]
    fn row_scales<S: Pair, const G: usize>(set: S, unit: &[u8; 136]) -> S::Floats {
        let mut bytes = [0; 32];
        for (block, bytes) in bytes.as_chunks_mut().0.iter_mut().enumerate() {
            *bytes = e8m0_half(unit[block * 17]).to_le_bytes();
        }
        set.floats(set.read(&bytes))
    }
}
