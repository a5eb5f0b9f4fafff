//! Top-p, nucleus sampling: keeps the most likely tokens that together have
//! a probability of p (Holtzman et al. 2019).

use super::candidates::Candidates;
use super::exponential::exp;

/// Candidates sorted at first; the nucleus is mostly smaller.
const FIRST_SORTED: usize = 256;

pub(super) fn apply(candidates: &mut Candidates, p: f32) {
    if p >= 1.0 || candidates.len() < 2 {
        return;
    }
    let max = candidates.max_logit();
    let enough = f64::from(p) * candidates.total(max);
    let n = candidates.len();
    let mut in_order = 0;
    let mut mass = 0.0;
    let mut sorted = FIRST_SORTED.min(n);
    loop {
        candidates.sort_front(sorted);
        for (at, candidate) in candidates.list()[..sorted]
            .iter()
            .enumerate()
            .skip(in_order)
        {
            mass += f64::from(exp(candidate.logit - max));
            if mass >= enough {
                candidates.keep_first(at + 1, true);
                return;
            }
        }
        if sorted == n {
            return;
        }
        in_order = sorted;
        sorted = (sorted * 8).min(n);
    }
}
