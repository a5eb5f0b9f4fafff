//! `exp` for softmax: the same on every platform, and simple enough that the
//! compiler makes vector code of a loop over it.

/// `exp(x)` for x <= 0 to within 2 units in the last place; 0 below -87,
/// where the result would leave the normal range.
///
/// Cephes' `expf`: x = n ln 2 + r with |r| <= ln 2 / 2, a polynomial in r, n
/// put into the exponent.
#[inline]
pub(super) fn exp(x: f32) -> f32 {
    /// 1.5 * 2^23: adding it leaves the nearest integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let clamped = x.max(-87.0);
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * LN2_HIGH - n * LN2_LOW;
    let mut p = 1.987_569_2e-4;
    for c in [
        1.398_2e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        5e-1,
    ] {
        p = p * r + c;
    }
    let fraction = p * r * r + r + 1.0;
    let exponent = shifted
        .to_bits()
        .wrapping_sub(ROUND.to_bits())
        .wrapping_add(127);
    let result = fraction * f32::from_bits(exponent << 23);
    if x < -87.0 { 0.0 } else { result }
}

/// Sum of `exp(logit - max)` over logits, in an order that does not depend on
/// the vector width.
pub(super) fn sum_of_exp(logits: impl Iterator<Item = f32>, max: f32) -> f64 {
    let mut lanes = [0.0_f64; 8];
    for (at, logit) in logits.enumerate() {
        lanes[at % 8] += f64::from(exp(logit - max));
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_to_the_true_value() {
        for step in 0..870_000 {
            let x = -(step as f32) / 10_000.0;
            let (got, wanted) = (f64::from(exp(x)), libm::exp(f64::from(x)));
            assert!(
                (got - wanted).abs() <= wanted * 2.5e-7,
                "exp({x}): {got} and {wanted}"
            );
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-100.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
    }
}
