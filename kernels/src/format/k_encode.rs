//! A plain encoder for Q4_K, Q5_K and Q6_K.
//!
//! Each run gets the smallest scale (and min) that covers its values, rounded
//! up to what the super-block can express, so that no value is clipped and the
//! error stays below half a step. ggml's encoder instead searches for the
//! scale with the least squared error; use it for real models.

use super::encode::{inverse, put_half, range};
use super::float::half_at;

/// Encodes Q4_K.
pub(super) fn q4_k(values: &[f32; 256], out: &mut [u8; 144]) {
    let codes = encode_with_mins(values, out, 15);
    for (chunk, out) in out[16..].chunks_exact_mut(32).enumerate() {
        for (i, out) in out.iter_mut().enumerate() {
            *out = codes[64 * chunk + i] | (codes[64 * chunk + 32 + i] << 4);
        }
    }
}

/// Encodes Q5_K.
pub(super) fn q5_k(values: &[f32; 256], out: &mut [u8; 176]) {
    let codes = encode_with_mins(values, out, 31);
    for i in 0..32 {
        out[16 + i] = (0..8).fold(0, |bits, run| bits | ((codes[32 * run + i] >> 4) << run));
    }
    for (chunk, out) in out[48..].chunks_exact_mut(32).enumerate() {
        for (i, out) in out.iter_mut().enumerate() {
            *out = (codes[64 * chunk + i] & 0x0f) | (codes[64 * chunk + 32 + i] << 4);
        }
    }
}

/// Writes the scales and mins of a Q4_K or Q5_K block and returns the codes,
/// which go from 0 to `max_code`.
fn encode_with_mins<const N: usize>(
    values: &[f32; 256],
    out: &mut [u8; N],
    max_code: u8,
) -> [u8; 256] {
    let (runs, _) = values.as_chunks::<32>();
    let mut min_needs = [0.0; 8];
    for (need, run) in min_needs.iter_mut().zip(runs) {
        *need = (-range(run).0).max(0.0);
    }
    put_half(out, 2, min_needs.into_iter().fold(0.0, f32::max) / 63.0);
    let min_step = half_at(out, 2);
    let min_codes = min_needs.map(|need| six_bits(need, min_step));

    let mut scale_needs = [0.0; 8];
    for (run, need) in scale_needs.iter_mut().enumerate() {
        let min = min_step * f32::from(min_codes[run]);
        *need = (range(&runs[run]).1 + min).max(0.0) / f32::from(max_code);
    }
    put_half(out, 0, scale_needs.into_iter().fold(0.0, f32::max) / 63.0);
    let scale_step = half_at(out, 0);
    let scale_codes = scale_needs.map(|need| six_bits(need, scale_step));

    for run in 0..4 {
        let (scale, min) = (scale_codes[run + 4], min_codes[run + 4]);
        out[4 + run] = scale_codes[run] | ((scale >> 4) << 6);
        out[8 + run] = min_codes[run] | ((min >> 4) << 6);
        out[12 + run] = (scale & 0x0f) | ((min & 0x0f) << 4);
    }

    let mut codes = [0; 256];
    for (i, (code, value)) in codes.iter_mut().zip(values).enumerate() {
        let inverse = inverse(scale_step * f32::from(scale_codes[i / 32]));
        let min = min_step * f32::from(min_codes[i / 32]);
        *code = (((value + min) * inverse + 0.5) as u8).min(max_code);
    }
    codes
}

/// The least 6-bit multiple of `step` that reaches `need`.
fn six_bits(need: f32, step: f32) -> u8 {
    ((need * inverse(step)).ceil() as u8).min(63)
}

/// Encodes Q6_K.
pub(super) fn q6_k(values: &[f32; 256], out: &mut [u8; 210]) {
    let mut needs = [0.0; 16];
    for (need, run) in needs.iter_mut().zip(values.as_chunks::<16>().0) {
        *need = run
            .iter()
            .fold(0.0, |amax: f32, value| amax.max(value.abs()))
            / 31.0;
    }
    put_half(out, 208, needs.into_iter().fold(0.0, f32::max) / 127.0);
    let step = half_at(out, 208);
    let scales = needs.map(|need| ((need * inverse(step)).ceil() as u8).min(127));
    out[192..208].copy_from_slice(&scales);

    let code = |i: usize| {
        let inverse = inverse(step * f32::from(scales[i / 16]));
        ((values[i] * inverse).round().clamp(-32.0, 31.0) as i8 + 32) as u8
    };
    for group in 0..2 {
        for i in 0..32 {
            let codes: [u8; 4] = std::array::from_fn(|run| code(128 * group + 32 * run + i));
            for run in 0..2 {
                out[64 * group + 32 * run + i] =
                    (codes[run] & 0x0f) | ((codes[run + 2] & 0x0f) << 4);
            }
            out[128 + 32 * group + i] =
                (0..4).fold(0, |bits, run| bits | ((codes[run] >> 4) << (2 * run)));
        }
    }
}
