//! A pipeline together with what its KV cache holds.

use super::{DecodeError, Progress, shared::chunk_end};
use crate::{
    kv::SequenceId,
    stage::{Batch, Column, Pipeline, StageError},
    tokenizer::TokenId,
    transcript::{Class, Positions},
};
use std::{ops::Range, sync::atomic::AtomicBool};

/// The sequence that a decoder works on.
const SEQUENCE: SequenceId = SequenceId(0);

/// Most columns of a bounded step of each class: a tile of the kernels, which
/// takes little longer than one column, and about as long of a prompt.
const STEP_GENERATED: usize = 8;
const STEP_PROMPT: usize = 64;

/// A model that computes transcripts and remembers how far it has come.
///
/// A transcript that begins as the last one did, such as a chat's next turn,
/// is computed from where they part.
pub(super) struct CachedPipeline {
    pipeline: Pipeline,
    /// What the KV cache holds.
    cached: Positions,
    batch: Batch,
}

impl CachedPipeline {
    pub(super) fn new(mut pipeline: Pipeline) -> Result<Self, StageError> {
        pipeline.create(SEQUENCE)?;
        Ok(Self {
            pipeline,
            cached: Positions::new(),
            batch: Batch::default(),
        })
    }

    pub(super) fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// The tokens that the cache holds, in the order of their positions.
    pub(super) fn tokens(&self) -> &[TokenId] {
        self.cached.tokens()
    }

    /// Number of leading positions of `transcript` that need not be computed
    /// again.
    pub(super) fn reusable(&self, transcript: &Positions) -> u32 {
        self.cached.common_prefix(transcript)
    }

    /// The logits of a wanted column of the last pass, by its place among them.
    pub(super) fn logits(&self, row: usize) -> &[f32] {
        let vocab = self.pipeline.vocab();
        &self.batch.output[row * vocab..][..vocab]
    }

    /// Brings the cache to hold all of the transcript and, behind it,
    /// `further` tokens of class generated. The logits of the transcript's
    /// last position are row 0 after, those of the further tokens follow.
    /// Returns the number of columns computed.
    ///
    /// `further` is shorter than [`Pipeline::columns_max`], and empty where the
    /// transcript ends in a prompt.
    pub(super) fn catch_up(
        &mut self,
        transcript: &Positions,
        further: &[TokenId],
        cancel: &AtomicBool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<u32, DecodeError> {
        let len = transcript.len();
        // The last position is computed even if it was before: its logits are
        // wanted.
        let common = self.cached.common_prefix(transcript).min(len - 1);
        self.keep(common)?;
        let start = self.cached.len();
        let total = len - start;
        if total > 1 {
            progress(Progress { done: 0, total });
        }
        while self.cached.len() < len {
            self.advance(transcript, further, cancel)?;
            let done = self.cached.len().min(len) - start;
            if total > 1 {
                progress(Progress { done, total });
            }
        }
        Ok(self.cached.len() - start)
    }

    /// Computes a bounded part of a transcript, and says whether nothing is left
    /// to do before its last position.
    pub(super) fn advance_by(
        &mut self,
        transcript: &Positions,
        cancel: &AtomicBool,
    ) -> Result<bool, StageError> {
        // The last position is computed with the next token, for its logits.
        let goal = transcript.len().saturating_sub(1);
        self.keep(self.cached.common_prefix(transcript).min(goal))?;
        let start = self.cached.len();
        let Some(segment) = transcript.segment_at(start).filter(|_| start < goal) else {
            return Ok(true);
        };
        let most = match segment.class {
            Class::Prompt => STEP_PROMPT,
            Class::Generated => STEP_GENERATED,
        };
        let room = most.min(self.pipeline.columns_max());
        let end = chunk_end(transcript, start, room).min(goal);
        self.compute(transcript, segment.class, start..end, &[], cancel)?;
        Ok(self.cached.len() >= goal)
    }

    /// Computes one more token behind what the cache holds; its logits are row
    /// 0 after.
    pub(super) fn extend(&mut self, token: TokenId, cancel: &AtomicBool) -> Result<(), StageError> {
        self.batch.clear();
        let column = Column {
            sequence: SEQUENCE,
            position: self.cached.len(),
            class: Class::Generated,
            wanted: true,
        };
        self.batch.push(column, token);
        self.pipeline.forward(&mut self.batch, cancel)?;
        self.cached.push_generated(token);
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

    /// Computes the next chunk of the transcript, and what is behind it with
    /// its last.
    fn advance(
        &mut self,
        transcript: &Positions,
        further: &[TokenId],
        cancel: &AtomicBool,
    ) -> Result<(), StageError> {
        let start = self.cached.len();
        let Some(segment) = transcript.segment_at(start) else {
            return Ok(());
        };
        let room = self.pipeline.columns_max().saturating_sub(further.len());
        let end = chunk_end(transcript, start, room);
        let further = if end == transcript.len() {
            further
        } else {
            &[]
        };
        self.compute(transcript, segment.class, start..end, further, cancel)
    }

    /// Computes positions of one class, and what is behind them.
    fn compute(
        &mut self,
        transcript: &Positions,
        class: Class,
        positions: Range<u32>,
        further: &[TokenId],
        cancel: &AtomicBool,
    ) -> Result<(), StageError> {
        self.batch.clear();
        let known = &transcript.tokens()[positions.start as usize..positions.end as usize];
        for (position, &token) in (positions.start..).zip(known.iter().chain(further)) {
            let column = Column {
                sequence: SEQUENCE,
                position,
                class,
                wanted: position + 1 >= transcript.len(),
            };
            self.batch.push(column, token);
        }
        self.pipeline.forward(&mut self.batch, cancel)?;
        self.cached.follow(transcript, positions.end);
        for &token in further {
            self.cached.push_generated(token);
        }
        Ok(())
    }
}
