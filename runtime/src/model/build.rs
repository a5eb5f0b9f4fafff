//! Making a [`Model`] of a family's description and a file.

use super::{
    Attention, Dense, Experts, FeedForward, HeadNorm, Layer, Linear, Model, ModelError,
    ModelOptions, NormKind, NormSpan, Rope, SharedExpert,
    arch::{Family, Norms, QueryKeyNorm, Shape, family},
    keys::Keys,
    rope::{Scaling, rope},
    tensors::Tensors,
};
use crate::gguf::{Array, Gguf, Metadata};
use outrigger_kernels::cpu::route::Routing;
use std::sync::Arc;

pub(super) fn build(gguf: Arc<Gguf>, options: &ModelOptions) -> Result<Model, ModelError> {
    let architecture = gguf.metadata().str("general.architecture")?;
    let architecture = architecture
        .ok_or_else(|| Metadata::missing("general.architecture"))?
        .to_owned();
    let family = family(&architecture)?;
    let keys = Keys {
        metadata: gguf.metadata(),
        architecture: &architecture,
    };
    let numbers = Numbers::read(&keys)?;
    let mut shape = shape(&keys, &numbers)?;
    (family.adjust)(&keys, &mut shape)?;
    let mut tensors = Tensors::new(&gguf, &architecture);
    let limit = options.context_limit.unwrap_or(u32::MAX);
    let own = numbers.trained_context.min(limit);
    let context = options.context.unwrap_or(own);
    let ropes = ropes(&keys, family, &numbers, &shape, context, &mut tensors)?;

    let width = numbers.width;
    let vocab = match tensors.shape("token_embd.weight") {
        Some([_, rows]) => *rows,
        _ => 0,
    };
    let embedding = tensors.matrix("token_embd.weight", vocab, width)?;
    let mut layers = Vec::with_capacity(numbers.layers);
    for index in 0..numbers.layers {
        let layer = LayerBuilder {
            prefix: format!("blk.{index}"),
            keys: &keys,
            family,
            shape: &shape,
            numbers: &numbers,
            index,
        };
        layers.push(layer.build(&mut tensors)?);
    }
    let head_norm = tensors.norm("output_norm", &[width])?;
    let head = match tensors.shape("output.weight") {
        Some(_) => tensors.linear("output", vocab, width)?,
        None => Linear {
            weight: embedding.clone(),
            bias: None,
        },
    };
    tensors.finish()?;
    let eps = match family.norm {
        NormKind::Rms => "attention.layer_norm_rms_epsilon",
        NormKind::Layer => "attention.layer_norm_epsilon",
    };
    let norm_eps = keys.positive(eps)?;
    let norm_eps = norm_eps.ok_or_else(|| keys.bad(eps, "missing", "a number above 0"))?;
    Ok(Model {
        name: gguf.metadata().str("general.name")?.map(Into::into),
        vocab,
        width,
        trained_context: numbers.trained_context,
        context,
        norm_kind: family.norm,
        norm_eps,
        embedding,
        embedding_scale: shape.embedding_scale,
        ropes,
        layers,
        head_norm,
        head,
        logit_scale: shape.logit_scale,
        logit_soft_cap: shape.logit_soft_cap,
        architecture,
        gguf,
    })
}

/// The sizes that every architecture has.
struct Numbers {
    layers: usize,
    width: usize,
    trained_context: u32,
    heads: Vec<usize>,
    kv_heads: Vec<usize>,
    key_len: usize,
    value_len: usize,
    rotated: usize,
}

impl Numbers {
    fn read(keys: &Keys<'_>) -> Result<Self, ModelError> {
        let layers = keys.count("block_count")?;
        // Each layer has several tensors with 13 bytes of name and more, so a
        // file with this many layers would be a terabyte of headers.
        if layers > 4096 {
            return Err(keys.bad("block_count", &layers.to_string(), "at most 4096"));
        }
        let width = keys.count("embedding_length")?;
        let heads = keys
            .per_layer("attention.head_count", layers)?
            .ok_or_else(|| keys.bad("attention.head_count", "missing", "an integer"))?;
        let kv_heads = keys
            .per_layer("attention.head_count_kv", layers)?
            .unwrap_or_else(|| heads.clone());
        for (&heads, &kv_heads) in heads.iter().zip(&kv_heads) {
            if heads % kv_heads != 0 {
                let wanted = format!("a divisor of the {heads} heads");
                return Err(keys.bad("attention.head_count_kv", &kv_heads.to_string(), &wanted));
            }
        }
        let length = |suffix: &str| -> Result<usize, ModelError> {
            match keys.u32(suffix)? {
                Some(_) => keys.count(suffix),
                None if width.is_multiple_of(heads[0]) => Ok(width / heads[0]),
                None => Err(keys.bad(suffix, "missing", "an integer")),
            }
        };
        let key_len = length("attention.key_length")?;
        let value_len = length("attention.value_length")?;
        let rotated = match keys.u32("rope.dimension_count")? {
            Some(n) => n as usize,
            None => key_len,
        };
        if rotated > key_len || rotated % 2 != 0 {
            let wanted = format!("an even number up to the key length {key_len}");
            return Err(keys.bad("rope.dimension_count", &rotated.to_string(), &wanted));
        }
        Ok(Self {
            layers,
            width,
            trained_context: keys.count("context_length")? as u32,
            heads,
            kv_heads,
            key_len,
            value_len,
            rotated,
        })
    }
}

fn shape(keys: &Keys<'_>, numbers: &Numbers) -> Result<Shape, ModelError> {
    let attention_scale = keys
        .factor("attention.scale")?
        .unwrap_or(1.0 / (numbers.key_len as f32).sqrt());
    let window = keys
        .u32("attention.sliding_window")?
        .filter(|&window| window > 0);
    let mut windows = vec![window; numbers.layers];
    const PATTERN: &str = "attention.sliding_window_pattern";
    let mut window_pattern_given = true;
    match keys.array(PATTERN) {
        Some(Array::Bool(layers)) if layers.len() == numbers.layers => {
            for (window, &has) in windows.iter_mut().zip(layers) {
                *window = window.filter(|_| has);
            }
        }
        Some(_) => {
            let wanted = format!("an integer, or {} booleans", numbers.layers);
            return Err(keys.bad(PATTERN, "another array", &wanted));
        }
        // All layers but each `period`-th have the window; 0 means all.
        None => match keys.u32(PATTERN)? {
            Some(0) => {}
            Some(period) => {
                for (index, window) in windows.iter_mut().enumerate() {
                    *window = window.filter(|_| index as u32 % period < period - 1);
                }
            }
            None => window_pattern_given = false,
        },
    }
    Ok(Shape {
        width: numbers.width,
        layers: numbers.layers,
        attention_scale,
        attention_soft_cap: None,
        embedding_scale: 1.0,
        residual_scale: 1.0,
        logit_scale: 1.0,
        logit_soft_cap: None,
        rope_base: keys.positive("rope.freq_base")?.unwrap_or(10_000.0),
        rope_scaling: Scaling::read(keys)?,
        windowed_rope: None,
        windows,
        window,
        window_pattern_given,
    })
}

/// The rotations: one for all layers, and a second for those with a window
/// where the family has two.
fn ropes(
    keys: &Keys<'_>,
    family: &Family,
    numbers: &Numbers,
    shape: &Shape,
    context: u32,
    tensors: &mut Tensors<'_>,
) -> Result<Vec<Rope>, ModelError> {
    let pairs = [numbers.rotated / 2];
    let divisors = tensors.vector("rope_freqs.weight", &pairs)?;
    let long = tensors.vector("rope_factors_long.weight", &pairs)?;
    let short = tensors.vector("rope_factors_short.weight", &pairs)?;
    let mut scaling = shape.rope_scaling;
    let divisors = match (divisors, long, short) {
        (divisors, None, None) => divisors,
        (None, Some(long), Some(short)) => {
            let original = keys.count("rope.scaling.original_context_length")? as u32;
            scaling = Scaling::long(keys)?;
            // By the context, not by the sequence at hand: a sequence that
            // grew past the bound would mix both in its KV cache.
            Some(if context > original { long } else { short })
        }
        _ => {
            let wanted = "either rope_freqs, or both rope_factors_long and rope_factors_short";
            return Err(keys.bad("rope", "another set of factor tensors", wanted));
        }
    };
    let make =
        |base, scaling, divisors| rope(family.pairing, numbers.rotated, base, scaling, divisors);
    let mut ropes = vec![make(shape.rope_base, scaling, divisors.as_ref())];
    if let Some((base, scaling)) = shape.windowed_rope {
        ropes.push(make(base, scaling, None));
    }
    Ok(ropes)
}

struct LayerBuilder<'a> {
    prefix: String,
    keys: &'a Keys<'a>,
    family: &'a Family,
    shape: &'a Shape,
    numbers: &'a Numbers,
    index: usize,
}

impl LayerBuilder<'_> {
    fn name(&self, tensor: &str) -> String {
        format!("{}.{tensor}", self.prefix)
    }

    fn build(&self, tensors: &mut Tensors<'_>) -> Result<Layer, ModelError> {
        let width = [self.numbers.width];
        let norms = self.family.norms;
        let before = matches!(norms, Norms::Before | Norms::BeforeAndAfter);
        let after = matches!(norms, Norms::After | Norms::BeforeAndAfter);
        let parallel = norms == Norms::Parallel;
        let mut norm = |wanted: bool, name: &str| {
            wanted
                .then(|| tensors.norm(&self.name(name), &width))
                .transpose()
        };
        Ok(Layer {
            attention_norm: norm(before || parallel, "attn_norm")?,
            post_attention_norm: norm(after, "post_attention_norm")?,
            ffn_norm: norm(before, "ffn_norm")?,
            post_ffn_norm: norm(after, "post_ffw_norm")?,
            attention: self.attention(tensors)?,
            ffn: self.ffn(tensors)?,
            activation: self.family.activation,
            residual_scale: self.shape.residual_scale,
            parallel,
        })
    }

    fn attention(&self, tensors: &mut Tensors<'_>) -> Result<Attention, ModelError> {
        let numbers = self.numbers;
        let (heads, kv_heads) = (numbers.heads[self.index], numbers.kv_heads[self.index]);
        let width = numbers.width;
        let overflow = || {
            self.keys.bad(
                "attention.key_length",
                &numbers.key_len.to_string(),
                "a length that can be multiplied with the number of heads",
            )
        };
        let times = |a: usize, b: usize| a.checked_mul(b).ok_or_else(overflow);
        let query_rows = times(heads, numbers.key_len)?;
        let key_rows = times(kv_heads, numbers.key_len)?;
        let value_rows = times(kv_heads, numbers.value_len)?;
        let [query, key, value] = if self.family.fused {
            let all = query_rows
                .checked_add(key_rows)
                .and_then(|n| n.checked_add(value_rows))
                .ok_or_else(overflow)?;
            let fused = tensors.linear(&self.name("attn_qkv"), all, width)?;
            let (key_start, value_start) = (query_rows, query_rows + key_rows);
            [0..key_start, key_start..value_start, value_start..all].map(|rows| slice(&fused, rows))
        } else {
            [
                tensors.linear(&self.name("attn_q"), query_rows, width)?,
                tensors.linear(&self.name("attn_k"), key_rows, width)?,
                tensors.linear(&self.name("attn_v"), value_rows, width)?,
            ]
        };
        let mut head_norm = |name: &str, heads: usize| -> Result<_, ModelError> {
            let name = self.name(name);
            let key_len = numbers.key_len;
            let (norm, span) = match self.family.query_key_norm {
                QueryKeyNorm::None => return Ok(None),
                QueryKeyNorm::Head => (Some(tensors.norm(&name, &[key_len])?), NormSpan::Head),
                QueryKeyNorm::AllHeads => (
                    Some(tensors.norm(&name, &[heads * key_len])?),
                    NormSpan::AllHeads,
                ),
                QueryKeyNorm::OptionalEachHead => (
                    tensors.optional_norm(&name, &[key_len, heads])?,
                    NormSpan::EachHead,
                ),
            };
            Ok(norm.map(|norm| HeadNorm { norm, span }))
        };
        let query_norm = head_norm("attn_q_norm", heads)?;
        let key_norm = head_norm("attn_k_norm", kv_heads)?;
        let window = self.shape.windows[self.index];
        Ok(Attention {
            heads,
            kv_heads,
            key_len: numbers.key_len,
            value_len: numbers.value_len,
            scale: self.shape.attention_scale,
            soft_cap: self.shape.attention_soft_cap,
            window,
            rope: usize::from(self.shape.windowed_rope.is_some() && window.is_some()),
            query,
            key,
            value,
            output: tensors.linear(
                &self.name("attn_output"),
                width,
                times(heads, numbers.value_len)?,
            )?,
            query_norm,
            key_norm,
        })
    }

    fn ffn(&self, tensors: &mut Tensors<'_>) -> Result<FeedForward, ModelError> {
        if self.keys.u32("expert_count")?.is_some_and(|n| n > 0) {
            return Ok(FeedForward::Experts(Box::new(self.experts(tensors)?)));
        }
        let width = self.numbers.width;
        let hidden = self
            .keys
            .per_layer("feed_forward_length", self.numbers.layers)?
            .ok_or_else(|| {
                self.keys
                    .bad("feed_forward_length", "missing", "an integer")
            })?;
        let hidden = hidden[self.index];
        let (gate, up) = if !self.family.gated {
            (None, tensors.linear(&self.name("ffn_up"), hidden, width)?)
        } else if self.family.fused {
            let both = tensors.linear(&self.name("ffn_up"), 2 * hidden, width)?;
            (
                Some(slice(&both, 0..hidden)),
                slice(&both, hidden..2 * hidden),
            )
        } else {
            let gate = tensors.linear(&self.name("ffn_gate"), hidden, width)?;
            (
                Some(gate),
                tensors.linear(&self.name("ffn_up"), hidden, width)?,
            )
        };
        Ok(FeedForward::Dense(Box::new(Dense {
            gate,
            up,
            down: tensors.linear(&self.name("ffn_down"), width, hidden)?,
        })))
    }

    fn experts(&self, tensors: &mut Tensors<'_>) -> Result<Experts, ModelError> {
        let keys = self.keys;
        let width = self.numbers.width;
        let count = keys.count("expert_count")?;
        let used = keys.count("expert_used_count")?;
        if used > count {
            let wanted = format!("at most the {count} experts there are");
            return Err(keys.bad("expert_used_count", &used.to_string(), &wanted));
        }
        let hidden = match keys.u32("expert_feed_forward_length")? {
            Some(_) => keys.count("expert_feed_forward_length")?,
            None => keys.count("feed_forward_length")?,
        };
        let shared = if self.family.shared_expert {
            let hidden = keys.count("expert_shared_feed_forward_length")?;
            Some(SharedExpert {
                weight: tensors.matrix(&self.name("ffn_gate_inp_shexp.weight"), 1, width)?,
                block: Dense {
                    gate: Some(tensors.linear(&self.name("ffn_gate_shexp"), hidden, width)?),
                    up: tensors.linear(&self.name("ffn_up_shexp"), hidden, width)?,
                    down: tensors.linear(&self.name("ffn_down_shexp"), width, hidden)?,
                },
            })
        } else {
            None
        };
        Ok(Experts {
            router: tensors.linear(&self.name("ffn_gate_inp"), count, width)?,
            routing: Routing {
                used,
                renormalise: self.family.renormalise_experts,
                scale: keys.factor("expert_weights_scale")?.unwrap_or(1.0),
            },
            count,
            gate: tensors.experts(&self.name("ffn_gate_exps"), count, hidden, width)?,
            up: tensors.experts(&self.name("ffn_up_exps"), count, hidden, width)?,
            down: tensors.experts(&self.name("ffn_down_exps"), count, width, hidden)?,
            shared,
        })
    }
}

/// Some of the rows of a fused matrix, with their biases.
fn slice(linear: &Linear, rows: std::ops::Range<usize>) -> Linear {
    Linear {
        weight: linear.weight.slice(rows.clone()),
        bias: linear.bias.as_ref().map(|bias| bias[rows].into()),
    }
}
