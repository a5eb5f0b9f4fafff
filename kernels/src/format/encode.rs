//! Encoding of whole blocks: the simple formats, as gguf-py does it bit for
//! bit.

use super::float::f32_to_bf16;
use super::{Format, FormatError, check_lengths, k_encode};

/// Encodes `values` into blocks of `format`.
///
/// For F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0 the bytes are those that
/// gguf-py's `quantize` gives for finite values. For Q4_K, Q5_K and Q6_K this
/// is a plain rounding with a bounded error, meant for synthetic models and
/// tests: ggml searches for scales that serve better, and its quantizer should
/// make the files that are used.
///
/// A block that holds NaN or infinity encodes to something unspecified.
///
/// # Errors
///
/// When `values` is not whole blocks, when `out` is not their size, or when
/// there is no encoder for `format` here.
pub fn quantize(format: Format, values: &[f32], out: &mut [u8]) -> Result<(), FormatError> {
    check_lengths(format, out.len(), values.len())?;
    match format {
        Format::F32 => each(values, out, |&[value], out| *out = value.to_le_bytes()),
        Format::F16 => each(values, out, |&[value], out| {
            *out = half::f16::from_f32(value).to_le_bytes();
        }),
        Format::BF16 => each(values, out, |&[value], out| {
            *out = f32_to_bf16(value).to_le_bytes();
        }),
        Format::Q4_0 => each(values, out, q4_0),
        Format::Q4_1 => each(values, out, q4_1),
        Format::Q5_0 => each(values, out, q5_0),
        Format::Q5_1 => each(values, out, q5_1),
        Format::Q8_0 => each(values, out, q8_0),
        Format::Q4_K => each(values, out, k_encode::q4_k),
        Format::Q5_K => each(values, out, k_encode::q5_k),
        Format::Q6_K => each(values, out, k_encode::q6_k),
        _ => return Err(FormatError::NoEncoder(format)),
    }
    Ok(())
}

fn each<const LEN: usize, const BYTES: usize>(
    values: &[f32],
    out: &mut [u8],
    encode: impl Fn(&[f32; LEN], &mut [u8; BYTES]),
) {
    for (values, out) in values
        .as_chunks::<LEN>()
        .0
        .iter()
        .zip(out.as_chunks_mut::<BYTES>().0)
    {
        encode(values, out);
    }
}

/// Writes `value`, rounded to a half, at `offset`.
pub(super) fn put_half(out: &mut [u8], offset: usize, value: f32) {
    out[offset..offset + 2].copy_from_slice(&half::f16::from_f32(value).to_le_bytes());
}

/// `1 / scale`, or 0 for the scale of a block of zeros.
pub(super) fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// The value of largest magnitude, with its sign; the first of several.
fn extreme(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |extreme: f32, &value| {
        if value.abs() > extreme.abs() {
            value
        } else {
            extreme
        }
    })
}

/// Least and greatest value.
pub(super) fn range(values: &[f32]) -> (f32, f32) {
    values
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(min, max), &value| {
            (min.min(value), max.max(value))
        })
}

/// Codes 0 to `max`, of `values` times `inverse`, moved up by `offset` (which
/// includes the half that makes truncation rounding).
fn codes(values: &[f32; 32], inverse: f32, offset: f32, max: u8) -> [u8; 32] {
    values.map(|value| ((value * inverse + offset) as u8).min(max))
}

/// Low nibbles: code i in the low half of byte i, code i + 16 in its high half.
fn put_nibbles(out: &mut [u8], codes: &[u8; 32]) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = (codes[i] & 0x0f) | (codes[i + 16] << 4);
    }
}

/// Bit 4 of each code, code i in bit i.
fn fifth_bits(codes: &[u8; 32]) -> [u8; 4] {
    let mut bits = 0;
    for (i, &code) in codes.iter().enumerate() {
        bits |= u32::from(code >> 4) << i;
    }
    bits.to_le_bytes()
}

fn q4_0(values: &[f32; 32], out: &mut [u8; 18]) {
    let scale = extreme(values) / -8.0;
    put_half(out, 0, scale);
    put_nibbles(&mut out[2..], &codes(values, inverse(scale), 8.5, 15));
}

fn q4_1(values: &[f32; 32], out: &mut [u8; 20]) {
    let (min, max) = range(values);
    let scale = (max - min) / 15.0;
    put_half(out, 0, scale);
    put_half(out, 2, min);
    let above = values.map(|value| value - min);
    put_nibbles(&mut out[4..], &codes(&above, inverse(scale), 0.5, 15));
}

fn q5_0(values: &[f32; 32], out: &mut [u8; 22]) {
    let scale = extreme(values) / -16.0;
    put_half(out, 0, scale);
    let codes = codes(values, inverse(scale), 16.5, 31);
    out[2..6].copy_from_slice(&fifth_bits(&codes));
    put_nibbles(&mut out[6..], &codes);
}

fn q5_1(values: &[f32; 32], out: &mut [u8; 24]) {
    let (min, max) = range(values);
    let scale = (max - min) / 31.0;
    put_half(out, 0, scale);
    put_half(out, 2, min);
    let above = values.map(|value| value - min);
    let codes = codes(&above, inverse(scale), 0.5, 31);
    out[4..8].copy_from_slice(&fifth_bits(&codes));
    put_nibbles(&mut out[8..], &codes);
}

fn q8_0(values: &[f32; 32], out: &mut [u8; 34]) {
    let scale = extreme(values).abs() / 127.0;
    let inverse = inverse(scale);
    put_half(out, 0, scale);
    for (out, value) in out[2..].iter_mut().zip(values) {
        *out = (value * inverse).round() as i8 as u8;
    }
}
