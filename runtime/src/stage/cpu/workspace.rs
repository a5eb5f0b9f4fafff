//! The buffers of a forward pass, made once.

use super::{
    activations::Activations,
    attending::{self, SPLIT_COLUMNS},
};
use crate::{
    kv::KvConfig,
    model::{FeedForward, Layer, Model},
    stage::Span,
};
use outrigger_kernels::{
    cpu::{
        attention::{AttentionScratch, SPLIT, TILE_COLUMNS},
        dot,
    },
    team::SharedBuffer,
};

/// Everything that the threads of a pass write, but for the KV cache and the
/// output. All are asked for zeroed and become resident as they are used.
pub(super) struct Workspace {
    /// The hidden states: the residual stream.
    pub(super) x: SharedBuffer<f32>,
    /// The normed input of the next products.
    pub(super) normed: Activations,
    pub(super) queries: SharedBuffer<f32>,
    pub(super) keys: SharedBuffer<f32>,
    pub(super) values: SharedBuffer<f32>,
    /// What attention gives, before the output matrix.
    pub(super) mixed: Activations,
    /// The output of the attention block.
    pub(super) attention_out: SharedBuffer<f32>,
    /// Gate times up. With experts, one for each that a column uses.
    pub(super) hidden: Activations,
    pub(super) up: SharedBuffer<f32>,
    /// The output of the feed-forward block; with experts, of each.
    pub(super) ffn_out: SharedBuffer<f32>,
    /// Cosines and sines: for each rotation, for each column.
    pub(super) cosines: Vec<SharedBuffer<f32>>,
    pub(super) sines: Vec<SharedBuffer<f32>>,
    pub(super) routes: Routes,
    /// The shared expert's gate and output, where there is one.
    pub(super) shared_out: SharedBuffer<f32>,
    pub(super) shared_weight: SharedBuffer<f32>,
    /// Attention's working memory, one for each thread.
    pub(super) scratch: SharedBuffer<AttentionScratch>,
    /// The products' working memory, one for each thread.
    pub(super) products: SharedBuffer<dot::Scratch>,
    /// What attention keeps of each split: for each column (up to
    /// [`SPLIT_COLUMNS`]), for each query head, `splits_max` parts.
    pub(super) parts: SharedBuffer<f32>,
    pub(super) splits_max: usize,
}

/// Which expert works on which column.
pub(super) struct Routes {
    /// The router's logits: for each column, for each expert.
    pub(super) logits: SharedBuffer<f32>,
    /// For each column, for each slot: the expert and its weight.
    pub(super) experts: SharedBuffer<u32>,
    pub(super) weights: SharedBuffer<f32>,
    /// For each expert, where its part of `assigned` begins; one more at the end.
    pub(super) starts: SharedBuffer<u32>,
    /// `column * used + slot`, grouped by expert, in the order of the columns.
    pub(super) assigned: SharedBuffer<u32>,
}

impl Workspace {
    pub(super) fn new(
        model: &Model,
        span: &Span,
        columns: usize,
        threads: usize,
        kv: &KvConfig,
    ) -> Self {
        let layers = &model.layers[span.layers.clone()];
        let largest = |f: &dyn Fn(&crate::model::Layer) -> usize| layers.iter().map(f).max();
        let per_column = |f: &dyn Fn(&crate::model::Layer) -> usize| {
            SharedBuffer::zeroed(columns * largest(f).unwrap_or(0))
        };
        let used = |layer: &crate::model::Layer| match &layer.ffn {
            FeedForward::Dense(_) => 1,
            FeedForward::Experts(e) => e.routing.used,
        };
        let shared = |layer: &crate::model::Layer| match &layer.ffn {
            FeedForward::Experts(e) => e.shared.as_ref().map(|s| s.block.up.weight.rows()),
            FeedForward::Dense(_) => None,
        };
        let experts = |layer: &crate::model::Layer| match &layer.ffn {
            FeedForward::Dense(_) => 0,
            FeedForward::Experts(e) => e.count,
        };
        let slots = columns * largest(&used).unwrap_or(1);
        // The shared expert goes through the same buffers after the others.
        let hidden_len = largest(&|l| l.ffn.hidden().max(shared(l).unwrap_or(0))).unwrap_or(0);
        let mixed_len = largest(&|l| l.attention.heads * l.attention.value_len).unwrap_or(0);
        let has_experts = layers.iter().any(|l| experts(l) > 0);
        let has_shared = layers.iter().any(|l| shared(l).is_some());
        let splits_max = (kv.positions_max as usize).div_ceil(SPLIT);
        let parts_len =
            largest(&|l| l.attention.heads * attending::shape(&l.attention, kv.format).part_len());
        let parts_len = if threads > 1 {
            parts_len.unwrap_or(0)
        } else {
            0
        };
        let width = model.width;
        let rope_buffers = || {
            let pairs = model.ropes.iter().map(|r| r.frequencies.len());
            pairs.map(|n| SharedBuffer::zeroed(columns * n)).collect()
        };
        Self {
            x: SharedBuffer::zeroed(columns * width),
            normed: Activations::new(columns, width),
            queries: per_column(&|l| l.attention.heads * l.attention.key_len),
            keys: per_column(&|l| l.attention.kv_heads * l.attention.key_len),
            values: per_column(&|l| l.attention.kv_heads * l.attention.value_len),
            mixed: Activations::new(columns, mixed_len),
            attention_out: SharedBuffer::zeroed(columns * width),
            hidden: Activations::new(slots, hidden_len),
            up: SharedBuffer::zeroed(slots * hidden_len),
            ffn_out: SharedBuffer::zeroed(slots * width),
            cosines: rope_buffers(),
            sines: rope_buffers(),
            routes: Routes {
                logits: per_column(&experts),
                experts: SharedBuffer::zeroed(if has_experts { slots } else { 0 }),
                weights: SharedBuffer::zeroed(if has_experts { slots } else { 0 }),
                starts: SharedBuffer::zeroed(largest(&experts).unwrap_or(0) + 1),
                assigned: SharedBuffer::zeroed(if has_experts { slots } else { 0 }),
            },
            shared_out: SharedBuffer::zeroed(if has_shared { columns * width } else { 0 }),
            shared_weight: SharedBuffer::zeroed(if has_shared { columns } else { 0 }),
            products: {
                let mut scratch = dot::Scratch::default();
                for matrix in model.pass_matrices() {
                    scratch.reserve(matrix.format(), matrix.cols());
                }
                SharedBuffer::from_vec(vec![scratch; threads])
            },
            scratch: SharedBuffer::from_vec(
                (0..threads)
                    .map(|_| attention_scratch(layers, kv))
                    .collect(),
            ),
            parts: SharedBuffer::zeroed(SPLIT_COLUMNS * splits_max * parts_len),
            splits_max,
        }
    }
}

/// Working memory for any of the layers, so that no pass has to grow it.
fn attention_scratch(layers: &[Layer], kv: &KvConfig) -> AttentionScratch {
    let mut scratch = AttentionScratch::default();
    for layer in layers {
        let shape = attending::shape(&layer.attention, kv.format);
        scratch.reserve(&shape, TILE_COLUMNS);
    }
    scratch
}
