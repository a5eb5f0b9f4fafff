//! Locally typical sampling: keeps the tokens whose surprise is nearest to
//! the entropy (Meister et al. 2022).

use super::candidates::Candidates;
use super::exponential::exp;

pub(super) fn apply(candidates: &mut Candidates, p: f32) {
    if p >= 1.0 || candidates.len() < 2 {
        return;
    }
    let max = candidates.max_logit();
    let total = candidates.total(max);
    let log_total = libm::log(total);
    let entropy = candidates.entropy();
    candidates.sort_by_score(|c| {
        let surprise = log_total - f64::from(c.logit - max);
        (surprise - entropy).abs() as f32
    });
    let mut mass = 0.0;
    let kept = candidates.list().iter().position(|c| {
        mass += f64::from(exp(c.logit - max)) / total;
        mass > f64::from(p)
    });
    if let Some(last) = kept {
        candidates.keep_first(last + 1, false);
    }
}
