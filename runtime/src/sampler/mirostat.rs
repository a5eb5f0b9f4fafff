//! Mirostat 2: keeps the tokens whose surprise is below a bound that is
//! steered so that the surprise of the text stays at a target (Basu et al.
//! 2021).

use super::candidates::{Candidate, Candidates};
use super::exponential::exp;
use super::params::SamplerParams;

/// The bound at the start, in bits.
pub(super) fn initial_mu(params: &SamplerParams) -> f32 {
    2.0 * params.mirostat_tau
}

/// Keeps the candidates with a surprise of at most `mu` bits.
pub(super) fn truncate(candidates: &mut Candidates, mu: f32) {
    let max = candidates.max_logit();
    // -log2(exp(logit - max) / total) <= mu
    let least = libm::log2(candidates.total(max)) - f64::from(mu);
    let bits = |c: &Candidate| f64::from(c.logit - max) * std::f64::consts::LOG2_E;
    candidates.retain(|c| c.logit == max || bits(c) >= least);
    // The most likely token stays alone if even it is too surprising.
    if least > 0.0 {
        candidates.keep_top(1);
    }
}

/// The bound after `chosen` was drawn from the truncated candidates.
pub(super) fn updated_mu(
    candidates: &Candidates,
    chosen: Candidate,
    mu: f32,
    params: &SamplerParams,
) -> f32 {
    let max = candidates.max_logit();
    let share = f64::from(exp(chosen.logit - max)) / candidates.total(max);
    let surprise = -libm::log2(share) as f32;
    mu - params.mirostat_eta * (surprise - params.mirostat_tau)
}
