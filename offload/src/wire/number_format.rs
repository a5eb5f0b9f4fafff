//! How the values of hidden states cross the wire.

use half::bf16;
use serde::{Deserialize, Serialize};

/// Values in a block of [`NumberFormat::Q8`].
const BLOCK: usize = 32;

/// How a value of a hidden state is written. All are little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum NumberFormat {
    /// 4 bytes, exact.
    #[default]
    F32,
    /// 2 bytes, rounded to the nearest.
    Bf16,
    /// Blocks of 32 values, the last of a column may be shorter: an f32 scale
    /// and a signed byte for each value. A block that holds an infinity or a
    /// NaN is all NaN.
    Q8,
}

impl NumberFormat {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::Q8];

    /// The name users write.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Q8 => "q8",
        }
    }

    /// Bytes of a column of `width` values.
    pub fn column_bytes(self, width: usize) -> usize {
        match self {
            Self::F32 => width * 4,
            Self::Bf16 => width * 2,
            Self::Q8 => width + width.div_ceil(BLOCK) * 4,
        }
    }

    pub(super) fn code(self) -> u8 {
        match self {
            Self::F32 => 0,
            Self::Bf16 => 1,
            Self::Q8 => 2,
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.code() == code)
    }

    /// Appends a column.
    pub(super) fn write(self, column: &[f32], out: &mut Vec<u8>) {
        match self {
            Self::F32 => out.extend(column.iter().flat_map(|x| x.to_le_bytes())),
            Self::Bf16 => {
                out.extend((column.iter()).flat_map(|&x| bf16::from_f32(x).to_le_bytes()));
            }
            Self::Q8 => column.chunks(BLOCK).for_each(|block| write_q8(block, out)),
        }
    }

    /// Appends the values of a column of `width`, whose bytes these are.
    pub(super) fn read(self, bytes: &[u8], width: usize, out: &mut Vec<f32>) {
        match self {
            Self::F32 => {
                let (values, _) = bytes.as_chunks();
                out.extend(values.iter().map(|&x| f32::from_le_bytes(x)));
            }
            Self::Bf16 => {
                let (values, _) = bytes.as_chunks();
                out.extend(values.iter().map(|&x| bf16::from_le_bytes(x).to_f32()));
            }
            Self::Q8 => {
                debug_assert_eq!(bytes.len(), self.column_bytes(width));
                for block in bytes.chunks(BLOCK + 4) {
                    if let Some((&scale, values)) = block.split_first_chunk() {
                        let scale = f32::from_le_bytes(scale);
                        out.extend(values.iter().map(|&x| f32::from(x.cast_signed()) * scale));
                    }
                }
            }
        }
    }
}

fn write_q8(block: &[f32], out: &mut Vec<u8>) {
    // `f32::max` leaves NaNs out, and they must not pass for zeros.
    let finite = block.iter().all(|x| x.is_finite());
    let most = block.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
    let scale = if finite { most / 127.0 } else { f32::NAN };
    let inverse = if most > 0.0 { 127.0 / most } else { 0.0 };
    out.extend(scale.to_le_bytes());
    // A cast of what is no number gives 0, one beyond the range its end.
    out.extend((block.iter()).map(|&x| ((x * inverse).round() as i8).cast_unsigned()));
}
