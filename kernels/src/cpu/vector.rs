//! Sums over float vectors, in an order that depends on the length alone.

/// Independent partial sums of a reduction: element `i` goes to lane
/// `i % LANES`. Sixteen fill one AVX-512 register and are summed pairwise at
/// the end, on every instruction set.
pub const LANES: usize = 16;

/// The sum of the lanes, as a tree of fixed shape.
#[inline(always)]
pub fn reduce(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[inline(always)]
fn fold(a: &[f32], b: &[f32], step: impl Fn(f32, f32) -> f32) -> f32 {
    debug_assert_eq!(a.len(), b.len());
    let mut lanes = [0.0f32; LANES];
    let (a_chunks, a_tail) = a.as_chunks::<LANES>();
    let (b_chunks, b_tail) = b.as_chunks::<LANES>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for i in 0..LANES {
            lanes[i] += step(a[i], b[i]);
        }
    }
    for (i, (&a, &b)) in a_tail.iter().zip(b_tail).enumerate() {
        lanes[i] += step(a, b);
    }
    reduce(lanes)
}

/// The dot product of two vectors of one length.
#[inline]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    fold(a, b, |a, b| a * b)
}

/// The sum of the elements.
#[inline]
pub fn sum(x: &[f32]) -> f32 {
    fold(x, x, |x, _| x)
}

/// The sum of `(x - centre)^2`.
#[inline]
pub fn sum_of_squares(x: &[f32], centre: f32) -> f32 {
    fold(x, x, |x, _| (x - centre) * (x - centre))
}

/// `y += a * x`.
#[inline]
pub fn add_scaled(y: &mut [f32], a: f32, x: &[f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

/// `y += x`.
#[inline]
pub fn add(y: &mut [f32], x: &[f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

/// `x *= a`.
#[inline]
pub fn scale(x: &mut [f32], a: f32) {
    for x in x {
        *x *= a;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn dot_is_near_the_double_precision_sum(
            pairs in proptest::collection::vec((-10.0f32..10.0, -10.0f32..10.0), 0..300)
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let exact: f64 = a.iter().zip(&b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            let magnitude: f64 = a.iter().zip(&b).map(|(&a, &b)| (f64::from(a) * f64::from(b)).abs()).sum();
            // Each of the n products and sums rounds once by at most 2^-24.
            let bound = magnitude * (a.len() as f64 / LANES as f64 + 6.0) * 2f64.powi(-24);
            prop_assert!((f64::from(dot(&a, &b)) - exact).abs() <= bound);
        }
    }
}
