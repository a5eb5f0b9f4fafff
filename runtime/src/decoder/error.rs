//! Why no token came.

use crate::{
    kv::SequenceId,
    sampler::{ParamsError, SamplerError},
    stage::StageError,
    tokenizer::TokenizerError,
};

/// An error of a decoder or a generation.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// There is nothing to continue.
    #[error(
        "the prompt is empty and the model's vocabulary has no BOS token to start from; \
         give at least one token"
    )]
    EmptyPrompt,
    /// The prompt does not fit.
    #[error(
        "the prompt has {tokens} tokens, but the context holds {context}; \
         shorten the prompt or ask for a larger context"
    )]
    PromptTooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// Positions of the context.
        context: u32,
    },
    /// No sequence of this number is open.
    #[error("{0} is not open")]
    UnknownSequence(SequenceId),
    /// It was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// What computes elsewhere failed, or cannot be reached.
    #[error(transparent)]
    Elsewhere(Box<dyn std::error::Error + Send + Sync>),
    /// A forward pass failed.
    #[error(transparent)]
    Stage(StageError),
    /// The sampler found no token.
    #[error(transparent)]
    Sampler(#[from] SamplerError),
    /// The sampling parameters make no sense.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// The model's text cannot be made.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

impl From<StageError> for DecodeError {
    fn from(error: StageError) -> Self {
        match error {
            StageError::Cancelled => Self::Cancelled,
            StageError::Elsewhere(error) => Self::Elsewhere(error),
            error => Self::Stage(error),
        }
    }
}
