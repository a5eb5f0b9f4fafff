//! The sizes of synthetic models.

/// The sizes of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct SyntheticShape {
    /// `llama`, `qwen2`, `qwen3` or `qwen3moe`.
    pub architecture: &'static str,
    /// Decoder layers.
    pub layers: usize,
    /// Values in a hidden state.
    pub width: usize,
    /// Values between the matrices of the feed-forward block; with experts, of
    /// each expert.
    pub ff: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Values in a head.
    pub head_dim: usize,
    /// Tokens in the vocabulary, at least [`VOCAB_MIN`].
    pub vocab: usize,
    /// Whether the head is the embedding.
    pub tied: bool,
    /// Experts, and how many of them a token goes through.
    pub experts: Option<(usize, usize)>,
    /// Positions that the metadata claims the model was trained on.
    pub context: u32,
    /// Base of the rotation's frequencies.
    pub rope_base: f32,
}

/// The smallest vocabulary: a token per byte, one that is merged, BOS and EOS.
pub const VOCAB_MIN: usize = 259;

/// Shapes by name: Llama 3.2 1B, Qwen 2.5 3B, Llama 3.1 8B, Qwen3 30B-A3B, and
/// one of a few hundred kilobytes.
pub const PRESETS: [(&str, SyntheticShape); 5] = [
    ("tiny", TINY),
    ("llama-1b", LLAMA_1B),
    (
        "qwen-3b",
        SyntheticShape {
            architecture: "qwen2",
            layers: 36,
            ff: 11_008,
            heads: 16,
            kv_heads: 2,
            head_dim: 128,
            vocab: 151_936,
            context: 32_768,
            rope_base: 1e6,
            ..LLAMA_1B
        },
    ),
    (
        "llama-8b",
        SyntheticShape {
            layers: 32,
            width: 4096,
            ff: 14_336,
            head_dim: 128,
            tied: false,
            ..LLAMA_1B
        },
    ),
    (
        "qwen3-30b-a3b",
        SyntheticShape {
            architecture: "qwen3moe",
            layers: 48,
            ff: 768,
            kv_heads: 4,
            head_dim: 128,
            vocab: 151_936,
            tied: false,
            experts: Some((128, 8)),
            context: 40_960,
            rope_base: 1e6,
            ..LLAMA_1B
        },
    ),
];

const LLAMA_1B: SyntheticShape = SyntheticShape {
    architecture: "llama",
    layers: 16,
    width: 2048,
    ff: 8192,
    heads: 32,
    kv_heads: 8,
    head_dim: 64,
    vocab: 128_256,
    tied: true,
    experts: None,
    context: 131_072,
    rope_base: 500_000.0,
};

const TINY: SyntheticShape = SyntheticShape {
    architecture: "llama",
    layers: 2,
    width: 256,
    ff: 512,
    heads: 8,
    kv_heads: 2,
    head_dim: 32,
    vocab: 320,
    tied: true,
    experts: None,
    context: 2048,
    rope_base: 10_000.0,
};

impl SyntheticShape {
    /// The shape of this name in [`PRESETS`].
    pub fn preset(name: &str) -> Option<Self> {
        let (_, shape) = PRESETS.into_iter().find(|(n, _)| *n == name)?;
        Some(shape)
    }
}
