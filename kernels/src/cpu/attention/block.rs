//! One step of the online softmax: up to four query rows over the positions of
//! one block.
//!
//! The order of operations, which is the same for every number of rows:
//!
//! - a score is `q[0] * k[0]`, then `q[i] * k[i]` added for rising `i` (fused),
//!   times the scale, then capped;
//! - the row's maximum is raised to the largest score;
//! - a weight is `exp(score - maximum)`; position `p` of a block adds its
//!   weight to partial sum `p % 16` of the block, and the block's partial sums
//!   are added to the row's, which are first scaled to the new maximum;
//! - an output element is scaled to the new maximum, then `weight * value` is
//!   added for rising positions (fused).
//!
//! Positions that a row does not see take no part.

// `r` and `t` name a place in a tile of registers.
#![allow(clippy::needless_range_loop)]

use super::{BLOCK, codec::Codec};
use crate::cpu::{
    elementwise::capped,
    exp::exp,
    isa::{Isa, per_isa},
    kv::KEY_TILE,
    lanes::{LANES, Lanes, sixteen, sixteen_mut},
};
use std::ops::Range;

/// Rows that share the reading of a block.
pub(super) const ROWS: usize = 4;

/// A block's keys and values, one tile and one row after the other.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    pub(super) keys: &'a [u8],
    pub(super) tile_bytes: usize,
    pub(super) values: &'a [u8],
    pub(super) value_bytes: usize,
    /// Those of the block that is read next, where they lie in the cache.
    pub(super) next_keys: &'a [u8],
    pub(super) next_values: &'a [u8],
    pub(super) scale: f32,
    pub(super) soft_cap: Option<f32>,
}

/// The state of some query rows.
pub(super) struct Rows<'a> {
    /// Queries, one after the other.
    pub(super) queries: &'a [f32],
    /// The positions of the block that each row sees.
    pub(super) visible: &'a [Range<usize>],
    pub(super) maxima: &'a mut [f32],
    pub(super) sums: &'a mut [[f32; LANES]],
    /// Outputs, one after the other, of whole vectors.
    pub(super) outs: &'a mut [f32],
}

/// Takes `R` rows through a block.
pub(super) fn step<C: Codec, const R: usize>(isa: Isa, block: Block<'_>, rows: Rows<'_>) {
    let seen = rows.visible.iter().filter(|range| !range.is_empty());
    let start = seen.clone().map(|range| range.start).min().unwrap_or(0);
    let end = seen.map(|range| range.end).max().unwrap_or(0);
    assert!(rows.visible.len() == R && end <= BLOCK);
    let mut weights = [[0.0f32; BLOCK]; R];
    let tiles = start / KEY_TILE..end.div_ceil(KEY_TILE);
    scores::<C, R>(isa, block, rows.queries, tiles, &mut weights);
    let out_len = rows.outs.len() / R;
    for (r, weights) in weights.iter_mut().enumerate() {
        let out = &mut rows.outs[r * out_len..(r + 1) * out_len];
        let (maximum, sums) = (&mut rows.maxima[r], &mut rows.sums[r]);
        soften(isa, block, &rows.visible[r], weights, maximum, sums, out);
    }

    // Rows see almost the same positions: those that all see together, and
    // those before and after row by row.
    let common = rows.visible.iter().fold(0..BLOCK, |all, range| {
        all.start.max(range.start)..all.end.min(range.end)
    });
    let apart = common.is_empty();
    let alone = |r: usize, positions: Range<usize>, outs: &mut [f32]| {
        if !positions.is_empty() {
            let out = &mut outs[r * out_len..(r + 1) * out_len];
            accumulate::<C, 1>(isa, block, &[weights[r]], positions, out);
        }
    };
    for r in 0..R {
        let visible = &rows.visible[r];
        let end = if apart { visible.end } else { common.start };
        alone(r, visible.start..end, rows.outs);
    }
    if !apart {
        accumulate::<C, R>(isa, block, &weights, common.clone(), rows.outs);
        for r in 0..R {
            alone(r, common.end..rows.visible[r].end, rows.outs);
        }
    }
}

/// Bytes of a cache line.
const LINE: usize = 64;

/// What the next block will read, asked for line by line while this one is
/// computed: keys and values are short pieces in pages that lie apart, which
/// processors cannot foresee.
struct Ahead<'a> {
    bytes: &'a [u8],
    offset: usize,
    /// Lines asked for at a time.
    lines: usize,
}

impl<'a> Ahead<'a> {
    /// `part` of `bytes`, if they are that long, in so many steps.
    #[inline(always)]
    fn new(bytes: &'a [u8], part: Range<usize>, steps: usize) -> Self {
        let bytes = bytes.get(part).unwrap_or_default();
        Self {
            bytes,
            offset: 0,
            lines: bytes.len().div_ceil(LINE * steps.max(1)),
        }
    }

    #[inline(always)]
    fn ask<S: Lanes>(&mut self, s: S) {
        for _ in 0..self.lines {
            s.prefetch(self.bytes, self.offset);
            self.offset += LINE;
        }
    }
}

per_isa! {
    /// Products of queries and keys, for some tiles of keys.
    fn scores[C: Codec, const R: usize,][C, R,](
        block: Block<'_>,
        queries: &[f32],
        tiles: Range<usize>,
        scores: &mut [[f32; BLOCK]; R],
    ) = scores_body;
}

#[inline(always)]
fn scores_body<C: Codec, const R: usize, S: Lanes>(
    s: S,
    block: Block<'_>,
    queries: &[f32],
    tiles: Range<usize>,
    scores: &mut [[f32; BLOCK]; R],
) {
    let key_len = queries.len() / R;
    let queries: [&[f32]; R] = std::array::from_fn(|r| &queries[r * key_len..(r + 1) * key_len]);
    let mut tile = tiles.start;
    if const { S::TILES == 4 } {
        while tile + 4 <= tiles.end {
            scores_of_tiles::<C, R, 4, S>(s, block, &queries, tile, scores);
            tile += 4;
        }
    }
    while tile < tiles.end {
        scores_of_tiles::<C, R, 1, S>(s, block, &queries, tile, scores);
        tile += 1;
    }
}

/// [`scores`] for `T` tiles from `tile` on.
#[inline(always)]
fn scores_of_tiles<C: Codec, const R: usize, const T: usize, S: Lanes>(
    s: S,
    block: Block<'_>,
    queries: &[&[f32]; R],
    tile: usize,
    scores: &mut [[f32; BLOCK]; R],
) {
    let groups = queries[0].len() / C::DIMS;
    let bytes = block.tile_bytes;
    let tiles: [&[C::Group]; T] = std::array::from_fn(|t| {
        &C::groups(&block.keys[(tile + t) * bytes..(tile + t + 1) * bytes])[..groups]
    });
    let queries: [&[f32]; R] = std::array::from_fn(|r| &queries[r][..groups * C::DIMS]);
    let mut sums = [[s.splat(0.0); T]; R];
    let (mut scales, mut keys) = ([s.splat(0.0); T], [s.splat(0.0); T]);
    let part = tile * bytes..(tile + T) * bytes;
    let mut ahead = Ahead::new(block.next_keys, part, groups * C::DIMS);
    for g in 0..groups {
        for t in 0..T {
            scales[t] = C::scales(s, &tiles[t][g]);
        }
        for dim in 0..C::DIMS {
            ahead.ask(s);
            for t in 0..T {
                keys[t] = C::key(s, &tiles[t][g], scales[t], dim);
            }
            for r in 0..R {
                let q = s.splat(queries[r][g * C::DIMS + dim]);
                for t in 0..T {
                    sums[r][t] = s.mul_add(q, keys[t], sums[r][t]);
                }
            }
        }
    }
    for r in 0..R {
        for t in 0..T {
            s.store(
                sums[r][t],
                sixteen_mut(&mut scores[r], (tile + t) * KEY_TILE),
            );
        }
    }
}

per_isa! {
    /// Turns a row's products into weights, adds them to its sums, and scales
    /// the sums and the output to the new maximum.
    fn soften[][](
        block: Block<'_>,
        visible: &Range<usize>,
        row: &mut [f32; BLOCK],
        maximum: &mut f32,
        sums: &mut [f32; LANES],
        out: &mut [f32],
    ) = soften_body;
}

#[inline(always)]
fn soften_body<S: Lanes>(
    s: S,
    block: Block<'_>,
    visible: &Range<usize>,
    row: &mut [f32; BLOCK],
    maximum: &mut f32,
    sums: &mut [f32; LANES],
    out: &mut [f32],
) {
    if visible.is_empty() {
        return;
    }
    let tiles = visible.start / LANES..visible.end.div_ceil(LANES);
    let mut largest = s.splat(f32::NEG_INFINITY);
    for tile in tiles.clone() {
        let scores = sixteen_mut(row, tile * LANES);
        let mut x = s.mul(s.load(scores), s.splat(block.scale));
        if let Some(cap) = block.soft_cap {
            x = capped(s, x, cap);
        }
        s.store(x, scores);
        // A NaN is not counted here, and shows in its weight.
        largest = s.max(hide(s, visible, x, tile, f32::NEG_INFINITY), largest);
    }
    let (before, largest) = (*maximum, s.largest(largest));
    if largest > before {
        *maximum = largest;
    }
    let mut sum = s.splat(0.0);
    for tile in tiles {
        let scores = sixteen_mut(row, tile * LANES);
        let weight = exp(s, s.sub(s.load(scores), s.splat(*maximum)));
        let weight = hide(s, visible, weight, tile, 0.0);
        s.store(weight, scores);
        sum = s.add(sum, weight);
    }
    let mut kept = s.load(sums);
    if *maximum > before {
        let keep = exp(s, s.splat(before - *maximum));
        kept = s.mul(kept, keep);
        for part in out.as_chunks_mut().0 {
            let scaled = s.mul(s.load(part), keep);
            s.store(scaled, part);
        }
    }
    s.store(s.add(kept, sum), sums);
}

/// The lane's own number in every lane.
const LANE: [f32; LANES] = {
    let mut lanes = [0.0; LANES];
    let mut i = 0;
    while i < LANES {
        lanes[i] = i as f32;
        i += 1;
    }
    lanes
};

/// `x` at the visible positions of a tile, `hidden` at the others.
#[inline(always)]
fn hide<S: Lanes>(s: S, visible: &Range<usize>, x: S::F, tile: usize, hidden: f32) -> S::F {
    let base = (tile * LANES) as f32;
    let (start, end) = (visible.start as f32 - base, visible.end as f32 - base);
    let (lane, hidden) = (s.load(&LANE), s.splat(hidden));
    let x = s.select_less(lane, s.splat(start), hidden, x);
    s.select_less(lane, s.splat(end), x, hidden)
}

per_isa! {
    /// Adds the values at `positions`, weighted, to the outputs of `R` rows.
    fn accumulate[C: Codec, const R: usize,][C, R,](
        block: Block<'_>,
        weights: &[[f32; BLOCK]; R],
        positions: Range<usize>,
        outs: &mut [f32],
    ) = accumulate_body;
}

#[inline(always)]
fn accumulate_body<C: Codec, const R: usize, S: Lanes>(
    s: S,
    block: Block<'_>,
    weights: &[[f32; BLOCK]; R],
    positions: Range<usize>,
    outs: &mut [f32],
) {
    let vectors = outs.len() / R / LANES;
    let mut vector = 0;
    if const { S::TILES == 4 } {
        while vector + 4 <= vectors {
            accumulate_vectors::<C, R, 4, S>(s, block, weights, positions.clone(), vector, outs);
            vector += 4;
        }
    }
    while vector < vectors {
        accumulate_vectors::<C, R, 1, S>(s, block, weights, positions.clone(), vector, outs);
        vector += 1;
    }
}

/// [`accumulate`] for `T` vectors of each row from `vector` on.
#[inline(always)]
fn accumulate_vectors<C: Codec, const R: usize, const T: usize, S: Lanes>(
    s: S,
    block: Block<'_>,
    weights: &[[f32; BLOCK]; R],
    positions: Range<usize>,
    vector: usize,
    outs: &mut [f32],
) {
    let out_len = outs.len() / R;
    let at = |r: usize, t: usize| r * out_len + (vector + t) * LANES;
    let mut sums = [[s.splat(0.0); T]; R];
    for r in 0..R {
        for t in 0..T {
            sums[r][t] = s.load(sixteen(outs, at(r, t)));
        }
    }
    let bytes = block.value_bytes;
    let rows = &block.values[positions.start * bytes..positions.end * bytes];
    let weights: [&[f32]; R] = std::array::from_fn(|r| &weights[r][positions.clone()]);
    let mut values = [s.splat(0.0); T];
    // Once, however many vectors a value has.
    let part = match vector {
        0 => positions.start * bytes..positions.end * bytes,
        _ => 0..0,
    };
    let mut ahead = Ahead::new(block.next_values, part, positions.len());
    for (p, row) in rows.chunks_exact(bytes).enumerate() {
        ahead.ask(s);
        for t in 0..T {
            values[t] = C::value(s, row, vector + t);
        }
        for r in 0..R {
            let weight = s.splat(weights[r][p]);
            for t in 0..T {
                sums[r][t] = s.mul_add(weight, values[t], sums[r][t]);
            }
        }
    }
    for r in 0..R {
        for t in 0..T {
            s.store(sums[r][t], sixteen_mut(outs, at(r, t)));
        }
    }
}
