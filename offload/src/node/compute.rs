//! What passes are computed by: a model, or in the simulator a clock.

use outrigger_runtime::{
    decoder::{DecodeError, Outcome, Part, SharedDecoder},
    kv::SequenceId,
    tokenizer::{TokenId, Tokenizer},
    transcript::Transcript,
};
use std::{
    future::Future,
    sync::{Arc, atomic::AtomicBool},
};

/// Computes shared passes.
pub trait Compute: Send + 'static {
    /// Positions that a sequence may have.
    fn context(&self) -> u32;
    /// Most columns in one pass.
    fn columns_max(&self) -> usize;
    /// Whether the model has nothing to say behind a token.
    fn ends(&self, token: TokenId) -> bool;
    /// As [`SharedDecoder::open`].
    fn open(&mut self, id: SequenceId) -> Result<(), DecodeError>;
    /// As [`SharedDecoder::close`].
    fn close(&mut self, id: SequenceId) -> Result<(), DecodeError>;
    /// As [`SharedDecoder::behind`].
    fn behind(&self, id: SequenceId, transcript: &Transcript) -> u32;
    /// As [`SharedDecoder::pass`].
    fn pass(
        &mut self,
        parts: &[Part<'_>],
        outcomes: &mut Vec<Outcome>,
    ) -> impl Future<Output = Result<(), DecodeError>> + Send;
}

/// A model on this machine. Its passes block the thread that awaits them,
/// which is the engine's own.
pub struct ModelCompute {
    decoder: SharedDecoder,
    tokenizer: Arc<Tokenizer>,
    cancel: Arc<AtomicBool>,
}

impl ModelCompute {
    /// Passes of `decoder`, given up when `cancel` is set.
    pub fn new(decoder: SharedDecoder, tokenizer: Arc<Tokenizer>, cancel: Arc<AtomicBool>) -> Self {
        Self {
            decoder,
            tokenizer,
            cancel,
        }
    }
}

impl Compute for ModelCompute {
    fn context(&self) -> u32 {
        self.decoder.context()
    }

    fn columns_max(&self) -> usize {
        self.decoder.columns_max()
    }

    fn ends(&self, token: TokenId) -> bool {
        self.tokenizer.is_end_of_generation(token)
    }

    fn open(&mut self, id: SequenceId) -> Result<(), DecodeError> {
        self.decoder.open(id)
    }

    fn close(&mut self, id: SequenceId) -> Result<(), DecodeError> {
        self.decoder.close(id)
    }

    fn behind(&self, id: SequenceId, transcript: &Transcript) -> u32 {
        self.decoder.behind(id, transcript)
    }

    async fn pass(
        &mut self,
        parts: &[Part<'_>],
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), DecodeError> {
        self.decoder.pass(parts, &self.cancel, outcomes)
    }
}
