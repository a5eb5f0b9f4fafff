//! XTC, "exclude top choices": now and then removes all tokens that are
//! likely enough but the least likely of them (p-e-w,
//! text-generation-webui #6335).

use super::candidates::Candidates;
use super::draw::Draw;
use super::exponential::exp;
use super::params::SamplerParams;

pub(super) fn apply(candidates: &mut Candidates, params: &SamplerParams, draw: &Draw) {
    if params.xtc_probability <= 0.0
        || params.xtc_threshold > 0.5
        || candidates.len() < 2
        || draw.xtc_chance() > f64::from(params.xtc_probability)
    {
        return;
    }
    let max = candidates.max_logit();
    let least = f64::from(params.xtc_threshold) * candidates.total(max);
    let likely = |logit: f32| f64::from(exp(logit - max)) >= least;
    let choices = candidates.list().iter().filter(|c| likely(c.logit));
    if let Some(last) = choices.map(|c| c.rank()).max() {
        candidates.retain(|c| c.rank() >= last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xtc_acts_as_often_as_told() {
        let logits = [3.0_f32, 2.9, 2.8, -1.0];
        let params = SamplerParams {
            xtc_probability: 0.3,
            xtc_threshold: 0.1,
            ..SamplerParams::default()
        };
        let acted = (0..20_000)
            .filter(|&position| {
                let mut candidates = Candidates::with_capacity(4);
                candidates.fill(&logits, f32::NEG_INFINITY);
                apply(&mut candidates, &params, &Draw::new(5, position));
                let mut kept: Vec<u32> = candidates.list().iter().map(|c| c.token).collect();
                kept.sort_unstable();
                assert!(kept == [2, 3] || kept == [0, 1, 2, 3], "{kept:?}");
                kept.len() == 2
            })
            .count();
        assert!((acted as f64 / 20_000.0 - 0.3).abs() < 0.01, "{acted}");
    }
}
