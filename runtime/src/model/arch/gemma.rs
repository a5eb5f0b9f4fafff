//! Gemma 1, 2 and 3 (text). Their norm weights are stored as 1 + w.

use super::{Family, Norms, PLAIN, QueryKeyNorm, Shape};
use crate::model::{ModelError, keys::Keys, rope::Scaling};
use outrigger_kernels::cpu::elementwise::Activation;

pub(super) const GEMMA: Family = Family {
    architectures: &["gemma"],
    activation: Activation::GeluTanh,
    adjust: scale_embedding,
    ..PLAIN
};

pub(super) const GEMMA2: Family = Family {
    architectures: &["gemma2"],
    norms: Norms::BeforeAndAfter,
    adjust: adjust_gemma2,
    ..GEMMA
};

pub(super) const GEMMA3: Family = Family {
    architectures: &["gemma3"],
    norms: Norms::BeforeAndAfter,
    query_key_norm: QueryKeyNorm::Head,
    adjust: adjust_gemma3,
    ..GEMMA
};

fn scale_embedding(_: &Keys<'_>, shape: &mut Shape) -> Result<(), ModelError> {
    shape.embedding_scale = (shape.width as f32).sqrt();
    Ok(())
}

fn adjust_gemma2(keys: &Keys<'_>, shape: &mut Shape) -> Result<(), ModelError> {
    scale_embedding(keys, shape)?;
    scale_of_the_27b(keys, shape, 46)?;
    shape.attention_soft_cap = Some(keys.positive("attn_logit_softcapping")?.unwrap_or(50.0));
    shape.logit_soft_cap = Some(keys.positive("final_logit_softcapping")?.unwrap_or(30.0));
    shape.window_pattern(2);
    Ok(())
}

fn adjust_gemma3(keys: &Keys<'_>, shape: &mut Shape) -> Result<(), ModelError> {
    scale_embedding(keys, shape)?;
    scale_of_the_27b(keys, shape, 62)?;
    shape.logit_soft_cap = keys.factor("final_logit_softcapping")?;
    let base = keys.positive("rope.freq_base_swa")?.unwrap_or(10_000.0);
    shape.windowed_rope = Some((base, Scaling::None));
    shape.window_pattern(6);
    Ok(())
}

/// The 27B models scale scores by the width per head, not by the head's
/// length; nothing in their metadata says so, and their number of layers is
/// how llama.cpp knows them.
fn scale_of_the_27b(keys: &Keys<'_>, shape: &mut Shape, layers: usize) -> Result<(), ModelError> {
    if shape.layers == layers {
        let heads = keys.count("attention.head_count")?;
        shape.attention_scale = 1.0 / (shape.width as f32 / heads as f32).sqrt();
    }
    Ok(())
}
