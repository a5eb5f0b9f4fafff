//! A smaller model as a draft.

use super::{Confidence, Draft, DraftRequest};
use crate::{
    decoder::{DecodeError, cached::CachedPipeline, sampling::Sampling},
    loaded::{LoadError, LoadedModel, RunOptions},
    sampler::{SampleContext, SamplerState},
    tokenizer::{TokenId, TokenKind, Tokenizer},
    transcript::Transcript,
};
use outrigger_kernels::team::Team;
use std::sync::Arc;

/// Positions that [`ModelDraft::propose`] takes in on the way: what a step
/// that was accepted leaves open, and a few more.
const LAG_MAX: u32 = 8;

/// What keeps a model from drafting for another one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VocabularyMismatch {
    /// One has tokens that the other lacks.
    #[error("its vocabulary has {draft} tokens and the model's {target}")]
    Tokens {
        /// Tokens of the draft.
        draft: usize,
        /// Tokens of the model.
        target: usize,
    },
    /// A token is not the same in both.
    #[error("its token {id} is {draft} and the model's {target}")]
    Token {
        /// The token.
        id: TokenId,
        /// What it is in the draft.
        draft: String,
        /// What it is in the model.
        target: String,
    },
}

/// Guesses what a smaller model with the same vocabulary would say.
///
/// It draws with the same noise for the same position as the model it drafts
/// for (Gumbel coupling), so that it is right nearly as often as the two
/// models' distributions overlap, at any temperature.
pub struct ModelDraft {
    name: String,
    model: CachedPipeline,
    sampling: Sampling,
    /// The sampler's state behind the last guess.
    state: Option<SamplerState>,
    context: u32,
}

impl ModelDraft {
    /// A draft that runs `loaded` on a team of threads. The tokenizer of the
    /// model it drafts for has been held against its own by
    /// [`check_vocabulary`](Self::check_vocabulary).
    pub fn new(
        loaded: &LoadedModel,
        team: &Arc<Team>,
        options: &RunOptions,
    ) -> Result<Self, LoadError> {
        let pipeline = loaded.pipeline_on(team, options)?;
        let model = loaded.model();
        Ok(Self {
            name: model.title().into(),
            sampling: Sampling::new(loaded.tokenizer().clone(), pipeline.vocab()),
            model: CachedPipeline::new(pipeline)?,
            state: None,
            context: model.context,
        })
    }

    /// Whether a model with the tokenizer `draft` can draft for one with
    /// `target`: whether every token stands for the same bytes in both. One
    /// may have places that are kept free behind the tokens of the other, as
    /// the sizes of a family do.
    pub fn check_vocabulary(
        draft: &Tokenizer,
        target: &Tokenizer,
    ) -> Result<(), VocabularyMismatch> {
        let (in_draft, in_target) = (draft.vocab_len(), target.vocab_len());
        for id in 0..in_draft.max(in_target) as TokenId {
            let of = |tokenizer: &Tokenizer| {
                let kind = tokenizer.token_kind(id)?;
                (kind != TokenKind::Unused).then_some(kind)
            };
            let same_bytes = || draft.token_bytes(id) == target.token_bytes(id);
            match (of(draft), of(target)) {
                (None, None) => {}
                (a, b) if a == b && same_bytes() => {}
                _ if in_draft.min(in_target) <= id as usize => {
                    return Err(VocabularyMismatch::Tokens {
                        draft: in_draft,
                        target: in_target,
                    });
                }
                _ => {
                    return Err(VocabularyMismatch::Token {
                        id,
                        draft: describe(draft, id),
                        target: describe(target, id),
                    });
                }
            }
        }
        Ok(())
    }
}

/// A token's text for a message.
fn describe(tokenizer: &Tokenizer, id: TokenId) -> String {
    const CHARS_MAX: usize = 24;
    let text = tokenizer.token_text(id).unwrap_or_default();
    let start: String = text.chars().take(CHARS_MAX).collect();
    let kind = tokenizer.token_kind(id).unwrap_or(TokenKind::Unused);
    format!("{start:?} ({kind:?})")
}

impl Draft for ModelDraft {
    fn name(&self) -> &str {
        &self.name
    }

    fn confidence(&mut self, transcript: &Transcript) -> Option<Confidence> {
        (transcript.len() <= self.context).then_some(Confidence::new(0))
    }

    fn catch_up(&mut self, request: &mut DraftRequest<'_>) -> Result<(), DecodeError> {
        let positions = request.transcript.positions();
        if positions.len() - self.model.reusable(positions) > LAG_MAX {
            self.model
                .catch_up(positions, &[], request.cancel, request.progress)?;
        }
        Ok(())
    }

    fn propose(
        &mut self,
        request: &mut DraftRequest<'_>,
        out: &mut Vec<TokenId>,
    ) -> Result<(), DecodeError> {
        let transcript = request.transcript;
        self.model
            .catch_up(transcript.positions(), &[], request.cancel, &mut |_| ())?;
        let sampler = self.sampling.sampler(transcript.sampling())?;
        let mut state = transcript.sampler_state();
        loop {
            let history = self.model.tokens();
            let context = SampleContext {
                position: history.len() as u64,
                history,
                logprobs: None,
            };
            sampler.restore(state);
            let sampled = sampler.sample(self.model.logits(0), context)?;
            state = sampled.state;
            self.state = Some(state);
            out.push(sampled.token);
            let full = history.len() >= self.context as usize;
            if full || out.len() >= request.tokens_max {
                return Ok(());
            }
            self.model.extend(sampled.token, request.cancel)?;
        }
    }

    fn sampler_state(&self) -> Option<SamplerState> {
        self.state
    }
}
