//! The operations that a forward pass is made of.

/// A part of a pass whose time is told apart from the others'.
///
/// All but [`Rope`](Self::Rope) end at a barrier, so that an operation is what
/// the threads of a team do between two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Rows of the embedding (or the hidden states that came in), the angles of
    /// the rotations, the first norm with its 8-bit form.
    Embed,
    /// Products with the query, key and value matrices.
    QueryKeyValue,
    /// Norms of queries and keys that run over all heads together.
    QueryKeyNorm,
    /// Norms of heads, rotation, keys and values into the cache. With few
    /// columns a thread goes on to attention without waiting for the others.
    Rope,
    /// Scores, softmax and the sum of values.
    Attention,
    /// The splits of a long context put together.
    AttentionMerge,
    /// The 8-bit form of attention's output, where attention did not make it.
    AttentionQuantize,
    /// Product with the attention's output matrix.
    AttentionOutput,
    /// The attention's output added, the feed-forward block's norm with its
    /// 8-bit form.
    FeedForwardNorm,
    /// Products with the gate and up matrices, activation and product of both.
    GateUp,
    /// The 8-bit form of that.
    HiddenQuantize,
    /// Product with the down matrix.
    Down,
    /// The experts' scores.
    Router,
    /// The choice of experts, by one thread.
    Choice,
    /// [`GateUp`](Self::GateUp) of the experts chosen.
    ExpertsGateUp,
    /// [`HiddenQuantize`](Self::HiddenQuantize) of the experts chosen.
    ExpertsQuantize,
    /// [`Down`](Self::Down) of the experts chosen.
    ExpertsDown,
    /// How much the shared expert counts.
    SharedWeight,
    /// [`GateUp`](Self::GateUp) of the shared expert.
    SharedGateUp,
    /// [`HiddenQuantize`](Self::HiddenQuantize) of the shared expert.
    SharedQuantize,
    /// [`Down`](Self::Down) of the shared expert.
    SharedDown,
    /// The feed-forward block's output added, the next layer's norm with its
    /// 8-bit form.
    LayerEnd,
    /// The norm before the head.
    HeadNorm,
    /// Product with the head: the logits.
    Head,
}

impl Operation {
    /// All of them, in the order of a pass.
    pub const ALL: [Self; 24] = [
        Self::Embed,
        Self::QueryKeyValue,
        Self::QueryKeyNorm,
        Self::Rope,
        Self::Attention,
        Self::AttentionMerge,
        Self::AttentionQuantize,
        Self::AttentionOutput,
        Self::FeedForwardNorm,
        Self::GateUp,
        Self::HiddenQuantize,
        Self::Down,
        Self::Router,
        Self::Choice,
        Self::ExpertsGateUp,
        Self::ExpertsQuantize,
        Self::ExpertsDown,
        Self::SharedWeight,
        Self::SharedGateUp,
        Self::SharedQuantize,
        Self::SharedDown,
        Self::LayerEnd,
        Self::HeadNorm,
        Self::Head,
    ];

    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Its place in [`ALL`](Self::ALL).
    pub fn index(self) -> usize {
        self as usize
    }

    /// What it is called in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embed => "embed, norm",
            Self::QueryKeyValue => "q, k, v",
            Self::QueryKeyNorm => "q, k norm",
            Self::Rope => "rope, kv store",
            Self::Attention => "attention",
            Self::AttentionMerge => "attention merge",
            Self::AttentionQuantize => "attention quantize",
            Self::AttentionOutput => "attention output",
            Self::FeedForwardNorm => "residual, ffn norm",
            Self::GateUp => "ffn gate, up",
            Self::HiddenQuantize => "ffn quantize",
            Self::Down => "ffn down",
            Self::Router => "router",
            Self::Choice => "choice of experts",
            Self::ExpertsGateUp => "experts gate, up",
            Self::ExpertsQuantize => "experts quantize",
            Self::ExpertsDown => "experts down",
            Self::SharedWeight => "shared weight",
            Self::SharedGateUp => "shared gate, up",
            Self::SharedQuantize => "shared quantize",
            Self::SharedDown => "shared down",
            Self::LayerEnd => "residual, next norm",
            Self::HeadNorm => "head norm",
            Self::Head => "head",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_stands_at_its_place_under_a_name_of_its_own() {
        let mut names: Vec<_> = Operation::ALL.map(Operation::name).into();
        for (index, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation.index(), index);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Operation::COUNT);
    }
}
