//! Decoders: committed tokens in, further tokens out.
//!
//! A local pipeline of stages is a decoder, alone or with a draft that it
//! verifies; a cloud stream is another. They agree on nothing but the
//! [`Transcript`], so one may take over from another between any two tokens.

mod cached;
mod draft;
mod error;
mod generation;
mod length;
mod local;
mod sampling;
mod shared;
mod speculation;
mod speculative;

pub use draft::{Confidence, Draft, DraftRequest, LookupDraft, ModelDraft, VocabularyMismatch};
pub use error::DecodeError;
pub use generation::{
    FinishReason, Generation, GenerationOptions, ProvenanceRun, Step, TokenRecord,
};
pub use length::DRAFT_MAX;
pub use local::LocalDecoder;
pub use shared::{Outcome, Part, SharedDecoder};
pub use speculation::Speculation;
pub use speculative::{DraftSource, SpeculationError, SpeculativeDecoder};

use crate::{
    sampler::{SamplerState, TokenLogprob},
    tokenizer::TokenId,
    transcript::{Positions, Transcript},
};
use serde::Serialize;
use std::sync::atomic::AtomicBool;

/// Columns of a prompt that are computed together. The grid starts at the
/// prompt's first position, so that a prompt is cut in the same places
/// whenever it is computed.
const PROMPT_CHUNK: u32 = 512;

/// Where tokens come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// The kind of decoder: `local`.
    pub source: String,
    /// The model's name.
    pub model: String,
    /// The code that computed; equal names mean equal bits.
    pub kernel_set: String,
}

/// One token from a decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The token.
    pub token: TokenId,
    /// Its log-probability under the model, where asked for.
    pub logprob: Option<f32>,
    /// The most likely tokens in its place, as many as were asked for.
    pub top: Vec<TokenLogprob>,
    /// The sampler's state once the token is committed.
    pub state: SamplerState,
}

/// What is asked of a decoder.
pub struct DecodeRequest<'a> {
    /// The tokens so far.
    pub transcript: &'a Transcript,
    /// Most tokens wanted, at least 1. A decoder may give fewer, but at least 1.
    pub tokens_max: usize,
    /// Whether log-probabilities are wanted, and of how many other tokens.
    pub logprobs: Option<usize>,
    /// Set from elsewhere to end early with [`DecodeError::Cancelled`].
    pub cancel: &'a AtomicBool,
    /// Told how many of the positions that have to be computed before the
    /// first token are done.
    pub progress: &'a mut dyn FnMut(Progress),
}

impl DecodeRequest<'_> {
    /// The same request, for another decoder to try first.
    pub fn again(&mut self) -> DecodeRequest<'_> {
        DecodeRequest {
            transcript: self.transcript,
            tokens_max: self.tokens_max,
            logprobs: self.logprobs,
            cancel: self.cancel,
            progress: &mut *self.progress,
        }
    }
}

/// How far the computing of a prompt has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Positions done.
    pub done: u32,
    /// Positions to do in all.
    pub total: u32,
}

/// A decoder that verifies guesses: what speculative decoding speeds up.
pub trait Target: Decoder {
    /// Values in a row of logits; all guesses are below.
    fn vocab(&self) -> usize;

    /// Most guesses in one step.
    fn guesses_max(&self) -> usize;

    /// Appends to `out` the token that follows the transcript and, for as long
    /// as these are what was `drafted`, those that follow on it, none behind
    /// an end-of-generation token. What was drafted decides how many tokens
    /// come of one pass, and nothing else. Returns the columns of all passes.
    ///
    /// `drafted` is empty where the transcript ends in a prompt.
    fn step(
        &mut self,
        request: &mut DecodeRequest<'_>,
        drafted: &[TokenId],
        out: &mut Vec<Decoded>,
    ) -> Result<u32, DecodeError>;
}

/// A decoder that can compute what another one generates, a bounded step at a
/// time, so that it can take over at once.
pub trait Follower: Decoder {
    /// Computes some more of a transcript, and says whether nothing is left to
    /// do before its last position. What it holds of another transcript goes.
    fn advance(&mut self, positions: &Positions, cancel: &AtomicBool) -> Result<bool, DecodeError>;
}

/// A source of further tokens.
pub trait Decoder: Send {
    /// Appends to `out` the tokens that follow the transcript, at least one,
    /// at most [`DecodeRequest::tokens_max`], and none behind an
    /// end-of-generation token. After an error `out` is as it was, and the
    /// same request may be made again, here or of another decoder.
    fn decode(
        &mut self,
        request: DecodeRequest<'_>,
        out: &mut Vec<Decoded>,
    ) -> Result<(), DecodeError>;

    /// Positions that a sequence may have.
    fn context(&self) -> u32;

    /// Where its tokens come from.
    fn provenance(&self) -> &Provenance;

    /// What a draft has brought since the decoder was made; `None` where none
    /// is used.
    fn speculation(&self) -> Option<&Speculation> {
        None
    }

    /// Shown what other decoders have generated, so that it may compute it
    /// meanwhile. It returns at once; most decoders do nothing.
    fn follow(&mut self, _transcript: &Transcript) {}

    /// Positions of a transcript that this machine has to compute before the
    /// next token, its last included; `None` where others compute.
    fn behind(&self, _transcript: &Transcript) -> Option<u32> {
        None
    }
}
