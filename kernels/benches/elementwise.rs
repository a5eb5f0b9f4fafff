//! What is done to one column between the products, on one thread.
//!
//!     cargo bench -p outrigger-kernels --bench elementwise

use divan::{Bencher, counter::BytesCount};
use outrigger_kernels::cpu::{
    activation::{Q8Group, quantize_row},
    elementwise::{Activation, gate},
    isa::Isa,
    norm::rms_norm,
    rope::{Pairing, rotate},
    vector::add_scaled,
};

/// Values of a column of the 1B shape.
const WIDTH: usize = 2048;

/// Values of its gates.
const HIDDEN: usize = 8192;

fn sets() -> impl Iterator<Item = &'static str> {
    Isa::available().into_iter().map(Isa::name)
}

fn main() {
    divan::main();
}

fn isa(name: &str) -> Isa {
    let found = Isa::available().into_iter().find(|isa| isa.name() == name);
    found.unwrap_or(Isa::portable())
}

fn column(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i as f32 * 0.37).sin() * 3.0).collect()
}

#[divan::bench(args = sets())]
fn norm(bencher: Bencher<'_, '_>, set: &str) {
    let (isa, x, weight) = (isa(set), column(WIDTH), column(WIDTH));
    let mut out = vec![0.0; WIDTH];
    bencher
        .counter(BytesCount::of_slice(&x))
        .bench_local(|| rms_norm(isa, &x, &weight, 1e-5, &mut out));
}

#[divan::bench(args = sets())]
fn quantize(bencher: Bencher<'_, '_>, set: &str) {
    let (isa, x) = (isa(set), column(WIDTH));
    let mut out = vec![Q8Group::ZERO; Q8Group::count(WIDTH)];
    bencher
        .counter(BytesCount::of_slice(&x))
        .bench_local(|| quantize_row(isa, &x, &mut out));
}

#[divan::bench(args = sets())]
fn silu_gate(bencher: Bencher<'_, '_>, set: &str) {
    let (isa, up) = (isa(set), column(HIDDEN));
    let mut x = column(HIDDEN);
    bencher
        .counter(BytesCount::of_slice(&up))
        .bench_local(|| gate(isa, Activation::Silu, &mut x, &up));
}

#[divan::bench(args = sets())]
fn rotation_of_40_heads(bencher: Bencher<'_, '_>, set: &str) {
    let isa = isa(set);
    let (cos, sin) = ([0.8; 32], [0.6; 32]);
    let mut heads = column(40 * 64);
    bencher
        .counter(BytesCount::of_slice(&heads))
        .bench_local(|| {
            for head in heads.chunks_exact_mut(64) {
                rotate(isa, head, Pairing::Interleaved, &cos, &sin);
            }
        });
}

#[divan::bench(args = sets())]
fn residual(bencher: Bencher<'_, '_>, set: &str) {
    let (isa, x) = (isa(set), column(WIDTH));
    let mut y = column(WIDTH);
    bencher
        .counter(BytesCount::of_slice(&x))
        .bench_local(|| add_scaled(isa, &mut y, 1e-3, &x));
}
