//! What holds for every format: facts, lengths, block isolation, error bounds.

use proptest::prelude::*;

use super::*;

const ENCODED: [Format; 11] = [
    Format::F32,
    Format::F16,
    Format::BF16,
    Format::Q4_0,
    Format::Q4_1,
    Format::Q5_0,
    Format::Q5_1,
    Format::Q8_0,
    Format::Q4_K,
    Format::Q5_K,
    Format::Q6_K,
];

fn weights() -> impl Strategy<Value = Format> {
    prop::sample::select(
        Format::ALL
            .into_iter()
            .filter(|format| format.is_weight())
            .collect::<Vec<_>>(),
    )
}

/// A weight format, up to six of its blocks, and their values.
fn blocks() -> impl Strategy<Value = (Format, Vec<u8>, Vec<f32>)> {
    (weights(), 1usize..=6).prop_flat_map(|(format, count)| {
        prop::collection::vec(any::<u8>(), count * format.block_bytes()).prop_map(move |bytes| {
            let mut values = vec![0.0; count * format.block_len()];
            dequantize(format, &bytes, &mut values).unwrap();
            (format, bytes, values)
        })
    })
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn names_and_numbers_lead_back() {
    for format in Format::ALL {
        assert_eq!(Format::from_name(format.name()), Some(format));
        assert_eq!(
            Format::from_name(&format.name().to_lowercase()),
            Some(format)
        );
        assert_eq!(Format::from_ggml_type(format.ggml_type()), Some(format));
    }
    // Removed from ggml, never stored, or not assigned.
    for number in [4, 5, 9, 31, 32, 33, 36, 37, 38, 42, u32::MAX] {
        assert_eq!(Format::from_ggml_type(number), None, "{number}");
    }
    assert_eq!(Format::from_name("Q4_K_M"), None);
}

#[test]
fn row_bytes_needs_whole_blocks() {
    assert_eq!(Format::Q4_K.row_bytes(512), Some(288));
    assert_eq!(Format::Q4_K.row_bytes(0), Some(0));
    assert_eq!(Format::Q4_K.row_bytes(128), None);
    assert_eq!(Format::F64.row_bytes(usize::MAX), None);
}

#[test]
fn lengths_that_do_not_match_are_refused() {
    let mut values = [0.0; 64];
    assert_eq!(
        dequantize(Format::Q8_0, &[0; 33], &mut values),
        Err(FormatError::PartialBlock {
            format: Format::Q8_0,
            bytes: 33
        })
    );
    assert_eq!(
        dequantize(Format::Q8_0, &[0; 34], &mut values),
        Err(FormatError::LengthMismatch {
            format: Format::Q8_0,
            bytes: 34,
            values: 64
        })
    );
    assert_eq!(
        dequantize(Format::I32, &[0; 256], &mut values),
        Err(FormatError::NotAWeight(Format::I32))
    );
    assert_eq!(
        quantize(Format::Q3_K, &[0.0; 256], &mut [0; 110]),
        Err(FormatError::NoEncoder(Format::Q3_K))
    );
    assert_eq!(
        quantize(Format::F16, &[0.0; 2], &mut [0; 2]),
        Err(FormatError::LengthMismatch {
            format: Format::F16,
            bytes: 2,
            values: 2
        })
    );
}

#[test]
fn a_block_of_zeros_encodes_to_zeros() {
    for format in ENCODED {
        let mut bytes = vec![0xff; format.block_bytes()];
        let mut values = vec![0.0; format.block_len()];
        quantize(format, &values, &mut bytes).unwrap();
        values.fill(1.0);
        dequantize(format, &bytes, &mut values).unwrap();
        assert!(values.iter().all(|&value| value == 0.0), "{format}");
    }
}

#[test]
fn sign_bits_of_q1_0() {
    let mut block = [0; 18];
    block[..2].copy_from_slice(&half::f16::from_f32(0.5).to_le_bytes());
    block[2] = 0b0000_0010;
    let mut values = [0.0; 128];
    dequantize(Format::Q1_0, &block, &mut values).unwrap();
    assert_eq!(values[..3], [-0.5, 0.5, -0.5]);
    assert!(values[3..].iter().all(|&value| value == -0.5));
}

#[test]
fn q8_k_is_scale_times_code() {
    let mut block = [0xee; 292];
    block[..4].copy_from_slice(&0.25f32.to_le_bytes());
    block[4] = -128i8 as u8;
    block[259] = 3;
    let mut values = [0.0; 256];
    dequantize(Format::Q8_K, &block, &mut values).unwrap();
    assert_eq!((values[0], values[255]), (-32.0, 0.75));
}

/// The bytes gguf-py 0.19 (`gguf.quants.quantize`) gives for 32 rows of 256
/// values, as FNV-1a hashes: value i is `(h(i) / 2^24 - 0.375) * 2^(row % 13 - 8)`
/// with `h(i) = (i * 2654435761 mod 2^32) >> 8`; row 0 is zero.
#[test]
fn encoding_equals_gguf_py() {
    let values: Vec<f32> = (0..32 * 256u32)
        .map(|i| {
            let hash = (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 16_777_216.0;
            let row = i as i32 / 256;
            let scale = if row == 0 {
                0.0
            } else {
                2.0f32.powi(row % 13 - 8)
            };
            (hash - 0.375) * scale
        })
        .map(|value| value + 0.0) // no negative zeros
        .collect();
    for (format, expected) in [
        (Format::F32, 0xbf1ee291cecab0d7),
        (Format::F16, 0x65f509983189d340),
        (Format::BF16, 0x08a95346ee68e566),
        (Format::Q4_0, 0xfefad27b287bf11d),
        (Format::Q4_1, 0x603168f2c6b955ea),
        (Format::Q5_0, 0x97bce8300a988be1),
        (Format::Q5_1, 0xfad98900569afffd),
        (Format::Q8_0, 0xa85d83ac8d6b34c4),
    ] {
        let mut bytes = vec![0; format.row_bytes(values.len()).unwrap()];
        quantize(format, &values, &mut bytes).unwrap();
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        assert_eq!(hash, expected, "{format}");
    }
}

/// The largest error of one encoded value, for values within `amax` of zero
/// and a spread of `spread` between the least and the greatest (zero included).
fn error_bound(format: Format, amax: f32, spread: f32) -> f32 {
    // What rounding a scale or offset to a half adds: 2^-11 of it relative, or
    // half of the least subnormal per code step where that is larger.
    let half = amax / 2048.0;
    let least = 2.0f32.powi(-24);
    match format {
        Format::F32 => 0.0,
        Format::F16 => half + least,
        Format::BF16 => amax / 256.0,
        // The extreme of the other sign may clip, by half a step more.
        Format::Q4_0 => amax / 8.0 + half + 8.0 * least,
        Format::Q5_0 => amax / 16.0 + half + 16.0 * least,
        Format::Q4_1 => spread / 30.0 + 3.0 * half + 16.0 * least,
        Format::Q5_1 => spread / 62.0 + 3.0 * half + 32.0 * least,
        Format::Q8_0 => amax / 254.0 + half + 127.0 * least,
        Format::Q4_K => 1.05 * spread / 30.0 + 3.0 * half + 2000.0 * least,
        Format::Q5_K => 1.05 * spread / 62.0 + 3.0 * half + 2000.0 * least,
        Format::Q6_K => 1.02 * amax / 62.0 + 2.0 * half + 4000.0 * least,
        _ => unreachable!("no encoder"),
    }
}

proptest! {
    #[test]
    fn blocks_are_isolated((format, bytes, values) in blocks()) {
        for (block, values) in bytes
            .chunks(format.block_bytes())
            .zip(values.chunks(format.block_len()))
        {
            let mut alone = vec![0.0; format.block_len()];
            dequantize(format, block, &mut alone).unwrap();
            prop_assert_eq!(bits(&alone), bits(values));
        }
    }

    #[test]
    fn alignment_does_not_matter((format, bytes, values) in blocks(), shift in 0usize..16) {
        let mut moved = vec![0; shift];
        moved.extend_from_slice(&bytes);
        let mut again = vec![0.0; values.len()];
        dequantize(format, &moved[shift..], &mut again).unwrap();
        prop_assert_eq!(bits(&again), bits(&values));
    }

    #[test]
    fn encoding_errs_little(
        format in prop::sample::select(ENCODED.to_vec()),
        values in prop::collection::vec(-1.0f32..1.0, 512),
        magnitude in -12i32..8,
        offset in -1.0f32..1.0,
    ) {
        let unit = 2.0f32.powi(magnitude);
        let values: Vec<f32> = values.iter().map(|value| (value + offset) * unit).collect();
        let mut bytes = vec![0; format.row_bytes(values.len()).unwrap()];
        quantize(format, &values, &mut bytes).unwrap();
        let mut back = vec![0.0; values.len()];
        dequantize(format, &bytes, &mut back).unwrap();
        for (values, back) in values
            .chunks(format.block_len())
            .zip(back.chunks(format.block_len()))
        {
            let min = values.iter().copied().fold(0.0, f32::min);
            let max = values.iter().copied().fold(0.0, f32::max);
            let bound = error_bound(format, max.max(-min), max - min);
            for (value, back) in values.iter().zip(back) {
                prop_assert!(
                    (value - back).abs() <= bound,
                    "{format}: {value} became {back}, bound {bound}"
                );
            }
        }
    }

    #[test]
    fn encoding_never_panics(
        format in prop::sample::select(ENCODED.to_vec()),
        values in prop::collection::vec(any::<f32>(), 256),
    ) {
        let mut bytes = vec![0; format.row_bytes(values.len()).unwrap()];
        quantize(format, &values, &mut bytes).unwrap();
    }
}
