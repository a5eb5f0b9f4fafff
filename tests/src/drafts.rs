//! Drafts for tests: ones that know the answer, err at will, or fail.

use outrigger_runtime::{
    decoder::{Confidence, DecodeError, Draft, DraftRequest},
    sampler::SamplerError,
    tokenizer::TokenId,
    transcript::Transcript,
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Guesses from a text that it was given, wrong at a chance of `errors` in
/// 256 for each token, and says so with a confidence at random.
pub struct Knowing {
    /// The text, from position 0 on.
    pub text: Vec<TokenId>,
    /// Wrong guesses in 256.
    pub errors: u32,
    /// Tokens of the vocabulary; a wrong guess may lie beyond.
    pub vocab: u32,
    /// State of the random numbers, not 0.
    pub state: u32,
}

impl Knowing {
    fn random(&mut self) -> u32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        self.state >> 8
    }
}

impl Draft for Knowing {
    fn name(&self) -> &str {
        "knowing"
    }

    fn confidence(&mut self, _: &Transcript) -> Option<Confidence> {
        match self.random() as usize % 9 {
            8 => None,
            grade => Some(Confidence::new(grade)),
        }
    }

    fn propose(
        &mut self,
        request: &mut DraftRequest<'_>,
        out: &mut Vec<TokenId>,
    ) -> Result<(), DecodeError> {
        let len = request.transcript.tokens().len();
        for index in len..len + request.tokens_max {
            let known = self.text.get(index).copied();
            let right = self.random() % 256 >= self.errors;
            let other = self.random() % (self.vocab + self.vocab / 8);
            out.push(known.filter(|_| right).unwrap_or(other));
        }
        Ok(())
    }
}

/// Guesses zeros until it fails.
pub struct Failing {
    /// Guesses before the first error.
    pub after: usize,
    /// How often it was asked.
    pub asked: Arc<AtomicUsize>,
}

impl Draft for Failing {
    fn name(&self) -> &str {
        "failing"
    }

    fn confidence(&mut self, _: &Transcript) -> Option<Confidence> {
        Some(Confidence::new(0))
    }

    fn propose(
        &mut self,
        request: &mut DraftRequest<'_>,
        out: &mut Vec<TokenId>,
    ) -> Result<(), DecodeError> {
        out.extend(vec![0; request.tokens_max]);
        if self.asked.fetch_add(1, Ordering::Relaxed) >= self.after {
            return Err(SamplerError::Empty.into());
        }
        Ok(())
    }
}
