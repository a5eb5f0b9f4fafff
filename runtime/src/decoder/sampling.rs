//! The sampler that a transcript asks for, and the tokens that it chooses.

use super::{DecodeError, Decoded};
use crate::{
    sampler::{BreakerVocabulary, DryBreakers, ParamsError, SampleContext, Sampler, SamplerParams},
    tokenizer::{EncodeOptions, TokenId, Tokenizer},
    transcript::Transcript,
};
use std::{borrow::Cow, sync::Arc};

/// What a pass has computed, to choose tokens by.
pub(super) struct Computed<'a> {
    /// The tokens so far.
    pub(super) transcript: &'a Transcript,
    /// Guesses that were computed behind them.
    pub(super) drafted: &'a [TokenId],
    /// The transcript's tokens and the guesses.
    pub(super) tokens: &'a [TokenId],
    pub(super) logprobs: Option<usize>,
}

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

    /// Appends to `out` the token that follows the transcript and, for as long
    /// as these are the guesses, those that follow on it, none behind an
    /// end-of-generation token. `logits` gives those of the transcript's last
    /// position as row 0, those of the guesses behind it.
    pub(super) fn choose<'l>(
        &mut self,
        computed: &Computed<'_>,
        logits: impl Fn(usize) -> &'l [f32],
        out: &mut Vec<Decoded>,
    ) -> Result<(), DecodeError> {
        let transcript = computed.transcript;
        let mut state = transcript.sampler_state();
        let mut guesses = computed.drafted.iter();
        for row in 0.. {
            let position = transcript.tokens().len() + row;
            let context = SampleContext {
                position: position as u64,
                history: &computed.tokens[..position],
                logprobs: computed.logprobs,
            };
            let sampler = self.sampler(transcript.sampling())?;
            sampler.restore(state);
            let sampled = match sampler.sample(logits(row), context) {
                Ok(sampled) => sampled,
                // What came before it stands; the next step meets it again.
                Err(_) if row > 0 => break,
                Err(error) => return Err(error.into()),
            };
            state = sampled.state;
            out.push(Decoded {
                token: sampled.token,
                logprob: sampled.logprob,
                top: sampler.top_logprobs().to_vec(),
                state,
            });
            let ends = self.tokenizer.is_end_of_generation(sampled.token);
            if ends || guesses.next() != Some(&sampled.token) {
                break;
            }
        }
        Ok(())
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
