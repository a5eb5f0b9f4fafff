//! A language in which every token depends on all before it.

use outrigger_runtime::{
    decoder::Decoded,
    sampler::{SamplerParams, SamplerState},
    tokenizer::{TokenId, Tokenizer},
    transcript::Transcript,
};
use std::sync::Arc;

/// Chooses each token by a hash of all tokens before it, so that one that is
/// lost, doubled, moved or wrong changes the whole text behind it.
#[derive(Clone)]
pub struct Language {
    seed: u64,
    tokenizer: Arc<Tokenizer>,
    /// Tokens that end no text.
    words: Arc<[TokenId]>,
}

impl Language {
    /// A language over a tokenizer's tokens.
    ///
    /// # Panics
    /// If all of them end a text.
    pub fn new(seed: u64, tokenizer: Arc<Tokenizer>) -> Self {
        let ids = 0..tokenizer.vocab_len() as TokenId;
        let words: Arc<[_]> = ids
            .filter(|&id| !tokenizer.is_end_of_generation(id))
            .collect();
        assert!(!words.is_empty(), "no token can be said");
        Self {
            seed,
            tokenizer,
            words,
        }
    }

    /// The same tokens in another order, as another model would choose them.
    pub fn of_another_model(&self) -> Self {
        Self {
            seed: !self.seed,
            ..self.clone()
        }
    }

    /// The same tokens in an order of their own.
    pub fn with_seed(&self, seed: u64) -> Self {
        Self {
            seed,
            ..self.clone()
        }
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// A number that depends on every token of `prefix` and its place.
    pub fn hash(&self, prefix: &[TokenId]) -> u64 {
        let take = |hash: u64, &token: &TokenId| mix(hash ^ u64::from(token));
        prefix.iter().fold(self.seed, take)
    }

    /// The token behind `prefix`.
    pub fn next(&self, prefix: &[TokenId]) -> TokenId {
        self.words[(self.hash(prefix) % self.words.len() as u64) as usize]
    }

    /// A token that does not follow on `prefix`.
    pub fn wrong(&self, prefix: &[TokenId]) -> TokenId {
        let next = self.hash(prefix) % self.words.len() as u64;
        self.words[(next + 1) as usize % self.words.len()]
    }

    /// A transcript of a prompt of `tokens` tokens.
    pub fn prompt(&self, tokens: usize) -> Transcript {
        let mut transcript = Transcript::new(SamplerParams {
            seed: Some(self.seed),
            ..SamplerParams::default()
        });
        transcript.push_prompt(&self.follow(&[], tokens));
        transcript
    }

    /// `count` tokens behind `prefix`.
    pub fn follow(&self, prefix: &[TokenId], count: usize) -> Vec<TokenId> {
        let mut text = prefix.to_vec();
        for _ in 0..count {
            text.push(self.next(&text));
        }
        text.split_off(prefix.len())
    }

    /// What a pass over a transcript and some guesses chooses: the tokens
    /// guessed right and the one behind them.
    pub fn choose(&self, transcript: &Transcript, guesses: &[TokenId]) -> Vec<Decoded> {
        let mut text = transcript.tokens().to_vec();
        let mut chosen = Vec::with_capacity(guesses.len() + 1);
        loop {
            let token = self.next(&text);
            let right = guesses.get(chosen.len()) == Some(&token);
            text.push(token);
            chosen.push(Decoded {
                token,
                logprob: None,
                top: Vec::new(),
                state: SamplerState::initial(transcript.sampling()),
            });
            if !right {
                return chosen;
            }
        }
    }
}

/// The finaliser of splitmix64, a bijection in which every bit of the input
/// changes about half of the output's.
pub(super) fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A number from 0 to 1 from a hash.
pub(super) fn share(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}
