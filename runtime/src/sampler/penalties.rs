//! Penalties on tokens that occurred before.

use super::params::{SamplerParams, window};

/// Applies the repetition, frequency and presence penalties to the logits.
#[derive(Debug)]
pub(super) struct Penalties {
    /// Occurrences of each token; all zero between calls.
    counts: Vec<u32>,
}

impl Penalties {
    pub(super) fn new(n_vocab: usize) -> Self {
        Self {
            counts: vec![0; n_vocab],
        }
    }

    /// `history` holds tokens of the vocabulary only.
    pub(super) fn apply(&mut self, logits: &mut [f32], history: &[u32], params: &SamplerParams) {
        let window = window(history, params.repeat_last_n);
        for &token in window {
            self.counts[token as usize] += 1;
        }
        for &token in window {
            let count = std::mem::take(&mut self.counts[token as usize]);
            if count == 0 {
                continue;
            }
            let logit = &mut logits[token as usize];
            // A division would make a negative logit more likely.
            *logit = if *logit <= 0.0 {
                *logit * params.repeat_penalty
            } else {
                *logit / params.repeat_penalty
            };
            *logit -= count as f32 * params.frequency_penalty + params.presence_penalty;
        }
    }
}
