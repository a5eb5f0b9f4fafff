//! One forward pass: the program that every thread of the team runs.
//!
//! It is a sequence of phases with a barrier after each. Within a phase every
//! value is written by one thread, which took its index from the phase's work
//! counter, and nothing is read that is written in the same phase by another;
//! nothing that is written in a pass is touched by a thread that holds no items,
//! for it may be late, and the others in a later phase. That is what the
//! `SAFETY` comments below refer to as *the phase rule*.

use super::{activations::Activations, recorder::Recorder, workspace::Workspace};
use crate::{
    kv::KvCache,
    model::{Layer, Linear, Matrix, Model, Norm, NormKind, Operation},
    stage::{Batch, Column, Span},
};
use outrigger_kernels::{
    cpu::{
        activation::Q8Group,
        dot::{ActivationKind, Columns, Pick},
        elementwise::soft_cap,
        isa::Isa,
        norm::{layer_norm, layer_norm_in_place, rms_norm, rms_norm_in_place},
        rope::angles,
        vector::{add_scaled, scale},
    },
    format::dequantize,
    team::{Halt, Member, Program, SharedBuffer},
};
use std::{ops::Range, sync::Arc};

/// The state of a CPU stage. While a pass is under way the threads share it;
/// between passes the stage has it for itself.
pub(super) struct Pass {
    pub(super) model: Arc<Model>,
    pub(super) span: Span,
    pub(super) isa: Isa,
    pub(super) kv: KvCache,
    pub(super) work: Workspace,
    /// The batch under way, without its output.
    pub(super) batch: Batch,
    /// The batch's output while the threads write it.
    pub(super) output: SharedBuffer<f32>,
    /// The columns whose logits are wanted.
    pub(super) wanted: Vec<usize>,
    /// Where the time goes, while someone asks for it.
    pub(super) recorder: Option<Recorder>,
}

impl Program for Pass {
    fn run(&self, member: &Member<'_>) -> Result<(), Halt> {
        if let Some(recorder) = &self.recorder {
            recorder.begin(member.index());
        }
        self.enter(member)?;
        for (index, layer) in self.layers().iter().enumerate() {
            self.attention(member, index, layer)?;
            self.feed_forward(member, layer)?;
            self.finish_layer(member, index, layer)?;
        }
        if self.span.head {
            self.head(member)?;
        }
        Ok(())
    }
}

/// Output of several products that share their input, by rows.
pub(super) struct Product<'a> {
    pub(super) linear: &'a Linear,
    pub(super) out: &'a SharedBuffer<f32>,
}

/// Which columns go into a product, and which slots of its output they take.
#[derive(Clone, Copy)]
pub(super) enum Places<'a> {
    /// This many columns, each to the slot of its number.
    All(usize),
    /// To each of these slots, its column.
    Slots {
        slots: &'a [u32],
        /// Slots of each column.
        per_column: usize,
        /// Columns that there are.
        columns: usize,
    },
}

impl<'a> Places<'a> {
    pub(super) fn count(self) -> usize {
        match self {
            Places::All(count) => count,
            Places::Slots { slots, .. } => slots.len(),
        }
    }

    /// Columns of input that there are.
    pub(super) fn columns(self) -> usize {
        match self {
            Places::All(columns) | Places::Slots { columns, .. } => columns,
        }
    }

    pub(super) fn slot(self, index: usize) -> usize {
        match self {
            Places::All(_) => index,
            Places::Slots { slots, .. } => slots[index] as usize,
        }
    }

    pub(super) fn pick(self) -> Pick<'a> {
        match self {
            Places::All(_) => Pick::All,
            Places::Slots {
                slots, per_column, ..
            } => Pick::Slots { slots, per_column },
        }
    }
}

impl Pass {
    /// Ends a phase: waits until all of it is done.
    pub(super) fn end(&self, member: &Member<'_>, operation: Operation) -> Result<(), Halt> {
        let Some(recorder) = &self.recorder else {
            return member.barrier();
        };
        recorder.worked(member.index(), operation);
        let passage = member.barrier();
        recorder.waited(member.index(), operation);
        passage
    }

    /// Says that the work since the last call of this or of [`end`](Self::end)
    /// was for `operation`.
    pub(super) fn worked(&self, member: &Member<'_>, operation: Operation) {
        if let Some(recorder) = &self.recorder {
            recorder.worked(member.index(), operation);
        }
    }

    pub(super) fn columns(&self) -> usize {
        self.batch.columns.len()
    }

    pub(super) fn column(&self, index: usize) -> Column {
        self.batch.columns[index]
    }

    pub(super) fn layers(&self) -> &[Layer] {
        &self.model.layers[self.span.layers.clone()]
    }

    /// The residual stream of one column.
    ///
    /// # Safety
    /// As for [`SharedBuffer::get_mut`].
    #[allow(clippy::mut_from_ref)] // the caller keeps the columns disjoint
    pub(super) unsafe fn residual(&self, column: usize) -> &mut [f32] {
        let width = self.model.width;
        // SAFETY: the caller's promise.
        unsafe { self.work.x.get_mut(column * width..(column + 1) * width) }
    }

    /// Loads or embeds the input, prepares the rotations and the first norm.
    fn enter(&self, member: &Member<'_>) -> Result<(), Halt> {
        let width = self.model.width;
        for range in member.chunks(self.columns(), 1) {
            for column in range {
                // SAFETY: the phase rule; this thread took the column.
                let x = unsafe { self.residual(column) };
                if self.span.embed {
                    let row = self.batch.tokens[column] as usize;
                    let embedding = &self.model.embedding;
                    // The format was found to be one of weights when the model
                    // was loaded, and the row is as long as the state.
                    let decoded = dequantize(embedding.format(), embedding.row(row), x);
                    debug_assert!(decoded.is_ok());
                    if self.model.embedding_scale != 1.0 {
                        scale(self.isa, x, self.model.embedding_scale);
                    }
                } else {
                    x.copy_from_slice(&self.batch.hidden[column * width..(column + 1) * width]);
                }
                for (index, rope) in self.model.ropes.iter().enumerate() {
                    let pairs = rope.frequencies.len();
                    let part = column * pairs..(column + 1) * pairs;
                    // SAFETY: the phase rule.
                    let (cos, sin) = unsafe {
                        (
                            self.work.cosines[index].get_mut(part.clone()),
                            self.work.sines[index].get_mut(part),
                        )
                    };
                    let position = self.column(column).position;
                    angles(position, &rope.frequencies, rope.magnitude, cos, sin);
                }
                self.norm_for_layer(column, 0, x);
            }
        }
        self.end(member, Operation::Embed)
    }

    /// The input norm of layer `index`, or what stands behind the last layer.
    fn norm_for_layer(&self, column: usize, index: usize, x: &[f32]) {
        match self.layers().get(index) {
            Some(layer) => {
                let norm = layer.attention_norm.as_ref();
                let attention = &layer.attention;
                let q8 = takes_q8(&[
                    &attention.query.weight,
                    &attention.key.weight,
                    &attention.value.weight,
                ]);
                self.norm_into(&self.work.normed, column, norm, x, q8);
            }
            None if !self.span.head => {
                let width = self.model.width;
                // SAFETY: the phase rule; this thread took the column.
                let out = unsafe { self.output.get_mut(column * width..(column + 1) * width) };
                out.copy_from_slice(x);
            }
            None => {}
        }
    }

    /// Writes the normed `x` as a column of `out`, with its 8-bit form where
    /// `q8` says that a product takes it. The caller took the column.
    pub(super) fn norm_into(
        &self,
        out: &Activations,
        column: usize,
        norm: Option<&Norm>,
        x: &[f32],
        q8: bool,
    ) {
        // SAFETY: the phase rule; the calling thread took the column.
        let normed = unsafe { out.column_mut(column, x.len()) };
        let eps = self.model.norm_eps;
        match (norm, self.model.norm_kind) {
            (None, _) => normed.copy_from_slice(x),
            (Some(norm), NormKind::Rms) => rms_norm(self.isa, x, &norm.weight, eps, normed),
            (Some(norm), NormKind::Layer) => {
                layer_norm(self.isa, x, &norm.weight, norm.bias.as_deref(), eps, normed);
            }
        }
        if q8 {
            // SAFETY: the phase rule, as above.
            unsafe { out.quantize(self.isa, column, x.len()) };
        }
    }

    /// A norm in place, over `x` with these weights.
    pub(super) fn norm_in_place(&self, x: &mut [f32], weight: &[f32], bias: Option<&[f32]>) {
        match self.model.norm_kind {
            NormKind::Rms => rms_norm_in_place(self.isa, x, weight, self.model.norm_eps),
            NormKind::Layer => layer_norm_in_place(self.isa, x, weight, bias, self.model.norm_eps),
        }
    }

    /// Adds a block's output to the residual stream, through its norm.
    pub(super) fn add_block(
        &self,
        layer: &Layer,
        norm: Option<&Norm>,
        out: &mut [f32],
        x: &mut [f32],
    ) {
        if let Some(norm) = norm {
            self.norm_in_place(out, &norm.weight, norm.bias.as_deref());
        }
        add_scaled(self.isa, x, layer.residual_scale, out);
    }

    /// Products of several matrices with the same columns, the rows of all
    /// shared out among the threads. Ends without a barrier.
    pub(super) fn products(
        &self,
        member: &Member<'_>,
        input: &Activations,
        products: &[Product<'_>],
    ) {
        let total = products.iter().map(|p| p.linear.weight.rows()).sum();
        for range in member.guided(total, least_rows(self.columns())) {
            let mut base = 0;
            for product in products {
                let rows = product.linear.weight.rows();
                let part = overlap(&range, base, rows);
                if !part.is_empty() {
                    let places = Places::All(self.columns());
                    self.product_rows(member, input, places, product, part);
                }
                base += rows;
            }
        }
    }

    /// Some rows of one product: `out[column * rows + row]`. The caller took
    /// these rows.
    pub(super) fn product_rows(
        &self,
        member: &Member<'_>,
        input: &Activations,
        places: Places<'_>,
        product: &Product<'_>,
        rows: Range<usize>,
    ) {
        let Linear { weight, bias } = product.linear;
        let stride = weight.rows();
        // SAFETY: the input was written in an earlier phase.
        let input = unsafe { input.columns(kind(weight), 0..places.columns(), weight.cols()) };
        let input = (input, places.pick());
        self.multiply(member, weight, rows, input, |index, first, values| {
            let start = places.slot(index) * stride + first;
            // SAFETY: the phase rule; this thread took these rows.
            let out = unsafe { product.out.get_mut(start..start + values.len()) };
            match bias {
                Some(bias) => {
                    for (i, out) in out.iter_mut().enumerate() {
                        *out = values[i] + bias[first + i];
                    }
                }
                None => out.copy_from_slice(values),
            }
        });
    }

    pub(super) fn multiply(
        &self,
        member: &Member<'_>,
        weight: &Matrix,
        rows: Range<usize>,
        (columns, pick): (Columns<'_>, Pick<'_>),
        sink: impl FnMut(usize, usize, &[f32]),
    ) {
        let me = member.index();
        // SAFETY: each thread has a scratch of its own, and `sink` has none.
        let scratch = unsafe { &mut self.work.products.get_mut(me..me + 1)[0] };
        weight
            .view()
            .multiply(self.isa, rows, columns, pick, scratch, sink);
    }

    /// Makes the 8-bit form of all columns of `activations`. Ends without a
    /// barrier.
    pub(super) fn quantize(
        &self,
        member: &Member<'_>,
        activations: &Activations,
        columns: usize,
        len: usize,
    ) {
        let groups = Q8Group::count(len);
        for range in member.chunks(columns * groups, 16) {
            for item in range {
                // SAFETY: the phase rule; this thread took the group, and the
                // floats were written in an earlier phase.
                unsafe { activations.quantize_group(self.isa, item / groups, item % groups, len) };
            }
        }
    }

    /// Adds the last block's output and makes the next layer's input.
    fn finish_layer(&self, member: &Member<'_>, index: usize, layer: &Layer) -> Result<(), Halt> {
        for range in member.chunks(self.columns(), 1) {
            for column in range {
                // SAFETY: the phase rule; this thread took the column.
                let x = unsafe { self.residual(column) };
                self.add_feed_forward(layer, column, x);
                self.norm_for_layer(column, index + 1, x);
            }
        }
        self.end(member, Operation::LayerEnd)
    }

    /// Norm and head over the columns whose logits are wanted.
    fn head(&self, member: &Member<'_>) -> Result<(), Halt> {
        if self.wanted.is_empty() {
            return Ok(());
        }
        let head = &self.model.head;
        for range in member.chunks(self.wanted.len(), 1) {
            for slot in range {
                // SAFETY: the residual stream was written in an earlier phase.
                let x = unsafe { self.residual(self.wanted[slot]) };
                let norm = Some(&self.model.head_norm);
                self.norm_into(&self.work.normed, slot, norm, x, takes_q8(&[&head.weight]));
            }
        }
        self.end(member, Operation::HeadNorm)?;
        let rows = head.weight.rows();
        let product = Product {
            linear: head,
            out: &self.output,
        };
        for range in member.guided(rows, least_rows(self.wanted.len())) {
            self.product_rows(
                member,
                &self.work.normed,
                Places::All(self.wanted.len()),
                &product,
                range.clone(),
            );
            for slot in 0..self.wanted.len() {
                let part = slot * rows + range.start..slot * rows + range.end;
                // SAFETY: the phase rule; this thread took these rows.
                let logits = unsafe { self.output.get_mut(part) };
                if self.model.logit_scale != 1.0 {
                    scale(self.isa, logits, self.model.logit_scale);
                }
                if let Some(cap) = self.model.logit_soft_cap {
                    soft_cap(self.isa, logits, cap);
                }
            }
        }
        self.worked(member, Operation::Head);
        Ok(())
    }
}

/// The fewest rows worth taking for products with so many columns: what the
/// kernels convert at a time, and less where they convert nothing.
pub(super) fn least_rows(columns: usize) -> usize {
    match columns {
        0..=2 => 16,
        3..64 => 32,
        _ => 64,
    }
}

/// The part of `range` that falls to the `rows` rows from `base` on, counted
/// from `base`.
fn overlap(range: &Range<usize>, base: usize, rows: usize) -> Range<usize> {
    let start = range.start.clamp(base, base + rows);
    let end = range.end.clamp(base, base + rows);
    start - base..end - base
}

pub(super) fn kind(weight: &Matrix) -> ActivationKind {
    ActivationKind::of(weight.format())
}

pub(super) fn takes_q8(weights: &[&Matrix]) -> bool {
    weights.iter().any(|w| kind(w) == ActivationKind::Q8)
}
