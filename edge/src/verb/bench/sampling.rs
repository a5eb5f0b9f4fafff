//! How long the sampler takes for a test's tokens.
//!
//! Tests feed tokens that do not depend on the logits, as llama-bench's do, so
//! nothing samples. For a profile each step's logits are sampled all the same,
//! at a temperature and with candidates cut as `run` does by default, on a
//! clock of its own.

use outrigger_runtime::sampler::{DryBreakers, SampleContext, Sampler, SamplerParams};
use std::time::{Duration, Instant};

pub(super) struct Sampling {
    sampler: Sampler,
    /// Spent since [`take`](Self::take).
    time: Duration,
}

impl Sampling {
    pub(super) fn new(vocab: usize) -> anyhow::Result<Self> {
        let params = SamplerParams {
            seed: Some(0),
            ..SamplerParams::default()
        };
        Ok(Self {
            sampler: Sampler::new(params, vocab, DryBreakers::default())?,
            time: Duration::ZERO,
        })
    }

    /// Samples a token of each of the rows `logits`, whose place in their
    /// sequences is `position`.
    pub(super) fn sample(
        &mut self,
        logits: &[f32],
        vocab: usize,
        position: u32,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        for row in logits.chunks_exact(vocab) {
            let context = SampleContext {
                position: position.into(),
                history: &[],
                logprobs: None,
            };
            self.sampler.sample(row, context)?;
        }
        self.time += started.elapsed();
        Ok(())
    }

    /// The time spent since the last call.
    pub(super) fn take(&mut self) -> Duration {
        std::mem::take(&mut self.time)
    }
}
