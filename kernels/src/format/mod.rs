//! Quantized block formats: their sizes, their names, exact decoding and
//! simple encoding.
//!
//! A tensor row is a run of blocks of one [`Format`], each `block_len` values
//! in `block_bytes` bytes, little-endian, without alignment. The layouts are
//! those of ggml (`ggml-common.h`), the numbers those of gguf-py 0.19
//! (`gguf/constants.py`).
//!
//! [`dequantize`] is exact: every value equals, bit for bit up to the sign of
//! zero, what ggml's `to_float` gives. [`quantize`] serves tests and synthetic
//! models; good K-quants come from ggml, which searches for the scales.

mod codebook;
mod decode;
mod encode;
mod float;
mod fp4;
mod integer;
mod iq1;
mod iq2;
mod iq3;
mod iq4;
mod k_encode;
mod k_quants;
mod legacy;
mod ternary;

use std::fmt;

use thiserror::Error;

pub(crate) use codebook::{FP4_VALUES, IQ4_VALUES};
pub(crate) use decode::decode_blocks;
pub use decode::dequantize;
pub use encode::quantize;
pub(crate) use float::f16_to_f32;
pub(crate) use fp4::e8m0_half;

/// The type of a tensor's values as a GGUF file stores them.
///
/// Not here: Q8_1, which ggml uses for activations alone (ggml and gguf-py
/// disagree on its size), and the types that ggml has removed; a file that
/// names one of those is refused by [`Format::from_ggml_type`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types, missing_docs)] // the names are the file format's own
pub enum Format {
    F32,
    F16,
    BF16,
    F64,
    I8,
    I16,
    I32,
    I64,
    Q1_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    Q8_K,
    IQ1_S,
    IQ1_M,
    IQ2_XXS,
    IQ2_XS,
    IQ2_S,
    IQ3_XXS,
    IQ3_S,
    IQ4_NL,
    IQ4_XS,
    TQ1_0,
    TQ2_0,
    MXFP4,
    NVFP4,
}

/// Name, ggml type number, values per block, bytes per block.
struct Facts(&'static str, u32, usize, usize);

impl Format {
    /// Every format, each once.
    pub const ALL: [Format; 33] = [
        Format::F32,
        Format::F16,
        Format::BF16,
        Format::F64,
        Format::I8,
        Format::I16,
        Format::I32,
        Format::I64,
        Format::Q1_0,
        Format::Q4_0,
        Format::Q4_1,
        Format::Q5_0,
        Format::Q5_1,
        Format::Q8_0,
        Format::Q2_K,
        Format::Q3_K,
        Format::Q4_K,
        Format::Q5_K,
        Format::Q6_K,
        Format::Q8_K,
        Format::IQ1_S,
        Format::IQ1_M,
        Format::IQ2_XXS,
        Format::IQ2_XS,
        Format::IQ2_S,
        Format::IQ3_XXS,
        Format::IQ3_S,
        Format::IQ4_NL,
        Format::IQ4_XS,
        Format::TQ1_0,
        Format::TQ2_0,
        Format::MXFP4,
        Format::NVFP4,
    ];

    const fn facts(self) -> Facts {
        match self {
            Format::F32 => Facts("F32", 0, 1, 4),
            Format::F16 => Facts("F16", 1, 1, 2),
            Format::BF16 => Facts("BF16", 30, 1, 2),
            Format::F64 => Facts("F64", 28, 1, 8),
            Format::I8 => Facts("I8", 24, 1, 1),
            Format::I16 => Facts("I16", 25, 1, 2),
            Format::I32 => Facts("I32", 26, 1, 4),
            Format::I64 => Facts("I64", 27, 1, 8),
            Format::Q1_0 => Facts("Q1_0", 41, 128, 18),
            Format::Q4_0 => Facts("Q4_0", 2, 32, 18),
            Format::Q4_1 => Facts("Q4_1", 3, 32, 20),
            Format::Q5_0 => Facts("Q5_0", 6, 32, 22),
            Format::Q5_1 => Facts("Q5_1", 7, 32, 24),
            Format::Q8_0 => Facts("Q8_0", 8, 32, 34),
            Format::Q2_K => Facts("Q2_K", 10, 256, 84),
            Format::Q3_K => Facts("Q3_K", 11, 256, 110),
            Format::Q4_K => Facts("Q4_K", 12, 256, 144),
            Format::Q5_K => Facts("Q5_K", 13, 256, 176),
            Format::Q6_K => Facts("Q6_K", 14, 256, 210),
            Format::Q8_K => Facts("Q8_K", 15, 256, 292),
            Format::IQ1_S => Facts("IQ1_S", 19, 256, 50),
            Format::IQ1_M => Facts("IQ1_M", 29, 256, 56),
            Format::IQ2_XXS => Facts("IQ2_XXS", 16, 256, 66),
            Format::IQ2_XS => Facts("IQ2_XS", 17, 256, 74),
            Format::IQ2_S => Facts("IQ2_S", 22, 256, 82),
            Format::IQ3_XXS => Facts("IQ3_XXS", 18, 256, 98),
            Format::IQ3_S => Facts("IQ3_S", 21, 256, 110),
            Format::IQ4_NL => Facts("IQ4_NL", 20, 32, 18),
            Format::IQ4_XS => Facts("IQ4_XS", 23, 256, 136),
            Format::TQ1_0 => Facts("TQ1_0", 34, 256, 54),
            Format::TQ2_0 => Facts("TQ2_0", 35, 256, 66),
            Format::MXFP4 => Facts("MXFP4", 39, 32, 17),
            Format::NVFP4 => Facts("NVFP4", 40, 64, 36),
        }
    }

    /// The name GGUF tools print, such as `Q4_K`.
    pub const fn name(self) -> &'static str {
        self.facts().0
    }

    /// The format with this name, in upper or lower case.
    pub fn from_name(name: &str) -> Option<Format> {
        Format::ALL
            .into_iter()
            .find(|format| format.name().eq_ignore_ascii_case(name))
    }

    /// The number that stands for the format in a GGUF file.
    pub const fn ggml_type(self) -> u32 {
        self.facts().1
    }

    /// The format a GGUF file means by `number`; `None` when it is unknown,
    /// removed from ggml, or never stored.
    pub fn from_ggml_type(number: u32) -> Option<Format> {
        Format::ALL
            .into_iter()
            .find(|format| format.ggml_type() == number)
    }

    /// Values per block; a row holds whole blocks.
    pub const fn block_len(self) -> usize {
        self.facts().2
    }

    /// Bytes per block.
    pub const fn block_bytes(self) -> usize {
        self.facts().3
    }

    /// Bytes of a row of `values` values; `None` when `values` is not a
    /// multiple of [`Format::block_len`] or the size overflows.
    pub const fn row_bytes(self, values: usize) -> Option<usize> {
        if !values.is_multiple_of(self.block_len()) {
            return None;
        }
        (values / self.block_len()).checked_mul(self.block_bytes())
    }

    /// Whether the values are real numbers, so that the tensor can be a
    /// weight; false for I8, I16, I32 and I64.
    pub const fn is_weight(self) -> bool {
        !matches!(self, Format::I8 | Format::I16 | Format::I32 | Format::I64)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why blocks could not be decoded or encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FormatError {
    /// The byte slice does not hold whole blocks.
    #[error("{bytes} bytes are not whole {format} blocks of {} bytes", format.block_bytes())]
    PartialBlock {
        /// The format of the blocks.
        format: Format,
        /// Length of the byte slice.
        bytes: usize,
    },
    /// The slice of values and the slice of blocks do not match.
    #[error("{bytes} bytes of {format} blocks do not stand for {values} values")]
    LengthMismatch {
        /// The format of the blocks.
        format: Format,
        /// Length of the byte slice.
        bytes: usize,
        /// Length of the slice of values.
        values: usize,
    },
    /// The format holds integers, not real numbers.
    #[error("{0} holds integers, not weights")]
    NotAWeight(Format),
    /// There is no encoder for the format here.
    #[error("no encoder for {0}; quantize with ggml instead")]
    NoEncoder(Format),
}

/// Checks that `bytes` bytes are whole blocks that stand for `values` values.
fn check_lengths(format: Format, bytes: usize, values: usize) -> Result<(), FormatError> {
    if !format.is_weight() {
        return Err(FormatError::NotAWeight(format));
    }
    if !bytes.is_multiple_of(format.block_bytes()) {
        return Err(FormatError::PartialBlock { format, bytes });
    }
    if format.row_bytes(values) != Some(bytes) {
        return Err(FormatError::LengthMismatch {
            format,
            bytes,
            values,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
