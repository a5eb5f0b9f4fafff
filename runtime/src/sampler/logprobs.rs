//! Log-probabilities under the model's own distribution.

use super::candidates::{Candidate, Candidates};
use super::exponential::sum_of_exp;

/// A token with the natural logarithm of its probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenLogprob {
    /// The token.
    pub token: u32,
    /// Log-softmax of the logits as the model gave them.
    pub logprob: f32,
}

/// Log-softmax over the logits of a model, before anything was done to them.
#[derive(Debug, Default)]
pub(super) struct Logprobs {
    candidates: Candidates,
    top: Vec<TokenLogprob>,
}

impl Logprobs {
    /// The log-probability of `token`; lists the `n` most likely besides.
    pub(super) fn compute(&mut self, logits: &[f32], max: f32, token: u32, n: usize) -> f32 {
        let log_total = libm::log(sum_of_exp(logits.iter().copied(), max));
        let logprob = |logit: f32| (f64::from(logit - max) - log_total) as f32;
        self.top.clear();
        if n > 0 {
            self.candidates.fill_top(logits, f32::NEG_INFINITY, n);
            self.candidates.sort();
            let entry = |c: &Candidate| TokenLogprob {
                token: c.token,
                logprob: logprob(c.logit),
            };
            self.top.extend(self.candidates.list().iter().map(entry));
        }
        logprob(logits[token as usize])
    }

    pub(super) fn clear(&mut self) {
        self.top.clear();
    }

    pub(super) fn top(&self) -> &[TokenLogprob] {
        &self.top
    }
}
