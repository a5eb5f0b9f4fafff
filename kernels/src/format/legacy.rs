//! Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0: blocks of 32 values with one scale each.
//!
//! | format | bytes |
//! |---|---|
//! | Q4_0 | half scale, 16 bytes of codes: value i in the low nibble of byte i, value i + 16 in its high nibble; a code stands for code - 8 |
//! | Q4_1 | half scale, half offset (added), codes as in Q4_0 without the - 8 |
//! | Q5_0 | half scale, u32 with bit 4 of each code, low nibbles as in Q4_0; code - 16 |
//! | Q5_1 | half scale, half offset (added), u32, low nibbles |
//! | Q8_0 | half scale, 32 signed bytes |

use std::array;

use super::float::half_at;
use super::integer::{Group, IntegerFormat, bytes_at, codes, nibble_codes};

pub(crate) struct Q4_0;
pub(crate) struct Q4_1;
pub(crate) struct Q5_0;
pub(crate) struct Q5_1;
pub(crate) struct Q8_0;

/// The half at `offset` of each of the four blocks of a unit.
#[inline(always)]
pub(super) fn halves<const UNIT: usize>(unit: &[u8; UNIT], offset: usize) -> [[f32; 4]; 2] {
    [array::from_fn(|block| half_at(unit, block * (UNIT / 4) + offset)); 2]
}

/// What an offset that is added comes to as a min that is subtracted.
#[inline(always)]
fn negated(offsets: [[f32; 4]; 2]) -> [[f32; 4]; 2] {
    offsets.map(|offsets| offsets.map(|offset| -offset))
}

/// The four-bit codes of a block, less `zero`.
#[inline(always)]
fn four_bits(quants: &[u8; 16], zero: i8) -> [i8; 32] {
    nibble_codes(quants, |code| code as i8 - zero)
}

/// The five-bit codes of a block, less `zero`.
#[inline(always)]
fn five_bits(high: [u8; 4], low: &[u8; 16], zero: i8) -> [i8; 32] {
    let mut codes = nibble_codes(low, |code| code as i8 - zero);
    for (codes, high) in codes.as_chunks_mut::<8>().0.iter_mut().zip(high) {
        for (bit, code) in codes.iter_mut().enumerate() {
            *code += if high & (1 << bit) == 0 { 0 } else { 16 };
        }
    }
    codes
}

impl IntegerFormat<72> for Q4_0 {
    const BLOCK_BYTES: usize = 18;
    const BLOCK_LEN: usize = 32;
    const MINS: bool = false;

    #[inline(always)]
    fn group(unit: &[u8; 72], _: usize) -> Group {
        Group {
            codes: array::from_fn(|block| four_bits(bytes_at(unit, block * 18 + 2), 8)),
            scales: halves(unit, 0),
            mins: [[0.0; 4]; 2],
        }
    }
}

impl IntegerFormat<80> for Q4_1 {
    const BLOCK_BYTES: usize = 20;
    const BLOCK_LEN: usize = 32;
    const MINS: bool = true;

    #[inline(always)]
    fn group(unit: &[u8; 80], _: usize) -> Group {
        Group {
            codes: array::from_fn(|block| four_bits(bytes_at(unit, block * 20 + 4), 0)),
            scales: halves(unit, 0),
            mins: negated(halves(unit, 2)),
        }
    }
}

impl IntegerFormat<88> for Q5_0 {
    const BLOCK_BYTES: usize = 22;
    const BLOCK_LEN: usize = 32;
    const MINS: bool = false;

    #[inline(always)]
    fn group(unit: &[u8; 88], _: usize) -> Group {
        Group {
            codes: array::from_fn(|block| {
                let high = *bytes_at(unit, block * 22 + 2);
                five_bits(high, bytes_at(unit, block * 22 + 6), 16)
            }),
            scales: halves(unit, 0),
            mins: [[0.0; 4]; 2],
        }
    }
}

impl IntegerFormat<96> for Q5_1 {
    const BLOCK_BYTES: usize = 24;
    const BLOCK_LEN: usize = 32;
    const MINS: bool = true;

    #[inline(always)]
    fn group(unit: &[u8; 96], _: usize) -> Group {
        Group {
            codes: array::from_fn(|block| {
                let high = *bytes_at(unit, block * 24 + 4);
                five_bits(high, bytes_at(unit, block * 24 + 8), 0)
            }),
            scales: halves(unit, 0),
            mins: negated(halves(unit, 2)),
        }
    }
}

impl IntegerFormat<136> for Q8_0 {
    const BLOCK_BYTES: usize = 34;
    const BLOCK_LEN: usize = 32;
    const MINS: bool = false;

    #[inline(always)]
    fn group(unit: &[u8; 136], _: usize) -> Group {
        Group {
            codes: array::from_fn(|block| codes(bytes_at(unit, block * 34 + 2), |code| code as i8)),
            scales: halves(unit, 0),
            mins: [[0.0; 4]; 2],
        }
    }
}
