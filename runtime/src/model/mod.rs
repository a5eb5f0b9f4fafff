//! Model descriptions: GGUF metadata and tensor names mapped onto one decoder
//! block.
//!
//! Every family runs through the same block; what differs is data. A file in
//! `arch/` says how a family's metadata reads, [`build`](self) makes layers of
//! it, and nothing further up or down knows an architecture's name.

mod arch;
mod build;
mod error;
mod keys;
mod layer;
pub mod mixture;
mod operation;
mod rope;
pub mod synthetic;
mod tensors;
mod traffic;
mod weight;

pub use error::ModelError;
pub use layer::{
    Attention, Dense, Experts, FeedForward, HeadNorm, Layer, Linear, Norm, NormKind, NormSpan,
    SharedExpert,
};
pub use operation::Operation;
pub use rope::Rope;
pub(crate) use traffic::MatrixUse;
pub use weight::{ExpertMatrices, Matrix, Vector};

use crate::{gguf::Gguf, kv::LayerKv};
use std::{ops::Range, sync::Arc};

/// Choices made when a model is loaded.
#[derive(Debug, Clone, Copy, Default)]
pub struct ModelOptions {
    /// Positions a sequence may have; the model's own training context by
    /// default. Some rope scalings depend on it.
    pub context: Option<u32>,
    /// The most that is taken of the model's own context where none is asked
    /// for: some are so long that their KV cache would not fit in memory.
    pub context_limit: Option<u32>,
}

/// A model: its description and handles to its weights, which stay where the
/// file is mapped.
#[derive(Debug)]
pub struct Model {
    /// `general.architecture`.
    pub architecture: String,
    /// `general.name`, if the file has one.
    pub name: Option<String>,
    /// Tokens in the vocabulary.
    pub vocab: usize,
    /// Values in a hidden state.
    pub width: usize,
    /// Positions the model was trained on.
    pub trained_context: u32,
    /// Positions a sequence may have here.
    pub context: u32,
    /// What kind of norm all norms are.
    pub norm_kind: NormKind,
    /// Added to the variance in norms.
    pub norm_eps: f32,
    /// Token embeddings, one row per token.
    pub embedding: Matrix,
    /// Factor on the embeddings.
    pub embedding_scale: f32,
    /// The rotations that layers refer to by index.
    pub ropes: Vec<Rope>,
    /// The decoder layers.
    pub layers: Vec<Layer>,
    /// The norm before the head.
    pub head_norm: Norm,
    /// The head; the embedding matrix where they are tied.
    pub head: Linear,
    /// Factor on the logits.
    pub logit_scale: f32,
    /// Bound put on the logits by `cap * tanh(logit / cap)`.
    pub logit_soft_cap: Option<f32>,
    gguf: Arc<Gguf>,
}

impl Model {
    /// Describes the model in `gguf`. Reads metadata and vectors; matrices
    /// stay mapped.
    pub fn load(gguf: Arc<Gguf>, options: &ModelOptions) -> Result<Self, ModelError> {
        build::build(gguf, options)
    }

    /// The file the model lives in.
    pub fn gguf(&self) -> &Arc<Gguf> {
        &self.gguf
    }

    /// What to call it: its name, else its architecture.
    pub fn title(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.architecture)
    }

    /// What the layers in `range` keep in a KV cache.
    pub fn kv_shape(&self, range: Range<usize>) -> Vec<LayerKv> {
        let layers = self.layers[range].iter();
        layers
            .map(|layer| LayerKv {
                heads: layer.attention.kv_heads,
                key_len: layer.attention.key_len,
                value_len: layer.attention.value_len,
                window: layer.attention.window,
            })
            .collect()
    }

    /// Number of weights.
    pub fn parameters(&self) -> u64 {
        let values = self.gguf.tensors().iter().map(|t| t.values() as u64);
        values.sum()
    }
}
