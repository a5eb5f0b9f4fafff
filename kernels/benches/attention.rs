//! Attention of the 1B shape (32 query heads, 8 KV heads, 64 values a head),
//! one layer on one thread.
//!
//!     cargo bench -p outrigger-kernels --bench attention
//!
//! A byte is one of keys and values read, an item one floating-point operation;
//! `--bench limits` shows what the machine could do.

use divan::{
    Bencher,
    counter::{BytesCount, ItemsCount},
};
use outrigger_kernels::cpu::{
    attention::{AttentionScratch, AttentionShape, KvRuns, QueryTile, TILE_COLUMNS, attend},
    isa::Isa,
    kv::KvFormat,
};

const KV_HEADS: usize = 8;
const GROUP: usize = 4;
const LEN: usize = 64;
const PAGE: usize = 64;

fn main() {
    divan::main();
}

/// One KV head's keys and values in pages, which lie behind each other.
struct Head {
    key_bytes: usize,
    keys: Vec<u8>,
    values: Vec<u8>,
}

impl KvRuns for Head {
    fn run(&self, position: usize) -> (usize, &[u8], &[u8]) {
        let first = position / PAGE * PAGE;
        let part = first * self.key_bytes..(first + PAGE) * self.key_bytes;
        (first, &self.keys[part.clone()], &self.values[part])
    }
}

fn shape(format: KvFormat) -> AttentionShape {
    AttentionShape {
        group: GROUP,
        key_len: LEN,
        value_len: LEN,
        scale: 0.125,
        soft_cap: None,
        window: None,
        format,
    }
}

/// Heads of `positions` positions, all alike but in memory of their own.
fn heads(format: KvFormat, positions: usize) -> Vec<Head> {
    let positions = positions.next_multiple_of(PAGE);
    let key_bytes = format.row_bytes(LEN).unwrap_or(0);
    let value: Vec<f32> = (0..LEN).map(|i| (i as f32 * 0.7).sin()).collect();
    let mut row = vec![0; key_bytes];
    format.store_value(&value, &mut row);
    let mut tile = vec![0; 16 * key_bytes];
    for lane in 0..16 {
        format.store_key(&value, lane, |at, bytes| {
            tile[at..at + bytes.len()].copy_from_slice(bytes);
        });
    }
    let head = || Head {
        key_bytes,
        keys: tile.repeat(positions / 16),
        values: row.repeat(positions),
    };
    (0..KV_HEADS).map(|_| head()).collect()
}

fn queries(columns: usize) -> Vec<f32> {
    let count = columns * KV_HEADS * GROUP * LEN;
    (0..count).map(|i| (i as f32 * 0.37).cos()).collect()
}

/// All columns from position `from` on, in tiles, over all heads.
fn layer(
    isa: Isa,
    shape: &AttentionShape,
    heads: &[Head],
    queries: &[f32],
    from: usize,
    work: &mut (AttentionScratch, Vec<f32>),
) {
    let width = KV_HEADS * GROUP * LEN;
    let columns = queries.len() / width;
    let (scratch, out) = work;
    for first in (0..columns).step_by(TILE_COLUMNS) {
        for (head, rows) in heads.iter().enumerate() {
            let part = |column: usize| {
                let start = (first + column) * width + head * GROUP * LEN;
                start..start + GROUP * LEN
            };
            let tile = QueryTile {
                queries: &|column| &queries[part(column)],
                columns: TILE_COLUMNS.min(columns - first),
                position: from + first,
            };
            let mut outs = out.chunks_exact_mut(GROUP * LEN);
            attend(isa, shape, &tile, rows, scratch, &mut |_| {
                outs.next().expect("a place for each column of a tile")
            });
        }
    }
}

fn bench(bencher: Bencher<'_, '_>, isa: Isa, format: KvFormat, columns: usize, depth: usize) {
    let shape = shape(format);
    let heads = heads(format, depth + columns);
    let queries = queries(columns);
    let mut work = (
        AttentionScratch::default(),
        vec![0.0; TILE_COLUMNS * GROUP * LEN],
    );
    let seen: usize = (0..columns).map(|column| depth + column + 1).sum();
    let row = format.row_bytes(LEN).unwrap_or(0);
    let tiles = columns.div_ceil(TILE_COLUMNS);
    bencher
        .counter(BytesCount::new(
            (depth + columns.div_ceil(2)) * tiles * KV_HEADS * 2 * row,
        ))
        .counter(ItemsCount::new(seen * KV_HEADS * GROUP * 4 * LEN))
        .bench_local(|| layer(isa, &shape, &heads, &queries, depth, &mut work));
}

const FORMATS: [&str; 3] = ["f16", "q8_0", "f32"];

fn format(name: &str) -> KvFormat {
    match name {
        "f16" => KvFormat::F16,
        "q8_0" => KvFormat::Q8_0,
        _ => KvFormat::F32,
    }
}

#[divan::bench(args = FORMATS, consts = [512, 4096, 8192])]
fn decode<const DEPTH: usize>(bencher: Bencher<'_, '_>, name: &str) {
    bench(bencher, Isa::detect(), format(name), 1, DEPTH - 1);
}

#[divan::bench(args = FORMATS)]
fn verify_8_columns_at_4096(bencher: Bencher<'_, '_>, name: &str) {
    bench(bencher, Isa::detect(), format(name), 8, 4096);
}

#[divan::bench(args = FORMATS, sample_count = 10)]
fn prefill_512(bencher: Bencher<'_, '_>, name: &str) {
    bench(bencher, Isa::detect(), format(name), 512, 0);
}

fn sets() -> impl Iterator<Item = &'static str> {
    Isa::available().into_iter().map(Isa::name)
}

#[divan::bench(args = sets(), sample_count = 10)]
fn decode_f16_at_4096_with(bencher: Bencher<'_, '_>, name: &str) {
    let isa = Isa::available().into_iter().find(|isa| isa.name() == name);
    if let Some(isa) = isa {
        bench(bencher, isa, KvFormat::F16, 1, 4095);
    }
}

#[divan::bench(args = sets().skip(1), sample_count = 10)]
fn prefill_512_f16_with(bencher: Bencher<'_, '_>, name: &str) {
    let isa = Isa::available().into_iter().find(|isa| isa.name() == name);
    if let Some(isa) = isa {
        bench(bencher, isa, KvFormat::F16, 512, 0);
    }
}
