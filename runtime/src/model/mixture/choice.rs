//! The choice itself.

use super::{Mixture, MixtureModel};
use outrigger_kernels::format::Format;

/// What a tensor does, as far as the choice depends on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Embedding,
    Head,
    Query,
    Key,
    /// Values, or a matrix whose result they are part of.
    Value,
    AttentionOutput,
    Gate,
    Up,
    Down,
    Other,
}

/// Matrices that stay as they are, by a part of their name: routers, tables of
/// positions, small matrices of recurrent and other layers. (llama.cpp,
/// `tensor_allows_quantization`.)
const KEPT: [&str; 28] = [
    "_norm.weight",
    "ffn_gate_inp.weight",
    "ffn_gate_tid2eid.weight",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "ssm_conv1d",
    "shortconv.conv.weight",
    "indexer.k_proj.weight",
    "indexer.q_proj.weight",
    "time_mix_first.weight",
    "time_mix_w0.weight",
    "time_mix_w1.weight",
    "time_mix_w2.weight",
    "time_mix_v0.weight",
    "time_mix_v1.weight",
    "time_mix_v2.weight",
    "time_mix_a0.weight",
    "time_mix_a1.weight",
    "time_mix_a2.weight",
    "time_mix_g1.weight",
    "time_mix_g2.weight",
    "time_mix_decay_w1.weight",
    "time_mix_decay_w2.weight",
    "time_mix_lerp_fused.weight",
    "attn_rel_b.weight",
    "position_embd",
    "token_types",
];

impl Role {
    fn of(name: &str) -> Self {
        let has = |part| name.contains(part);
        match name {
            "output.weight" => Role::Head,
            "token_embd.weight" | "per_layer_token_embd.weight" => Role::Embedding,
            _ if has("attn_qkv.weight") || has("attn_kv_b.weight") || has("attn_v.weight") => {
                Role::Value
            }
            _ if has("attn_k.weight") => Role::Key,
            _ if has("attn_q.weight") => Role::Query,
            _ if has("attn_output.weight") => Role::AttentionOutput,
            _ if has("ffn_up") => Role::Up,
            _ if has("ffn_gate") => Role::Gate,
            _ if has("ffn_down") => Role::Down,
            _ => Role::Other,
        }
    }
}

impl Mixture {
    /// Whether the tensor called `name`, with `dims` in ggml's order, is one
    /// that a quantizer changes. Vectors, routers and some small matrices keep
    /// the format they have.
    pub fn changes(name: &str, dims: &[usize]) -> bool {
        dims.len() >= 2
            && name.ends_with("weight")
            && !KEPT.into_iter().any(|part| name.contains(part))
    }

    /// The format of the tensor called `name`, with `dims` in ggml's order; F32
    /// for what a quantizer does not change.
    ///
    /// Where a row is not whole blocks of what would be chosen, a format of
    /// smaller blocks takes its place.
    pub fn format(self, name: &str, dims: &[usize], model: &MixtureModel) -> Format {
        if !Self::changes(name, dims) {
            return Format::F32;
        }
        let base = self.base();
        if matches!(self, Mixture::F32 | Mixture::F16 | Mixture::BF16) {
            return base;
        }
        let role = Role::of(name);
        let head = role == Role::Head || role == Role::Embedding && model.tied;
        let chosen = if head {
            self.head(dims[0])
        } else if self == Mixture::MXFP4_MOE {
            let experts = dims.get(2).is_some_and(|&experts| experts > 1);
            if experts { base } else { Format::Q8_0 }
        } else if role == Role::Embedding {
            self.embedding()
        } else if self.is_lowest() {
            self.lowest(role, layer(name), model)
        } else {
            self.inner(role, layer(name), model)
        };
        fitting(chosen, dims[0])
    }

    /// Whether the tensor called `name` of this mixture comes out as noise
    /// where it is made in `format` without an importance matrix.
    pub fn needs_importance(self, name: &str, format: Format) -> bool {
        if matches!(Role::of(name), Role::Head | Role::Embedding) {
            return false;
        }
        match format {
            Format::IQ1_S
            | Format::IQ1_M
            | Format::IQ2_XXS
            | Format::IQ2_XS
            | Format::IQ2_S
            | Format::IQ3_XXS => true,
            Format::Q2_K => self == Mixture::Q2_K_S,
            _ => false,
        }
    }

    const fn base(self) -> Format {
        self.facts().2
    }

    /// The format of the head.
    fn head(self, cols: usize) -> Format {
        let base = self.base();
        let eight = self == Mixture::MXFP4_MOE || base == Format::Q8_0;
        if eight || !cols.is_multiple_of(base.block_len()) {
            Format::Q8_0
        } else if self.is_lowest() || self == Mixture::IQ3_XXS {
            Format::Q5_K
        } else {
            Format::Q6_K
        }
    }

    /// The format of a token embedding that is not the head.
    fn embedding(self) -> Format {
        match self {
            Mixture::IQ1_S | Mixture::IQ1_M | Mixture::IQ2_XXS | Mixture::IQ2_XS => Format::Q2_K,
            Mixture::IQ2_S | Mixture::IQ2_M | Mixture::IQ3_XXS => Format::IQ3_S,
            Mixture::TQ1_0 | Mixture::TQ2_0 => Format::Q4_K,
            _ => self.base(),
        }
    }

    /// Whether it is one of the mixtures of one and two bits, whose choices
    /// are their own.
    fn is_lowest(self) -> bool {
        matches!(
            self,
            Mixture::IQ1_S
                | Mixture::IQ1_M
                | Mixture::IQ2_XXS
                | Mixture::IQ2_XS
                | Mixture::IQ2_S
                | Mixture::IQ2_M
        )
    }

    /// The format of a tensor inside a layer, for the lowest mixtures.
    fn lowest(self, role: Role, layer: usize, model: &MixtureModel) -> Format {
        let better = if matches!(self, Mixture::IQ2_S | Mixture::IQ2_M) {
            Format::IQ3_S
        } else {
            Format::Q2_K
        };
        match role {
            Role::Value if model.group >= 4 || model.experts >= 4 => Format::Q4_K,
            Role::Value => better,
            Role::Key if model.experts == 8 => Format::Q4_K,
            Role::Down if layer < model.layers / 8 => better,
            Role::AttentionOutput if model.experts == 8 => Format::Q5_K,
            Role::AttentionOutput => match self {
                Mixture::IQ1_S | Mixture::IQ1_M => Format::IQ2_XXS,
                Mixture::IQ2_S | Mixture::IQ2_M => Format::IQ3_S,
                _ => self.base(),
            },
            _ => self.base(),
        }
    }

    /// The format of a tensor inside a layer, for the other mixtures.
    fn inner(self, role: Role, layer: usize, model: &MixtureModel) -> Format {
        let layers = model.layers;
        let middle = layer >= layers / 8 && layer < 7 * layers / 8;
        match role {
            Role::Value | Role::Key if model.experts == 8 => Format::Q8_0,
            Role::Value => match self.value(layer, model) {
                // Eight heads share these, so that more bits cost little.
                Format::Q3_K | Format::Q4_K if layers == 80 && model.group > 1 => Format::Q5_K,
                format => format,
            },
            Role::Query | Role::Key => match self {
                Mixture::IQ3_XS => Format::IQ3_XXS,
                Mixture::IQ3_XXS => Format::IQ2_S,
                _ => self.base(),
            },
            Role::AttentionOutput => self.attention_output(model),
            Role::Down => self.down(layer, model),
            Role::Gate | Role::Up if self == Mixture::IQ3_XS && middle => Format::IQ3_XXS,
            _ => self.base(),
        }
    }

    fn value(self, layer: usize, model: &MixtureModel) -> Format {
        let shared = model.group >= 4;
        match self {
            Mixture::Q2_K | Mixture::Q2_K_S if shared => Format::Q4_K,
            Mixture::Q2_K => Format::Q3_K,
            Mixture::Q3_K_M if layer < 2 => Format::Q5_K,
            Mixture::Q3_K_M => Format::Q4_K,
            Mixture::Q3_K_L => Format::Q5_K,
            Mixture::Q4_K_S if layer < 4 => Format::Q5_K,
            Mixture::Q4_K_M | Mixture::Q5_K_M if more_bits(layer, model.layers) => Format::Q6_K,
            Mixture::IQ3_XXS | Mixture::IQ3_XS | Mixture::IQ3_S if shared => Format::Q4_K,
            Mixture::IQ3_XXS if !model.importance => Format::IQ3_S,
            Mixture::IQ3_M => Format::Q4_K,
            Mixture::IQ4_NL | Mixture::IQ4_XS if shared => Format::Q5_K,
            _ => self.base(),
        }
    }

    fn attention_output(self, model: &MixtureModel) -> Format {
        match self {
            Mixture::Q2_K
            | Mixture::Q3_K_S
            | Mixture::Q3_K_M
            | Mixture::Q4_K_S
            | Mixture::Q4_K_M
            | Mixture::IQ3_XXS
            | Mixture::IQ3_XS
            | Mixture::IQ3_S
            | Mixture::IQ3_M
            | Mixture::IQ4_NL
            | Mixture::IQ4_XS
                if model.experts == 8 =>
            {
                Format::Q5_K
            }
            _ if model.experts == 8 => self.base(),
            Mixture::Q2_K => Format::Q3_K,
            Mixture::Q3_K_M | Mixture::IQ3_M => Format::Q4_K,
            Mixture::Q3_K_L => Format::Q5_K,
            Mixture::IQ3_XXS => Format::IQ3_S,
            _ => self.base(),
        }
    }

    fn down(self, layer: usize, model: &MixtureModel) -> Format {
        let layers = model.layers;
        let first_eighth = layer < layers / 8;
        let more = more_bits(layer, layers);
        match self {
            Mixture::Q2_K => Format::Q3_K,
            Mixture::Q2_K_S if first_eighth => Format::Q4_K,
            Mixture::Q3_K_M if layer < layers / 16 => Format::Q5_K,
            Mixture::Q3_K_M => Format::Q4_K,
            Mixture::Q3_K_L => Format::Q5_K,
            Mixture::Q4_K_S if first_eighth => Format::Q5_K,
            Mixture::Q4_K_M | Mixture::Q5_K_M if more => Format::Q6_K,
            Mixture::IQ3_XXS if model.importance => self.base(),
            Mixture::IQ3_XXS if first_eighth => Format::Q4_K,
            Mixture::IQ3_XXS => Format::Q3_K,
            Mixture::IQ3_M if first_eighth || model.experts == 8 && more => Format::Q4_K,
            Mixture::IQ4_NL | Mixture::IQ4_XS if first_eighth && !model.importance => Format::Q5_K,
            Mixture::Q4_0 if first_eighth && model.importance => Format::Q4_1,
            Mixture::Q5_0 if first_eighth && model.importance => Format::Q5_1,
            _ => self.base(),
        }
    }
}

/// The layer of `blk.7.attn_v.weight`; 0 outside of the layers.
fn layer(name: &str) -> usize {
    name.strip_prefix("blk.")
        .and_then(|rest| rest.split_once('.')?.0.parse().ok())
        .unwrap_or(0)
}

/// The layers whose values and last feed-forward matrices get more bits: the
/// first and last eighth and every third between.
fn more_bits(layer: usize, layers: usize) -> bool {
    let eighth = layers / 8;
    layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
}

/// `format`, or what replaces it where a row of `cols` values is not whole
/// blocks.
fn fitting(format: Format, cols: usize) -> Format {
    let fits = |format: Format| cols.is_multiple_of(format.block_len());
    if fits(format) {
        return format;
    }
    let smaller = match format {
        Format::Q2_K | Format::Q3_K | Format::TQ1_0 | Format::TQ2_0 => Format::Q4_0,
        Format::Q4_K => Format::Q5_0,
        Format::Q5_K => Format::Q5_1,
        Format::Q6_K => Format::Q8_0,
        Format::IQ1_S
        | Format::IQ1_M
        | Format::IQ2_XXS
        | Format::IQ2_XS
        | Format::IQ2_S
        | Format::IQ3_XXS
        | Format::IQ3_S
        | Format::IQ4_XS => Format::IQ4_NL,
        other => other,
    };
    if fits(smaller) { smaller } else { Format::F16 }
}
