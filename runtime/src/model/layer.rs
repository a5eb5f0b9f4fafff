//! The decoder block that all architectures share.
//!
//! ```text
//! a = post_attention_norm(attention(attention_norm(x)))
//! x = x + residual_scale * a
//! f = post_ffn_norm(ffn(ffn_norm(x)))
//! x = x + residual_scale * f
//! ```
//! Each norm may be absent. With `parallel` set, the feed-forward block reads
//! the normed input of the attention and both are added at once.

use super::{ExpertMatrices, Matrix, Vector};
use outrigger_kernels::cpu::{elementwise::Activation, route::Routing};

/// The formula of a model's norms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// Root mean square.
    Rms,
    /// Mean and variance.
    Layer,
}

/// A norm's weights.
#[derive(Debug, Clone)]
pub struct Norm {
    /// Factor per element.
    pub weight: Vector,
    /// Term per element.
    pub bias: Option<Vector>,
}

/// A matrix and its bias.
#[derive(Debug, Clone)]
pub struct Linear {
    /// The matrix.
    pub weight: Matrix,
    /// Term per row.
    pub bias: Option<Vector>,
}

/// What a norm of queries or keys runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormSpan {
    /// Each head on its own, all with the same weights.
    Head,
    /// Each head on its own, with weights of its own.
    EachHead,
    /// All heads together.
    AllHeads,
}

/// A norm of queries or keys, before their rotation.
#[derive(Debug, Clone)]
pub struct HeadNorm {
    /// The weights.
    pub norm: Norm,
    /// What it runs over.
    pub span: NormSpan,
}

/// Self-attention with grouped heads.
#[derive(Debug, Clone)]
pub struct Attention {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; `heads` is a multiple of it.
    pub kv_heads: usize,
    /// Values in a query and a key.
    pub key_len: usize,
    /// Values in a value.
    pub value_len: usize,
    /// Factor on the product of query and key.
    pub scale: f32,
    /// Bound put on the scores.
    pub soft_cap: Option<f32>,
    /// Sliding window: a position sees itself and the `window - 1` before it.
    pub window: Option<u32>,
    /// Index of the rotation in the model's list.
    pub rope: usize,
    /// `width -> heads * key_len`.
    pub query: Linear,
    /// `width -> kv_heads * key_len`.
    pub key: Linear,
    /// `width -> kv_heads * value_len`.
    pub value: Linear,
    /// `heads * value_len -> width`.
    pub output: Linear,
    /// Norm of the queries.
    pub query_norm: Option<HeadNorm>,
    /// Norm of the keys.
    pub key_norm: Option<HeadNorm>,
}

/// A feed-forward block: `down(activation(gate(x)) * up(x))`.
#[derive(Debug, Clone)]
pub struct Dense {
    /// `width -> hidden`, through the activation; without it the activation
    /// goes on `up`.
    pub gate: Option<Linear>,
    /// `width -> hidden`.
    pub up: Linear,
    /// `hidden -> width`.
    pub down: Linear,
}

/// The block that all tokens go through, beside the experts chosen.
#[derive(Debug, Clone)]
pub struct SharedExpert {
    /// `width -> 1`; the block's output is scaled by the sigmoid of it.
    pub weight: Matrix,
    /// The block.
    pub block: Dense,
}

/// A mixture of experts.
#[derive(Debug, Clone)]
pub struct Experts {
    /// `width -> experts`.
    pub router: Linear,
    /// How experts are chosen and weighed.
    pub routing: Routing,
    /// Number of experts.
    pub count: usize,
    /// Each expert's `width -> hidden`, through the activation.
    pub gate: ExpertMatrices,
    /// Each expert's `width -> hidden`.
    pub up: ExpertMatrices,
    /// Each expert's `hidden -> width`.
    pub down: ExpertMatrices,
    /// A block that all tokens go through besides.
    pub shared: Option<SharedExpert>,
}

/// The feed-forward block.
#[derive(Debug, Clone)]
pub enum FeedForward {
    /// One block for all tokens.
    Dense(Box<Dense>),
    /// Some of many blocks, chosen per token.
    Experts(Box<Experts>),
}

impl FeedForward {
    /// Values between the first and the last matrix.
    pub fn hidden(&self) -> usize {
        match self {
            Self::Dense(block) => block.up.weight.rows(),
            Self::Experts(experts) => experts.up.rows(),
        }
    }
}

/// One decoder layer.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Norm before the attention.
    pub attention_norm: Option<Norm>,
    /// Self-attention.
    pub attention: Attention,
    /// Norm of the attention's output.
    pub post_attention_norm: Option<Norm>,
    /// Norm before the feed-forward block.
    pub ffn_norm: Option<Norm>,
    /// The feed-forward block.
    pub ffn: FeedForward,
    /// Its non-linearity.
    pub activation: Activation,
    /// Norm of the feed-forward block's output.
    pub post_ffn_norm: Option<Norm>,
    /// Factor on what is added to the hidden state.
    pub residual_scale: f32,
    /// Whether attention and feed-forward run side by side on one input.
    pub parallel: bool,
}
