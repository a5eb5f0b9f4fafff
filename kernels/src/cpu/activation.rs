//! Activations as 8-bit integers, for products with quantized weights.

use super::isa::per_isa;

/// Values per [`Q8Group`].
pub const Q8_GROUP_LEN: usize = 128;

/// Values that share a scale.
const BLOCK_LEN: usize = 32;

/// Blocks whose largest magnitude is below this become zeros: the inverse of
/// their scale would overflow.
const LEAST_AMAX: f32 = 1.5e-36;

/// Four blocks of 32 activations: value `i` stands for
/// `scales[i / 32] * quants[i]`.
///
/// Scales are f32, as a half would overflow on the outliers some models have
/// and cost accuracy on all. A column whose length is not a multiple of 128 is
/// filled up with zeros.
#[repr(C, align(16))]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Q8Group {
    /// Largest magnitude of each block over 127; NaN where the block holds a
    /// NaN or an infinity, so that the result shows it.
    pub scales: [f32; 4],
    /// What the values of each block add up to: its scale times the sum of its
    /// quants, which products with weights that have a min need.
    pub totals: [f32; 4],
    /// Sums of 16 quants each, which products with weights that have an offset
    /// need.
    pub sums: [i16; 8],
    /// Codes from -127 to 127.
    pub quants: [i8; 128],
}

// SAFETY: `repr(C)`, and 16 + 16 + 16 + 128 bytes leave no padding at an
// alignment of 16; all fields are integers and floats.
unsafe impl bytemuck::NoUninit for Q8Group {}

impl Q8Group {
    /// 128 zeros.
    pub const ZERO: Q8Group = Q8Group {
        scales: [0.0; 4],
        totals: [0.0; 4],
        sums: [0; 8],
        quants: [0; 128],
    };

    /// How many groups hold a column of `values` values.
    pub const fn count(values: usize) -> usize {
        values.div_ceil(Q8_GROUP_LEN)
    }

    /// What value `index` stands for.
    ///
    /// # Panics
    ///
    /// When `index` is not below 128.
    pub fn value(&self, index: usize) -> f32 {
        self.scales[index / BLOCK_LEN] * f32::from(self.quants[index])
    }
}

per_isa! {
    /// Quantizes a column of activations, rounding to nearest, ties to even.
    ///
    /// The error of a value is at most half a step, `amax / 254`, where `amax`
    /// is the largest magnitude of its block. The result depends on the block
    /// alone and is the same on every machine.
    ///
    /// # Panics
    ///
    /// When `out` is not [`Q8Group::count`] groups long.
    pub fn quantize_row[][](values: &[f32], out: &mut [Q8Group]) = quantize_row_body;
}

#[inline(always)]
fn quantize_row_body<S>(_: S, values: &[f32], out: &mut [Q8Group]) {
    assert_eq!(
        out.len(),
        Q8Group::count(values.len()),
        "groups for {} activations",
        values.len()
    );
    let (groups, tail) = values.as_chunks::<Q8_GROUP_LEN>();
    for (values, out) in groups.iter().zip(&mut *out) {
        quantize_group(values, out);
    }
    if let (false, Some(out)) = (tail.is_empty(), out.last_mut()) {
        let mut padded = [0.0; Q8_GROUP_LEN];
        padded[..tail.len()].copy_from_slice(tail);
        quantize_group(&padded, out);
    }
}

#[inline(always)]
fn quantize_group(values: &[f32; Q8_GROUP_LEN], out: &mut Q8Group) {
    for (block, values) in values.as_chunks::<BLOCK_LEN>().0.iter().enumerate() {
        // As integers, magnitudes order as they do as floats, and above them
        // all infinity, then NaN.
        let amax = values
            .iter()
            .fold(0, |amax, value| amax.max(value.to_bits() & 0x7fff_ffff));
        let amax = f32::from_bits(amax);
        let (scale, inverse) = if !amax.is_finite() {
            (f32::NAN, 0.0)
        } else if amax < LEAST_AMAX {
            (0.0, 0.0)
        } else {
            (amax / 127.0, 127.0 / amax)
        };
        out.scales[block] = scale;
        let quants = &mut out.quants[block * BLOCK_LEN..][..BLOCK_LEN];
        for (quant, value) in quants.iter_mut().zip(values) {
            *quant = round(value * inverse);
        }
    }
    for (sum, quants) in out.sums.iter_mut().zip(out.quants.as_chunks::<16>().0) {
        *sum = quants.iter().map(|&quant| i16::from(quant)).sum();
    }
    for block in 0..4 {
        let sum = out.sums[2 * block] + out.sums[2 * block + 1];
        out.totals[block] = out.scales[block] * f32::from(sum);
    }
}

/// The nearest integer to a value within -127.5 and 127.5, the even one of
/// two; NaN gives some integer.
#[inline(always)]
fn round(value: f32) -> i8 {
    // At 1.5 * 2^23 the unit in the last place is 1: the addition rounds.
    const SHIFT: f32 = 12_582_912.0;
    ((value + SHIFT).to_bits().wrapping_sub(SHIFT.to_bits())) as i8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cpu::isa::Isa;

    fn quantize(values: &[f32]) -> Vec<Q8Group> {
        let mut groups = vec![Q8Group::ZERO; Q8Group::count(values.len())];
        quantize_row(Isa::portable(), values, &mut groups);
        for isa in Isa::available() {
            let mut found = vec![Q8Group::ZERO; groups.len()];
            quantize_row(isa, values, &mut found);
            let bytes = |groups: &[Q8Group]| format!("{groups:?}");
            assert_eq!(bytes(&found), bytes(&groups), "{}", isa.name());
        }
        groups
    }

    #[test]
    fn ties_go_to_even() {
        let mut values = [0.0; 32];
        values[..6].copy_from_slice(&[127.0, 0.5, 1.5, -0.5, -2.5, -127.0]);
        let group = quantize(&values)[0];
        assert_eq!(group.scales, [1.0, 0.0, 0.0, 0.0]);
        assert_eq!(group.quants[..6], [127, 0, 2, 0, -2, -127]);
        assert_eq!(group.totals, [0.0; 4]);
        assert_eq!(group.sums, [0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn what_is_not_finite_shows() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values = [1.0; 96];
            values[40] = bad;
            let group = quantize(&values)[0];
            assert!(group.scales[1].is_nan());
            assert_eq!(group.scales[0], group.scales[2]);
            assert_eq!(group.scales[0], 1.0 / 127.0);
            assert_eq!(group.scales[3], 0.0);
        }
    }

    #[test]
    fn tiny_blocks_become_zeros() {
        let group = quantize(&[1e-40; 32])[0];
        assert_eq!(group, Q8Group::ZERO);
    }

    proptest! {
        #[test]
        fn errs_by_half_a_step(
            values in prop::collection::vec(-1.0f32..1.0, 1..400),
            magnitude in -100i32..100,
        ) {
            let unit = 2.0f32.powi(magnitude);
            let values: Vec<f32> = values.iter().map(|value| value * unit).collect();
            let groups = quantize(&values);
            for (block, values) in values.chunks(BLOCK_LEN).enumerate() {
                let amax = values.iter().fold(0.0f32, |amax, value| amax.max(value.abs()));
                for (i, value) in values.iter().enumerate() {
                    let at = block * BLOCK_LEN + i;
                    let back = groups[at / Q8_GROUP_LEN].value(at % Q8_GROUP_LEN);
                    prop_assert!((value - back).abs() <= amax / 254.0 * 1.0001);
                }
            }
            for group in &groups {
                for (block, total) in group.totals.iter().enumerate() {
                    let sum: i16 = group.sums[2 * block..][..2].iter().sum();
                    prop_assert_eq!(*total, group.scales[block] * f32::from(sum));
                }
                for (sum, quants) in group.sums.iter().zip(group.quants.chunks(16)) {
                    prop_assert_eq!(
                        i32::from(*sum),
                        quants.iter().map(|&quant| i32::from(quant)).sum::<i32>()
                    );
                }
            }
            for at in values.len()..groups.len() * Q8_GROUP_LEN {
                prop_assert_eq!(groups[at / Q8_GROUP_LEN].value(at % Q8_GROUP_LEN), 0.0);
            }
        }

        #[test]
        fn any_bits_are_taken(values in prop::collection::vec(any::<u32>(), 1..300)) {
            let values: Vec<f32> = values.into_iter().map(f32::from_bits).collect();
            for (group, values) in quantize(&values).iter().zip(values.chunks(Q8_GROUP_LEN)) {
                for (scale, values) in group.scales.iter().zip(values.chunks(BLOCK_LEN)) {
                    prop_assert_eq!(
                        scale.is_nan(),
                        values.iter().any(|value| !value.is_finite())
                    );
                }
            }
        }
    }
}
