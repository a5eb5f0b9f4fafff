//! What can go wrong in the sampler.

/// A sampling parameter out of its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("sampling parameter `{field}` is {value}, but {wanted} is needed")]
pub struct ParamsError {
    /// Name of the field.
    pub field: &'static str,
    /// The value it has.
    pub value: String,
    /// What it may be.
    pub wanted: &'static str,
}

/// Logits that no token can be sampled from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SamplerError {
    /// There are no logits.
    #[error("there are no logits to sample from")]
    Empty,
    /// The model made another number of logits than its vocabulary has tokens.
    #[error("{found} logits for a vocabulary of {wanted} tokens")]
    Length {
        /// Number of logits given.
        found: usize,
        /// Size of the vocabulary.
        wanted: usize,
    },
    /// A logit is not a number, or is positive infinity.
    #[error("the logit of token {token} is not finite")]
    NotFinite {
        /// The first such token.
        token: u32,
    },
    /// Every logit is negative infinity, from the model or by the logit bias.
    #[error("every token is excluded")]
    AllExcluded,
    /// The history holds a token that the vocabulary does not have.
    #[error("token {token} in the history is outside the vocabulary of {n_vocab}")]
    History {
        /// The token.
        token: u32,
        /// Size of the vocabulary.
        n_vocab: usize,
    },
}
