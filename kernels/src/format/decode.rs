//! Decoding of whole blocks of any format.

use super::fp4::Mxfp4;
use super::iq4::{Iq4Nl, Iq4Xs};
use super::k_quants::{Q2K, Q3K, Q4K, Q5K, Q6K};
use super::legacy::{Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
use super::{
    Format, FormatError, check_lengths, float, fp4, integer, iq1, iq2, iq3, k_quants, ternary,
};

/// Decodes `blocks` into the values they stand for, exactly.
///
/// # Errors
///
/// When `blocks` is not whole blocks, when `out` has another length than the
/// blocks have values, or when `format` holds integers.
pub fn dequantize(format: Format, blocks: &[u8], out: &mut [f32]) -> Result<(), FormatError> {
    check_lengths(format, blocks.len(), out.len())?;
    decode_blocks(format, blocks, out);
    Ok(())
}

/// [`dequantize`] for lengths that are known to match and formats that are
/// weights; inlined, so that it is compiled for the instruction set of the
/// kernel it is used in. Where lengths do not match, the surplus is left alone.
#[inline(always)]
pub(crate) fn decode_blocks(format: Format, blocks: &[u8], out: &mut [f32]) {
    match format {
        Format::F32 | Format::F16 | Format::BF16 | Format::F64 => {
            float::decode(format, blocks, out)
        }
        Format::Q4_0 => integer::decode::<_, Q4_0>(blocks, out),
        Format::Q4_1 => integer::decode::<_, Q4_1>(blocks, out),
        Format::Q5_0 => integer::decode::<_, Q5_0>(blocks, out),
        Format::Q5_1 => integer::decode::<_, Q5_1>(blocks, out),
        Format::Q8_0 => integer::decode::<_, Q8_0>(blocks, out),
        Format::Q2_K => integer::decode::<_, Q2K>(blocks, out),
        Format::Q3_K => integer::decode::<_, Q3K>(blocks, out),
        Format::Q4_K => integer::decode::<_, Q4K>(blocks, out),
        Format::Q5_K => integer::decode::<_, Q5K>(blocks, out),
        Format::Q6_K => integer::decode::<_, Q6K>(blocks, out),
        Format::IQ4_NL => integer::decode::<_, Iq4Nl>(blocks, out),
        Format::IQ4_XS => integer::decode::<_, Iq4Xs>(blocks, out),
        Format::MXFP4 => integer::decode::<_, Mxfp4>(blocks, out),
        Format::Q8_K => each(blocks, out, k_quants::q8_k),
        Format::Q1_0 => each(blocks, out, iq1::q1_0),
        Format::IQ1_S => each(blocks, out, iq1::iq1_s),
        Format::IQ1_M => each(blocks, out, iq1::iq1_m),
        Format::IQ2_XXS => each(blocks, out, iq2::iq2_xxs),
        Format::IQ2_XS => each(blocks, out, iq2::iq2_xs),
        Format::IQ2_S => each(blocks, out, iq2::iq2_s),
        Format::IQ3_XXS => each(blocks, out, iq3::iq3_xxs),
        Format::IQ3_S => each(blocks, out, iq3::iq3_s),
        Format::TQ1_0 => each(blocks, out, ternary::tq1_0),
        Format::TQ2_0 => each(blocks, out, ternary::tq2_0),
        Format::NVFP4 => each(blocks, out, fp4::nvfp4),
        Format::I8 | Format::I16 | Format::I32 | Format::I64 => {}
    }
}

#[inline(always)]
fn each<const BYTES: usize, const LEN: usize>(
    blocks: &[u8],
    out: &mut [f32],
    decode: impl Fn(&[u8; BYTES], &mut [f32; LEN]),
) {
    for (block, out) in blocks
        .as_chunks::<BYTES>()
        .0
        .iter()
        .zip(out.as_chunks_mut::<LEN>().0)
    {
        decode(block, out);
    }
}
