//! The decoder over a pipeline of stages.

use super::{
    DecodeError, DecodeRequest, Decoded, Decoder, Follower, Provenance, Target,
    cached::CachedPipeline,
    sampling::{Computed, Sampling},
};
use crate::{
    loaded::{LoadError, LoadedModel, RunOptions},
    stage::Pipeline,
    tokenizer::TokenId,
    transcript::{Positions, Transcript},
};
use std::sync::atomic::AtomicBool;

/// Decodes one token at a time with a model on this machine.
///
/// It remembers what its KV cache holds. A transcript that begins as the last
/// one did, such as a chat's next turn, is computed from where they part.
pub struct LocalDecoder {
    model: CachedPipeline,
    sampling: Sampling,
    context: u32,
    provenance: Provenance,
}

impl LocalDecoder {
    /// A decoder for a loaded model.
    pub fn new(loaded: &LoadedModel, options: &RunOptions) -> Result<Self, LoadError> {
        Self::over(loaded.pipeline(options)?, loaded, "local")
    }

    /// A decoder over a pipeline of the loaded model's, some stages of which
    /// may be elsewhere. `source` says in the provenance where that is.
    pub fn over(pipeline: Pipeline, loaded: &LoadedModel, source: &str) -> Result<Self, LoadError> {
        let model = loaded.model();
        Ok(Self {
            provenance: Provenance {
                source: source.into(),
                model: model.title().into(),
                kernel_set: pipeline.kernel_set(),
            },
            sampling: Sampling::new(loaded.tokenizer().clone(), pipeline.vocab()),
            context: model.context,
            model: CachedPipeline::new(pipeline)?,
        })
    }

    /// Number of leading positions of `transcript` that need not be computed
    /// again.
    pub fn reusable(&self, transcript: &Transcript) -> u32 {
        self.model.reusable(transcript.positions())
    }
}

impl Target for LocalDecoder {
    fn vocab(&self) -> usize {
        self.model.pipeline().vocab()
    }

    fn guesses_max(&self) -> usize {
        self.model.pipeline().columns_max().saturating_sub(1)
    }

    fn step(
        &mut self,
        request: &mut DecodeRequest<'_>,
        drafted: &[TokenId],
        out: &mut Vec<Decoded>,
    ) -> Result<u32, DecodeError> {
        let transcript = request.transcript;
        if transcript.is_empty() {
            return Err(DecodeError::EmptyPrompt);
        }
        if transcript.len() > self.context {
            return Err(DecodeError::PromptTooLong {
                tokens: transcript.tokens().len(),
                context: self.context,
            });
        }
        self.sampling.sampler(transcript.sampling())?;
        let columns = self.model.catch_up(
            transcript.positions(),
            drafted,
            request.cancel,
            request.progress,
        )?;
        let computed = Computed {
            transcript,
            drafted,
            tokens: self.model.tokens(),
            logprobs: request.logprobs,
        };
        let logits = |row| self.model.logits(row);
        self.sampling.choose(&computed, logits, out)?;
        Ok(columns)
    }
}

impl Decoder for LocalDecoder {
    fn decode(
        &mut self,
        mut request: DecodeRequest<'_>,
        out: &mut Vec<Decoded>,
    ) -> Result<(), DecodeError> {
        self.step(&mut request, &[], out).map(drop)
    }

    fn context(&self) -> u32 {
        self.context
    }

    fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    fn behind(&self, transcript: &Transcript) -> Option<u32> {
        let len = transcript.len();
        let last = len.saturating_sub(1);
        Some(len - self.reusable(transcript).min(last))
    }
}

impl Follower for LocalDecoder {
    fn advance(&mut self, positions: &Positions, cancel: &AtomicBool) -> Result<bool, DecodeError> {
        if positions.len() > self.context {
            return Ok(true);
        }
        Ok(self.model.advance_by(positions, cancel)?)
    }
}
