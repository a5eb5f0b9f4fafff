//! Q2_K to Q6_K: super-blocks of 256 values whose scales are themselves
//! quantized, and Q8_K.
//!
//! | format | bytes |
//! |---|---|
//! | Q2_K | 16 bytes (scale in the low nibble, min in the high one, per 16 values), 64 bytes of 2-bit codes, half scale, half min |
//! | Q3_K | 32 bytes with bit 2 of the codes, 64 bytes of 2-bit codes, 12 bytes of 6-bit scales per 16 values, half scale; code - 4, scale - 32 |
//! | Q4_K | half scale, half min, 12 bytes of 6-bit scales and mins per 32 values, 128 bytes of 4-bit codes |
//! | Q5_K | as Q4_K with 32 bytes for bit 4 of the codes before the 4-bit codes |
//! | Q6_K | 128 bytes of 4-bit codes, 64 bytes with bits 4 and 5, 16 signed scales per 16 values, half scale; code - 32 |
//! | Q8_K | f32 scale, 256 signed bytes, 16 sums (not needed here) |

use std::array;

use super::float::half_at;
use super::integer::{Group, IntegerFormat, by_half, bytes_at, codes};

pub(crate) struct Q2K;
pub(crate) struct Q3K;
pub(crate) struct Q4K;
pub(crate) struct Q5K;
pub(crate) struct Q6K;

/// The four runs of 2-bit codes that share 32 bytes: run `r` in bits `2r` and
/// `2r + 1`.
#[inline(always)]
fn two_bits(quants: &[u8; 32], run: usize) -> [i8; 32] {
    codes(quants, |byte| ((byte >> (2 * run)) & 3) as i8)
}

impl IntegerFormat<84> for Q2K {
    const BLOCK_BYTES: usize = 84;
    const BLOCK_LEN: usize = 256;
    const MINS: bool = true;

    #[inline(always)]
    fn group(block: &[u8; 84], index: usize) -> Group {
        let scales = bytes_at::<8>(block, 8 * index);
        let quants = bytes_at::<32>(block, 16 + 32 * index);
        let (scale, min) = (half_at(block, 80), half_at(block, 82));
        Group {
            codes: array::from_fn(|run| two_bits(quants, run)),
            scales: by_half(scales.map(|byte| scale * f32::from(byte & 0x0f))),
            mins: by_half(scales.map(|byte| min * f32::from(byte >> 4))),
        }
    }
}

impl IntegerFormat<110> for Q3K {
    const BLOCK_BYTES: usize = 110;
    const BLOCK_LEN: usize = 256;
    const MINS: bool = false;

    #[inline(always)]
    fn group(block: &[u8; 110], index: usize) -> Group {
        let high = bytes_at::<32>(block, 0);
        let quants = bytes_at::<32>(block, 32 + 32 * index);
        // Scale i has its low four bits in nibble i / 8 of byte i % 8, its
        // high two in bits 2 (i / 4) of byte 8 + i % 4.
        let scales = bytes_at::<12>(block, 96);
        let scale = half_at(block, 108);
        Group {
            codes: array::from_fn(|run| {
                let low = two_bits(quants, run);
                let mut codes = [0; 32];
                for i in 0..32 {
                    let third = (high[i] >> (4 * index + run)) & 1;
                    codes[i] = (low[i] | (third << 2) as i8) - 4;
                }
                codes
            }),
            scales: by_half(array::from_fn(|half| {
                let low = (scales[half] >> (4 * index)) & 0x0f;
                let high = (scales[8 + half % 4] >> (4 * index + 2 * (half / 4))) & 3;
                scale * f32::from((low | (high << 4)) as i8 - 32)
            })),
            mins: [[0.0; 4]; 2],
        }
    }
}

/// Scales and mins of group `index` of a Q4_K or Q5_K block.
///
/// In the 12 bytes that begin at byte 4: scale and min of runs 0 to 3 are the
/// low six bits of bytes i and 4 + i; runs 4 to 7 have their low four bits in
/// the low (scale) or high (min) nibble of byte 8 + i and their high two in
/// the high two bits of those first bytes.
#[inline(always)]
fn scales_and_mins<const N: usize>(
    block: &[u8; N],
    index: usize,
) -> ([[f32; 4]; 2], [[f32; 4]; 2]) {
    let (scale, min) = (half_at(block, 0), half_at(block, 2));
    let first = bytes_at::<4>(block, 4);
    let second = bytes_at::<4>(block, 8);
    let third = bytes_at::<4>(block, 12);
    let mut scales = [0.0; 4];
    let mut mins = [0.0; 4];
    for run in 0..4 {
        let (s, m) = if index == 0 {
            (first[run] & 0x3f, second[run] & 0x3f)
        } else {
            (
                (third[run] & 0x0f) | ((first[run] >> 6) << 4),
                (third[run] >> 4) | ((second[run] >> 6) << 4),
            )
        };
        scales[run] = scale * f32::from(s);
        mins[run] = min * f32::from(m);
    }
    ([scales; 2], [mins; 2])
}

impl IntegerFormat<144> for Q4K {
    const BLOCK_BYTES: usize = 144;
    const BLOCK_LEN: usize = 256;
    const MINS: bool = true;

    #[inline(always)]
    fn group(block: &[u8; 144], index: usize) -> Group {
        let (scales, mins) = scales_and_mins(block, index);
        let first = bytes_at::<32>(block, 16 + 64 * index);
        let second = bytes_at::<32>(block, 48 + 64 * index);
        Group {
            codes: [
                codes(first, |byte| (byte & 0x0f) as i8),
                codes(first, |byte| (byte >> 4) as i8),
                codes(second, |byte| (byte & 0x0f) as i8),
                codes(second, |byte| (byte >> 4) as i8),
            ],
            scales,
            mins,
        }
    }
}

impl IntegerFormat<176> for Q5K {
    const BLOCK_BYTES: usize = 176;
    const BLOCK_LEN: usize = 256;
    const MINS: bool = true;

    #[inline(always)]
    fn group(block: &[u8; 176], index: usize) -> Group {
        let (scales, mins) = scales_and_mins(block, index);
        let high = bytes_at::<32>(block, 16);
        Group {
            codes: array::from_fn(|run| {
                let low = bytes_at::<32>(block, 48 + 64 * index + 32 * (run / 2));
                let mut codes = [0; 32];
                for i in 0..32 {
                    let fifth = (high[i] >> (4 * index + run)) & 1;
                    codes[i] = (((low[i] >> (4 * (run % 2))) & 0x0f) | (fifth << 4)) as i8;
                }
                codes
            }),
            scales,
            mins,
        }
    }
}

impl IntegerFormat<210> for Q6K {
    const BLOCK_BYTES: usize = 210;
    const BLOCK_LEN: usize = 256;
    const MINS: bool = false;

    #[inline(always)]
    fn group(block: &[u8; 210], index: usize) -> Group {
        let high = bytes_at::<32>(block, 128 + 32 * index);
        let scale = half_at(block, 208);
        Group {
            codes: array::from_fn(|run| {
                let low = bytes_at::<32>(block, 64 * index + 32 * (run % 2));
                let mut codes = [0; 32];
                for i in 0..32 {
                    let low = (low[i] >> (4 * (run / 2))) & 0x0f;
                    let high = (high[i] >> (2 * run)) & 3;
                    codes[i] = (low | (high << 4)) as i8 - 32;
                }
                codes
            }),
            scales: by_half(
                bytes_at::<8>(block, 192 + 8 * index).map(|byte| scale * f32::from(byte as i8)),
            ),
            mins: [[0.0; 4]; 2],
        }
    }
}

/// Decodes a Q8_K block.
#[inline(always)]
pub(super) fn q8_k(block: &[u8; 292], out: &mut [f32; 256]) {
    let scale = f32::from_le_bytes(*bytes_at(block, 0));
    for (out, &code) in out.iter_mut().zip(bytes_at::<256>(block, 4)) {
        *out = scale * f32::from(code as i8);
    }
}
