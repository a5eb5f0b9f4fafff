//! Plain implementations to test against: f64, whole sorts, quadratic loops.

use super::params::SamplerParams;

/// Softmax.
pub(super) fn probabilities(logits: &[f64]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logits.iter().map(|l| (l - max).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|w| w / total).collect()
}

/// Entropy in nats.
pub(super) fn entropy(probabilities: &[f64]) -> f64 {
    let terms = probabilities.iter().filter(|p| **p > 0.0);
    -terms.map(|p| p * p.ln()).sum::<f64>()
}

/// Penalised logits; 64-bit.
pub(super) fn penalised(logits: &[f64], history: &[u32], params: &SamplerParams) -> Vec<f64> {
    let n = usize::try_from(params.repeat_last_n).unwrap_or(history.len());
    let window: Vec<u32> = history.iter().rev().take(n).copied().collect();
    let penalise = |(token, &logit): (usize, &f64)| {
        let count = window.iter().filter(|t| **t as usize == token).count() as f64;
        if count == 0.0 {
            return logit;
        }
        let repeat = f64::from(params.repeat_penalty);
        let logit = if logit <= 0.0 {
            logit * repeat
        } else {
            logit / repeat
        };
        logit - count * f64::from(params.frequency_penalty) - f64::from(params.presence_penalty)
    };
    logits.iter().enumerate().map(penalise).collect()
}

/// Logits after DRY. A breaker is a sequence of tokens.
pub(super) fn dried(
    logits: &[f64],
    history: &[u32],
    breakers: &[Vec<u32>],
    params: &SamplerParams,
) -> Vec<f64> {
    let n = usize::try_from(params.dry_penalty_last_n).unwrap_or(history.len());
    let window = &history[history.len() - n.min(history.len())..];
    let allowed = params.dry_allowed_length as usize;
    let mut result = logits.to_vec();
    if window.len() <= allowed {
        return result;
    }
    // The last position where a breaker begins that lies within the window;
    // the longest there.
    let mut limit = window.len();
    for start in 0..window.len() {
        let here = breakers.iter().filter(|b| window[start..].starts_with(b));
        if let Some(length) = here.map(Vec::len).max() {
            limit = window.len() - start - length;
        }
    }
    if limit < allowed {
        return result;
    }
    for (token, logit) in result.iter_mut().enumerate() {
        let mut longest = None;
        // llama.cpp does not look at the first token, which has none before it.
        for at in 1..window.len() {
            // `token` stands at `at`; how many tokens before it equal the end?
            if window[at] as usize != token {
                continue;
            }
            let before = window[..at].iter().rev();
            let equal = before.zip(window.iter().rev()).take_while(|(a, b)| a == b);
            let length = equal.count().min(limit);
            if length >= allowed {
                longest = longest.max(Some(length));
            }
        }
        let single = breakers
            .iter()
            .any(|b| b.len() == 1 && b[0] as usize == token);
        if let (Some(length), false) = (longest, single) {
            let exponent = (length - allowed) as i32;
            *logit -= f64::from(params.dry_multiplier) * f64::from(params.dry_base).powi(exponent);
        }
    }
    result
}
