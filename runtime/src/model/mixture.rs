//! Which format each tensor of a quantized model has.
//!
//! A file that is said to be "Q4_K_M" holds several formats: tensors that
//! matter more to the result get more bits. The choices here are those that
//! llama.cpp's `llama-quantize` makes without an importance matrix
//! (`llama_tensor_get_type` in its `src/llama-quant.cpp`), for models of fewer
//! than 80 layers. All but the IQ4 ones were compared, tensor by tensor, with
//! what `llama-quantize` (0c1e570) makes of shapes with 16 and 36 layers and
//! with 8 experts.

use outrigger_kernels::format::Format;

/// A mixture of formats, by the name that `llama-quantize` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types, missing_docs)] // the names are llama.cpp's own
pub enum Mixture {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K_S,
    Q3_K_M,
    Q3_K_L,
    Q4_K_S,
    Q4_K_M,
    Q5_K_S,
    Q5_K_M,
    Q6_K,
    IQ4_NL,
    IQ4_XS,
}

/// What of a model the choice depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MixtureModel {
    /// Decoder layers.
    pub layers: usize,
    /// Experts in a layer; 0 without any.
    pub experts: usize,
    /// Query heads per key head.
    pub group: usize,
    /// Whether the head is the token embedding.
    pub tied: bool,
}

impl Mixture {
    /// Every mixture, each once.
    pub const ALL: [Mixture; 19] = [
        Mixture::F32,
        Mixture::F16,
        Mixture::BF16,
        Mixture::Q4_0,
        Mixture::Q4_1,
        Mixture::Q5_0,
        Mixture::Q5_1,
        Mixture::Q8_0,
        Mixture::Q2_K,
        Mixture::Q3_K_S,
        Mixture::Q3_K_M,
        Mixture::Q3_K_L,
        Mixture::Q4_K_S,
        Mixture::Q4_K_M,
        Mixture::Q5_K_S,
        Mixture::Q5_K_M,
        Mixture::Q6_K,
        Mixture::IQ4_NL,
        Mixture::IQ4_XS,
    ];

    /// Name, number in `general.file_type`, format of most tensors.
    const fn facts(self) -> (&'static str, u32, Format) {
        match self {
            Mixture::F32 => ("F32", 0, Format::F32),
            Mixture::F16 => ("F16", 1, Format::F16),
            Mixture::BF16 => ("BF16", 32, Format::BF16),
            Mixture::Q4_0 => ("Q4_0", 2, Format::Q4_0),
            Mixture::Q4_1 => ("Q4_1", 3, Format::Q4_1),
            Mixture::Q5_0 => ("Q5_0", 8, Format::Q5_0),
            Mixture::Q5_1 => ("Q5_1", 9, Format::Q5_1),
            Mixture::Q8_0 => ("Q8_0", 7, Format::Q8_0),
            Mixture::Q2_K => ("Q2_K", 10, Format::Q2_K),
            Mixture::Q3_K_S => ("Q3_K_S", 11, Format::Q3_K),
            Mixture::Q3_K_M => ("Q3_K_M", 12, Format::Q3_K),
            Mixture::Q3_K_L => ("Q3_K_L", 13, Format::Q3_K),
            Mixture::Q4_K_S => ("Q4_K_S", 14, Format::Q4_K),
            Mixture::Q4_K_M => ("Q4_K_M", 15, Format::Q4_K),
            Mixture::Q5_K_S => ("Q5_K_S", 16, Format::Q5_K),
            Mixture::Q5_K_M => ("Q5_K_M", 17, Format::Q5_K),
            Mixture::Q6_K => ("Q6_K", 18, Format::Q6_K),
            Mixture::IQ4_NL => ("IQ4_NL", 25, Format::IQ4_NL),
            Mixture::IQ4_XS => ("IQ4_XS", 30, Format::IQ4_XS),
        }
    }

    /// The name, such as `Q4_K_M`.
    pub const fn name(self) -> &'static str {
        self.facts().0
    }

    /// The mixture of this name, in upper or lower case. As for
    /// `llama-quantize`, `Q3_K`, `Q4_K` and `Q5_K` mean their `_M`.
    pub fn from_name(name: &str) -> Option<Self> {
        let named = |name: &str| {
            let mut all = Self::ALL.into_iter();
            all.find(|mixture| mixture.name().eq_ignore_ascii_case(name))
        };
        named(name).or_else(|| named(&format!("{name}_M")))
    }

    /// The number that stands for the mixture in the key `general.file_type`
    /// (`llama_ftype`).
    pub const fn file_type(self) -> u32 {
        self.facts().1
    }

    /// The mixture that `general.file_type` means by `number`, if it is one of
    /// these.
    pub fn from_file_type(number: u32) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|mixture| mixture.file_type() == number)
    }

    /// The format of the tensor called `name`, with `dims` in ggml's order.
    ///
    /// Vectors and routers stay F32. Where a row is not whole blocks of what
    /// would be chosen, a format of smaller blocks takes its place.
    pub fn format(self, name: &str, dims: &[usize], model: &MixtureModel) -> Format {
        let (layer, part) = place(name);
        if dims.len() < 2 || part == "ffn_gate_inp.weight" || !part.ends_with(".weight") {
            return Format::F32;
        }
        let (_, _, base) = self.facts();
        if matches!(self, Mixture::F32 | Mixture::F16 | Mixture::BF16) {
            return base;
        }
        let cols = dims[0];
        let chosen = match part {
            "output.weight" => self.head(cols),
            "token_embd.weight" if model.tied => self.head(cols),
            _ => self.inner(part, layer, model).unwrap_or(base),
        };
        fitting(chosen, cols)
    }

    /// The format of the head.
    fn head(self, cols: usize) -> Format {
        let (_, _, base) = self.facts();
        if base == Format::Q8_0 || !cols.is_multiple_of(base.block_len()) {
            Format::Q8_0
        } else {
            Format::Q6_K
        }
    }

    /// The format of a tensor inside layer `layer`, where it is not that of
    /// most.
    fn inner(self, part: &str, layer: usize, model: &MixtureModel) -> Option<Format> {
        let layers = model.layers;
        let first_eighth = layer < layers / 8;
        let eight_experts = model.experts == 8;
        match part {
            "attn_v.weight" | "attn_k.weight" if eight_experts => Some(Format::Q8_0),
            "attn_v.weight" => match self {
                Mixture::Q2_K if model.group >= 4 => Some(Format::Q4_K),
                Mixture::Q2_K => Some(Format::Q3_K),
                Mixture::Q3_K_M if layer < 2 => Some(Format::Q5_K),
                Mixture::Q3_K_M => Some(Format::Q4_K),
                Mixture::Q3_K_L => Some(Format::Q5_K),
                Mixture::IQ4_NL | Mixture::IQ4_XS if model.group >= 4 => Some(Format::Q5_K),
                Mixture::Q4_K_M | Mixture::Q5_K_M if more_bits(layer, layers) => Some(Format::Q6_K),
                Mixture::Q4_K_S if layer < 4 => Some(Format::Q5_K),
                _ => None,
            },
            "ffn_down.weight" | "ffn_down_exps.weight" | "ffn_down_shexp.weight" => match self {
                Mixture::Q2_K => Some(Format::Q3_K),
                Mixture::Q3_K_M if layer < layers / 16 => Some(Format::Q5_K),
                Mixture::Q3_K_M => Some(Format::Q4_K),
                Mixture::Q3_K_L => Some(Format::Q5_K),
                Mixture::Q4_K_M | Mixture::Q5_K_M if more_bits(layer, layers) => Some(Format::Q6_K),
                Mixture::IQ4_NL | Mixture::IQ4_XS | Mixture::Q4_K_S if first_eighth => {
                    Some(Format::Q5_K)
                }
                _ => None,
            },
            "attn_output.weight" => match self {
                Mixture::Q2_K
                | Mixture::Q3_K_S
                | Mixture::Q3_K_M
                | Mixture::Q4_K_S
                | Mixture::Q4_K_M
                | Mixture::IQ4_NL
                | Mixture::IQ4_XS
                    if eight_experts =>
                {
                    Some(Format::Q5_K)
                }
                _ if eight_experts => None,
                Mixture::Q2_K => Some(Format::Q3_K),
                Mixture::Q3_K_M => Some(Format::Q4_K),
                Mixture::Q3_K_L => Some(Format::Q5_K),
                _ => None,
            },
            "attn_qkv.weight" => match self {
                Mixture::Q3_K_M | Mixture::Q3_K_L => Some(Format::Q4_K),
                Mixture::Q4_K_M => Some(Format::Q5_K),
                Mixture::Q5_K_M => Some(Format::Q6_K),
                _ => None,
            },
            _ => None,
        }
    }
}

/// The layer of `blk.7.attn_v.weight`, and what follows it.
fn place(name: &str) -> (usize, &str) {
    let inside = name.strip_prefix("blk.").and_then(|rest| {
        let (layer, part) = rest.split_once('.')?;
        Some((layer.parse().ok()?, part))
    });
    inside.unwrap_or((0, name))
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
        Format::Q2_K | Format::Q3_K => Format::Q4_0,
        Format::Q4_K => Format::Q5_0,
        Format::Q5_K => Format::Q5_1,
        Format::Q6_K => Format::Q8_0,
        Format::IQ4_XS => Format::IQ4_NL,
        other => other,
    };
    if fits(smaller) { smaller } else { Format::F16 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LLAMA_1B: MixtureModel = MixtureModel {
        layers: 16,
        experts: 0,
        group: 4,
        tied: true,
    };

    /// The layers in which a tensor has a format.
    fn layers(mixture: Mixture, part: &str, format: Format, model: &MixtureModel) -> Vec<usize> {
        let has = |layer: &usize| {
            let name = format!("blk.{layer}.{part}.weight");
            mixture.format(&name, &[2048, 512], model) == format
        };
        (0..model.layers).filter(has).collect()
    }

    #[test]
    fn names_and_numbers_lead_back() {
        for mixture in Mixture::ALL {
            assert_eq!(Mixture::from_name(mixture.name()), Some(mixture));
            assert_eq!(Mixture::from_file_type(mixture.file_type()), Some(mixture));
        }
        assert_eq!(Mixture::from_name("q4_k"), Some(Mixture::Q4_K_M));
        assert_eq!(Mixture::from_name("q4"), None);
        assert_eq!(Mixture::from_file_type(1000), None);
    }

    #[test]
    fn some_layers_get_more_bits() {
        let of = |mixture, part, format| layers(mixture, part, format, &LLAMA_1B);
        let more = [0, 1, 4, 7, 10, 13, 14, 15];
        for part in ["attn_v", "ffn_down"] {
            assert_eq!(of(Mixture::Q4_K_M, part, Format::Q6_K), more);
            assert_eq!(of(Mixture::Q5_K_M, part, Format::Q6_K), more);
        }
        assert_eq!(of(Mixture::Q4_K_M, "attn_v", Format::Q4_K).len(), 8);
        assert_eq!(of(Mixture::Q4_K_M, "attn_q", Format::Q4_K).len(), 16);
        assert_eq!(of(Mixture::Q4_K_S, "attn_v", Format::Q5_K), [0, 1, 2, 3]);
        assert_eq!(of(Mixture::Q4_K_S, "ffn_down", Format::Q5_K), [0, 1]);
        assert_eq!(of(Mixture::Q4_0, "ffn_down", Format::Q4_0).len(), 16);
    }

    #[test]
    fn the_head_has_six_bits_wherever_it_is() {
        let untied = MixtureModel {
            tied: false,
            ..LLAMA_1B
        };
        let of = |mixture: Mixture, name, model| mixture.format(name, &[2048, 1000], model);
        for mixture in [Mixture::Q4_0, Mixture::Q4_K_M, Mixture::Q6_K] {
            assert_eq!(of(mixture, "token_embd.weight", &LLAMA_1B), Format::Q6_K);
            assert_eq!(of(mixture, "output.weight", &untied), Format::Q6_K);
        }
        let of = |mixture, model| of(mixture, "token_embd.weight", model);
        assert_eq!(of(Mixture::Q4_K_M, &untied), Format::Q4_K);
        assert_eq!(of(Mixture::Q8_0, &LLAMA_1B), Format::Q8_0);
        assert_eq!(of(Mixture::F16, &LLAMA_1B), Format::F16);
    }

    #[test]
    fn eight_experts_share_an_attention_of_more_bits() {
        let mixtral = MixtureModel {
            layers: 32,
            experts: 8,
            group: 4,
            tied: false,
        };
        let of = |part, format| layers(Mixture::Q4_K_M, part, format, &mixtral).len();
        assert_eq!(of("attn_v", Format::Q8_0), 32);
        assert_eq!(of("attn_k", Format::Q8_0), 32);
        assert_eq!(of("attn_output", Format::Q5_K), 32);
        assert_eq!(of("attn_q", Format::Q4_K), 32);
        assert_eq!(of("ffn_gate_inp", Format::F32), 32);
    }

    #[test]
    fn rows_that_are_not_whole_blocks_get_smaller_ones() {
        let of = |cols| Mixture::Q4_K_M.format("blk.0.attn_q.weight", &[cols, 8], &LLAMA_1B);
        assert_eq!(of(256), Format::Q4_K);
        assert_eq!(of(96), Format::Q5_0);
        assert_eq!(of(40), Format::F16);
    }
}
