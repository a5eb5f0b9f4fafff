//! IQ4_NL and IQ4_XS: four-bit codes for sixteen unevenly spaced values.
//!
//! | format | bytes |
//! |---|---|
//! | IQ4_NL | 32 values: half scale, 16 bytes of codes as in Q4_0 |
//! | IQ4_XS | 256 values: half scale, u16 with the high two bits and 4 bytes with the low four bits of a scale per 32 values (less 32), 128 bytes of codes, each 16 as in Q4_0 |

use std::array;

use super::codebook::IQ4_VALUES;
use super::float::half_at;
use super::integer::{Group, IntegerFormat, bytes_at, nibble_codes};
use super::legacy::halves;

pub(crate) struct Iq4Nl;
pub(crate) struct Iq4Xs;

#[inline(always)]
fn values(quants: &[u8; 16]) -> [i8; 32] {
    nibble_codes(quants, |code| IQ4_VALUES[usize::from(code)])
}

impl IntegerFormat<72> for Iq4Nl {
    const BLOCK_BYTES: usize = 18;
    const BLOCK_LEN: usize = 32;
    const MINS: bool = false;

    #[inline(always)]
    fn group(unit: &[u8; 72], _: usize) -> Group {
        Group {
            codes: array::from_fn(|block| values(bytes_at(unit, block * 18 + 2))),
            scales: halves(unit, 0),
            mins: [[0.0; 4]; 2],
        }
    }
}

impl IntegerFormat<136> for Iq4Xs {
    const BLOCK_BYTES: usize = 136;
    const BLOCK_LEN: usize = 256;
    const MINS: bool = false;

    #[inline(always)]
    fn group(block: &[u8; 136], index: usize) -> Group {
        let scale = half_at(block, 0);
        let high = u16::from_le_bytes(*bytes_at(block, 2)) >> (8 * index);
        let low = bytes_at::<2>(block, 4 + 2 * index);
        Group {
            codes: array::from_fn(|run| values(bytes_at(block, 8 + 64 * index + 16 * run))),
            scales: [array::from_fn(|run| {
                let low = (low[run / 2] >> (4 * (run % 2))) & 0x0f;
                let high = (high >> (2 * run)) as u8 & 3;
                scale * f32::from((low | (high << 4)) as i8 - 32)
            }); 2],
            mins: [[0.0; 4]; 2],
        }
    }
}
