//! The sampler that a transcript asks for.

use crate::{
    sampler::{BreakerVocabulary, DryBreakers, ParamsError, Sampler, SamplerParams},
    tokenizer::{EncodeOptions, TokenId, Tokenizer},
};
use std::{borrow::Cow, sync::Arc};

/// Keeps a sampler for as long as the parameters stay the same.
pub(super) struct Sampling {
    tokenizer: Arc<Tokenizer>,
    /// Logits of a position.
    vocab: usize,
    sampler: Option<Sampler>,
}

impl Sampling {
    pub(super) fn new(tokenizer: Arc<Tokenizer>, vocab: usize) -> Self {
        Self {
            tokenizer,
            vocab,
            sampler: None,
        }
    }

    pub(super) fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The sampler for these parameters.
    pub(super) fn sampler(&mut self, params: &SamplerParams) -> Result<&mut Sampler, ParamsError> {
        let sampler = match self.sampler.take() {
            Some(sampler) if sampler.params() == params => sampler,
            _ => {
                let breakers = if params.dry_is_on() {
                    let breakers = &params.dry_sequence_breakers;
                    DryBreakers::of_vocabulary(&*self.tokenizer, breakers)
                } else {
                    DryBreakers::default()
                };
                Sampler::new(params.clone(), self.vocab, breakers)?
            }
        };
        Ok(self.sampler.insert(sampler))
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
