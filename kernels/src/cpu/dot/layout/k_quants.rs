//! Q2_K to Q6_K; their bytes are described in `format/k_quants.rs`.

use super::{
    Layout, Order, Source, Units, bytes_at, made, nibbles, one_half, row_half, signed_bytes, splat,
    spread, spread_pair,
};
use crate::cpu::simd::{Pair, Simd, four};

pub(in crate::cpu::dot) struct Q2K;
pub(in crate::cpu::dot) struct Q3K;
pub(in crate::cpu::dot) struct Q4K;
pub(in crate::cpu::dot) struct Q5K;
pub(in crate::cpu::dot) struct Q6K;

/// The four 2-bit fields of each byte, the lowest first.
#[inline(always)]
fn two_bits<S: Simd>(set: S, bytes: S::Bytes) -> [S::Bytes; 4] {
    let mask = splat(set, 3);
    four!(i => set.and(set.shr(bytes, 2 * i), mask))
}

/// Bit `from` of each byte, as bit `to`.
#[inline(always)]
fn bit<S: Simd>(set: S, bytes: S::Bytes, from: u8, to: u8) -> S::Bytes {
    let moved = if from < to {
        set.shl(bytes, to - from)
    } else {
        set.shr(bytes, from - to)
    };
    set.and(moved, splat(set, 1 << to))
}

impl Layout<84> for Q2K {
    const FINE: bool = true;
    const MINS: bool = true;
    const ORDER: Order = Order::Halves;
    const CHUNKS: usize = 1;

    #[inline(always)]
    fn chunks<S: Simd, const Q: usize>(set: S, source: &impl Source<S>) -> [S::Bytes; 4] {
        [source.chunk(set, 16 + 16 * Q); 4]
    }

    #[inline(always)]
    fn codes<S: Simd, const Q: usize>(set: S, chunks: [S::Bytes; 4]) -> [S::Bytes; 4] {
        two_bits(set, chunks[0])
    }

    #[inline(always)]
    fn scales<S: Simd, const Q: usize>(set: S, units: &Units<'_, 84>) -> S::Floats {
        let [scales, _] = nibbles(set, units.chunk(set, 0));
        set.mul(row_half(set, units, 80), fine::<S, Q>(set, scales))
    }

    #[inline(always)]
    fn mins<S: Simd, const Q: usize>(set: S, units: &Units<'_, 84>) -> S::Floats {
        let [_, mins] = nibbles(set, units.chunk(set, 0));
        set.mul(row_half(set, units, 82), fine::<S, Q>(set, mins))
    }

    #[inline(always)]
    fn row_scales<S: Pair, const G: usize>(set: S, unit: &[u8; 84]) -> S::Floats {
        let [scales, _] = nibbles(set, set.splat16(bytes_at(unit, 0)));
        set.mul(one_half(set, unit, 80), row_fine::<S, G>(set, scales))
    }

    #[inline(always)]
    fn row_mins<S: Pair, const G: usize>(set: S, unit: &[u8; 84]) -> S::Floats {
        let [_, mins] = nibbles(set, set.splat16(bytes_at(unit, 0)));
        set.mul(one_half(set, unit, 82), row_fine::<S, G>(set, mins))
    }
}

/// Of one signed byte per 16 weights, those of quarter `Q`.
#[inline(always)]
fn fine<S: Simd, const Q: usize>(set: S, scales: S::Bytes) -> S::Floats {
    let index = const { &spread((8 * (Q / 2) + Q % 2) as u8, 2, 3) };
    signed_bytes(set, scales, index)
}

/// Of one signed byte per 16 weights, those of group `G`, half by half.
#[inline(always)]
fn row_fine<S: Pair, const G: usize>(set: S, scales: S::Bytes) -> S::Floats {
    let index = const { &spread_pair([8 * G as u8, 8 * G as u8 + 1], 2, 3) };
    let ints = set.ints(set.shuffle(scales, set.read(index)));
    set.to_floats(set.shr_ints(ints, 24))
}

/// The 16 scales of a Q3_K block, less 32.
#[inline(always)]
fn q3_k_scales(block: &[u8; 110]) -> [u8; 16] {
    let word = |offset: usize| u32::from_le_bytes(*bytes_at(block, offset));
    let (low, next, high) = (word(96), word(100), word(104));
    let scales = |low: u32, shift: u32| {
        let code = (low & 0x0f0f_0f0f) | (((high >> shift) & 0x0303_0303) << 4);
        // Without a borrow from byte to byte: codes are below 64.
        (((code | 0x8080_8080) - 0x2020_2020) ^ 0x8080_8080).to_le_bytes()
    };
    let words = [
        scales(low, 0),
        scales(next, 2),
        scales(low >> 4, 4),
        scales(next >> 4, 6),
    ];
    let mut out = [0; 16];
    for (out, word) in out.as_chunks_mut().0.iter_mut().zip(words) {
        *out = word;
    }
    out
}

impl Layout<110> for Q3K {
    const FINE: bool = true;
    const MINS: bool = false;
    const ZERO: i16 = 4;
    const ORDER: Order = Order::Halves;
    const CHUNKS: usize = 2;

    #[inline(always)]
    fn chunks<S: Simd, const Q: usize>(set: S, source: &impl Source<S>) -> [S::Bytes; 4] {
        let low = source.chunk(set, 32 + 16 * Q);
        let high = source.chunk(set, 16 * (Q % 2));
        [low, high, low, high]
    }

    #[inline(always)]
    fn codes<S: Simd, const Q: usize>(set: S, chunks: [S::Bytes; 4]) -> [S::Bytes; 4] {
        let low = two_bits(set, chunks[0]);
        let first = 4 * (Q / 2) as u8;
        four!(i => set.or(low[i], bit(set, chunks[1], first + i as u8, 2)))
    }

    #[inline(always)]
    fn scales<S: Simd, const Q: usize>(set: S, units: &Units<'_, 110>) -> S::Floats {
        let scales = made(set, units, q3_k_scales);
        set.mul(row_half(set, units, 108), fine::<S, Q>(set, scales))
    }

    #[inline(always)]
    fn row_scales<S: Pair, const G: usize>(set: S, unit: &[u8; 110]) -> S::Floats {
        let scales = set.splat16(&q3_k_scales(unit));
        set.mul(one_half(set, unit, 108), row_fine::<S, G>(set, scales))
    }
}

/// The 6-bit scales (`mins` false) or mins of a group of a Q4_K or Q5_K block.
/// Its first 16 bytes are the half scale, the half min and the 12 bytes that
/// `format/k_quants.rs` describes.
#[inline(always)]
fn six_bits<S: Simd, const UNIT: usize>(
    set: S,
    units: &Units<'_, UNIT>,
    group: usize,
    mins: bool,
) -> S::Floats {
    let header = units.chunk(set, 0);
    let first = if mins {
        set.splat16(const { &spread(8, 1, 0) })
    } else {
        set.splat16(const { &spread(4, 1, 0) })
    };
    let first = set.shuffle(header, first);
    let codes = if group == 0 {
        set.and(first, splat(set, 0x3f))
    } else {
        let last = set.shuffle(header, set.splat16(const { &spread(12, 1, 0) }));
        let low = if mins { set.shr(last, 4) } else { last };
        set.or(
            set.and(low, splat(set, 0x0f)),
            set.and(set.shr(first, 2), splat(set, 0x30)),
        )
    };
    set.to_floats(set.ints(codes))
}

/// The scales (`mins` false) or mins of all blocks of a Q4_K or Q5_K row.
#[inline(always)]
fn row_six_bits<S: Pair, const UNIT: usize>(set: S, unit: &[u8; UNIT], mins: bool) -> S::Floats {
    let word = |offset: usize| u32::from_le_bytes(*bytes_at(unit, offset));
    let (first, last) = if mins {
        (word(8), word(12) >> 4)
    } else {
        (word(4), word(12))
    };
    let low = first & 0x3f3f_3f3f;
    let high = (last & 0x0f0f_0f0f) | ((first >> 2) & 0x3030_3030);
    let codes = u64::from(low) | (u64::from(high) << 32);
    set.to_floats(set.widen(codes.to_le_bytes()))
}

impl Layout<144> for Q4K {
    const FINE: bool = false;
    const MINS: bool = true;
    const ORDER: Order = Order::Halves;
    const CHUNKS: usize = 2;

    #[inline(always)]
    fn chunks<S: Simd, const Q: usize>(set: S, source: &impl Source<S>) -> [S::Bytes; 4] {
        let offset = 16 + 64 * (Q / 2) + 16 * (Q % 2);
        let (first, second) = (source.chunk(set, offset), source.chunk(set, offset + 32));
        [first, second, first, second]
    }

    #[inline(always)]
    fn codes<S: Simd, const Q: usize>(set: S, chunks: [S::Bytes; 4]) -> [S::Bytes; 4] {
        let ([a, b], [c, d]) = (nibbles(set, chunks[0]), nibbles(set, chunks[1]));
        [a, b, c, d]
    }

    #[inline(always)]
    fn scales<S: Simd, const Q: usize>(set: S, units: &Units<'_, 144>) -> S::Floats {
        let codes = six_bits(set, units, Q / 2, false);
        set.mul(row_half(set, units, 0), codes)
    }

    #[inline(always)]
    fn mins<S: Simd, const Q: usize>(set: S, units: &Units<'_, 144>) -> S::Floats {
        let codes = six_bits(set, units, Q / 2, true);
        set.mul(row_half(set, units, 2), codes)
    }

    #[inline(always)]
    fn row_scales<S: Pair, const G: usize>(set: S, unit: &[u8; 144]) -> S::Floats {
        set.mul(one_half(set, unit, 0), row_six_bits(set, unit, false))
    }

    #[inline(always)]
    fn row_mins<S: Pair, const G: usize>(set: S, unit: &[u8; 144]) -> S::Floats {
        set.mul(one_half(set, unit, 2), row_six_bits(set, unit, true))
    }
}

impl Layout<176> for Q5K {
    const FINE: bool = false;
    const MINS: bool = true;
    const ORDER: Order = Order::Halves;
    const CHUNKS: usize = 3;

    #[inline(always)]
    fn chunks<S: Simd, const Q: usize>(set: S, source: &impl Source<S>) -> [S::Bytes; 4] {
        let offset = 48 + 64 * (Q / 2) + 16 * (Q % 2);
        let fifth = source.chunk(set, 16 + 16 * (Q % 2));
        let (first, second) = (source.chunk(set, offset), source.chunk(set, offset + 32));
        [first, second, fifth, fifth]
    }

    #[inline(always)]
    fn codes<S: Simd, const Q: usize>(set: S, chunks: [S::Bytes; 4]) -> [S::Bytes; 4] {
        let first = 4 * (Q / 2) as u8;
        four!(i => {
            let low = nibbles(set, chunks[i / 2])[i % 2];
            set.or(low, bit(set, chunks[2], first + i as u8, 4))
        })
    }

    #[inline(always)]
    fn scales<S: Simd, const Q: usize>(set: S, units: &Units<'_, 176>) -> S::Floats {
        let codes = six_bits(set, units, Q / 2, false);
        set.mul(row_half(set, units, 0), codes)
    }

    #[inline(always)]
    fn mins<S: Simd, const Q: usize>(set: S, units: &Units<'_, 176>) -> S::Floats {
        let codes = six_bits(set, units, Q / 2, true);
        set.mul(row_half(set, units, 2), codes)
    }

    #[inline(always)]
    fn row_scales<S: Pair, const G: usize>(set: S, unit: &[u8; 176]) -> S::Floats {
        set.mul(one_half(set, unit, 0), row_six_bits(set, unit, false))
    }

    #[inline(always)]
    fn row_mins<S: Pair, const G: usize>(set: S, unit: &[u8; 176]) -> S::Floats {
        set.mul(one_half(set, unit, 2), row_six_bits(set, unit, true))
    }
}

impl Layout<210> for Q6K {
    const FINE: bool = true;
    const MINS: bool = false;
    const ZERO: i16 = 32;
    const ORDER: Order = Order::Halves;
    const CHUNKS: usize = 3;

    #[inline(always)]
    fn chunks<S: Simd, const Q: usize>(set: S, source: &impl Source<S>) -> [S::Bytes; 4] {
        let (group, half) = (Q / 2, Q % 2);
        let low = source.chunk(set, 64 * group + 16 * half);
        let next = source.chunk(set, 64 * group + 32 + 16 * half);
        let high = source.chunk(set, 128 + 32 * group + 16 * half);
        [low, next, high, high]
    }

    #[inline(always)]
    fn codes<S: Simd, const Q: usize>(set: S, chunks: [S::Bytes; 4]) -> [S::Bytes; 4] {
        let ([a, c], [b, d]) = (nibbles(set, chunks[0]), nibbles(set, chunks[1]));
        let mask = splat(set, 0x30);
        let high = chunks[2];
        [
            set.or(a, set.and(set.shl(high, 4), mask)),
            set.or(b, set.and(set.shl(high, 2), mask)),
            set.or(c, set.and(high, mask)),
            set.or(d, set.and(set.shr(high, 2), mask)),
        ]
    }

    #[inline(always)]
    fn scales<S: Simd, const Q: usize>(set: S, units: &Units<'_, 210>) -> S::Floats {
        let scales = units.chunk(set, 192);
        set.mul(row_half(set, units, 208), fine::<S, Q>(set, scales))
    }

    #[inline(always)]
    fn row_scales<S: Pair, const G: usize>(set: S, unit: &[u8; 210]) -> S::Floats {
        let scales = set.splat16(bytes_at(unit, 192));
        set.mul(one_half(set, unit, 208), row_fine::<S, G>(set, scales))
    }
}
