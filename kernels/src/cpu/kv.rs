//! How the KV cache's pages hold one head's keys and values.
//!
//! **Values** lie row after row, a row for each position.
//!
//! **Keys** lie in tiles of [`KEY_TILE`] positions, dimension by dimension: a
//! vector register takes one dimension of sixteen keys, so that their products
//! with a query are formed side by side and nothing is ever summed across a
//! register. A tile has the size of its rows.

use half::f16;
use std::ops::Range;

/// Positions in a tile of keys. A page holds whole tiles.
pub const KEY_TILE: usize = 16;

/// How a row is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KvFormat {
    /// 4 bytes a value in the machine's order, exact.
    F32,
    /// 2 bytes a value.
    F16,
    /// Blocks of 32 values: an f16 scale and 32 signed bytes. In a tile of
    /// keys, the sixteen scales of a block and then its bytes.
    Q8_0,
}

/// Values in a block of [`KvFormat::Q8_0`].
pub(crate) const Q8_VALUES: usize = 32;

/// Bytes of a block of [`KvFormat::Q8_0`].
pub(crate) const Q8_BYTES: usize = 34;

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

    /// Bytes of a tile of keys of `values` values.
    pub fn tile_bytes(self, values: usize) -> Option<usize> {
        self.row_bytes(values)?.checked_mul(KEY_TILE)
    }

    /// Stores a value into its row.
    ///
    /// # Panics
    /// If `row` is not [`row_bytes`](Self::row_bytes) long.
    pub fn store_value(self, value: &[f32], row: &mut [u8]) {
        assert_eq!(Some(row.len()), self.row_bytes(value.len()));
        match self {
            Self::F32 => {
                for (bytes, value) in row.as_chunks_mut().0.iter_mut().zip(value) {
                    *bytes = value.to_ne_bytes();
                }
            }
            Self::F16 => {
                for (bytes, &value) in row.as_chunks_mut().0.iter_mut().zip(value) {
                    *bytes = f16::from_f32(value).to_le_bytes();
                }
            }
            Self::Q8_0 => {
                let blocks = row.as_chunks_mut::<Q8_BYTES>().0;
                for (block, value) in blocks.iter_mut().zip(value.as_chunks::<Q8_VALUES>().0) {
                    let (scale, inverse) = q8_scale(value);
                    block[..2].copy_from_slice(&scale.to_le_bytes());
                    for (q, &value) in block[2..].iter_mut().zip(value) {
                        *q = q8_code(value, inverse);
                    }
                }
            }
        }
    }

    /// Stores the key of position `lane` of a tile, in pieces: `write` takes
    /// where a piece begins in the tile, and its bytes. The pieces of different
    /// lanes do not overlap.
    ///
    /// # Panics
    /// If the format cannot hold a key of this length, or `lane` is not below
    /// [`KEY_TILE`].
    pub fn store_key(self, key: &[f32], lane: usize, mut write: impl FnMut(usize, &[u8])) {
        assert!(self.row_bytes(key.len()).is_some() && lane < KEY_TILE);
        match self {
            Self::F32 => {
                for (i, value) in key.iter().enumerate() {
                    write((i * KEY_TILE + lane) * 4, &value.to_ne_bytes());
                }
            }
            Self::F16 => {
                for (i, &value) in key.iter().enumerate() {
                    let half = f16::from_f32(value);
                    write((i * KEY_TILE + lane) * 2, &half.to_le_bytes());
                }
            }
            Self::Q8_0 => {
                for (block, values) in key.as_chunks::<Q8_VALUES>().0.iter().enumerate() {
                    let (scale, inverse) = q8_scale(values);
                    let start = block * Q8_BYTES * KEY_TILE;
                    write(start + lane * 2, &scale.to_le_bytes());
                    let codes = start + 2 * KEY_TILE;
                    for (i, &value) in values.iter().enumerate() {
                        write(codes + i * KEY_TILE + lane, &[q8_code(value, inverse)]);
                    }
                }
            }
        }
    }

    /// Reads a value back.
    ///
    /// # Panics
    /// If `row` is not [`row_bytes`](Self::row_bytes) long.
    pub fn load_value(self, row: &[u8], value: &mut [f32]) {
        assert_eq!(Some(row.len()), self.row_bytes(value.len()));
        for (i, value) in value.iter_mut().enumerate() {
            *value = match self {
                Self::F32 => f32::from_ne_bytes(bytes(row, i * 4)),
                Self::F16 => f16::from_le_bytes(bytes(row, i * 2)).to_f32(),
                Self::Q8_0 => {
                    let start = i / Q8_VALUES * Q8_BYTES;
                    let scale = f16::from_le_bytes(bytes(row, start));
                    q8_value(scale, row[start + 2 + i % Q8_VALUES])
                }
            };
        }
    }

    /// Reads the key of position `lane` of a tile back.
    ///
    /// # Panics
    /// If `tile` is not [`tile_bytes`](Self::tile_bytes) long, or `lane` is not
    /// below [`KEY_TILE`].
    pub fn load_key(self, tile: &[u8], lane: usize, key: &mut [f32]) {
        assert_eq!(Some(tile.len()), self.tile_bytes(key.len()));
        assert!(lane < KEY_TILE);
        for (i, value) in key.iter_mut().enumerate() {
            let at = i * KEY_TILE + lane;
            *value = match self {
                Self::F32 => f32::from_ne_bytes(bytes(tile, at * 4)),
                Self::F16 => f16::from_le_bytes(bytes(tile, at * 2)).to_f32(),
                Self::Q8_0 => {
                    let start = i / Q8_VALUES * Q8_BYTES * KEY_TILE;
                    let scale = f16::from_le_bytes(bytes(tile, start + lane * 2));
                    let codes = start + 2 * KEY_TILE;
                    q8_value(scale, tile[codes + i % Q8_VALUES * KEY_TILE + lane])
                }
            };
        }
    }
}

/// Where the tile of a page's keys is that holds row `row`, for tiles of
/// `tile_bytes`, and which of the tile's positions that is.
pub fn key_tile(row: usize, tile_bytes: usize) -> (Range<usize>, usize) {
    let start = row / KEY_TILE * tile_bytes;
    (start..start + tile_bytes, row % KEY_TILE)
}

fn bytes<const N: usize>(from: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|i| from[at + i])
}

/// The scale of a block and the factor that makes codes of its values.
fn q8_scale(values: &[f32; Q8_VALUES]) -> (f16, f32) {
    let largest = values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let scale = largest / 127.0;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    (f16::from_f32(scale), inverse)
}

fn q8_code(value: f32, inverse: f32) -> u8 {
    (value * inverse).round() as i8 as u8
}

/// Exact: 8 bits times 11 bits fit into 24.
fn q8_value(scale: f16, code: u8) -> f32 {
    f32::from(code as i8) * scale.to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_come_back_within_the_formats_error(
            values in proptest::collection::vec(-8.0f32..8.0, 64),
            lane in 0usize..KEY_TILE,
        ) {
            let largest = values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            for (format, bound) in [
                (KvFormat::F32, 0.0),
                (KvFormat::F16, largest * 2f32.powi(-11) + 1e-7),
                // half a step, and the scale's own rounding
                (KvFormat::Q8_0, largest * (0.5 / 127.0 + 2f32.powi(-10)) + 1e-6),
            ] {
                let mut row = vec![0; format.row_bytes(64).unwrap()];
                format.store_value(&values, &mut row);
                let mut back = vec![0.0; 64];
                format.load_value(&row, &mut back);
                for (a, b) in values.iter().zip(&back) {
                    prop_assert!((a - b).abs() <= bound, "{format:?}: {a} {b}");
                }
                let mut tile = vec![0; format.tile_bytes(64).unwrap()];
                let mut key = vec![0.0; 64];
                format.store_key(&values, lane, |at, bytes| {
                    tile[at..at + bytes.len()].copy_from_slice(bytes);
                });
                format.load_key(&tile, lane, &mut key);
                prop_assert_eq!(&key, &back);
            }
        }
    }

    #[test]
    fn the_keys_of_a_tile_fill_it_without_overlap() {
        for format in [KvFormat::F32, KvFormat::F16, KvFormat::Q8_0] {
            let mut written = vec![0; format.tile_bytes(96).unwrap()];
            for lane in 0..KEY_TILE {
                format.store_key(&[1.0; 96], lane, |at, bytes| {
                    written[at..at + bytes.len()]
                        .iter_mut()
                        .for_each(|n| *n += 1);
                });
            }
            assert!(written.iter().all(|&n| n == 1), "{format:?}");
        }
    }

    #[test]
    fn q8_needs_whole_blocks() {
        assert_eq!(KvFormat::Q8_0.row_bytes(48), None);
        assert_eq!(KvFormat::Q8_0.row_bytes(64), Some(68));
    }
}
