//! IQ3_XXS and IQ3_S: 256 values of 3.06 and 3.44 bits.
//!
//! Four magnitudes come from a grid, with signs as in IQ2.
//!
//! | format | bytes |
//! |---|---|
//! | IQ3_XXS | half scale, 64 index bytes, per 32 values a u32 with four 7-bit signs (for eight values each) and a 4-bit scale s: `(0.5 + s) / 2` |
//! | IQ3_S | half scale, 64 low index bytes, 8 bytes of high index bits, 32 sign bytes, 8 4-bit scales s: `1 + 2 s` |

use super::codebook::{IQ3_S_GRID, IQ3_XXS_GRID, even_signs};
use super::float::half_at;
use super::integer::bytes_at;

/// Four values whose signs are the low four bits of `signs`.
#[inline(always)]
fn four(out: &mut [f32; 4], magnitudes: &[i8; 4], signs: u8, scale: f32) {
    for (i, (out, &magnitude)) in out.iter_mut().zip(magnitudes).enumerate() {
        let value = scale * f32::from(magnitude);
        *out = if signs & (1 << i) == 0 { value } else { -value };
    }
}

/// Decodes an IQ3_XXS block.
#[inline(always)]
pub(super) fn iq3_xxs(block: &[u8; 98], out: &mut [f32; 256]) {
    let scale = half_at(block, 0);
    let indices = bytes_at::<64>(block, 2);
    for (i, out) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        let head = u32::from_le_bytes(*bytes_at(block, 66 + i / 8 * 4));
        let signs = even_signs((head >> (7 * (i / 2 % 4))) as u8) >> (4 * (i % 2));
        let scale = scale * (0.5 + (head >> 28) as f32) * 0.5;
        four(out, &IQ3_XXS_GRID[usize::from(indices[i])], signs, scale);
    }
}

/// Decodes an IQ3_S block.
#[inline(always)]
pub(super) fn iq3_s(block: &[u8; 110], out: &mut [f32; 256]) {
    let scale = half_at(block, 0);
    let low = bytes_at::<64>(block, 2);
    let high = bytes_at::<8>(block, 66);
    let signs = bytes_at::<32>(block, 74);
    let scales = bytes_at::<4>(block, 106);
    for (i, out) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        let high = usize::from(high[i / 8] >> (i % 8)) & 1;
        let fine = (scales[i / 16] >> (4 * (i / 8 % 2))) & 0x0f;
        let scale = scale * f32::from(1 + 2 * fine);
        let grid = &IQ3_S_GRID[usize::from(low[i]) | (high << 8)];
        four(out, grid, signs[i / 2] >> (4 * (i % 2)), scale);
    }
}
