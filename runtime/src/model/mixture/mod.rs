//! Which format each tensor of a quantized model has.
//!
//! A file that is said to be "Q4_K_M" holds several formats: tensors that
//! matter more to the result get more bits. The choices here are those that
//! llama.cpp's `llama-quantize` makes (`llama_tensor_get_type_impl` in its
//! `src/llama-quant.cpp`, 0c1e570), for models with one attention and one
//! feed-forward block in each layer. Falcon, for which it has rules of its
//! own, is treated like the others. `tests/tests/quantize.rs` compares whole
//! files with the program's.

mod choice;
#[cfg(test)]
mod tests;

use outrigger_kernels::format::Format;

/// A mixture of formats, by the name that `llama-quantize` takes.
///
/// NVFP4, for which it has a number but no name, is a mixture like that of the
/// other formats of few bits: all matrices but the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types, missing_docs)] // the names are llama.cpp's own
pub enum Mixture {
    F32,
    F16,
    BF16,
    Q1_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q2_K_S,
    Q3_K_S,
    Q3_K_M,
    Q3_K_L,
    Q4_K_S,
    Q4_K_M,
    Q5_K_S,
    Q5_K_M,
    Q6_K,
    IQ1_S,
    IQ1_M,
    IQ2_XXS,
    IQ2_XS,
    IQ2_S,
    IQ2_M,
    IQ3_XXS,
    IQ3_XS,
    IQ3_S,
    IQ3_M,
    IQ4_NL,
    IQ4_XS,
    TQ1_0,
    TQ2_0,
    MXFP4_MOE,
    NVFP4,
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
    /// Whether there is an importance matrix.
    pub importance: bool,
}

impl Mixture {
    /// Every mixture, each once.
    pub const ALL: [Mixture; 35] = [
        Mixture::F32,
        Mixture::F16,
        Mixture::BF16,
        Mixture::Q1_0,
        Mixture::Q4_0,
        Mixture::Q4_1,
        Mixture::Q5_0,
        Mixture::Q5_1,
        Mixture::Q8_0,
        Mixture::Q2_K,
        Mixture::Q2_K_S,
        Mixture::Q3_K_S,
        Mixture::Q3_K_M,
        Mixture::Q3_K_L,
        Mixture::Q4_K_S,
        Mixture::Q4_K_M,
        Mixture::Q5_K_S,
        Mixture::Q5_K_M,
        Mixture::Q6_K,
        Mixture::IQ1_S,
        Mixture::IQ1_M,
        Mixture::IQ2_XXS,
        Mixture::IQ2_XS,
        Mixture::IQ2_S,
        Mixture::IQ2_M,
        Mixture::IQ3_XXS,
        Mixture::IQ3_XS,
        Mixture::IQ3_S,
        Mixture::IQ3_M,
        Mixture::IQ4_NL,
        Mixture::IQ4_XS,
        Mixture::TQ1_0,
        Mixture::TQ2_0,
        Mixture::MXFP4_MOE,
        Mixture::NVFP4,
    ];

    /// Name, number in `general.file_type`, format of most tensors.
    const fn facts(self) -> (&'static str, u32, Format) {
        match self {
            Mixture::F32 => ("F32", 0, Format::F32),
            Mixture::F16 => ("F16", 1, Format::F16),
            Mixture::BF16 => ("BF16", 32, Format::BF16),
            Mixture::Q1_0 => ("Q1_0", 40, Format::Q1_0),
            Mixture::Q4_0 => ("Q4_0", 2, Format::Q4_0),
            Mixture::Q4_1 => ("Q4_1", 3, Format::Q4_1),
            Mixture::Q5_0 => ("Q5_0", 8, Format::Q5_0),
            Mixture::Q5_1 => ("Q5_1", 9, Format::Q5_1),
            Mixture::Q8_0 => ("Q8_0", 7, Format::Q8_0),
            Mixture::Q2_K => ("Q2_K", 10, Format::Q2_K),
            Mixture::Q2_K_S => ("Q2_K_S", 21, Format::Q2_K),
            Mixture::Q3_K_S => ("Q3_K_S", 11, Format::Q3_K),
            Mixture::Q3_K_M => ("Q3_K_M", 12, Format::Q3_K),
            Mixture::Q3_K_L => ("Q3_K_L", 13, Format::Q3_K),
            Mixture::Q4_K_S => ("Q4_K_S", 14, Format::Q4_K),
            Mixture::Q4_K_M => ("Q4_K_M", 15, Format::Q4_K),
            Mixture::Q5_K_S => ("Q5_K_S", 16, Format::Q5_K),
            Mixture::Q5_K_M => ("Q5_K_M", 17, Format::Q5_K),
            Mixture::Q6_K => ("Q6_K", 18, Format::Q6_K),
            Mixture::IQ1_S => ("IQ1_S", 24, Format::IQ1_S),
            Mixture::IQ1_M => ("IQ1_M", 31, Format::IQ1_M),
            Mixture::IQ2_XXS => ("IQ2_XXS", 19, Format::IQ2_XXS),
            Mixture::IQ2_XS => ("IQ2_XS", 20, Format::IQ2_XS),
            Mixture::IQ2_S => ("IQ2_S", 28, Format::IQ2_XS),
            Mixture::IQ2_M => ("IQ2_M", 29, Format::IQ2_S),
            Mixture::IQ3_XXS => ("IQ3_XXS", 23, Format::IQ3_XXS),
            Mixture::IQ3_XS => ("IQ3_XS", 22, Format::IQ3_S),
            Mixture::IQ3_S => ("IQ3_S", 26, Format::IQ3_S),
            Mixture::IQ3_M => ("IQ3_M", 27, Format::IQ3_S),
            Mixture::IQ4_NL => ("IQ4_NL", 25, Format::IQ4_NL),
            Mixture::IQ4_XS => ("IQ4_XS", 30, Format::IQ4_XS),
            Mixture::TQ1_0 => ("TQ1_0", 36, Format::TQ1_0),
            Mixture::TQ2_0 => ("TQ2_0", 37, Format::TQ2_0),
            Mixture::MXFP4_MOE => ("MXFP4_MOE", 38, Format::MXFP4),
            Mixture::NVFP4 => ("NVFP4", 39, Format::NVFP4),
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
}
