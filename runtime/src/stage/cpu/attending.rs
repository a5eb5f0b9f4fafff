//! Rotation, the cache and the softmax of one layer, shared out among the
//! threads.
//!
//! A piece of work is a KV head with the query heads that share it, for a tile
//! of columns. Where one tile holds the batch, a KV head is one thread's alone
//! from the rotation on, and nobody waits in between. Where there are fewer
//! pieces than keep the threads busy and the context is long, the splits of the
//! KV range are shared out as well. The bits are the same in every case.

use super::{activations::Activations, pass::Pass};
use crate::model::{Attention, Operation};
use outrigger_kernels::{
    cpu::{
        activation::Q8_GROUP_LEN,
        attention::{
            AttentionScratch, AttentionShape, KvRuns, QueryTile, SPLIT, TILE_COLUMNS, attend,
            attend_split, merge_splits,
        },
        kv::KvFormat,
    },
    team::{Halt, Member},
};
use std::ops::Range;

/// Most columns of a batch whose splits are shared out.
pub(super) const SPLIT_COLUMNS: usize = 8;

/// What a layer's attention is to the kernels.
pub(super) fn shape(attention: &Attention, format: KvFormat) -> AttentionShape {
    AttentionShape {
        group: attention.heads / attention.kv_heads,
        key_len: attention.key_len,
        value_len: attention.value_len,
        scale: attention.scale,
        soft_cap: attention.soft_cap,
        window: attention.window.map(|window| window as usize),
        format,
    }
}

/// One layer's attention in a pass.
pub(super) struct Attending<'a> {
    pass: &'a Pass,
    index: usize,
    attention: &'a Attention,
    shape: AttentionShape,
    quantizes: bool,
}

impl<'a> Attending<'a> {
    /// The attention of layer `index`; `q8` says that the product behind it
    /// takes 8-bit activations.
    pub(super) fn new(pass: &'a Pass, index: usize, attention: &'a Attention, q8: bool) -> Self {
        let shape = shape(attention, pass.kv.config().format);
        let group_len = shape.group * shape.value_len;
        Self {
            pass,
            index,
            attention,
            shape,
            quantizes: q8 && group_len.is_multiple_of(Q8_GROUP_LEN),
        }
    }

    /// Whether the output has its 8-bit form after [`run`](Self::run): where a
    /// thread's part of it is made of whole groups.
    pub(super) fn quantizes(&self) -> bool {
        self.quantizes
    }

    /// From queries, keys and values to the output, for all threads to see.
    pub(super) fn run(&self, member: &Member<'_>) -> Result<(), Halt> {
        let columns = self.pass.columns();
        let kv_heads = self.attention.kv_heads;
        let splits = self.splits();
        let shared = member.threads() > 1
            && columns <= SPLIT_COLUMNS
            && kv_heads < 4 * member.threads()
            && splits.len() > 1;
        if columns <= TILE_COLUMNS && !shared {
            for range in member.chunks(kv_heads, 1) {
                for kv_head in range {
                    self.store(0..columns, kv_head);
                    self.pass.worked(member, Operation::Rope);
                    self.attend(member, 0..columns, kv_head);
                    self.pass.worked(member, Operation::Attention);
                }
            }
            return self.pass.end(member, Operation::Attention);
        }
        let tiles = columns.div_ceil(TILE_COLUMNS);
        let tile = |item: usize| {
            let start = item / kv_heads * TILE_COLUMNS;
            (start..columns.min(start + TILE_COLUMNS), item % kv_heads)
        };
        for range in member.chunks(tiles * kv_heads, 1) {
            for (columns, kv_head) in range.map(tile) {
                self.store(columns, kv_head);
            }
        }
        self.pass.end(member, Operation::Rope)?;
        if !shared {
            // The last tiles see most: they come first, so that no thread is
            // left alone with one.
            let last = tiles * kv_heads - 1;
            for range in member.chunks(tiles * kv_heads, 1) {
                for (columns, kv_head) in range.map(|item| tile(last - item)) {
                    self.attend(member, columns, kv_head);
                }
            }
            return self.pass.end(member, Operation::Attention);
        }
        for range in member.chunks(splits.len() * kv_heads, 1) {
            for item in range {
                let split = splits.start + item / kv_heads;
                self.attend_split(member, split, item % kv_heads);
            }
        }
        self.pass.end(member, Operation::Attention)?;
        for range in member.chunks(kv_heads, 1) {
            for kv_head in range {
                self.merge(member, kv_head);
            }
        }
        self.pass.end(member, Operation::AttentionMerge)
    }

    /// The splits that any column of the batch sees.
    fn splits(&self) -> Range<usize> {
        let columns = self.pass.batch.columns.iter();
        let visible = columns.map(|column| self.shape.visible(column.position as usize));
        let (start, end) = visible.fold((usize::MAX, 0), |(start, end), range| {
            (start.min(range.start), end.max(range.end))
        });
        start / SPLIT..end.div_ceil(SPLIT)
    }

    /// Rotates and stores one KV head of some columns, and the queries that
    /// share it. The caller took them.
    fn store(&self, columns: Range<usize>, kv_head: usize) {
        for column in columns {
            let (index, attention) = (self.index, self.attention);
            self.pass
                .rotate_and_store(index, attention, column, kv_head);
        }
    }

    /// The columns' parts that are consecutive positions of one sequence.
    fn runs(&self, columns: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let all = &self.pass.batch.columns;
        let mut next = columns.start;
        std::iter::from_fn(move || {
            let start = next;
            let first = all[..columns.end].get(start)?;
            next += 1;
            while let Some(column) = all[..columns.end].get(next)
                && column.sequence == first.sequence
                && column.position as usize == first.position as usize + next - start
            {
                next += 1;
            }
            Some(start..next)
        })
    }

    /// The queries of a column that share a KV head.
    ///
    /// # Safety
    /// No thread writes them while the result lives.
    unsafe fn queries(&self, column: usize, kv_head: usize) -> &'a [f32] {
        let len = self.shape.group * self.shape.key_len;
        let start = (column * self.attention.kv_heads + kv_head) * len;
        // SAFETY: the caller's promise.
        unsafe { self.pass.work.queries.get(start..start + len) }
    }

    /// This thread's working memory.
    #[allow(clippy::mut_from_ref)] // each thread has its own
    fn scratch(&self, member: &Member<'_>) -> &'a mut AttentionScratch {
        let me = member.index();
        // SAFETY: each thread has a scratch of its own, and none of the callers
        // holds two at a time.
        unsafe { &mut self.pass.work.scratch.get_mut(me..me + 1)[0] }
    }

    /// Runs of columns over one KV head: `work` takes the run and its tile.
    fn each_run(
        &self,
        columns: Range<usize>,
        kv_head: usize,
        mut work: impl FnMut(Range<usize>, &QueryTile<'_>, &dyn KvRuns),
    ) {
        for run in self.runs(columns) {
            let first = self.pass.column(run.start);
            // SAFETY: the head's positions of the batch were stored in an
            // earlier phase or by this thread.
            let rows = unsafe { self.pass.kv.rows(first.sequence, self.index, kv_head) };
            let Some(rows) = rows else {
                debug_assert!(false, "the stage checked all sequences of the batch");
                continue;
            };
            let start = run.start;
            // SAFETY: the head's queries were rotated in an earlier phase or by
            // this thread.
            let queries = |column| unsafe { self.queries(start + column, kv_head) };
            let tile = QueryTile {
                queries: &queries,
                columns: run.len(),
                position: first.position as usize,
            };
            work(run, &tile, &rows);
        }
    }

    /// Where the output of a column's group of heads goes.
    ///
    /// # Safety
    /// The calling thread took the column's KV head, and holds no other result
    /// of this for it.
    unsafe fn out(&self, column: usize, kv_head: usize) -> &'a mut [f32] {
        let len = self.shape.group * self.shape.value_len;
        let part = kv_head * len..(kv_head + 1) * len;
        let mixed: &'a Activations = &self.pass.work.mixed;
        // SAFETY: the phase rule; the caller's promise.
        unsafe { mixed.part_mut(column, self.attention.kv_heads * len, part) }
    }

    /// Makes the 8-bit form of what [`out`](Self::out) gave.
    fn quantize(&self, column: usize, kv_head: usize) {
        if !self.quantizes {
            return;
        }
        let groups = self.shape.group * self.shape.value_len / Q8_GROUP_LEN;
        let len = self.attention.heads * self.shape.value_len;
        for group in kv_head * groups..(kv_head + 1) * groups {
            // SAFETY: the phase rule; the calling thread took the head, whose
            // output is whole groups.
            unsafe {
                self.pass
                    .work
                    .mixed
                    .quantize_group(self.pass.isa, column, group, len)
            };
        }
    }

    /// The output of some columns and one KV head. The caller took them.
    fn attend(&self, member: &Member<'_>, columns: Range<usize>, kv_head: usize) {
        let scratch = self.scratch(member);
        self.each_run(columns, kv_head, |run, tile, rows| {
            // SAFETY: the calling thread took the run's part of the head, and
            // each column is asked for once.
            let mut out = |column| unsafe { self.out(run.start + column, kv_head) };
            attend(self.pass.isa, &self.shape, tile, rows, scratch, &mut out);
            for column in run.clone() {
                self.quantize(column, kv_head);
            }
        });
    }

    /// One split of all columns and one KV head. The caller took it.
    fn attend_split(&self, member: &Member<'_>, split: usize, kv_head: usize) {
        let scratch = self.scratch(member);
        let group = self.shape.group;
        self.each_run(0..self.pass.columns(), kv_head, |run, tile, rows| {
            if !tile.splits(&self.shape).contains(&split) {
                return;
            }
            let mut part = |row: usize| {
                let row = (run.start + row / group) * self.attention.heads
                    + kv_head * group
                    + row % group;
                let parts = self.parts(row, split..split + 1);
                // SAFETY: the calling thread took this split of the head.
                unsafe { self.pass.work.parts.get_mut(parts) }
            };
            let (isa, shape) = (self.pass.isa, &self.shape);
            attend_split(isa, shape, tile, rows, split, scratch, &mut part);
        });
    }

    /// Where a row's parts of some splits lie.
    fn parts(&self, row: usize, splits: Range<usize>) -> Range<usize> {
        let len = self.shape.part_len();
        let start = row * self.pass.work.splits_max;
        (start + splits.start) * len..(start + splits.end) * len
    }

    /// Puts the splits of all columns and one KV head together. The caller took
    /// the head.
    fn merge(&self, member: &Member<'_>, kv_head: usize) {
        let scratch = self.scratch(member);
        let (group, value_len) = (self.shape.group, self.shape.value_len);
        self.each_run(0..self.pass.columns(), kv_head, |run, tile, _| {
            let splits = tile.splits(&self.shape);
            for column in run {
                // SAFETY: the calling thread took the head.
                let out = unsafe { self.out(column, kv_head) };
                for (head, out) in out.chunks_exact_mut(value_len).enumerate() {
                    let row = column * self.attention.heads + kv_head * group + head;
                    let parts = self.parts(row, splits.clone());
                    // SAFETY: the parts were written in an earlier phase.
                    let parts = unsafe { self.pass.work.parts.get(parts) };
                    merge_splits(self.pass.isa, &self.shape, parts, scratch, out);
                }
                self.quantize(column, kv_head);
            }
        });
    }
}
