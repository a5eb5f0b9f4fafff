//! Attention of one column's query heads over one KV head, with an online
//! softmax (Milakov and Gimelshein, arXiv 1805.02867; FlashAttention,
//! arXiv 2205.14135).
//!
//! The KV range is cut at multiples of [`SPLIT`] positions, whatever the
//! thread count. Each split is reduced on its own and the parts are merged in
//! order, so that splits may run on different threads without changing a bit.

use super::{
    elementwise::soft_cap,
    exp::exp,
    kv::KvFormat,
    vector::{add_scaled, dot, scale},
};
use std::ops::Range;

/// Positions in a split.
pub const SPLIT: usize = 512;

/// Where a head's keys and values are found: rows of consecutive positions,
/// in runs (the KV cache's pages).
pub trait KvRows {
    /// The rows of the run that holds `position`: the position of the first
    /// row, the keys and the values, row after row. A run without rows is a
    /// bug of the caller of [`attend`], which panics on it.
    fn run(&self, position: usize) -> (usize, &[u8], &[u8]);
}

/// What all columns and heads of a layer share.
#[derive(Debug, Clone, Copy)]
pub struct AttentionShape {
    /// Values in a key and in a query.
    pub key_len: usize,
    /// Values in a value and in an output.
    pub value_len: usize,
    /// Factor on the product of query and key.
    pub scale: f32,
    /// Bound put on the scores by `cap * tanh(score / cap)`.
    pub soft_cap: Option<f32>,
    /// How keys and values are stored.
    pub format: KvFormat,
}

/// Working memory for [`attend`].
#[derive(Default)]
pub struct AttentionScratch {
    row: Vec<f32>,
    scores: Vec<f32>,
    maxima: Vec<f32>,
    sums: Vec<f32>,
    split_maxima: Vec<f32>,
    split_sums: Vec<f32>,
    split_out: Vec<f32>,
}

impl AttentionScratch {
    /// Memory enough for `heads` query heads of a layer with this shape and
    /// runs of up to `run` positions.
    pub fn reserve(&mut self, shape: &AttentionShape, heads: usize, run: usize) {
        let grow = |v: &mut Vec<f32>, n: usize| {
            if v.len() < n {
                v.resize(n, 0.0);
            }
        };
        grow(&mut self.row, shape.key_len.max(shape.value_len));
        grow(&mut self.scores, heads * run);
        for v in [
            &mut self.maxima,
            &mut self.sums,
            &mut self.split_maxima,
            &mut self.split_sums,
        ] {
            grow(v, heads);
        }
        grow(&mut self.split_out, heads * shape.value_len);
    }
}

/// Attention of the query heads that share one KV head.
///
/// `queries` holds the heads one after the other (`heads * key_len`), `out`
/// likewise (`heads * value_len`); `visible` are the positions they see. With
/// none visible the output is zero.
pub fn attend(
    shape: &AttentionShape,
    queries: &[f32],
    rows: &impl KvRows,
    visible: Range<usize>,
    scratch: &mut AttentionScratch,
    out: &mut [f32],
) {
    let heads = queries.len() / shape.key_len;
    scratch.reserve(shape, heads, 0);
    scratch.maxima[..heads].fill(f32::NEG_INFINITY);
    scratch.sums[..heads].fill(0.0);
    out.fill(0.0);
    let mut start = visible.start;
    while start < visible.end {
        let end = visible.end.min((start / SPLIT + 1) * SPLIT);
        attend_split(shape, queries, rows, start..end, scratch);
        merge_split(shape.value_len, heads, scratch, out);
        start = end;
    }
    for (out, &sum) in out.chunks_exact_mut(shape.value_len).zip(&scratch.sums) {
        if sum > 0.0 {
            scale(out, 1.0 / sum);
        }
    }
}

/// Reduces one split into the `split_*` parts of `scratch`.
fn attend_split(
    shape: &AttentionShape,
    queries: &[f32],
    rows: &impl KvRows,
    visible: Range<usize>,
    scratch: &mut AttentionScratch,
) {
    let heads = queries.len() / shape.key_len;
    scratch.split_maxima[..heads].fill(f32::NEG_INFINITY);
    scratch.split_sums[..heads].fill(0.0);
    scratch.split_out[..heads * shape.value_len].fill(0.0);
    let key_bytes = shape.format.row_bytes(shape.key_len).unwrap_or(0);
    let value_bytes = shape.format.row_bytes(shape.value_len).unwrap_or(0);
    let mut start = visible.start;
    while start < visible.end {
        let (first, keys, values) = rows.run(start);
        let end = visible.end.min(first + keys.len() / key_bytes);
        assert!(end > start, "position {start} has no rows");
        let count = end - start;
        scratch.reserve(shape, heads, count);
        for i in 0..count {
            let at = (start - first + i) * key_bytes;
            let key = &mut scratch.row[..shape.key_len];
            shape.format.load(&keys[at..at + key_bytes], key);
            for (head, query) in queries.chunks_exact(shape.key_len).enumerate() {
                let mut score = dot(query, key) * shape.scale;
                if let Some(cap) = shape.soft_cap {
                    score = soft_cap(score, cap);
                }
                scratch.scores[head * count + i] = score;
            }
        }
        for head in 0..heads {
            let scores = &mut scratch.scores[head * count..(head + 1) * count];
            let old = scratch.split_maxima[head];
            let new = scores.iter().copied().fold(old, f32::max);
            let mut sum = 0.0;
            for score in scores {
                *score = exp(*score - new);
                sum += *score;
            }
            let correction = exp(old - new);
            scratch.split_maxima[head] = new;
            scratch.split_sums[head] = scratch.split_sums[head] * correction + sum;
            let out = head * shape.value_len..(head + 1) * shape.value_len;
            scale(&mut scratch.split_out[out], correction);
        }
        for i in 0..count {
            let at = (start - first + i) * value_bytes;
            let value = &mut scratch.row[..shape.value_len];
            shape.format.load(&values[at..at + value_bytes], value);
            for head in 0..heads {
                let out = head * shape.value_len..(head + 1) * shape.value_len;
                add_scaled(
                    &mut scratch.split_out[out],
                    scratch.scores[head * count + i],
                    value,
                );
            }
        }
        start = end;
    }
}

/// Adds the split in `scratch` to the running result.
fn merge_split(value_len: usize, heads: usize, scratch: &mut AttentionScratch, out: &mut [f32]) {
    for head in 0..heads {
        let (old, split) = (scratch.maxima[head], scratch.split_maxima[head]);
        let new = old.max(split);
        let (keep, add) = (exp(old - new), exp(split - new));
        scratch.maxima[head] = new;
        scratch.sums[head] = scratch.sums[head] * keep + scratch.split_sums[head] * add;
        let range = head * value_len..(head + 1) * value_len;
        let out = &mut out[range.clone()];
        scale(out, keep);
        add_scaled(out, add, &scratch.split_out[range]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Runs {
        length: usize,
        key_bytes: usize,
        value_bytes: usize,
        keys: Vec<u8>,
        values: Vec<u8>,
    }

    impl KvRows for Runs {
        fn run(&self, position: usize) -> (usize, &[u8], &[u8]) {
            let first = position / self.length * self.length;
            let cut = |all: &[u8], bytes: usize| {
                let end = ((first + self.length) * bytes).min(all.len());
                first * bytes..end
            };
            (
                first,
                &self.keys[cut(&self.keys, self.key_bytes)],
                &self.values[cut(&self.values, self.value_bytes)],
            )
        }
    }

    fn noise(n: usize, seed: u32) -> Vec<f32> {
        let mut state = seed | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as f32 / u32::MAX as f32 * 4.0 - 2.0
        };
        (0..n).map(|_| next()).collect()
    }

    fn naive(
        shape: &AttentionShape,
        q: &[f32],
        k: &[f32],
        v: &[f32],
        visible: Range<usize>,
    ) -> Vec<f64> {
        let scores: Vec<f64> = visible
            .clone()
            .map(|j| {
                let key = &k[j * shape.key_len..][..shape.key_len];
                let s: f64 = q
                    .iter()
                    .zip(key)
                    .map(|(&a, &b)| f64::from(a) * f64::from(b))
                    .sum();
                let s = s * f64::from(shape.scale);
                shape
                    .soft_cap
                    .map_or(s, |c| f64::from(c) * (s / f64::from(c)).tanh())
            })
            .collect();
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = scores.iter().map(|s| (s - max).exp()).sum();
        (0..shape.value_len)
            .map(|d| {
                visible
                    .clone()
                    .zip(&scores)
                    .map(|(j, s)| (s - max).exp() / total * f64::from(v[j * shape.value_len + d]))
                    .sum()
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn equals_softmax_in_double_precision(
            positions in 1usize..1400,
            skip in 0usize..1400,
            run in prop::sample::select(vec![16usize, 64, 100]),
            heads in 1usize..5,
            capped in any::<bool>(),
            seed in any::<u32>(),
        ) {
            let shape = AttentionShape {
                key_len: 24,
                value_len: 20,
                scale: 0.2,
                soft_cap: capped.then_some(5.0),
                format: KvFormat::F32,
            };
            let (k, v) = (noise(positions * 24, seed), noise(positions * 20, seed ^ 77));
            let queries = noise(heads * 24, seed ^ 5);
            let rows = Runs {
                length: run,
                key_bytes: 96,
                value_bytes: 80,
                keys: bytemuck::cast_slice(&k).to_vec(),
                values: bytemuck::cast_slice(&v).to_vec(),
            };
            let visible = skip.min(positions - 1)..positions;
            let mut out = vec![0.0; heads * 20];
            let mut scratch = AttentionScratch::default();
            attend(&shape, &queries, &rows, visible.clone(), &mut scratch, &mut out);
            for head in 0..heads {
                let exact = naive(&shape, &queries[head * 24..][..24], &k, &v, visible.clone());
                let mut alone = vec![0.0; 20];
                attend(&shape, &queries[head * 24..][..24], &rows, visible.clone(), &mut scratch, &mut alone);
                prop_assert_eq!(&alone[..], &out[head * 20..][..20]);
                for (a, b) in alone.iter().zip(&exact) {
                    prop_assert!((f64::from(*a) - b).abs() < 2e-5, "{} {}", a, b);
                }
            }
        }
    }

    #[test]
    fn nothing_visible_is_zero() {
        let shape = AttentionShape {
            key_len: 2,
            value_len: 2,
            scale: 1.0,
            soft_cap: None,
            format: KvFormat::F32,
        };
        let rows = Runs {
            length: 1,
            key_bytes: 8,
            value_bytes: 8,
            keys: vec![],
            values: vec![],
        };
        let mut out = [7.0; 2];
        attend(
            &shape,
            &[1.0, 1.0],
            &rows,
            0..0,
            &mut AttentionScratch::default(),
            &mut out,
        );
        assert_eq!(out, [0.0; 2]);
    }
}
