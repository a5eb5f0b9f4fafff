//! Sums over float vectors, in an order that depends on the length alone, and
//! what is done element by element.

use super::{
    isa::{Portable, per_isa},
    lanes::{LANES, Lanes, padded},
};

/// The sum of the lanes of a partial sum.
#[inline]
pub(crate) fn sum_of_lanes(lanes: &[f32; LANES]) -> f32 {
    let s = Portable;
    s.sum(s.load(lanes))
}

/// The sum of the elements: element `i` goes to partial sum `i % 16`.
#[inline(always)]
pub(crate) fn sum<S: Lanes>(s: S, x: &[f32]) -> f32 {
    let (chunks, tail) = x.as_chunks::<LANES>();
    let mut sums = s.splat(0.0);
    for x in chunks {
        sums = s.add(sums, s.load(x));
    }
    s.sum(s.add(sums, s.load(&padded(tail))))
}

/// The sum of `(x - centre)^2`, in the order of [`sum`], fused.
#[inline(always)]
pub(crate) fn sum_of_squares<S: Lanes>(s: S, x: &[f32], centre: f32) -> f32 {
    let (chunks, tail) = x.as_chunks::<LANES>();
    let centre_of_all = s.splat(centre);
    let mut sums = s.splat(0.0);
    for x in chunks {
        let x = s.sub(s.load(x), centre_of_all);
        sums = s.mul_add(x, x, sums);
    }
    let mut rest = [centre; LANES];
    rest[..tail.len()].copy_from_slice(tail);
    let x = s.sub(s.load(&rest), centre_of_all);
    s.sum(s.mul_add(x, x, sums))
}

per_isa! {
    /// `y += a * x`, fused.
    pub fn add_scaled[][](y: &mut [f32], a: f32, x: &[f32]) = add_scaled_body;
}

#[inline(always)]
fn add_scaled_body<S: Lanes>(s: S, y: &mut [f32], a: f32, x: &[f32]) {
    let (chunks, tail) = y.as_chunks_mut::<LANES>();
    let (x_chunks, x_tail) = x.as_chunks::<LANES>();
    let a = s.splat(a);
    for (y, x) in chunks.iter_mut().zip(x_chunks) {
        let sum = s.mul_add(a, s.load(x), s.load(y));
        s.store(sum, y);
    }
    if !tail.is_empty() {
        let mut all = padded(tail);
        let sum = s.mul_add(a, s.load(&padded(x_tail)), s.load(&all));
        s.store(sum, &mut all);
        tail.copy_from_slice(&all[..tail.len()]);
    }
}

per_isa! {
    /// `y += x`.
    pub fn add[][](y: &mut [f32], x: &[f32]) = add_body;
}

#[inline(always)]
fn add_body<S: Lanes>(_: S, y: &mut [f32], x: &[f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

per_isa! {
    /// `x *= a`.
    pub fn scale[][](x: &mut [f32], a: f32) = scale_body;
}

#[inline(always)]
fn scale_body<S: Lanes>(_: S, x: &mut [f32], a: f32) {
    for x in x {
        *x *= a;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::isa::Isa;
    use proptest::prelude::*;

    #[inline(always)]
    fn sums<S: Lanes>(s: S, x: &[f32], centre: f32, out: &mut [f32; 2]) {
        *out = [sum(s, x), sum_of_squares(s, x, centre)];
    }

    per_isa! {
        fn run[][](x: &[f32], centre: f32, out: &mut [f32; 2]) = sums;
    }

    proptest! {
        #[test]
        fn sums_are_near_those_in_double_precision(
            x in proptest::collection::vec(-10.0f32..10.0, 0..300),
            centre in -1.0f32..1.0,
        ) {
            let wide = x.iter().map(|&x| f64::from(x));
            let squares = wide.clone().map(|x| (x - f64::from(centre)).powi(2)).sum::<f64>();
            let exact = [wide.clone().sum::<f64>(), squares];
            let magnitudes = [wide.map(f64::abs).sum::<f64>(), squares];
            let mut expected = [0.0; 2];
            run(Isa::portable(), &x, centre, &mut expected);
            for isa in Isa::available() {
                let mut found = [0.0; 2];
                run(isa, &x, centre, &mut found);
                prop_assert_eq!(found.map(f32::to_bits), expected.map(f32::to_bits));
            }
            for i in 0..2 {
                // Each of the n sums, and the difference, rounds by at most 2^-24.
                let bound = magnitudes[i] * (x.len() as f64 / 16.0 + 8.0) * 2f64.powi(-24);
                prop_assert!((f64::from(expected[i]) - exact[i]).abs() <= bound);
            }
        }

        #[test]
        fn element_by_element_every_set_gives_the_same_bits(
            pairs in proptest::collection::vec((any::<f32>(), any::<f32>()), 0..70),
            a in -3.0f32..3.0,
        ) {
            let (x, y): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            for isa in Isa::available() {
                let mut found = y.clone();
                add_scaled(isa, &mut found, a, &x);
                for ((found, y), x) in found.iter().zip(&y).zip(&x) {
                    prop_assert_eq!(found.to_bits(), libm::fmaf(a, *x, *y).to_bits());
                }
                let mut found = y.clone();
                add(isa, &mut found, &x);
                scale(isa, &mut found, a);
                for ((found, y), x) in found.iter().zip(&y).zip(&x) {
                    prop_assert_eq!(found.to_bits(), ((y + x) * a).to_bits());
                }
            }
        }
    }
}
