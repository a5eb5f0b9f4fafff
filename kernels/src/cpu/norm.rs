//! Normalisation of one vector.

use super::{
    isa::{Isa, per_isa},
    lanes::Lanes,
    vector::{sum, sum_of_squares},
};

per_isa! {
    /// Root-mean-square norm: `out = x / sqrt(mean(x^2) + eps) * weight`.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn rms_norm[][](x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) = rms;
}

#[inline(always)]
fn rms<S: Lanes>(s: S, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    assert!(x.len() == weight.len() && x.len() == out.len());
    let scale = rms_scale(s, x, eps);
    for i in 0..x.len() {
        out[i] = x[i] * scale * weight[i];
    }
}

per_isa! {
    /// [`rms_norm`] in place.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn rms_norm_in_place[][](x: &mut [f32], weight: &[f32], eps: f32) = rms_in_place;
}

#[inline(always)]
fn rms_in_place<S: Lanes>(s: S, x: &mut [f32], weight: &[f32], eps: f32) {
    assert_eq!(x.len(), weight.len());
    let scale = rms_scale(s, x, eps);
    for (x, &w) in x.iter_mut().zip(weight) {
        *x = *x * scale * w;
    }
}

#[inline(always)]
fn rms_scale<S: Lanes>(s: S, x: &[f32], eps: f32) -> f32 {
    1.0 / (sum_of_squares(s, x, 0.0) / x.len() as f32 + eps).sqrt()
}

/// Layer norm: `out = (x - mean) / sqrt(variance + eps) * weight + bias`.
///
/// # Panics
/// If the lengths differ.
pub fn layer_norm(
    isa: Isa,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    eps: f32,
    out: &mut [f32],
) {
    out.copy_from_slice(x);
    layer_norm_in_place(isa, out, weight, bias, eps);
}

per_isa! {
    /// [`layer_norm`] in place.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn layer_norm_in_place[][](
        x: &mut [f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        eps: f32,
    ) = layer_in_place;
}

#[inline(always)]
fn layer_in_place<S: Lanes>(s: S, x: &mut [f32], weight: &[f32], bias: Option<&[f32]>, eps: f32) {
    assert_eq!(x.len(), weight.len());
    let n = x.len() as f32;
    let mean = sum(s, x) / n;
    let scale = 1.0 / (sum_of_squares(s, x, mean) / n + eps).sqrt();
    for (x, &w) in x.iter_mut().zip(weight) {
        *x = (*x - mean) * scale * w;
    }
    if let Some(bias) = bias {
        assert_eq!(x.len(), bias.len());
        for (x, &b) in x.iter_mut().zip(bias) {
            *x += b;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::isa::Isa;

    fn input(n: usize) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let x = (0..n).map(|i| ((i * 37 % 101) as f32 - 50.0) / 9.0);
        let w = (0..n).map(|i| 1.0 + (i * 13 % 17) as f32 / 40.0);
        let b = (0..n).map(|i| (i * 7 % 11) as f32 / 20.0 - 0.2);
        (x.collect(), w.collect(), b.collect())
    }

    #[test]
    fn rms_norm_is_its_formula() {
        for n in [1, 15, 64, 97] {
            let (x, w, _) = input(n);
            let mean = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / n as f64;
            let mut out = vec![0.0; n];
            rms_norm(Isa::portable(), &x, &w, 1e-5, &mut out);
            for isa in Isa::available() {
                let mut found = x.clone();
                rms_norm_in_place(isa, &mut found, &w, 1e-5);
                assert_eq!(found, out, "{}", isa.name());
            }
            for i in 0..n {
                let exact = f64::from(x[i]) / (mean + 1e-5).sqrt() * f64::from(w[i]);
                assert!((f64::from(out[i]) - exact).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn layer_norm_is_its_formula() {
        for n in [2, 15, 64, 97] {
            let (x, w, b) = input(n);
            let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / n as f64;
            let variance = x
                .iter()
                .map(|&x| (f64::from(x) - mean).powi(2))
                .sum::<f64>()
                / n as f64;
            let mut out = vec![0.0; n];
            layer_norm(Isa::portable(), &x, &w, Some(&b), 1e-5, &mut out);
            for isa in Isa::available() {
                let mut found = x.clone();
                layer_norm_in_place(isa, &mut found, &w, Some(&b), 1e-5);
                assert_eq!(found, out, "{}", isa.name());
            }
            for i in 0..n {
                let exact = (f64::from(x[i]) - mean) / (variance + 1e-5).sqrt() * f64::from(w[i])
                    + f64::from(b[i]);
                assert!((f64::from(out[i]) - exact).abs() < 1e-5);
            }
        }
    }
}
