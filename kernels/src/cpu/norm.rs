//! Normalisation of one vector.

use super::vector::{sum, sum_of_squares};

/// Root-mean-square norm: `out = x / sqrt(mean(x^2) + eps) * weight`.
///
/// # Panics
/// If the lengths differ.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let scale = rms_scale(x, eps);
    assert!(x.len() == weight.len() && x.len() == out.len());
    for i in 0..x.len() {
        out[i] = x[i] * scale * weight[i];
    }
}

/// [`rms_norm`] in place.
///
/// # Panics
/// If the lengths differ.
pub fn rms_norm_in_place(x: &mut [f32], weight: &[f32], eps: f32) {
    let scale = rms_scale(x, eps);
    assert_eq!(x.len(), weight.len());
    for (x, &w) in x.iter_mut().zip(weight) {
        *x = *x * scale * w;
    }
}

fn rms_scale(x: &[f32], eps: f32) -> f32 {
    1.0 / (sum_of_squares(x, 0.0) / x.len() as f32 + eps).sqrt()
}

/// Layer norm: `out = (x - mean) / sqrt(variance + eps) * weight + bias`.
///
/// # Panics
/// If the lengths differ.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: Option<&[f32]>, eps: f32, out: &mut [f32]) {
    assert_eq!(x.len(), out.len());
    out.copy_from_slice(x);
    layer_norm_in_place(out, weight, bias, eps);
}

/// [`layer_norm`] in place.
///
/// # Panics
/// If the lengths differ.
pub fn layer_norm_in_place(x: &mut [f32], weight: &[f32], bias: Option<&[f32]>, eps: f32) {
    assert_eq!(x.len(), weight.len());
    let n = x.len() as f32;
    let mean = sum(x) / n;
    let scale = 1.0 / (sum_of_squares(x, mean) / n + eps).sqrt();
    for (x, &w) in x.iter_mut().zip(weight) {
        *x = (*x - mean) * scale * w;
    }
    if let Some(bias) = bias {
        assert_eq!(x.len(), bias.len());
        super::vector::add(x, bias);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            rms_norm(&x, &w, 1e-5, &mut out);
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
            layer_norm(&x, &w, Some(&b), 1e-5, &mut out);
            for i in 0..n {
                let exact = (f64::from(x[i]) - mean) / (variance + 1e-5).sqrt() * f64::from(w[i])
                    + f64::from(b[i]);
                assert!((f64::from(out[i]) - exact).abs() < 1e-5);
            }
        }
    }
}
