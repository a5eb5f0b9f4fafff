//! Decoding and encoding of every block format.

use crate::random::Random;
use outrigger_kernels::format::{Format, dequantize};
use outrigger_runtime::{
    ggml::{self, Ggml},
    quantize::{EncodeError, Encoder, Native, Rows},
};

/// Formats of weights that ggml decodes to f32; those of activations alone it
/// does not.
fn decoded() -> impl Iterator<Item = Format> {
    let other = [Format::F32, Format::F64, Format::Q8_K];
    let weights = Format::ALL.into_iter().filter(|format| format.is_weight());
    weights.filter(move |format| !other.contains(format))
}

/// Formats of weights that ggml can make.
pub(crate) fn encoded() -> impl Iterator<Item = Format> {
    let all = Format::ALL.into_iter();
    all.filter(|&format| Ggml.supports(format, true))
}

/// Bit for bit, up to the sign of zero and the payload of NaN.
fn equal(value: f32, expected: f32) -> bool {
    value.to_bits() == expected.to_bits()
        || value == 0.0 && expected == 0.0
        || value.is_nan() && expected.is_nan()
}

fn assert_decoded(format: Format, blocks: &[u8]) {
    let len = blocks.len() / format.block_bytes() * format.block_len();
    let (mut values, mut expected) = (vec![0.0; len], vec![0.0; len]);
    dequantize(format, blocks, &mut values).unwrap();
    ggml::dequantize(format, blocks, &mut expected).unwrap();
    for (index, (&value, &expected)) in values.iter().zip(&expected).enumerate() {
        assert!(
            equal(value, expected),
            "{format}, value {index}: {value:e} instead of {expected:e}"
        );
    }
}

/// Any bytes are blocks; NaN and infinite scales are among these.
#[test]
fn random_blocks_are_decoded_alike() {
    let mut random = Random(1);
    let mut formats = 0;
    for format in decoded() {
        assert_decoded(format, &random.bytes(4000 * format.block_bytes()));
        formats += 1;
    }
    assert_eq!(formats, 26);
}

#[test]
fn blocks_that_ggml_makes_are_decoded_alike_and_close() {
    let mut random = Random(2);
    for format in encoded() {
        let (cols, rows) = (512, 16);
        let values = random.values(cols * rows);
        let importance: Vec<f32> = (0..cols).map(|_| 1.5 + random.even()).collect();
        let mut blocks = vec![0; format.row_bytes(cols).unwrap() * rows];
        let given = Rows {
            values: &values,
            cols,
            importance: Some(&importance),
        };
        Ggml.encode(format, given, &mut blocks).unwrap();
        if format == Format::F32 {
            continue;
        }
        assert_decoded(format, &blocks);
        let mut decoded = vec![0.0; values.len()];
        dequantize(format, &blocks, &mut decoded).unwrap();
        let square = |values: &mut dyn Iterator<Item = f32>| -> f32 { values.map(|v| v * v).sum() };
        let mut errors = values.iter().zip(&decoded).map(|(a, b)| a - b);
        let relative = (square(&mut errors) / square(&mut values.iter().copied())).sqrt();
        // Ternary formats scale by the largest magnitude, so that most values
        // become zeros.
        assert!(relative < 0.8, "{format}: {relative}");
    }
}

/// What the default build makes is what ggml makes.
#[test]
fn native_encoders_give_the_bytes_of_ggml() {
    let mut random = Random(3);
    for format in Format::ALL {
        if !Native.supports(format, false) {
            continue;
        }
        let mut values = random.values(256 * 400);
        // Zeros, ties, tiny and large ones.
        values[..256].fill(0.0);
        for value in &mut values[256..25_600] {
            *value = (*value * 8.0).round() / 16.0;
        }
        values[25_600..51_200].iter_mut().for_each(|v| *v *= 1e-7);
        values[51_200..76_800].iter_mut().for_each(|v| *v *= 1e4);
        let rows = Rows {
            values: &values,
            cols: 256,
            importance: None,
        };
        let mut native = vec![0; format.row_bytes(256).unwrap() * 400];
        let mut expected = native.clone();
        Native.encode(format, rows, &mut native).unwrap();
        Ggml.encode(format, rows, &mut expected).unwrap();
        assert_eq!(native, expected, "{format}");
    }
}

#[test]
fn what_ggml_would_abort_on_is_refused() {
    let values = [1.0_f32; 256];
    let rows = Rows {
        values: &values,
        cols: 256,
        importance: None,
    };
    let encode = |format: Format, rows: Rows<'_>, bytes| {
        let mut blocks = vec![0; bytes];
        Ggml.encode(format, rows, &mut blocks)
    };
    assert_eq!(
        encode(Format::IQ2_XXS, rows, 66),
        Err(EncodeError::NeedsImportance(Format::IQ2_XXS))
    );
    assert!(encode(Format::Q4_K, rows, 143).is_err());
    assert!(encode(Format::Q8_K, rows, 292).is_err());
    assert!(encode(Format::I8, rows, 256).is_err());
    for cols in [0, 100, 512] {
        assert!(encode(Format::Q4_K, Rows { cols, ..rows }, 144).is_err());
    }
    let short = [1.0; 255];
    let importance = Some(&short[..]);
    assert!(encode(Format::Q4_K, Rows { importance, ..rows }, 144).is_err());
    for value in [f32::NAN, f32::INFINITY, -1e30] {
        let mut values = values;
        values[200] = value;
        let rows = Rows {
            values: &values,
            ..rows
        };
        let refusal = encode(Format::Q4_K, rows, 144).unwrap_err();
        assert!(matches!(refusal, EncodeError::Value { .. }), "{refusal}");
    }
}
