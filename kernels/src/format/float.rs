//! F32, F16, BF16 and F64: one value per block.

use super::Format;

/// Widens an IEEE 754 half, exactly, without branches, so that loops over it
/// vectorise on every target.
///
/// The exponent is rebased by a multiplication, which also carries infinity
/// and NaN over; subnormals take a second way, by a subtraction that is exact.
/// No operand is a subnormal f32, which would be slow on some processors.
#[inline(always)]
pub(crate) fn f16_to_f32(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let magnitude = u32::from(half & 0x7fff);
    // 0xE0 << 23 lifts the exponent by 224; 2^-112 takes the half of it back
    // that is not the change of bias.
    let normal = f32::from_bits((magnitude << 13) + (0xE0 << 23)) * f32::from_bits(0x0780_0000);
    let subnormal = f32::from_bits(0x3f00_0000 | magnitude) - 0.5;
    let bits = if magnitude < 0x0400 {
        subnormal.to_bits()
    } else {
        normal.to_bits()
    };
    f32::from_bits(sign | bits)
}

/// Widens a bfloat16, exactly.
#[inline(always)]
pub(crate) fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// Rounds to bfloat16, to nearest, ties to even; NaN stays NaN.
pub(super) fn f32_to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 0x0040;
    }
    // Cannot overflow: the largest bits that are not NaN are infinity's.
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

/// Reads the half at `offset` and widens it.
#[inline(always)]
pub(super) fn half_at<const N: usize>(block: &[u8; N], offset: usize) -> f32 {
    f16_to_f32(u16::from_le_bytes([block[offset], block[offset + 1]]))
}

/// Decodes values of a format with one value per block.
///
/// `bytes` holds as many values as `out`.
#[inline(always)]
pub(super) fn decode(format: Format, bytes: &[u8], out: &mut [f32]) {
    match format {
        Format::F32 => widen(bytes, out, f32::from_le_bytes),
        Format::F16 => widen(bytes, out, |b| f16_to_f32(u16::from_le_bytes(b))),
        Format::BF16 => widen(bytes, out, |b| bf16_to_f32(u16::from_le_bytes(b))),
        _ => widen(bytes, out, |b| f64::from_le_bytes(b) as f32),
    }
}

#[inline(always)]
fn widen<const N: usize>(bytes: &[u8], out: &mut [f32], value: impl Fn([u8; N]) -> f32) {
    for (bytes, out) in bytes.as_chunks::<N>().0.iter().zip(out) {
        *out = value(*bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_widens_as_the_half_crate_says() {
        for bits in 0..=u16::MAX {
            let ours = f16_to_f32(bits);
            let reference = half::f16::from_bits(bits).to_f32_const();
            assert!(
                ours.to_bits() == reference.to_bits() || ours.is_nan() && reference.is_nan(),
                "{bits:#06x}: {ours} instead of {reference}"
            );
        }
    }

    #[test]
    fn bf16_rounds_to_nearest_even() {
        for (value, bits) in [
            (1.0, 0x3f80),
            (f32::from_bits(0x3f80_8000), 0x3f80),
            (f32::from_bits(0x3f81_8000), 0x3f82),
            (f32::from_bits(0x3f80_8001), 0x3f81),
            (f32::MAX, 0x7f80),
            (f32::NEG_INFINITY, 0xff80),
        ] {
            assert_eq!(f32_to_bf16(value), bits, "{value:e}");
        }
        assert!(bf16_to_f32(f32_to_bf16(f32::from_bits(0x7f80_0001))).is_nan());
    }
}
