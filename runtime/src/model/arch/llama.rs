//! Llama 2 and 3, Mistral, Mixtral, TinyLlama, SmolLM, Yi.

use super::{Family, PLAIN};
use outrigger_kernels::cpu::rope::Pairing;

/// The converter reorders the rows of Q and K so that pairs are neighbours.
pub(super) const LLAMA: Family = Family {
    architectures: &["llama"],
    pairing: Pairing::Interleaved,
    ..PLAIN
};
