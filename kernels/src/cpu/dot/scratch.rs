//! Working memory for products.

use super::{ActivationKind, TILE_ROWS_MIN, strip, tile_rows};
use crate::format::Format;

/// Working memory for [`Matrix::multiply`](super::Matrix::multiply), one for
/// each thread. It grows as it is needed; [`Scratch::reserve`] makes it large
/// enough at once.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    bytes: Vec<u8>,
    floats: Vec<f32>,
}

/// Vectors are read fastest from whole cache lines.
const ALIGNMENT: usize = 64;

impl Scratch {
    /// Memory enough for matrices of `format` with rows of `cols` values.
    pub fn reserve(&mut self, format: Format, cols: usize) {
        match (ActivationKind::of(format), format) {
            (ActivationKind::Q8, _) => {
                self.strips(cols.div_ceil(256));
            }
            (_, Format::F32 | Format::F16 | Format::BF16) => {}
            _ => {
                self.floats(TILE_ROWS_MIN, cols);
            }
        }
    }

    /// Memory for the strips of a tile of rows of `units` units.
    pub(super) fn strips(&mut self, units: usize) -> &mut [u8] {
        let len = tile_rows(units, usize::MAX) * units * strip::MAX_UNIT_BYTES;
        if self.bytes.len() < len + ALIGNMENT {
            self.bytes.resize(len + ALIGNMENT, 0);
        }
        let start = self.bytes.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        &mut self.bytes[start..start + len]
    }

    /// Memory for `rows` rows of `cols` decoded values.
    pub(super) fn floats(&mut self, rows: usize, cols: usize) -> &mut [f32] {
        let len = rows * cols;
        if self.floats.len() < len {
            self.floats.resize(len, 0.0);
        }
        &mut self.floats[..len]
    }
}
