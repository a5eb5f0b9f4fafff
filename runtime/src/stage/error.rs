//! What can go wrong in a stage, and what can be done about it.

use crate::{gguf::GgufError, kv::KvError, kv::SequenceId, tokenizer::TokenId};

/// What a caller can do after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// The stage is as it was before the batch; the same may be tried again.
    Retryable,
    /// The same will fail again: the request or the stage is at fault.
    Fatal,
    /// The stage works, but has lost its sequences: rebuild from transcripts.
    StateLost,
}

/// An error of a stage.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// As many batches as may be are under way.
    #[error("the stage is busy with {in_flight} batches; wait for one of them")]
    Busy {
        /// Batches under way.
        in_flight: usize,
    },
    /// The batch was cancelled before its end.
    #[error("the batch was cancelled")]
    Cancelled,
    /// The batch has no columns.
    #[error("a batch needs at least one column")]
    EmptyBatch,
    /// The batch has more columns than the stage takes at once.
    #[error("the batch has {columns} columns; the stage takes at most {max}")]
    TooManyColumns {
        /// Columns in the batch.
        columns: usize,
        /// Most it takes.
        max: usize,
    },
    /// The input's length does not go with the number of columns.
    #[error("the batch has {found} input values where {wanted} belong")]
    InputLength {
        /// Values there are.
        found: usize,
        /// Values there should be.
        wanted: usize,
    },
    /// A column does not continue its sequence.
    #[error("position {found} of {sequence} was submitted where position {wanted} is next")]
    Position {
        /// The sequence.
        sequence: SequenceId,
        /// The column's position.
        found: u32,
        /// The position that is next.
        wanted: u32,
    },
    /// A token id beyond the vocabulary.
    #[error("token {token} is beyond the vocabulary of {vocab}")]
    UnknownToken {
        /// The token.
        token: TokenId,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// The KV cache.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// The weights are not what they were.
    #[error(transparent)]
    Weights(#[from] GgufError),
    /// The stage does not do what others do.
    #[error("this stage does not {what}")]
    Unsupported {
        /// What it does not do.
        what: &'static str,
    },
    /// A stage elsewhere failed, or cannot be reached.
    #[error(transparent)]
    Elsewhere(Box<dyn std::error::Error + Send + Sync>),
    /// A thread panicked: a bug.
    #[error("a forward pass panicked (this is a bug; the message above says where)")]
    Panicked,
}

impl StageError {
    /// What can be done about it.
    pub fn recovery(&self) -> Recovery {
        match self {
            Self::Busy { .. } | Self::Cancelled | Self::Kv(KvError::Full { .. }) => {
                Recovery::Retryable
            }
            Self::Elsewhere(_) => Recovery::StateLost,
            _ => Recovery::Fatal,
        }
    }
}
