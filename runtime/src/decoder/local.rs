//! The decoder over a pipeline of stages.

use super::{DecodeError, DecodeRequest, Decoded, Decoder, Progress, Provenance};
use crate::{
    kv::SequenceId,
    loaded::{LoadError, LoadedModel, RunOptions},
    sampler::{BreakerVocabulary, DryBreakers, SampleContext, Sampler},
    stage::{Batch, Column, Pipeline, StageError},
    tokenizer::{EncodeOptions, TokenId, Tokenizer},
    transcript::{Class, Positions, Transcript},
};
use std::{
    borrow::Cow,
    sync::{Arc, atomic::AtomicBool},
};

/// Columns of a prompt that are computed together. The grid starts at the
/// prompt's first position, so that a prompt is cut in the same places
/// whenever it is computed.
const PROMPT_CHUNK: u32 = 512;

/// The sequence that a local decoder works on.
const SEQUENCE: SequenceId = SequenceId(0);

/// Decodes one token at a time with a model on this machine.
///
/// It remembers what its KV cache holds. A transcript that begins as the last
/// one did, such as a chat's next turn, is computed from where they part.
pub struct LocalDecoder {
    pipeline: Pipeline,
    tokenizer: Arc<Tokenizer>,
    context: u32,
    provenance: Provenance,
    /// What the KV cache holds.
    cached: Positions,
    sampler: Option<Sampler>,
    batch: Batch,
}

impl LocalDecoder {
    /// A decoder for a loaded model.
    pub fn new(loaded: &LoadedModel, options: &RunOptions) -> Result<Self, LoadError> {
        let mut pipeline = loaded.pipeline(options)?;
        pipeline.create(SEQUENCE)?;
        let model = loaded.model();
        Ok(Self {
            provenance: Provenance {
                source: "local".into(),
                model: model.name.clone().unwrap_or(model.architecture.clone()),
                kernel_set: pipeline.kernel_set(),
            },
            pipeline,
            tokenizer: loaded.tokenizer().clone(),
            context: model.context,
            cached: Positions::new(),
            sampler: None,
            batch: Batch::default(),
        })
    }

    /// Number of leading positions of `transcript` that need not be computed
    /// again.
    pub fn reusable(&self, transcript: &Transcript) -> u32 {
        self.cached.common_prefix(transcript.positions())
    }

    /// Brings the KV cache to hold all of the transcript; the logits of the
    /// last position are in the batch's output after.
    fn catch_up(&mut self, request: &mut DecodeRequest<'_>) -> Result<(), DecodeError> {
        let transcript = request.transcript.positions();
        let len = transcript.len();
        // The last position is computed even if it was before: its logits are
        // wanted.
        let common = self.cached.common_prefix(transcript).min(len - 1);
        self.keep(common)?;
        let start = self.cached.len();
        let total = len - start;
        if total > 1 {
            (request.progress)(Progress { done: 0, total });
        }
        while self.cached.len() < len {
            self.advance(transcript, request.cancel)?;
            let done = self.cached.len() - start;
            if total > 1 {
                (request.progress)(Progress { done, total });
            }
        }
        Ok(())
    }

    /// Cuts the cache to `len` positions, or to fewer where a window is gone.
    fn keep(&mut self, len: u32) -> Result<(), StageError> {
        // After an error between stages the cache may hold less than noted.
        let held = match self.pipeline.len(SEQUENCE) {
            Some(held) => held,
            None => {
                self.pipeline.release(SEQUENCE)?;
                self.pipeline.create(SEQUENCE)?;
                0
            }
        };
        let kept = self.pipeline.truncate(SEQUENCE, len.min(held))?;
        self.cached.truncate(kept);
        Ok(())
    }

    /// Computes the next chunk of the transcript.
    fn advance(&mut self, transcript: &Positions, cancel: &AtomicBool) -> Result<(), DecodeError> {
        let start = self.cached.len();
        let Some(segment) = transcript.segment_at(start) else {
            return Ok(());
        };
        let grid_end = match segment.class {
            Class::Prompt => {
                let offset = start - segment.positions.start;
                segment.positions.start + (offset / PROMPT_CHUNK + 1) * PROMPT_CHUNK
            }
            Class::Generated => u32::MAX,
        };
        let columns_max = u32::try_from(self.pipeline.columns_max()).unwrap_or(u32::MAX);
        let end = segment
            .positions
            .end
            .min(grid_end)
            .min(start.saturating_add(columns_max));
        self.batch.clear();
        for position in start..end {
            let column = Column {
                sequence: SEQUENCE,
                position,
                class: segment.class,
                wanted: position + 1 == transcript.len(),
            };
            self.batch
                .push(column, transcript.tokens()[position as usize]);
        }
        self.pipeline.forward(&mut self.batch, cancel)?;
        self.cached.follow(transcript, end);
        Ok(())
    }

    /// The sampler for the transcript's parameters.
    fn sampler(&mut self, transcript: &Transcript) -> Result<&mut Sampler, DecodeError> {
        let current = self.sampler.take();
        let params = transcript.sampling();
        let sampler = match current {
            Some(sampler) if sampler.params() == params => sampler,
            _ => {
                let breakers = if params.dry_is_on() {
                    let breakers = &params.dry_sequence_breakers;
                    DryBreakers::of_vocabulary(&*self.tokenizer, breakers)
                } else {
                    DryBreakers::default()
                };
                Sampler::new(params.clone(), self.pipeline.vocab(), breakers)?
            }
        };
        Ok(self.sampler.insert(sampler))
    }
}

impl Decoder for LocalDecoder {
    fn decode(
        &mut self,
        mut request: DecodeRequest<'_>,
        out: &mut Vec<Decoded>,
    ) -> Result<(), DecodeError> {
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
        self.sampler(transcript)?;
        self.catch_up(&mut request)?;
        let context = SampleContext {
            position: transcript.len().into(),
            history: transcript.tokens(),
            logprobs: request.logprobs,
        };
        let Some(sampler) = &mut self.sampler else {
            return Ok(());
        };
        sampler.restore(transcript.sampler_state());
        let sampled = sampler.sample(&self.batch.output, context)?;
        out.push(Decoded {
            token: sampled.token,
            logprob: sampled.logprob,
            top: sampler.top_logprobs().to_vec(),
            state: sampled.state,
        });
        Ok(())
    }

    fn context(&self) -> u32 {
        self.context
    }

    fn provenance(&self) -> &Provenance {
        &self.provenance
    }
}

impl BreakerVocabulary for Tokenizer {
    fn n_tokens(&self) -> u32 {
        u32::try_from(self.vocab_len()).unwrap_or(u32::MAX)
    }

    fn piece(&self, token: TokenId) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.token_bytes(token).unwrap_or_default())
    }

    fn tokenize(&self, text: &str) -> Vec<TokenId> {
        // A breaker that the vocabulary cannot express cannot occur in it.
        self.encode(text, EncodeOptions::default())
            .unwrap_or_default()
    }
}
