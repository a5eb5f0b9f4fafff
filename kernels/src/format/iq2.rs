//! IQ2_XXS, IQ2_XS and IQ2_S: 256 values of 2.06 to 2.56 bits.
//!
//! Eight magnitudes come from a grid, their signs from a code of seven bits
//! (IQ2_S: from eight bits of their own), times `(0.5 + scale) / 4`.
//!
//! | format | bytes |
//! |---|---|
//! | IQ2_XXS | half scale, per 32 values: four index bytes, u32 with four 7-bit signs and a 4-bit scale |
//! | IQ2_XS | half scale, 32 u16 (9-bit index, 7-bit signs), 16 4-bit scales |
//! | IQ2_S | half scale, 32 low index bytes, 32 sign bytes, 8 bytes of 2-bit high index bits, 16 4-bit scales |

use super::codebook::{IQ2_S_GRID, IQ2_XS_GRID, IQ2_XXS_GRID, even_signs};
use super::float::half_at;
use super::integer::bytes_at;

#[inline(always)]
fn eight(out: &mut [f32; 8], magnitudes: &[i8; 8], signs: u8, scale: f32) {
    for (i, (out, &magnitude)) in out.iter_mut().zip(magnitudes).enumerate() {
        let value = scale * f32::from(magnitude);
        *out = if signs & (1 << i) == 0 { value } else { -value };
    }
}

/// The scale that a 4-bit `code` refines `scale` to.
#[inline(always)]
fn fine(scale: f32, code: u8) -> f32 {
    scale * (0.5 + f32::from(code)) * 0.25
}

/// Decodes an IQ2_XXS block.
#[inline(always)]
pub(super) fn iq2_xxs(block: &[u8; 66], out: &mut [f32; 256]) {
    let scale = half_at(block, 0);
    for (i, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let indices = bytes_at::<4>(block, 2 + 8 * i);
        let head = u32::from_le_bytes(*bytes_at(block, 6 + 8 * i));
        let scale = fine(scale, (head >> 28) as u8);
        for (k, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let grid = &IQ2_XXS_GRID[usize::from(indices[k])];
            eight(out, grid, even_signs((head >> (7 * k)) as u8), scale);
        }
    }
}

/// Decodes an IQ2_XS block.
#[inline(always)]
pub(super) fn iq2_xs(block: &[u8; 74], out: &mut [f32; 256]) {
    let scale = half_at(block, 0);
    let scales = bytes_at::<8>(block, 66);
    for (i, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let head = u16::from_le_bytes(*bytes_at(block, 2 + 2 * i));
        let scale = fine(scale, (scales[i / 4] >> (4 * (i / 2 % 2))) & 0x0f);
        let grid = &IQ2_XS_GRID[usize::from(head & 511)];
        eight(out, grid, even_signs((head >> 9) as u8), scale);
    }
}

/// Decodes an IQ2_S block.
#[inline(always)]
pub(super) fn iq2_s(block: &[u8; 82], out: &mut [f32; 256]) {
    let scale = half_at(block, 0);
    let low = bytes_at::<32>(block, 2);
    let signs = bytes_at::<32>(block, 34);
    let high = bytes_at::<8>(block, 66);
    let scales = bytes_at::<8>(block, 74);
    for (i, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let high = usize::from(high[i / 4] >> (2 * (i % 4))) & 3;
        let scale = fine(scale, (scales[i / 4] >> (4 * (i / 2 % 2))) & 0x0f);
        let grid = &IQ2_S_GRID[usize::from(low[i]) | (high << 8)];
        eight(out, grid, signs[i], scale);
    }
}
