//! Rows of the KV cache: one head's key or value at one position.

use half::{f16, slice::HalfFloatSliceExt};

/// How a row is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KvFormat {
    /// 4 bytes a value, exact.
    F32,
    /// 2 bytes a value.
    F16,
    /// Blocks of 32 values: an f16 scale and 32 signed bytes.
    Q8_0,
}

const Q8_VALUES: usize = 32;
const Q8_BYTES: usize = 34;

impl KvFormat {
    /// The name users write.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
        }
    }

    /// Bytes of a row of `values`; `None` if the format cannot hold that many.
    pub fn row_bytes(self, values: usize) -> Option<usize> {
        match self {
            Self::F32 => values.checked_mul(4),
            Self::F16 => values.checked_mul(2),
            Self::Q8_0 if values.is_multiple_of(Q8_VALUES) => {
                (values / Q8_VALUES).checked_mul(Q8_BYTES)
            }
            Self::Q8_0 => None,
        }
    }

    /// Stores `values` into `row`.
    ///
    /// # Panics
    /// If `row` is not [`row_bytes`](Self::row_bytes) long.
    pub fn store(self, values: &[f32], row: &mut [u8]) {
        assert_eq!(Some(row.len()), self.row_bytes(values.len()));
        match self {
            Self::F32 => {
                for (bytes, value) in row.as_chunks_mut().0.iter_mut().zip(values) {
                    *bytes = value.to_le_bytes();
                }
            }
            Self::F16 => {
                for (bytes, &value) in row.as_chunks_mut().0.iter_mut().zip(values) {
                    *bytes = f16::from_f32(value).to_le_bytes();
                }
            }
            Self::Q8_0 => {
                let blocks = row.as_chunks_mut::<Q8_BYTES>().0;
                for (block, values) in blocks.iter_mut().zip(values.as_chunks::<Q8_VALUES>().0) {
                    store_q8(values, block);
                }
            }
        }
    }

    /// Reads `row` into `values`.
    ///
    /// # Panics
    /// If `row` is not [`row_bytes`](Self::row_bytes) long.
    pub fn load(self, row: &[u8], values: &mut [f32]) {
        assert_eq!(Some(row.len()), self.row_bytes(values.len()));
        match self {
            Self::F32 => {
                for (bytes, value) in row.as_chunks().0.iter().zip(values) {
                    *value = f32::from_le_bytes(*bytes);
                }
            }
            Self::F16 => match bytemuck::try_cast_slice::<u8, f16>(row) {
                Ok(halves) if cfg!(target_endian = "little") => halves.convert_to_f32_slice(values),
                _ => {
                    for (bytes, value) in row.as_chunks().0.iter().zip(values) {
                        *value = f16::from_le_bytes(*bytes).to_f32();
                    }
                }
            },
            Self::Q8_0 => {
                let blocks = row.as_chunks::<Q8_BYTES>().0;
                for (block, values) in blocks.iter().zip(values.as_chunks_mut::<Q8_VALUES>().0) {
                    let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
                    for (value, &q) in values.iter_mut().zip(&block[2..]) {
                        *value = f32::from(q as i8) * scale;
                    }
                }
            }
        }
    }
}

fn store_q8(values: &[f32; Q8_VALUES], block: &mut [u8; Q8_BYTES]) {
    let largest = values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let scale = largest / 127.0;
    block[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    for (q, &value) in block[2..].iter_mut().zip(values) {
        *q = (value * inverse).round() as i8 as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_come_back_within_the_formats_error(
            values in proptest::collection::vec(-8.0f32..8.0, 64)
        ) {
            let largest = values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            for (format, bound) in [
                (KvFormat::F32, 0.0),
                (KvFormat::F16, largest * 2f32.powi(-11) + 1e-7),
                // half a step, and the scale's own rounding
                (KvFormat::Q8_0, largest * (0.5 / 127.0 + 2f32.powi(-10)) + 1e-6),
            ] {
                let mut row = vec![0; format.row_bytes(64).unwrap()];
                format.store(&values, &mut row);
                let mut back = vec![0.0; 64];
                format.load(&row, &mut back);
                for (a, b) in values.iter().zip(&back) {
                    prop_assert!((a - b).abs() <= bound, "{format:?}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn q8_needs_whole_blocks() {
        assert_eq!(KvFormat::Q8_0.row_bytes(48), None);
        assert_eq!(KvFormat::Q8_0.row_bytes(64), Some(68));
    }
}
