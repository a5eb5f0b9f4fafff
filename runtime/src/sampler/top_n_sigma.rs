//! Top-n-sigma: keeps what is within n standard deviations of the highest
//! logit (Tang et al. 2024).

/// The least logit kept; negative infinity if all are.
pub(super) fn least_logit(logits: &[f32], n: f32) -> f32 {
    if n <= 0.0 {
        return f32::NEG_INFINITY;
    }
    let finite = || {
        let logits = logits.iter().filter(|logit| logit.is_finite());
        logits.map(|&logit| f64::from(logit))
    };
    let count = finite().count() as f64;
    let mean = finite().sum::<f64>() / count;
    let variance = finite().map(|v| (v - mean) * (v - mean)).sum::<f64>() / count;
    let max = finite().fold(f64::NEG_INFINITY, f64::max);
    // Rounding must not exclude the highest itself.
    (max - f64::from(n) * libm::sqrt(variance)).min(max) as f32
}
