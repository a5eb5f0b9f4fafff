//! What the file says about a tensor.

use outrigger_kernels::format::Format;

use super::error::{DIMS_MAX, ParseError, shown};

/// One tensor of a GGUF file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name; unique in the model.
    pub name: Box<str>,
    /// The sizes in ggml's order, the fastest first: a matrix of `n` rows of
    /// `k` values is `[k, n]`. 1 to 4 of them, none is 0.
    pub dims: Box<[usize]>,
    /// How the values are stored.
    pub format: Format,
    /// Where the data begins, in bytes from the start of the part's file.
    pub offset: usize,
    /// Size of the data in bytes.
    pub bytes: usize,
    /// The part of a split model that holds the data, from 0.
    pub part: u16,
}

impl TensorInfo {
    /// Number of values in a row: the fastest dimension.
    pub fn row_len(&self) -> usize {
        self.dims.first().copied().unwrap_or(1)
    }

    /// Number of rows: the product of all dimensions but the fastest.
    pub fn rows(&self) -> usize {
        self.dims.iter().skip(1).product()
    }

    /// Number of values.
    pub fn values(&self) -> usize {
        self.dims.iter().product()
    }
}

/// The size in bytes of a tensor that has these dimensions.
pub(super) fn size(name: &str, dims: &[u64], format: Format) -> Result<usize, ParseError> {
    if dims.is_empty() || dims.len() > DIMS_MAX {
        return Err(ParseError::DimsCount {
            tensor: shown(name),
            count: u32::try_from(dims.len()).unwrap_or(u32::MAX),
        });
    }
    if let Some(axis) = dims.iter().position(|&dim| dim == 0) {
        return Err(ParseError::ZeroDim {
            tensor: shown(name),
            axis,
        });
    }
    let overflow = || ParseError::Overflow {
        tensor: shown(name),
        dims: dims.to_vec(),
    };
    let row = usize::try_from(dims[0]).map_err(|_| overflow())?;
    if row % format.block_len() != 0 {
        return Err(ParseError::PartialBlock {
            tensor: shown(name),
            row,
            block: format.block_len(),
            format: format.name(),
        });
    }
    let row_bytes = format.row_bytes(row).ok_or_else(overflow)?;
    let rows = dims[1..].iter().try_fold(1_usize, |product, &dim| {
        product.checked_mul(usize::try_from(dim).ok()?)
    });
    let rows = rows.ok_or_else(overflow)?;
    // The number of values is bounded too, so that callers may multiply the
    // dimensions of a format with less than a byte per value.
    rows.checked_mul(row).ok_or_else(overflow)?;
    rows.checked_mul(row_bytes)
        .filter(|&bytes| isize::try_from(bytes).is_ok())
        .ok_or_else(overflow)
}
