//! Temperature, fixed or moving with the entropy of the candidates.

use super::candidates::Candidates;
use super::params::SamplerParams;

/// The temperature for these candidates.
pub(super) fn of(candidates: &Candidates, params: &SamplerParams) -> f32 {
    let range = params.dynatemp_range;
    if range <= 0.0 || candidates.len() < 2 {
        return params.temperature;
    }
    let lowest = (params.temperature - range).max(0.0);
    let highest = params.temperature + range;
    let most = libm::log(candidates.len() as f64);
    let normalised = (candidates.entropy() / most).clamp(0.0, 1.0);
    let share = libm::pow(normalised, params.dynatemp_exponent.into()) as f32;
    lowest + (highest - lowest) * share
}

/// Divides the logits by a temperature above 0, taken relative to the highest
/// so that a small one cannot make them overflow.
pub(super) fn apply(candidates: &mut Candidates, temperature: f32) {
    let max = candidates.max_logit();
    for candidate in candidates.list_mut() {
        candidate.logit = (candidate.logit - max) / temperature;
    }
}
