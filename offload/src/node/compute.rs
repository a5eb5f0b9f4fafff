//! What passes are computed by: a model, or in the simulator a clock.

use super::{Drafting, NodeDraft};
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
    /// Whether there is a draft, which [`draft`](Self::draft) asks.
    fn drafts(&self) -> bool {
        false
    }
    /// Guesses what follows some transcripts; none for those that it has to
    /// read first. Guesses decide how many tokens come of a pass, and nothing
    /// else.
    fn draft(&mut self, _wanted: &mut [Drafting<'_>]) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// A model on this machine. Its passes block the thread that awaits them,
/// which is the engine's own.
pub struct ModelCompute {
    decoder: SharedDecoder,
    /// `None` too once it has failed.
    draft: Option<NodeDraft>,
    tokenizer: Arc<Tokenizer>,
    cancel: Arc<AtomicBool>,
}

impl ModelCompute {
    /// Passes of `decoder`, given up when `cancel` is set.
    pub fn new(decoder: SharedDecoder, tokenizer: Arc<Tokenizer>, cancel: Arc<AtomicBool>) -> Self {
        Self {
            decoder,
            draft: None,
            tokenizer,
            cancel,
        }
    }

    /// The same with a draft of the same vocabulary, before any sequence was
    /// opened.
    pub fn with_draft(mut self, draft: NodeDraft) -> Self {
        self.draft = Some(draft);
        self
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
        self.decoder.open(id)?;
        let opened = self.draft.as_mut().map_or(Ok(()), |draft| draft.open(id));
        if opened.is_err() {
            self.decoder.close(id)?;
        }
        opened
    }

    fn close(&mut self, id: SequenceId) -> Result<(), DecodeError> {
        if let Some(draft) = &mut self.draft {
            draft.close(id)?;
        }
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

    fn drafts(&self) -> bool {
        self.draft.is_some()
    }

    async fn draft(&mut self, wanted: &mut [Drafting<'_>]) {
        let Some(draft) = &mut self.draft else { return };
        let ends = |token| self.tokenizer.is_end_of_generation(token);
        if let Err(error) = draft.draft(wanted, &self.cancel, ends) {
            tracing::warn!("going on without the draft: {error}");
            self.draft = None;
            for one in wanted {
                one.guesses.clear();
            }
        }
    }
}
