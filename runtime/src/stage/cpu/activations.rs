//! The input of products: floats, and beside them the 8-bit form that
//! quantized weights take.

use outrigger_kernels::{
    cpu::{
        activation::{Q8_GROUP_LEN, Q8Group, quantize_row},
        dot::{ActivationKind, Columns},
        isa::Isa,
    },
    team::SharedBuffer,
};
use std::ops::Range;

/// Columns of equal length, one after the other. The length may differ from
/// layer to layer, up to the one the buffer was made for.
pub(super) struct Activations {
    values: SharedBuffer<f32>,
    groups: SharedBuffer<Q8Group>,
}

impl Activations {
    pub(super) fn new(columns: usize, len: usize) -> Self {
        Self {
            values: SharedBuffer::zeroed(columns * len),
            groups: SharedBuffer::from_vec(vec![Q8Group::ZERO; columns * Q8Group::count(len)]),
        }
    }

    /// # Safety
    /// No other thread reads or writes the floats of this column meanwhile.
    #[allow(clippy::mut_from_ref)] // the caller keeps the columns disjoint
    pub(super) unsafe fn column_mut(&self, column: usize, len: usize) -> &mut [f32] {
        // SAFETY: the caller's promise.
        unsafe { self.values.get_mut(column * len..(column + 1) * len) }
    }

    /// Part of a column.
    ///
    /// # Safety
    /// No other thread reads or writes these floats meanwhile.
    #[allow(clippy::mut_from_ref)] // the caller keeps the parts disjoint
    pub(super) unsafe fn part_mut(
        &self,
        column: usize,
        len: usize,
        part: Range<usize>,
    ) -> &mut [f32] {
        let start = column * len;
        // SAFETY: the caller's promise.
        unsafe { self.values.get_mut(start + part.start..start + part.end) }
    }

    /// # Safety
    /// No other thread writes the floats of this column meanwhile.
    pub(super) unsafe fn column(&self, column: usize, len: usize) -> &[f32] {
        // SAFETY: the caller's promise.
        unsafe { self.values.get(column * len..(column + 1) * len) }
    }

    /// Makes the 8-bit form of one group of a column's floats.
    ///
    /// # Safety
    /// No other thread writes this column's floats or touches this group of
    /// its 8-bit form meanwhile.
    pub(super) unsafe fn quantize_group(&self, isa: Isa, column: usize, group: usize, len: usize) {
        let groups = Q8Group::count(len);
        let start = group * Q8_GROUP_LEN;
        let end = len.min(start + Q8_GROUP_LEN);
        let at = column * groups + group;
        // SAFETY: the caller's promise, for both.
        unsafe {
            let values = &self.column(column, len)[start..end];
            quantize_row(isa, values, self.groups.get_mut(at..at + 1));
        }
    }

    /// Makes the 8-bit form of a whole column.
    ///
    /// # Safety
    /// No other thread writes this column or touches its 8-bit form meanwhile.
    pub(super) unsafe fn quantize(&self, isa: Isa, column: usize, len: usize) {
        let groups = Q8Group::count(len);
        let groups = column * groups..(column + 1) * groups;
        // SAFETY: the caller's promise, for both.
        unsafe { quantize_row(isa, self.column(column, len), self.groups.get_mut(groups)) }
    }

    /// Columns as products take them.
    ///
    /// # Safety
    /// No thread writes these columns while the result lives.
    pub(super) unsafe fn columns(
        &self,
        kind: ActivationKind,
        columns: Range<usize>,
        len: usize,
    ) -> Columns<'_> {
        match kind {
            ActivationKind::F32 => {
                // SAFETY: the caller's promise.
                Columns::F32(unsafe { self.values.get(columns.start * len..columns.end * len) })
            }
            ActivationKind::Q8 => {
                let groups = Q8Group::count(len);
                // SAFETY: the caller's promise.
                Columns::Q8(unsafe {
                    self.groups
                        .get(columns.start * groups..columns.end * groups)
                })
            }
        }
    }
}
