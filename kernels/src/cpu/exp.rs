//! The exponential function and what is made of it, the same on every
//! platform: arithmetic without calls or tables.

use super::lanes::Lanes;

/// `e^x` to within 1 unit in the last place; 0 below -87.336 (where f32 turns
/// subnormal), infinity above 88.722, NaN for NaN.
///
/// Range reduction by ln 2 in two parts and a degree-6 polynomial, after Cephes
/// (`expf`).
#[inline(always)]
pub(crate) fn exp<S: Lanes>(s: S, x: S::F) -> S::F {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding 1.5 * 2^23 rounds to the nearest integer, which then stands in
    // the low bits.
    const ROUND: f32 = 12_582_912.0;
    let (least, most) = (s.splat(-87.336), s.splat(88.722));
    // In this order NaN stays.
    let clamped = s.min(most, s.max(least, x));
    let shifted = s.mul_add(clamped, s.splat(std::f32::consts::LOG2_E), s.splat(ROUND));
    let n = s.sub(shifted, s.splat(ROUND));
    let r = s.mul_add(n, s.splat(-LN2_HIGH), clamped);
    let r = s.mul_add(n, s.splat(-LN2_LOW), r);
    let mut p = s.splat(1.987_569_1e-4);
    for c in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ] {
        p = s.mul_add(p, r, s.splat(c));
    }
    let p = s.add(s.mul_add(p, s.mul(r, r), r), s.splat(1.0));
    let y = s.scale_exponent(p, shifted);
    let y = s.select_less(x, least, s.splat(0.0), y);
    let y = s.select_less(most, x, s.splat(f32::INFINITY), y);
    s.nan_or(x, y)
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid<S: Lanes>(s: S, x: S::F) -> S::F {
    let e = exp(s, s.sub(s.splat(0.0), x));
    s.div(s.splat(1.0), s.add(s.splat(1.0), e))
}

/// The hyperbolic tangent to within 2 units in the last place.
///
/// A polynomial below 0.625 and `1 - 2 / (e^2x + 1)` from there on, after
/// Cephes (`tanhf`).
#[inline(always)]
pub(crate) fn tanh<S: Lanes>(s: S, x: S::F) -> S::F {
    let z = s.mul(x, x);
    let mut p = s.splat(-5.704_988_7e-3);
    for c in [2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1] {
        p = s.mul_add(p, z, s.splat(c));
    }
    let small = s.mul_add(s.mul(p, z), x, x);
    let magnitude = s.abs(x);
    let e = exp(s, s.add(magnitude, magnitude));
    let one = s.splat(1.0);
    let large = s.sub(one, s.div(s.splat(2.0), s.add(e, one)));
    let y = s.select_less(magnitude, s.splat(0.625), small, s.with_sign(large, x));
    s.nan_or(x, y)
}

#[cfg(test)]
mod tests {
    use super::super::{
        isa::{Isa, per_isa},
        lanes::LANES,
    };
    use super::*;

    #[inline(always)]
    fn three<S: Lanes>(s: S, x: &[f32; LANES], out: &mut [[f32; LANES]; 3]) {
        let x = s.load(x);
        s.store(exp(s, x), &mut out[0]);
        s.store(sigmoid(s, x), &mut out[1]);
        s.store(tanh(s, x), &mut out[2]);
    }

    per_isa! {
        fn run[][](x: &[f32; LANES], out: &mut [[f32; LANES]; 3]) = three;
    }

    /// `exp`, `sigmoid` and `tanh` of `x`, the same from every instruction set.
    fn functions(x: f32) -> [f32; 3] {
        let mut expected = None;
        for isa in Isa::available() {
            let mut out = [[0.0; LANES]; 3];
            run(isa, &[x; LANES], &mut out);
            let found = out.map(|lanes| lanes[3]);
            let bits = found.map(f32::to_bits);
            let expected = *expected.get_or_insert(bits);
            assert!(x.is_nan() || bits == expected, "{x} with {}", isa.name());
        }
        expected.map_or([x; 3], |bits| bits.map(f32::from_bits))
    }

    fn ulp_error(found: f32, exact: f64) -> f64 {
        let near = (exact as f32).abs();
        let ulp = f64::from(f32::from_bits(near.to_bits() + 1)) - f64::from(near);
        (f64::from(found) - exact).abs() / ulp
    }

    #[test]
    fn within_their_bounds_of_the_exact_values() {
        let mut worst = [0.0f64; 3];
        let mut x = -87.0f32;
        while x < 88.7 {
            let exact = f64::from(x);
            let [e, s, t] = functions(x);
            worst[0] = worst[0].max(ulp_error(e, libm::exp(exact)));
            worst[1] = worst[1].max(ulp_error(s, 1.0 / (1.0 + libm::exp(-exact))));
            worst[2] = worst[2].max(ulp_error(t, libm::tanh(exact)));
            x += if x.abs() < 2.0 { 0.000_37 } else { 0.013_7 };
        }
        assert!(
            worst[0] < 1.0 && worst[1] < 3.0 && worst[2] < 2.0,
            "{worst:?} ulp"
        );
    }

    #[test]
    fn the_ends_of_the_range() {
        let [e, s, t] = functions(0.0);
        assert_eq!((e, s, t), (1.0, 0.5, 0.0));
        assert_eq!(functions(-0.0)[0], 1.0);
        assert_eq!(functions(-1e9), [0.0, 0.0, -1.0]);
        assert_eq!(functions(f32::NEG_INFINITY), [0.0, 0.0, -1.0]);
        assert_eq!(functions(f32::INFINITY), [f32::INFINITY, 1.0, 1.0]);
        assert_eq!(functions(1e-30)[2], 1e-30);
        let [least, most] = [-87.336, 88.722].map(|x| functions(x)[0]);
        assert!(least.is_normal() && most.is_finite());
        for nan in [
            f32::NAN,
            f32::from_bits(0x7fc0_01ff),
            f32::from_bits(0xffff_ffff),
        ] {
            assert!(functions(nan).iter().all(|y| y.is_nan()));
        }
    }
}
