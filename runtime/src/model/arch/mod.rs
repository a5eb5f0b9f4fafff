//! The families of architectures, as data.

mod cohere;
mod gemma;
mod granite;
mod llama;
mod olmo;
mod phi;
mod qwen;
mod starcoder;

use super::{ModelError, NormKind, keys::Keys, rope::Scaling};
use outrigger_kernels::cpu::{elementwise::Activation, rope::Pairing};

/// What all models of a family have in common.
pub(super) struct Family {
    /// The values of `general.architecture` that it answers to.
    pub(super) architectures: &'static [&'static str],
    pub(super) norm: NormKind,
    pub(super) pairing: Pairing,
    pub(super) query_key_norm: QueryKeyNorm,
    /// Query, key and value in one matrix, gate and up in another.
    pub(super) fused: bool,
    pub(super) gated: bool,
    pub(super) activation: Activation,
    pub(super) norms: Norms,
    /// Whether chosen experts' weights are made to sum to 1.
    pub(super) renormalise_experts: bool,
    /// Whether a mixture of experts has a shared one besides.
    pub(super) shared_expert: bool,
    /// What the family's metadata changes in the shape read for all.
    pub(super) adjust: fn(&Keys<'_>, &mut Shape) -> Result<(), ModelError>,
}

/// The norms of queries and keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QueryKeyNorm {
    None,
    /// Over each head, with the same weights for all.
    Head,
    /// Over all heads together.
    AllHeads,
    /// Over each head, with its own weights; only some models have it.
    OptionalEachHead,
}

/// Where a layer's norms stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Norms {
    /// Before each block.
    Before,
    /// After each block.
    After,
    /// Before and after.
    BeforeAndAfter,
    /// One before both blocks, which run side by side.
    Parallel,
}

/// The numbers of one model. Read for every family in the same way, then
/// adjusted by the family.
pub(super) struct Shape {
    pub(super) width: usize,
    pub(super) layers: usize,
    pub(super) attention_scale: f32,
    pub(super) attention_soft_cap: Option<f32>,
    pub(super) embedding_scale: f32,
    pub(super) residual_scale: f32,
    pub(super) logit_scale: f32,
    pub(super) logit_soft_cap: Option<f32>,
    pub(super) rope_base: f32,
    pub(super) rope_scaling: Scaling,
    /// Rotation of the layers with a window, where it differs.
    pub(super) windowed_rope: Option<(f32, Scaling)>,
    /// Each layer's sliding window.
    pub(super) windows: Vec<Option<u32>>,
    /// The window that the metadata names.
    pub(super) window: Option<u32>,
    /// Whether the metadata says itself which layers have the window.
    pub(super) window_pattern_given: bool,
}

impl Shape {
    /// Gives the window to all but each `period`-th layer, unless the file
    /// itself says which layers have it.
    fn window_pattern(&mut self, period: usize) {
        if !self.window_pattern_given {
            for (index, window) in self.windows.iter_mut().enumerate() {
                *window = self.window.filter(|_| index % period < period - 1);
            }
        }
    }
}

/// The plain decoder of Llama; the other families are written as what they
/// change.
const PLAIN: Family = Family {
    architectures: &[],
    norm: NormKind::Rms,
    pairing: Pairing::HalfSplit,
    query_key_norm: QueryKeyNorm::None,
    fused: false,
    gated: true,
    activation: Activation::Silu,
    norms: Norms::Before,
    renormalise_experts: true,
    shared_expert: false,
    adjust: |_, _| Ok(()),
};

const FAMILIES: &[Family] = &[
    llama::LLAMA,
    qwen::QWEN,
    qwen::QWEN2_MOE,
    qwen::QWEN3,
    gemma::GEMMA,
    gemma::GEMMA2,
    gemma::GEMMA3,
    phi::PHI3,
    olmo::OLMO2,
    granite::GRANITE,
    starcoder::STARCODER2,
    cohere::COMMAND_R,
];

pub(super) fn family(architecture: &str) -> Result<&'static Family, ModelError> {
    let known = || FAMILIES.iter().flat_map(|f| f.architectures);
    FAMILIES
        .iter()
        .find(|f| f.architectures.contains(&architecture))
        .ok_or_else(|| ModelError::UnknownArchitecture {
            name: architecture.chars().take(64).collect(),
            known: known().copied().collect::<Vec<_>>().join(", "),
        })
}
