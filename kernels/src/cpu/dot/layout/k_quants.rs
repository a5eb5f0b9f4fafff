//! Q2_K to Q6_K; their bytes are described in `format/k_quants.rs`.

use super::{
    Heads, Layout, Order, Quads, Source, bytes_at, halves, made, nibbles, one_half, signed_byte,
    splat, spread_pair, unsigned_byte,
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
    fn heads<S: Simd>(set: S, quads: &Quads<'_, 84>) -> Heads<S> {
        let codes = four!(i => quads[i].chunk(set, 0));
        Heads::new(set, codes, halves(set, quads, 80), halves(set, quads, 82))
    }

    #[inline(always)]
    fn scales<S: Simd, const Q: usize>(
        set: S,
        _quads: &Quads<'_, 84>,
        heads: &Heads<S>,
    ) -> [S::Floats; 4] {
        four!(i => {
            let (word, byte) = fine::<Q>(i);
            let [scales, _] = nibbles(set, heads.words[word]);
            set.mul(heads.scale, unsigned_byte(set, scales, byte))
        })
    }

    #[inline(always)]
    fn mins<S: Simd, const Q: usize>(
        set: S,
        _quads: &Quads<'_, 84>,
        heads: &Heads<S>,
    ) -> [S::Floats; 4] {
        four!(i => {
            let (word, byte) = fine::<Q>(i);
            let [_, mins] = nibbles(set, heads.words[word]);
            set.mul(heads.min, unsigned_byte(set, mins, byte))
        })
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

/// Of one byte per 16 weights, where that of block `i` of quarter `Q` is: the
/// word, and the byte in it.
const fn fine<const Q: usize>(i: usize) -> (usize, usize) {
    (2 * (Q / 2) + i / 2, 2 * (i % 2) + Q % 2)
}

/// Scales of one signed byte per 16 weights.
#[inline(always)]
fn fine_scales<S: Simd, const Q: usize>(set: S, heads: &Heads<S>) -> [S::Floats; 4] {
    four!(i => {
        let (word, byte) = fine::<Q>(i);
        set.mul(heads.scale, signed_byte(set, heads.words[word], byte))
    })
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
    fn heads<S: Simd>(set: S, quads: &Quads<'_, 110>) -> Heads<S> {
        let codes = four!(i => made(set, &quads[i], q3_k_scales));
        Heads::new(set, codes, halves(set, quads, 108), set.splat(0.0))
    }

    #[inline(always)]
    fn scales<S: Simd, const Q: usize>(
        set: S,
        _quads: &Quads<'_, 110>,
        heads: &Heads<S>,
    ) -> [S::Floats; 4] {
        fine_scales::<S, Q>(set, heads)
    }

    #[inline(always)]
    fn row_scales<S: Pair, const G: usize>(set: S, unit: &[u8; 110]) -> S::Floats {
        let scales = set.splat16(&q3_k_scales(unit));
        set.mul(one_half(set, unit, 108), row_fine::<S, G>(set, scales))
    }
}

/// The first 16 bytes of a Q4_K or Q5_K block: the half scale, the half min and
/// the 12 bytes that `format/k_quants.rs` describes.
#[inline(always)]
fn six_bit_heads<S: Simd, const UNIT: usize>(set: S, quads: &Quads<'_, UNIT>) -> Heads<S> {
    let codes = four!(i => quads[i].chunk(set, 0));
    Heads::new(set, codes, halves(set, quads, 0), halves(set, quads, 2))
}

/// The 6-bit scales (`mins` false) or mins of the blocks of a group.
#[inline(always)]
fn six_bits<S: Simd>(set: S, heads: &Heads<S>, group: usize, mins: bool) -> [S::Floats; 4] {
    let [_, scales, low_mins, last] = heads.words;
    let (first, factor) = if mins {
        (low_mins, heads.min)
    } else {
        (scales, heads.scale)
    };
    let codes = if group == 0 {
        set.and(first, splat(set, 0x3f))
    } else {
        let low = if mins { set.shr(last, 4) } else { last };
        set.or(
            set.and(low, splat(set, 0x0f)),
            set.and(set.shr(first, 2), splat(set, 0x30)),
        )
    };
    four!(i => set.mul(factor, unsigned_byte(set, codes, i)))
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
    fn heads<S: Simd>(set: S, quads: &Quads<'_, 144>) -> Heads<S> {
        six_bit_heads(set, quads)
    }

    #[inline(always)]
    fn scales<S: Simd, const Q: usize>(
        set: S,
        _quads: &Quads<'_, 144>,
        heads: &Heads<S>,
    ) -> [S::Floats; 4] {
        six_bits(set, heads, Q / 2, false)
    }

    #[inline(always)]
    fn mins<S: Simd, const Q: usize>(
        set: S,
        _quads: &Quads<'_, 144>,
        heads: &Heads<S>,
    ) -> [S::Floats; 4] {
        six_bits(set, heads, Q / 2, true)
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
    fn heads<S: Simd>(set: S, quads: &Quads<'_, 176>) -> Heads<S> {
        six_bit_heads(set, quads)
    }

    #[inline(always)]
    fn scales<S: Simd, const Q: usize>(
        set: S,
        _quads: &Quads<'_, 176>,
        heads: &Heads<S>,
    ) -> [S::Floats; 4] {
        six_bits(set, heads, Q / 2, false)
    }

    #[inline(always)]
    fn mins<S: Simd, const Q: usize>(
        set: S,
        _quads: &Quads<'_, 176>,
        heads: &Heads<S>,
    ) -> [S::Floats; 4] {
        six_bits(set, heads, Q / 2, true)
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
    fn heads<S: Simd>(set: S, quads: &Quads<'_, 210>) -> Heads<S> {
        let codes = four!(i => quads[i].chunk(set, 192));
        Heads::new(set, codes, halves(set, quads, 208), set.splat(0.0))
    }

    #[inline(always)]
    fn scales<S: Simd, const Q: usize>(
        set: S,
        _quads: &Quads<'_, 210>,
        heads: &Heads<S>,
    ) -> [S::Floats; 4] {
        fine_scales::<S, Q>(set, heads)
    }

    #[inline(always)]
    fn row_scales<S: Pair, const G: usize>(set: S, unit: &[u8; 210]) -> S::Floats {
        let scales = set.splat16(bytes_at(unit, 192));
        set.mul(one_half(set, unit, 208), row_fine::<S, G>(set, scales))
    }
}
