//! Min-p: keeps what is at least p times as likely as the most likely token
//! (Nguyen et al. 2024).

use super::candidates::Candidates;

pub(super) fn apply(candidates: &mut Candidates, p: f32) {
    if p <= 0.0 {
        return;
    }
    // log(1) is 0, so that the most likely token always stays.
    let max = candidates.max_logit();
    let least = max + libm::logf(p).min(0.0);
    candidates.retain(|c| c.logit >= least);
}
