//! Putting the parts of a softmax together.

use crate::cpu::{
    exp::exp,
    isa::per_isa,
    lanes::{LANES, Lanes},
};

/// Floats of a part: the maximum and the sum of its weights, then the output of
/// `value_len` elements, not divided by that sum, filled up to whole vectors.
pub(super) const fn part_len(value_len: usize) -> usize {
    HEAD + value_len.next_multiple_of(LANES)
}

/// Floats before the output.
pub(super) const HEAD: usize = 2;

/// The part of no positions.
pub(super) fn clear(part: &mut [f32]) {
    part.fill(0.0);
    part[0] = f32::NEG_INFINITY;
}

/// Whether a part is of no positions.
pub(super) fn is_empty(part: &[f32]) -> bool {
    part[0] == f32::NEG_INFINITY && part[1] == 0.0
}

per_isa! {
    /// Adds `part`, of later positions, to `total`.
    pub(super) fn merge[][](total: &mut [f32], part: &[f32]) = merge_body;
}

#[inline(always)]
fn merge_body<S: Lanes>(s: S, total: &mut [f32], part: &[f32]) {
    if is_empty(part) {
        return;
    }
    let ([maximum, sum], out) = match total.split_first_chunk_mut::<HEAD>() {
        Some(split) => split,
        None => return,
    };
    let new = if part[0] > *maximum {
        part[0]
    } else {
        *maximum
    };
    let keep = exp(s, s.splat(*maximum - new));
    let add = exp(s, s.splat(part[0] - new));
    let both = s.mul_add(s.splat(part[1]), add, s.mul(s.splat(*sum), keep));
    *sum = s.largest(both);
    *maximum = new;
    let part = part[HEAD..].as_chunks().0;
    for (out, part) in out.as_chunks_mut().0.iter_mut().zip(part) {
        let kept = s.mul(s.load(out), keep);
        s.store(s.mul_add(add, s.load(part), kept), out);
    }
}

per_isa! {
    /// Divides the output of `total` by the sum of its weights. That of no
    /// positions is zero.
    pub(super) fn finish[][](total: &[f32], out: &mut [f32]) = finish_body;
}

#[inline(always)]
fn finish_body<S: Lanes>(s: S, total: &[f32], out: &mut [f32]) {
    if is_empty(total) {
        out.fill(0.0);
        return;
    }
    let inverse = s.splat(1.0 / total[1]);
    let total = total[HEAD..].as_chunks().0;
    for (total, out) in total.iter().zip(out.chunks_mut(LANES)) {
        let scaled = s.mul(s.load(total), inverse);
        match out.as_mut_array() {
            Some(out) => s.store(scaled, out),
            None => {
                let mut all = [0.0; LANES];
                s.store(scaled, &mut all);
                out.copy_from_slice(&all[..out.len()]);
            }
        }
    }
}
