//! TQ1_0 and TQ2_0: 256 values of -1, 0, 1 times a scale.
//!
//! | format | bytes |
//! |---|---|
//! | TQ1_0 | 48 bytes of five base-3 digits, 4 bytes of four, half scale |
//! | TQ2_0 | 64 bytes of four 2-bit codes, half scale |
//!
//! A byte of TQ1_0 holds its digits as a fraction of 256: multiplying by 3
//! carries the next digit out of the top.

use super::float::half_at;

const POWERS_OF_3: [u8; 5] = [1, 3, 9, 27, 81];

/// Decodes a TQ1_0 block.
#[inline(always)]
pub(super) fn tq1_0(block: &[u8; 54], out: &mut [f32; 256]) {
    let scale = half_at(block, 52);
    // Digit n of each byte of a run stands before digit n + 1 of any.
    let mut at = 0;
    for (run, digits) in [(0..32, 5), (32..48, 5), (48..52, 4)] {
        let bytes = &block[run];
        for &power in &POWERS_OF_3[..digits] {
            for (out, &byte) in out[at..].iter_mut().zip(bytes) {
                let digit = (u16::from(byte.wrapping_mul(power)) * 3) >> 8;
                *out = scale * f32::from(digit as i8 - 1);
            }
            at += bytes.len();
        }
    }
}

/// Decodes a TQ2_0 block.
#[inline(always)]
pub(super) fn tq2_0(block: &[u8; 66], out: &mut [f32; 256]) {
    let scale = half_at(block, 64);
    for (run, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        for (out, &byte) in out.iter_mut().zip(&block[run / 4 * 32..][..32]) {
            let code = (byte >> (2 * (run % 4))) & 3;
            *out = scale * f32::from(code as i8 - 1);
        }
    }
}
