//! What the formats with small integer codes have in common: a value is
//! `scale * code - min`, with one scale and one min for 16 or 32 values.
//!
//! Each of these formats says once how its bytes become codes, scales and
//! mins; exact decoding and the integer dot products both read that.

use std::array;

/// Values per [`Group`].
const GROUP_LEN: usize = 128;

/// 128 consecutive values: four runs of 32.
pub(crate) struct Group {
    /// The codes, run by run.
    pub(crate) codes: [[i8; 32]; 4],
    /// What a code is multiplied with: for the first 16 values of each run,
    /// then for the second.
    pub(crate) scales: [[f32; 4]; 2],
    /// What is then subtracted, likewise; zero in formats without.
    pub(crate) mins: [[f32; 4]; 2],
}

/// A format whose values are `scale * code - min`.
///
/// `UNIT` is the size in bytes of its unit, the smallest run of whole blocks
/// that fills whole groups: four blocks of 32 values or one of 256.
pub(crate) trait IntegerFormat<const UNIT: usize> {
    /// Bytes per block, as in [`Format::block_bytes`](super::Format::block_bytes).
    const BLOCK_BYTES: usize;
    /// Values per block.
    const BLOCK_LEN: usize;
    /// Whether `mins` can be other than zero.
    const MINS: bool;

    /// Group `index` of a unit, counted from 0.
    fn group(unit: &[u8; UNIT], index: usize) -> Group;

    /// Groups per unit.
    const GROUPS: usize = UNIT / Self::BLOCK_BYTES * Self::BLOCK_LEN / GROUP_LEN;
}

/// Turns what is stored per 16 values, in order, into the order of [`Group`].
#[inline(always)]
pub(super) fn by_half(per_half: [f32; 8]) -> [[f32; 4]; 2] {
    array::from_fn(|half| array::from_fn(|run| per_half[2 * run + half]))
}

/// The codes that `code` makes of the 32 nibbles of 16 bytes, the low ones
/// first.
#[inline(always)]
pub(super) fn nibble_codes(bytes: &[u8; 16], code: impl Fn(u8) -> i8) -> [i8; 32] {
    let mut codes = [0; 32];
    let (low, high) = codes.split_at_mut(16);
    for (out, &byte) in low.iter_mut().zip(bytes) {
        *out = code(byte & 0x0f);
    }
    for (out, &byte) in high.iter_mut().zip(bytes) {
        *out = code(byte >> 4);
    }
    codes
}

/// The codes that `code` makes of 32 bytes. A loop, as `array::map` does not
/// vectorise.
#[inline(always)]
pub(super) fn codes(bytes: &[u8; 32], code: impl Fn(u8) -> i8) -> [i8; 32] {
    let mut codes = [0; 32];
    for (out, &byte) in codes.iter_mut().zip(bytes) {
        *out = code(byte);
    }
    codes
}

/// `N` bytes from `offset` on.
#[inline(always)]
pub(super) fn bytes_at<const N: usize>(bytes: &[u8], offset: usize) -> &[u8; N] {
    bytes[offset..]
        .first_chunk()
        .expect("offsets within a block are constants")
}

/// Decodes whole blocks: `blocks` stands for exactly `out.len()` values.
#[inline(always)]
pub(super) fn decode<const UNIT: usize, F: IntegerFormat<UNIT>>(blocks: &[u8], out: &mut [f32]) {
    let (units, tail) = blocks.as_chunks::<UNIT>();
    let (out, out_tail) = out.split_at_mut(units.len() * F::GROUPS * GROUP_LEN);
    for (unit, out) in units
        .iter()
        .zip(out.chunks_exact_mut(F::GROUPS * GROUP_LEN))
    {
        decode_unit::<UNIT, F>(unit, out);
    }
    if !tail.is_empty() {
        decode_unit::<UNIT, F>(&padded(tail), out_tail);
    }
}

/// The last blocks of a row, fewer than a unit, followed by zero bytes.
#[inline(always)]
pub(crate) fn padded<const UNIT: usize>(tail: &[u8]) -> [u8; UNIT] {
    let mut unit = [0; UNIT];
    unit[..tail.len()].copy_from_slice(tail);
    unit
}

#[inline(always)]
fn decode_unit<const UNIT: usize, F: IntegerFormat<UNIT>>(unit: &[u8; UNIT], out: &mut [f32]) {
    for (index, out) in out.chunks_mut(GROUP_LEN).enumerate() {
        let group = F::group(unit, index);
        for (half, out) in out.chunks_exact_mut(16).enumerate() {
            let scale = group.scales[half % 2][half / 2];
            let min = group.mins[half % 2][half / 2];
            let codes = &group.codes[half / 2][half % 2 * 16..][..16];
            for (out, &code) in out.iter_mut().zip(codes) {
                let product = scale * f32::from(code);
                *out = if F::MINS { product - min } else { product };
            }
        }
    }
}
