//! MXFP4 and NVFP4: four-bit floating point (E2M1) under shared scales.
//!
//! | format | bytes |
//! |---|---|
//! | MXFP4 | 32 values: exponent byte (E8M0), 16 bytes of codes as in Q4_0 |
//! | NVFP4 | 64 values: four scales (unsigned E4M3) per 16 values, 32 bytes of codes: per 16 values eight bytes, low nibbles first |
//!
//! The codes stand for twice their value and the scales for half of theirs, as
//! in ggml. A model in NVFP4 has further scales as tensors of their own.
//!
//! Source: OCP Microscaling Formats (MX) v1.0.

use std::array;

use super::codebook::FP4_VALUES;
use super::integer::{Group, IntegerFormat, bytes_at, nibble_codes};

pub(crate) struct Mxfp4;

/// Half of the power of two that an E8M0 byte stands for, `2^(byte - 128)`.
#[inline(always)]
pub(crate) fn e8m0_half(byte: u8) -> f32 {
    f32::from_bits(match byte {
        // Subnormal in f32.
        0 | 1 => 0x0020_0000 << byte,
        _ => (u32::from(byte) - 1) << 23,
    })
}

/// Half of what an unsigned E4M3 byte stands for; the code for NaN gives 0, as
/// in ggml.
#[inline(always)]
fn ue4m3_half(byte: u8) -> f32 {
    let exponent = u32::from(byte >> 3) & 0x0f;
    let mantissa = f32::from(byte & 7);
    match (byte, exponent) {
        (0x7f, _) => 0.0,
        (_, 0) => mantissa * f32::from_bits((127 - 10) << 23),
        _ => (1.0 + mantissa / 8.0) * f32::from_bits((exponent + 127 - 8) << 23),
    }
}

/// Twice the value of an E2M1 code, in a form that vectorises.
#[inline(always)]
fn e2m1_doubled(code: u8) -> i8 {
    let steps = code & 7;
    let magnitude = steps + u8::from(steps > 4) + u8::from(steps > 5) + 3 * u8::from(steps > 6);
    if code & 8 == 0 {
        magnitude as i8
    } else {
        -(magnitude as i8)
    }
}

impl IntegerFormat<68> for Mxfp4 {
    const BLOCK_BYTES: usize = 17;
    const BLOCK_LEN: usize = 32;
    const MINS: bool = false;

    #[inline(always)]
    fn group(unit: &[u8; 68], _: usize) -> Group {
        Group {
            codes: array::from_fn(|block| {
                nibble_codes(bytes_at(unit, block * 17 + 1), e2m1_doubled)
            }),
            scales: [array::from_fn(|block| e8m0_half(unit[block * 17])); 2],
            mins: [[0.0; 4]; 2],
        }
    }
}

/// Decodes an NVFP4 block.
#[inline(always)]
pub(super) fn nvfp4(block: &[u8; 36], out: &mut [f32; 64]) {
    for (i, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = ue4m3_half(block[i]);
        for (k, &byte) in bytes_at::<8>(block, 4 + 8 * i).iter().enumerate() {
            out[k] = scale * f32::from(FP4_VALUES[usize::from(byte & 0x0f)]);
            out[k + 8] = scale * f32::from(FP4_VALUES[usize::from(byte >> 4)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e2m1_agrees_with_the_table() {
        for code in 0..16 {
            assert_eq!(e2m1_doubled(code), FP4_VALUES[usize::from(code)]);
        }
    }
}
