//! Columns of activations, and which of them a product takes.

use std::ops::Range;

use crate::cpu::activation::Q8Group;
use crate::format::Format;

/// The form in which a format's products take activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivationKind {
    /// 32-bit floats.
    F32,
    /// 8-bit integers, see [`Q8Group`].
    Q8,
}

impl ActivationKind {
    /// The form that serves `format` best.
    pub const fn of(format: Format) -> ActivationKind {
        match format {
            Format::Q4_0
            | Format::Q4_1
            | Format::Q5_0
            | Format::Q5_1
            | Format::Q8_0
            | Format::Q2_K
            | Format::Q3_K
            | Format::Q4_K
            | Format::Q5_K
            | Format::Q6_K
            | Format::IQ4_NL
            | Format::IQ4_XS
            | Format::MXFP4 => ActivationKind::Q8,
            _ => ActivationKind::F32,
        }
    }
}

/// Columns of activations, one after the other without gaps.
#[derive(Debug, Clone, Copy)]
pub enum Columns<'a> {
    /// `cols` floats per column, `cols` being the length of a weight row.
    /// Every format takes these.
    F32(&'a [f32]),
    /// [`Q8Group::count`]`(cols)` groups per column, for the formats with
    /// [`ActivationKind::Q8`].
    Q8(&'a [Q8Group]),
}

impl<'a> Columns<'a> {
    /// The number of columns for weight rows of `cols` values.
    ///
    /// # Panics
    ///
    /// When the slice does not hold whole columns, or `cols` is 0.
    pub fn count(&self, cols: usize) -> usize {
        let (len, per_column) = match self {
            Columns::F32(values) => (values.len(), cols),
            Columns::Q8(groups) => (groups.len(), Q8Group::count(cols)),
        };
        assert!(
            len.is_multiple_of(per_column),
            "{len} activations or groups are not whole columns of {per_column}"
        );
        len / per_column
    }

    /// The columns in `range`, for weight rows of `cols` values.
    ///
    /// # Panics
    ///
    /// When `range` is not within the columns.
    pub fn slice(&self, range: Range<usize>, cols: usize) -> Columns<'a> {
        match self {
            Columns::F32(values) => Columns::F32(&values[range.start * cols..range.end * cols]),
            Columns::Q8(groups) => {
                let per_column = Q8Group::count(cols);
                Columns::Q8(&groups[range.start * per_column..range.end * per_column])
            }
        }
    }
}

/// Which columns a matrix is multiplied with, and in which order.
#[derive(Debug, Clone, Copy)]
pub enum Pick<'a> {
    /// Each once.
    All,
    /// Column `slot / per_column` for each of `slots`. Where `per_column` is 1
    /// these are the columns themselves; a mixture of experts gives every
    /// column as many slots as it uses experts.
    Slots {
        /// The slots.
        slots: &'a [u32],
        /// Slots of each column, at least 1.
        per_column: usize,
    },
}

impl Pick<'_> {
    pub(super) fn count(&self, columns: usize) -> usize {
        match self {
            Pick::All => columns,
            Pick::Slots { slots, .. } => slots.len(),
        }
    }

    pub(super) fn column(&self, index: usize) -> usize {
        match self {
            Pick::All => index,
            Pick::Slots { slots, per_column } => slots[index] as usize / per_column,
        }
    }
}
