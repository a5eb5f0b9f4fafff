//! A text through the model, window by window.

use crate::interrupt;
use outrigger_runtime::{
    kv::SequenceId,
    stage::{Batch, Column, Pipeline},
    tokenizer::TokenId,
    transcript::Class,
};
use std::{ops::Range, sync::atomic::AtomicBool};

/// Bytes of logits that are held at a time.
const LOGITS_BYTES: usize = 64 << 20;

/// Runs windows of tokens, each as a text of its own.
pub(super) struct WindowRunner {
    pipeline: Pipeline,
    batch: Batch,
    columns: usize,
    /// Stands in for the first token of every window.
    bos: Option<TokenId>,
    cancel: &'static AtomicBool,
}

impl WindowRunner {
    pub(super) fn new(pipeline: Pipeline, bos: Option<TokenId>) -> Self {
        let columns = (LOGITS_BYTES / (4 * pipeline.vocab())).clamp(1, pipeline.columns_max());
        Self {
            pipeline,
            batch: Batch::default(),
            columns,
            bos,
            cancel: interrupt::flag(),
        }
    }

    pub(super) fn kernel_set(&self) -> String {
        self.pipeline.kernel_set()
    }

    /// Runs a window. `score` gets the logits of each position in `scored`,
    /// and the token that follows there.
    pub(super) fn run(
        &mut self,
        tokens: &[TokenId],
        scored: Range<usize>,
        mut score: impl FnMut(&[f32], TokenId) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let sequence = SequenceId(0);
        let vocab = self.pipeline.vocab();
        self.pipeline.create(sequence)?;
        // What stands behind the last scored position changes nothing there.
        for start in (0..scored.end).step_by(self.columns) {
            let end = (start + self.columns).min(scored.end);
            self.batch.clear();
            for (position, &token) in (start..end).zip(&tokens[start..end]) {
                let token = match self.bos {
                    Some(bos) if position == 0 => bos,
                    _ => token,
                };
                let column = Column {
                    sequence,
                    position: position as u32,
                    class: Class::Prompt,
                    wanted: scored.contains(&position),
                };
                self.batch.push(column, token);
            }
            let result = self.pipeline.forward(&mut self.batch, self.cancel);
            interrupt::check()?;
            result?;
            let rows = self.batch.output.chunks_exact(vocab);
            for (logits, position) in rows.zip(start.max(scored.start)..) {
                score(logits, tokens[position + 1])?;
            }
        }
        self.pipeline.release(sequence)?;
        Ok(())
    }
}
