//! Keys and values of any format as floats in a scratch buffer, for the rows
//! that share them.

use super::codec::Codec;
use crate::cpu::{
    isa::per_isa,
    lanes::{LANES, Lanes, sixteen_mut},
};

per_isa! {
    /// A tile of keys as floats, dimension by dimension.
    pub(super) fn widen_keys[C: Codec,][C,](tile: &[u8], out: &mut [f32]) = keys;
}

#[inline(always)]
fn keys<C: Codec, S: Lanes>(s: S, tile: &[u8], out: &mut [f32]) {
    let groups = C::groups(tile);
    let out = out.as_chunks_mut::<LANES>().0;
    for (group, out) in groups.iter().zip(out.chunks_exact_mut(C::DIMS)) {
        let scales = C::scales(s, group);
        for (dim, out) in out.iter_mut().enumerate() {
            s.store(C::key(s, group, scales, dim), out);
        }
    }
}

per_isa! {
    /// Values of `bytes` each as floats, each filled up to whole vectors; for
    /// formats and lengths that are whole vectors already.
    pub(super) fn widen_values[C: Codec,][C,](
        bytes: usize,
        rows: &[u8],
        out_len: usize,
        out: &mut [f32],
    ) = values;
}

#[inline(always)]
fn values<C: Codec, S: Lanes>(s: S, bytes: usize, rows: &[u8], out_len: usize, out: &mut [f32]) {
    for (row, out) in rows.chunks_exact(bytes).zip(out.chunks_exact_mut(out_len)) {
        for vector in 0..out_len / LANES {
            s.store(C::value(s, row, vector), sixteen_mut(out, vector * LANES));
        }
    }
}
