//! ggml, the library under llama.cpp: as the encoder of all its formats, and
//! as what the kernels are compared with.
//!
//! Behind the feature `ggml`, because `llama-cpp-sys-2` builds llama.cpp, which
//! needs cmake and libclang. Three layers: that crate's declarations;
//! `result`, which calls them and states what each call needs; and the safe
//! functions here, which check it.
//!
//! ggml ends the process on what it takes for a mistake of its own.

mod aligned;
mod result;

use crate::quantize::{EncodeError, Encoder, Rows};
use aligned::Aligned;
use outrigger_kernels::format::{Format, FormatError};

/// ggml's encoders: every format that it makes, the same bytes as
/// `llama-quantize`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ggml;

impl Encoder for Ggml {
    fn supports(&self, format: Format, importance: bool) -> bool {
        let stored = format.is_weight() && !matches!(format, Format::F64 | Format::Q8_K);
        stored && (importance || !result::requires_importance(format))
    }

    fn encode(&self, format: Format, rows: Rows<'_>, out: &mut [u8]) -> Result<(), EncodeError> {
        if !self.supports(format, true) {
            return Err(FormatError::NoEncoder(format).into());
        }
        if rows.importance.is_none() && result::requires_importance(format) {
            return Err(EncodeError::NeedsImportance(format));
        }
        rows.check(format, out)?;
        // Its blocks are C structures, which want to be aligned.
        let mut blocks = Aligned::zeroed(out.len());
        // SAFETY: `supports` and the check above are the conditions of
        // `quantize`; `check` held the lengths of all slices against each
        // other; `blocks` has as many bytes as `out` and is aligned.
        let valid = unsafe {
            result::quantize(format, rows.values, rows.cols, rows.importance, &mut blocks)
        };
        out.copy_from_slice(blocks.bytes());
        valid.then_some(()).ok_or(EncodeError::Invalid(format))
    }
}

/// Decodes `blocks` with ggml: the oracle of
/// [`outrigger_kernels::format::dequantize`].
///
/// # Errors
///
/// As there.
pub fn dequantize(format: Format, blocks: &[u8], out: &mut [f32]) -> Result<(), FormatError> {
    let bytes = blocks.len();
    if !format.is_weight() {
        return Err(FormatError::NotAWeight(format));
    }
    if !bytes.is_multiple_of(format.block_bytes()) {
        return Err(FormatError::PartialBlock { format, bytes });
    }
    if format.row_bytes(out.len()) != Some(bytes) {
        return Err(FormatError::LengthMismatch {
            format,
            bytes,
            values: out.len(),
        });
    }
    // SAFETY: the lengths match by the checks above, and the copy is aligned.
    let decoded = unsafe { result::dequantize(format, &Aligned::copy(blocks), out) };
    decoded.ok_or(FormatError::NoEncoder(format))
}

/// The product of a row of weights with `values` as ggml's CPU backend computes
/// it, which rounds the values to what it multiplies that format with; `None`
/// where it has no such product, or this processor lacks an instruction set
/// that the backend was compiled for.
///
/// # Panics
///
/// If `row` does not hold as many weights as there are values.
pub fn dot(format: Format, row: &[u8], values: &[f32]) -> Option<f32> {
    assert_eq!(
        format.row_bytes(values.len()),
        Some(row.len()),
        "a row of {} values of {format} was asked for",
        values.len()
    );
    if !result::backend_runs_here() {
        return None;
    }
    // SAFETY: the length of the row was checked above, its copy is aligned, and
    // the backend runs on this processor.
    unsafe { result::dot(format, &Aligned::copy(row), values) }
}
