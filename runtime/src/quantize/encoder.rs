//! Who makes blocks of values.

use outrigger_kernels::format::{Format, FormatError, quantize};

/// Rows of a matrix that are to be encoded.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// The rows, one after the other.
    pub values: &'a [f32],
    /// Values in a row: a multiple of the format's block length, not 0.
    pub cols: usize,
    /// How much each column matters, `cols` of them.
    pub importance: Option<&'a [f32]>,
}

/// Why rows could not be encoded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EncodeError {
    /// The lengths do not match, or there is no encoder.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The importances are not one a column.
    #[error("{found} importances do not stand for {cols} columns")]
    Importance {
        /// How many there are.
        found: usize,
        /// Columns of the matrix.
        cols: usize,
    },
    /// Makes no sense without an importance matrix.
    #[error("{0} cannot be made without an importance matrix")]
    NeedsImportance(Format),
    /// A value that no block can stand for.
    #[error("the value {value} cannot be stored as {format}")]
    Value {
        /// The value.
        value: f32,
        /// The format asked for.
        format: Format,
    },
    /// The encoder made blocks with scales that are no numbers.
    #[error("the {0} blocks that ggml made are not valid")]
    Invalid(Format),
}

/// Makes blocks of values.
pub trait Encoder: Sync {
    /// Whether blocks of `format` can be made, with an importance matrix or
    /// without.
    fn supports(&self, format: Format, importance: bool) -> bool;

    /// Encodes `rows` into `out`, which is as long as their blocks.
    ///
    /// # Errors
    ///
    /// When the format is not supported, the lengths do not match or a value
    /// cannot be stored.
    fn encode(&self, format: Format, rows: Rows<'_>, out: &mut [u8]) -> Result<(), EncodeError>;
}

/// The encoders of this crate, for the formats of which ggml makes the same
/// bytes: F32, F16, BF16 and Q8_0.
#[derive(Debug, Clone, Copy, Default)]
pub struct Native;

impl Encoder for Native {
    fn supports(&self, format: Format, _importance: bool) -> bool {
        matches!(
            format,
            Format::F32 | Format::F16 | Format::BF16 | Format::Q8_0
        )
    }

    fn encode(&self, format: Format, rows: Rows<'_>, out: &mut [u8]) -> Result<(), EncodeError> {
        if !self.supports(format, rows.importance.is_some()) {
            return Err(FormatError::NoEncoder(format).into());
        }
        rows.check(format, out)?;
        Ok(quantize(format, rows.values, out)?)
    }
}

/// Largest magnitude a value may have that is to be stored in blocks or halves:
/// the largest half. Scales are halves, and sums of fourth powers stay finite.
const VALUE_MAX: f32 = 65504.0;

impl Rows<'_> {
    /// Checks that the lengths match and that each value can be stored.
    pub(crate) fn check(&self, format: Format, out: &[u8]) -> Result<(), EncodeError> {
        let (values, bytes) = (self.values.len(), out.len());
        let whole = self.cols > 0 && values.is_multiple_of(self.cols);
        let row_bytes = format.row_bytes(self.cols).filter(|_| whole);
        let expected = row_bytes.and_then(|row| row.checked_mul(values / self.cols));
        if expected != Some(bytes) {
            return Err(EncodeError::Format(FormatError::LengthMismatch {
                format,
                bytes,
                values,
            }));
        }
        if let Some(importance) = self.importance.filter(|i| i.len() != self.cols) {
            return Err(EncodeError::Importance {
                found: importance.len(),
                cols: self.cols,
            });
        }
        let max = match format {
            Format::F32 | Format::BF16 => f32::MAX,
            _ => VALUE_MAX,
        };
        // NaN is not within either.
        match self
            .values
            .iter()
            .find(|value| !(-max..=max).contains(*value))
        {
            Some(&value) => Err(EncodeError::Value { value, format }),
            None => Ok(()),
        }
    }
}
