//! Drafts: guesses at the tokens to come.
//!
//! A draft decides how fast a [`SpeculativeDecoder`](super::SpeculativeDecoder)
//! is and never what it says, so it may guess by any means.

mod lookup;
mod model;

pub use lookup::LookupDraft;
pub use model::{ModelDraft, VocabularyMismatch};

use super::{DecodeError, Progress};
use crate::{sampler::SamplerState, tokenizer::TokenId, transcript::Transcript};
use std::sync::atomic::AtomicBool;

/// How good a guess looks before it is made, from 0 up. Each grade has
/// acceptance rates of its own; what they are is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confidence(usize);

impl Confidence {
    /// Number of grades.
    pub const GRADES: usize = 4;

    /// A grade; those beyond the highest are the highest.
    pub fn new(grade: usize) -> Self {
        Self(grade.min(Self::GRADES - 1))
    }

    /// Its number.
    pub fn grade(self) -> usize {
        self.0
    }
}

/// What is asked of a draft.
pub struct DraftRequest<'a> {
    /// The tokens so far; never empty.
    pub transcript: &'a Transcript,
    /// Most tokens wanted, at least 1. Further ones are dropped.
    pub tokens_max: usize,
    /// Set from elsewhere to end early with [`DecodeError::Cancelled`].
    pub cancel: &'a AtomicBool,
    /// Told how far the draft has come in computing a prompt.
    pub progress: &'a mut dyn FnMut(Progress),
}

/// A source of guesses.
pub trait Draft: Send {
    /// What it is called in a report.
    fn name(&self) -> &str;

    /// How good its guess at what follows the transcript would be; `None` if
    /// it has none. This is asked before every token, so it must be cheap.
    fn confidence(&mut self, transcript: &Transcript) -> Option<Confidence>;

    /// Takes in a transcript that has grown by more than a few tokens, so that
    /// the time of [`propose`](Self::propose) is that of guessing.
    fn catch_up(&mut self, _request: &mut DraftRequest<'_>) -> Result<(), DecodeError> {
        Ok(())
    }

    /// Appends guesses to `out`, which is empty. An error other than
    /// [`DecodeError::Cancelled`] means that the draft is of no more use.
    fn propose(
        &mut self,
        request: &mut DraftRequest<'_>,
        out: &mut Vec<TokenId>,
    ) -> Result<(), DecodeError>;

    /// The sampler's state behind the last guess, where the draft has one: who
    /// asks for guesses behind guesses gives it back with the transcript.
    fn sampler_state(&self) -> Option<SamplerState> {
        None
    }
}
