//! IQ1_S and IQ1_M: 256 values of about 1.6 and 1.8 bits, and Q1_0.
//!
//! Eight values come from a grid of 2048 entries with values -1, 0, 1, shifted
//! by an eighth up or down, times a scale.
//!
//! | format | bytes |
//! |---|---|
//! | IQ1_S | half scale, 32 low bytes of grid indices, 8 u16 per 32 values: four times 3 high index bits, 3-bit scale, sign of the shift |
//! | IQ1_M | 32 low bytes of indices, 32 nibbles (3 high index bits, sign of the shift), 4 u16: four 3-bit scales per 16 values in each and, in the high nibbles, the half scale |
//! | Q1_0 | half scale, 128 sign bits (1 is plus) |

use super::codebook::IQ1_GRID;
use super::float::{f16_to_f32, half_at};
use super::integer::bytes_at;

const SHIFT: f32 = 0.125;

#[inline(always)]
fn eight(out: &mut [f32; 8], index: usize, scale: f32, minus: bool) {
    let shift = if minus { -SHIFT } else { SHIFT };
    for (out, &value) in out.iter_mut().zip(&IQ1_GRID[index]) {
        *out = scale * (f32::from(value) + shift);
    }
}

/// Decodes an IQ1_S block.
#[inline(always)]
pub(super) fn iq1_s(block: &[u8; 50], out: &mut [f32; 256]) {
    let scale = half_at(block, 0);
    let low = bytes_at::<32>(block, 2);
    for (i, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let head = usize::from(u16::from_le_bytes(*bytes_at(block, 34 + i / 4 * 2)));
        let index = usize::from(low[i]) | (((head >> (3 * (i % 4))) & 7) << 8);
        let fine = (2 * ((head >> 12) & 7) + 1) as f32;
        eight(out, index, scale * fine, head & 0x8000 != 0);
    }
}

/// Decodes an IQ1_M block.
#[inline(always)]
pub(super) fn iq1_m(block: &[u8; 56], out: &mut [f32; 256]) {
    let low = bytes_at::<32>(block, 0);
    let heads = bytes_at::<16>(block, 32);
    let scales: [u16; 4] =
        std::array::from_fn(|i| u16::from_le_bytes(*bytes_at(block, 48 + 2 * i)));
    let scale = f16_to_f32(
        (scales[0] >> 12)
            | ((scales[1] >> 8) & 0x00f0)
            | ((scales[2] >> 4) & 0x0f00)
            | (scales[3] & 0xf000),
    );
    for (i, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let head = usize::from(heads[i / 2] >> (4 * (i % 2)));
        let index = usize::from(low[i]) | ((head & 7) << 8);
        let sixteen = i / 2;
        let fine = (scales[sixteen / 4] >> (3 * (sixteen % 4))) & 7;
        eight(out, index, scale * f32::from(2 * fine + 1), head & 8 != 0);
    }
}

/// Decodes a Q1_0 block.
#[inline(always)]
pub(super) fn q1_0(block: &[u8; 18], out: &mut [f32; 128]) {
    let scale = half_at(block, 0);
    for (out, &byte) in out.as_chunks_mut::<8>().0.iter_mut().zip(&block[2..]) {
        for (bit, out) in out.iter_mut().enumerate() {
            *out = if byte & (1 << bit) == 0 {
                -scale
            } else {
                scale
            };
        }
    }
}
