//! Attention of a tile of columns over one KV head, with an online softmax
//! (Milakov and Gimelshein, arXiv 1805.02867; FlashAttention, arXiv
//! 2205.14135).
//!
//! The KV range is cut at multiples of [`SPLIT`] positions, and within those
//! into blocks of [`BLOCK`], whatever the thread count and whatever else is in
//! the tile. Each split is reduced on its own and the parts are merged in
//! order, so that splits may run on different threads without changing a bit.
//! What happens inside a block is said at [`block`].
//!
//! Query heads that share the KV head, and columns that see almost the same
//! positions, are rows of one product: a block is read once for all of them.
//! Few rows read keys and values in the cache's format where they lie, many
//! read floats that a scratch buffer holds; both are exact conversions, so that
//! the result is the same.

mod block;
mod codec;
mod merge;
#[cfg(test)]
mod tests;
mod widen;

use super::{
    isa::Isa,
    kv::{KEY_TILE, KvFormat},
    lanes::LANES,
};
use block::{Block, ROWS, Rows, step};
use codec::{Codec, F16, F32, Q8};
use merge::{HEAD, clear, finish, merge, part_len};
use std::ops::Range;

/// Positions in a split.
pub const SPLIT: usize = 512;

/// Positions that one step of the softmax takes together.
const BLOCK: usize = 64;

/// Most columns in a [`QueryTile`].
pub const TILE_COLUMNS: usize = 16;

/// From this number of rows on, keys and values are widened to floats once
/// instead of once for each [`ROWS`] rows.
const WIDEN_ROWS: usize = 2 * ROWS + 1;

/// Where a head's keys and values are found, in runs of consecutive positions
/// (the KV cache's pages).
pub trait KvRuns {
    /// The run that holds `position`: its first position, a multiple of
    /// [`KEY_TILE`], and its keys and values as [`kv`](super::kv) lays them
    /// out, whole tiles of keys and as many values. A run without keys is a bug
    /// of the caller of [`attend`], which panics on it.
    fn run(&self, position: usize) -> (usize, &[u8], &[u8]);
}

/// What all columns and heads of a layer share.
#[derive(Debug, Clone, Copy)]
pub struct AttentionShape {
    /// Query heads that share a KV head.
    pub group: usize,
    /// Values in a key and in a query.
    pub key_len: usize,
    /// Values in a value and in an output.
    pub value_len: usize,
    /// Factor on the product of query and key.
    pub scale: f32,
    /// Bound put on the scores by `cap * tanh(score / cap)`.
    pub soft_cap: Option<f32>,
    /// Positions that a column sees, its own among them; all up to its own if
    /// `None`.
    pub window: Option<usize>,
    /// How keys and values are stored.
    pub format: KvFormat,
}

impl AttentionShape {
    /// Floats that [`attend_split`] writes for each row.
    pub const fn part_len(&self) -> usize {
        part_len(self.value_len)
    }

    /// The positions that a column at `position` sees.
    pub fn visible(&self, position: usize) -> Range<usize> {
        let start = self.window.map_or(0, |w| (position + 1).saturating_sub(w));
        start..position + 1
    }
}

/// Columns of one sequence at consecutive positions, and the query heads of
/// each that share a KV head.
#[derive(Clone, Copy)]
pub struct QueryTile<'a> {
    /// The heads of a column, by its index in the tile: `group * key_len`
    /// floats, one head after the other.
    pub queries: &'a dyn Fn(usize) -> &'a [f32],
    /// Number of columns, up to [`TILE_COLUMNS`].
    pub columns: usize,
    /// Position of the first column.
    pub position: usize,
}

impl QueryTile<'_> {
    /// The positions that some column sees.
    pub fn visible(&self, shape: &AttentionShape) -> Range<usize> {
        shape.visible(self.position).start..self.position + self.columns
    }

    /// The splits that hold those.
    pub fn splits(&self, shape: &AttentionShape) -> Range<usize> {
        let visible = self.visible(shape);
        visible.start / SPLIT..visible.end.div_ceil(SPLIT)
    }
}

/// Working memory of one thread.
#[derive(Default)]
pub struct AttentionScratch {
    queries: Vec<f32>,
    maxima: Vec<f32>,
    sums: Vec<[f32; LANES]>,
    outs: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    part: Vec<f32>,
    totals: Vec<f32>,
}

impl AttentionScratch {
    /// Memory enough for tiles of `columns` columns of a layer with this shape,
    /// so that nothing is allocated later.
    pub fn reserve(&mut self, shape: &AttentionShape, columns: usize) {
        fn grow<T: Clone + Default>(v: &mut Vec<T>, len: usize) {
            if v.len() < len {
                v.resize(len, T::default());
            }
        }
        let rows = columns * shape.group;
        let padded = shape.value_len.next_multiple_of(LANES);
        grow(&mut self.queries, rows * shape.key_len);
        grow(&mut self.maxima, rows);
        grow(&mut self.sums, rows);
        grow(&mut self.outs, rows * padded);
        grow(&mut self.keys, BLOCK * shape.key_len);
        grow(&mut self.values, BLOCK * padded);
        grow(&mut self.part, shape.part_len());
        grow(&mut self.totals, rows * shape.part_len());
    }
}

/// Attention of a tile over one KV head. `out` takes a column's index in the
/// tile and gives the place for its outputs, `group * value_len` floats; zeros
/// where nothing is visible.
///
/// # Panics
/// If `runs` lacks a visible position, the tile has more than [`TILE_COLUMNS`]
/// columns or its queries are of another length, or the format cannot hold the shape.
pub fn attend<'o>(
    isa: Isa,
    shape: &AttentionShape,
    tile: &QueryTile<'_>,
    runs: &dyn KvRuns,
    scratch: &mut AttentionScratch,
    out: &mut dyn FnMut(usize) -> &'o mut [f32],
) {
    scratch.reserve(shape, tile.columns);
    let len = shape.part_len();
    let mut totals = std::mem::take(&mut scratch.totals);
    let mut part = std::mem::take(&mut scratch.part);
    let used = &mut totals[..tile.columns * shape.group * len];
    used.chunks_exact_mut(len).for_each(clear);
    for split in tile.splits(shape) {
        reduce_split(isa, shape, tile, runs, split, scratch);
        for (row, total) in used.chunks_exact_mut(len).enumerate() {
            scratch.write_part(row, &mut part[..len]);
            merge(isa, total, &part[..len]);
        }
    }
    for (column, totals) in used.chunks_exact(len * shape.group).enumerate() {
        let outs = out(column).chunks_exact_mut(shape.value_len);
        for (total, out) in totals.chunks_exact(len).zip(outs) {
            finish(isa, total, out);
        }
    }
    scratch.totals = totals;
    scratch.part = part;
}

/// One split of a tile's attention. `part` takes a row (`column * group +
/// head`) and gives the place for what [`merge_splits`] takes of it,
/// [`AttentionShape::part_len`] floats.
///
/// # Panics
/// As [`attend`].
pub fn attend_split<'o>(
    isa: Isa,
    shape: &AttentionShape,
    tile: &QueryTile<'_>,
    runs: &dyn KvRuns,
    split: usize,
    scratch: &mut AttentionScratch,
    part: &mut dyn FnMut(usize) -> &'o mut [f32],
) {
    scratch.reserve(shape, tile.columns);
    reduce_split(isa, shape, tile, runs, split, scratch);
    for row in 0..tile.columns * shape.group {
        scratch.write_part(row, part(row));
    }
}

/// The output of one row (`value_len` floats) from the parts of its splits, one
/// after the other in their order. The same, bit for bit, as [`attend`] gives.
pub fn merge_splits(
    isa: Isa,
    shape: &AttentionShape,
    parts: &[f32],
    scratch: &mut AttentionScratch,
    out: &mut [f32],
) {
    scratch.reserve(shape, 1);
    let len = shape.part_len();
    let total = &mut scratch.totals[..len];
    clear(total);
    for part in parts.chunks_exact(len) {
        merge(isa, total, part);
    }
    finish(isa, total, out);
}

impl AttentionScratch {
    /// A row's state as a part.
    fn write_part(&self, row: usize, part: &mut [f32]) {
        let len = part.len() - HEAD;
        part[0] = self.maxima[row];
        part[1] = super::vector::sum_of_lanes(&self.sums[row]);
        part[HEAD..].copy_from_slice(&self.outs[row * len..(row + 1) * len]);
    }
}

/// Reduces one split into the scratch's rows.
fn reduce_split(
    isa: Isa,
    shape: &AttentionShape,
    tile: &QueryTile<'_>,
    runs: &dyn KvRuns,
    split: usize,
    scratch: &mut AttentionScratch,
) {
    assert!(tile.columns <= TILE_COLUMNS, "{} columns", tile.columns);
    let rows = tile.columns * shape.group;
    let row_len = shape.group * shape.key_len;
    let queries = scratch.queries.chunks_exact_mut(row_len);
    for (column, to) in queries.take(tile.columns).enumerate() {
        to.copy_from_slice((tile.queries)(column));
    }
    let padded = shape.value_len.next_multiple_of(LANES);
    scratch.maxima[..rows].fill(f32::NEG_INFINITY);
    scratch.sums[..rows].fill([0.0; LANES]);
    scratch.outs[..rows * padded].fill(0.0);

    let visible = tile.visible(shape);
    let start = visible.start.max(split * SPLIT);
    let end = visible.end.min((split + 1) * SPLIT);
    for base in (start / BLOCK * BLOCK..end).step_by(BLOCK) {
        let seen = start.max(base)..end.min(base + BLOCK);
        let walk = Walk {
            isa,
            shape,
            position: tile.position,
            end: visible.end,
            base,
        };
        match shape.format {
            KvFormat::F32 => walk.block::<F32>(runs, seen, rows, scratch),
            KvFormat::F16 => walk.block::<F16>(runs, seen, rows, scratch),
            KvFormat::Q8_0 => walk.block::<Q8>(runs, seen, rows, scratch),
        }
    }
}

/// All rows' way through the block that begins at position `base`.
struct Walk<'a> {
    isa: Isa,
    shape: &'a AttentionShape,
    /// Of the tile's first column.
    position: usize,
    /// Behind the last position that some column sees.
    end: usize,
    base: usize,
}

impl Walk<'_> {
    /// Takes `rows` rows through the block, of which `seen` is visible to some.
    fn block<C: Codec>(
        &self,
        runs: &dyn KvRuns,
        seen: Range<usize>,
        rows: usize,
        scratch: &mut AttentionScratch,
    ) {
        let (shape, base) = (self.shape, self.base);
        let (tile_bytes, value_bytes) = self.sizes();
        let (first, keys, values) = runs.run(seen.start);
        let held = first..first + keys.len() / tile_bytes * KEY_TILE;
        assert!(
            held.contains(&seen.start),
            "position {} has no keys",
            seen.start
        );
        let whole = first <= base && seen.end <= held.end;
        let widen = shape.format != KvFormat::F32 && rows >= WIDEN_ROWS;
        if whole && !widen && shape.value_len.is_multiple_of(LANES) {
            let (next_keys, next_values) = self.next(runs, tile_bytes, value_bytes);
            let block = Block {
                keys: &keys[(base - first) / KEY_TILE * tile_bytes..],
                tile_bytes,
                values: &values[(base - first) * value_bytes..],
                value_bytes,
                next_keys,
                next_values,
                scale: shape.scale,
                soft_cap: shape.soft_cap,
            };
            self.rows::<C>(block, rows, scratch);
            return;
        }
        let mut keys = std::mem::take(&mut scratch.keys);
        let mut values = std::mem::take(&mut scratch.values);
        self.gather::<C>(runs, seen, &mut keys, &mut values);
        let block = Block {
            keys: bytemuck::cast_slice(&keys),
            tile_bytes: shape.key_len * KEY_TILE * size_of::<f32>(),
            values: bytemuck::cast_slice(&values),
            value_bytes: shape.value_len.next_multiple_of(LANES) * size_of::<f32>(),
            next_keys: &[],
            next_values: &[],
            scale: shape.scale,
            soft_cap: shape.soft_cap,
        };
        self.rows::<F32>(block, rows, scratch);
        scratch.keys = keys;
        scratch.values = values;
    }

    /// Keys and values of the next block that some row sees, if any.
    fn next<'r>(
        &self,
        runs: &'r dyn KvRuns,
        tile_bytes: usize,
        value_bytes: usize,
    ) -> (&'r [u8], &'r [u8]) {
        let base = self.base + BLOCK;
        if base >= self.end {
            return (&[], &[]);
        }
        let (first, keys, values) = runs.run(base);
        let from = base.saturating_sub(first);
        (
            keys.get(from / KEY_TILE * tile_bytes..).unwrap_or_default(),
            values.get(from * value_bytes..).unwrap_or_default(),
        )
    }

    /// Bytes of a tile of keys and of a value in the cache.
    fn sizes(&self) -> (usize, usize) {
        let AttentionShape {
            format,
            key_len,
            value_len,
            ..
        } = *self.shape;
        match (format.tile_bytes(key_len), format.row_bytes(value_len)) {
            (Some(tile), Some(value)) => (tile, value),
            _ => panic!("{} does not hold {key_len} and {value_len}", format.name()),
        }
    }

    /// The positions `seen` of the block as floats.
    fn gather<C: Codec>(
        &self,
        runs: &dyn KvRuns,
        seen: Range<usize>,
        keys: &mut [f32],
        values: &mut [f32],
    ) {
        let (shape, base) = (self.shape, self.base);
        let (tile_bytes, value_bytes) = self.sizes();
        let tile_len = shape.key_len * KEY_TILE;
        let padded = shape.value_len.next_multiple_of(LANES);
        for start in (seen.start / KEY_TILE * KEY_TILE..seen.end).step_by(KEY_TILE) {
            let from = start.max(seen.start);
            let to = seen.end.min(start + KEY_TILE);
            let (first, run_keys, run_values) = runs.run(from);
            let tile = (start - first) / KEY_TILE * tile_bytes;
            let out = &mut keys[(start - base) * shape.key_len..][..tile_len];
            widen::widen_keys::<C>(self.isa, &run_keys[tile..tile + tile_bytes], out);
            let rows = &run_values[(from - first) * value_bytes..(to - first) * value_bytes];
            let out = &mut values[(from - base) * padded..(to - base) * padded];
            if shape.value_len == padded {
                widen::widen_values::<C>(self.isa, value_bytes, rows, padded, out);
            } else {
                let outs = out.chunks_exact_mut(padded);
                for (row, out) in rows.chunks_exact(value_bytes).zip(outs) {
                    shape.format.load_value(row, &mut out[..shape.value_len]);
                    out[shape.value_len..].fill(0.0);
                }
            }
        }
    }

    fn rows<C: Codec>(&self, block: Block<'_>, rows: usize, scratch: &mut AttentionScratch) {
        let mut row = 0;
        while row < rows {
            let some = row..rows.min(row + ROWS);
            row = some.end;
            match some.len() {
                1 => self.step::<C, 1>(block, some, scratch),
                2 => self.step::<C, 2>(block, some, scratch),
                3 => self.step::<C, 3>(block, some, scratch),
                _ => self.step::<C, ROWS>(block, some, scratch),
            }
        }
    }

    fn step<C: Codec, const R: usize>(
        &self,
        block: Block<'_>,
        rows: Range<usize>,
        scratch: &mut AttentionScratch,
    ) {
        let base = self.base;
        let visible: [Range<usize>; R] = std::array::from_fn(|r| {
            let column = (rows.start + r) / self.shape.group;
            let all = self.shape.visible(self.position + column);
            let clamp = |position: usize| position.saturating_sub(base).min(BLOCK);
            clamp(all.start)..clamp(all.end)
        });
        if visible.iter().all(Range::is_empty) {
            return;
        }
        let (key_len, out_len) = (
            self.shape.key_len,
            self.shape.value_len.next_multiple_of(LANES),
        );
        let rows = Rows {
            queries: &scratch.queries[rows.start * key_len..rows.end * key_len],
            visible: &visible,
            maxima: &mut scratch.maxima[rows.clone()],
            sums: &mut scratch.sums[rows.clone()],
            outs: &mut scratch.outs[rows.start * out_len..rows.end * out_len],
        };
        step::<C, R>(self.isa, block, rows);
    }
}
