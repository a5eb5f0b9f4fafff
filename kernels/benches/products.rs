//! Products of 64 MiB of weights with some columns, on one thread: GB/s of
//! weights and, as items, operations per second (two for each weight and
//! column).
//!
//!     cargo bench -p outrigger-kernels --bench products

use divan::{
    Bencher,
    counter::{BytesCount, ItemsCount},
};
use outrigger_kernels::{
    cpu::{
        activation::{Q8Group, quantize_row},
        dot::{ActivationKind, Columns, Matrix, Pick, Scratch},
        isa::Isa,
    },
    format::Format,
};

/// Values of a row: the width of the 1B shape.
const COLS: usize = 2048;

const BYTES: usize = 64 << 20;

const FORMATS: [&str; 10] = [
    "q4_0", "q8_0", "q4_k", "q5_k", "q6_k", "iq4_xs", "mxfp4", "f16", "bf16", "f32",
];

fn main() {
    divan::main();
}

#[divan::bench(args = FORMATS, consts = [1, 2, 4, 8, 32], sample_count = 10)]
fn best<const COLUMNS: usize>(bencher: Bencher<'_, '_>, format: &str) {
    products::<COLUMNS>(bencher, Isa::detect(), format);
}

#[divan::bench(args = FORMATS, consts = [1, 8], sample_count = 10)]
fn avx2<const COLUMNS: usize>(bencher: Bencher<'_, '_>, format: &str) {
    if let Some(isa) = Isa::named("avx2") {
        products::<COLUMNS>(bencher, isa, format);
    }
}

#[divan::bench(args = FORMATS, consts = [1, 8], sample_count = 10)]
fn avx512bw<const COLUMNS: usize>(bencher: Bencher<'_, '_>, format: &str) {
    if let Some(isa) = Isa::named("avx512bw") {
        products::<COLUMNS>(bencher, isa, format);
    }
}

fn products<const COLUMNS: usize>(bencher: Bencher<'_, '_>, isa: Isa, format: &str) {
    let Some(format) = Format::from_name(format) else {
        return;
    };
    let row_bytes = COLS / format.block_len() * format.block_bytes();
    let rows = BYTES / row_bytes;
    // Small codes and scales, the same everywhere: only their number matters.
    let weights = vec![0x11; rows * row_bytes];
    let Ok(matrix) = Matrix::new(format, &weights, rows, COLS) else {
        return;
    };
    let values: Vec<f32> = (0..COLS * COLUMNS).map(|i| (i as f32).sin()).collect();
    let mut groups = vec![Q8Group::ZERO; Q8Group::count(COLS) * COLUMNS];
    for (values, groups) in values
        .chunks(COLS)
        .zip(groups.chunks_mut(Q8Group::count(COLS)))
    {
        quantize_row(isa, values, groups);
    }
    let columns = match ActivationKind::of(format) {
        ActivationKind::Q8 => Columns::Q8(&groups),
        ActivationKind::F32 => Columns::F32(&values),
    };
    let mut scratch = Scratch::default();
    bencher
        .counter(BytesCount::new(weights.len()))
        .counter(ItemsCount::new(2 * rows * COLS * COLUMNS))
        .bench_local(|| {
            let mut sum = 0.0;
            let sink = |_, _, products: &[f32]| sum += products[0];
            matrix.multiply(isa, 0..rows, columns, Pick::All, &mut scratch, sink);
            sum
        });
}
