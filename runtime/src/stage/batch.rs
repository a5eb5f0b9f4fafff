//! The columns of one forward pass.

use crate::{kv::SequenceId, tokenizer::TokenId, transcript::Class};

/// One position of one sequence in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// The sequence it belongs to.
    pub sequence: SequenceId,
    /// Its position there.
    pub position: u32,
    /// Which kernels compute it.
    pub class: Class,
    /// Whether the head computes its logits. Hidden states always come out.
    pub wanted: bool,
}

/// Columns of any number of sequences, their input and their output.
///
/// The buffers go through the stage and come back, so that a caller who keeps
/// the batch allocates nothing per pass. Columns of one sequence stand in the
/// order of their positions; sequences may be interleaved.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// The columns.
    pub columns: Vec<Column>,
    /// One token per column: the input of a stage that embeds.
    pub tokens: Vec<TokenId>,
    /// One hidden state per column, one after the other: the input of a stage
    /// that does not embed.
    pub hidden: Vec<f32>,
    /// Filled by the stage: behind a head the logits of each wanted column,
    /// else the hidden states of all columns, one after the other.
    pub output: Vec<f32>,
}

impl Batch {
    /// Empties all parts and keeps their memory.
    pub fn clear(&mut self) {
        self.columns.clear();
        self.tokens.clear();
        self.hidden.clear();
        self.output.clear();
    }

    /// Appends a column that carries a token.
    pub fn push(&mut self, column: Column, token: TokenId) {
        self.columns.push(column);
        self.tokens.push(token);
    }

    /// Number of columns whose output is wanted.
    pub fn wanted(&self) -> usize {
        self.columns.iter().filter(|c| c.wanted).count()
    }
}
