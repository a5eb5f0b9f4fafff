//! The calls, each with what it needs.

use super::aligned::Aligned;
use llama_cpp_sys_2 as sys;
use outrigger_kernels::format::Format;
use std::{ffi::c_int, ptr, sync::Once};

/// ggml's name of a format. The enum's width is the C compiler's choice.
fn number(format: Format) -> sys::ggml_type {
    format.ggml_type() as sys::ggml_type
}

/// Whether ggml refuses to make `format` without an importance matrix.
pub(super) fn requires_importance(format: Format) -> bool {
    // SAFETY: compares a number with others.
    unsafe { sys::ggml_quantize_requires_imatrix(number(format)) }
}

/// Encodes rows of `cols` values; `false` if the blocks came out invalid.
///
/// # Safety
///
/// `format` is one that ggml encodes, and `importance` is there if
/// [`requires_importance`]; `values` is whole rows of whole blocks,
/// `importance` has `cols` values, and `out` is as long as the blocks of all
/// values.
pub(super) unsafe fn quantize(
    format: Format,
    values: &[f32],
    cols: usize,
    importance: Option<&[f32]>,
    out: &mut Aligned,
) -> bool {
    let number = number(format);
    let out = out.bytes_mut();
    let rows = values.len() / cols;
    let importance = importance.map_or(ptr::null(), <[f32]>::as_ptr);
    // SAFETY: by the contract above ggml reads `rows * cols` values and `cols`
    // importances, and writes no more than `out` holds. Slices are at most
    // `isize::MAX` bytes long, so that the counts fit.
    let written = unsafe {
        sys::ggml_quantize_chunk(
            number,
            values.as_ptr(),
            out.as_mut_ptr().cast(),
            0,
            rows as i64,
            cols as i64,
            importance,
        )
    };
    // SAFETY: reads the bytes of `out`, which are whole blocks.
    let valid = unsafe { sys::ggml_validate_row_data(number, out.as_ptr().cast(), out.len()) };
    valid && written == out.len()
}

/// Decodes blocks; `None` if ggml has no decoder for `format`.
///
/// # Safety
///
/// `blocks` is as long as the blocks of as many values as `out` has.
pub(super) unsafe fn dequantize(format: Format, blocks: &Aligned, out: &mut [f32]) -> Option<()> {
    // SAFETY: every `Format` is a type of ggml's table, which is static.
    let traits = unsafe { &*sys::ggml_get_type_traits(number(format)) };
    let decode = traits.to_float?;
    let blocks = blocks.bytes().as_ptr().cast();
    // SAFETY: by the contract above it reads what `blocks` holds and writes
    // what `out` holds.
    unsafe { decode(blocks, out.as_mut_ptr(), out.len() as i64) };
    Some(())
}

/// Whether this processor has what ggml's CPU backend is compiled for: the
/// build script of `llama-cpp-sys-2` takes AVX2 for granted on x86-64.
pub(super) fn backend_runs_here() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
        && is_x86_feature_detected!("bmi2");
    #[cfg(not(target_arch = "x86_64"))]
    return true;
}

/// The product of a row and `values`; `None` if ggml has none for `format`.
///
/// # Safety
///
/// [`backend_runs_here`], and `row` is as long as the blocks of as many values.
pub(super) unsafe fn dot(format: Format, row: &Aligned, values: &[f32]) -> Option<f32> {
    static TABLES: Once = Once::new();
    // SAFETY: fills tables, once.
    TABLES.call_once(|| unsafe { sys::ggml_cpu_init() });
    let count = values.len();
    // SAFETY: every `Format` is a type of ggml's table, which is static.
    let traits = unsafe { &*sys::ggml_get_type_traits_cpu(number(format)) };
    let multiply = traits.vec_dot?;
    let other = traits.vec_dot_type;
    // SAFETY: the table's own entry is a type of the table.
    let other_traits = unsafe { &*sys::ggml_get_type_traits_cpu(other) };
    // SAFETY: sizes of a type of the table; the row is whole blocks of it too,
    // because every type is multiplied with one of blocks no longer than its
    // own.
    let bytes = unsafe { sys::ggml_row_size(other, count as i64) };
    let mut rounded = Aligned::zeroed(bytes);
    match other_traits.from_float {
        // SAFETY: reads `count` values and writes the row that `rounded` is as
        // long as.
        Some(round) => unsafe {
            let rounded = rounded.bytes_mut().as_mut_ptr().cast();
            round(values.as_ptr(), rounded, count as i64);
        },
        None if other == number(Format::F32) => {
            let values = bytemuck::cast_slice(values);
            rounded.bytes_mut().copy_from_slice(values);
        }
        None => return None,
    }
    let mut product = 0.0;
    // SAFETY: reads a row of each type, of `count` values, which the two
    // buffers hold by the contract above and by `bytes`; writes one value.
    unsafe {
        multiply(
            c_int::try_from(count).ok()?,
            &mut product,
            0,
            row.bytes().as_ptr().cast(),
            0,
            rounded.bytes().as_ptr().cast(),
            0,
            1,
        );
    }
    Some(product)
}
