use super::*;
use proptest::prelude::*;

/// Keys and values in runs of equal length.
struct Runs {
    positions: usize,
    keys: Vec<Vec<u8>>,
    values: Vec<Vec<u8>>,
}

impl KvRuns for Runs {
    fn run(&self, position: usize) -> (usize, &[u8], &[u8]) {
        let index = position / self.positions;
        let first = index * self.positions;
        (first, &self.keys[index], &self.values[index])
    }
}

/// A sequence's keys and values as they were stored, and as floats.
struct Sequence {
    runs: Runs,
    keys: Vec<f32>,
    values: Vec<f32>,
}

fn noise(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 * 4.0 - 2.0
    };
    (0..n).map(|_| next()).collect()
}

/// A sequence whose positions nothing was stored at hold NaN.
fn sequence(
    shape: &AttentionShape,
    positions: usize,
    run: usize,
    seed: u32,
    spoil: Option<usize>,
) -> Sequence {
    let tile_bytes = shape.format.tile_bytes(shape.key_len).unwrap();
    let value_bytes = shape.format.row_bytes(shape.value_len).unwrap();
    let count = positions.div_ceil(run);
    let mut runs = Runs {
        positions: run,
        keys: vec![vec![0xff; run / KEY_TILE * tile_bytes]; count],
        values: vec![vec![0xff; run * value_bytes]; count],
    };
    let mut keys = noise(positions * shape.key_len, seed);
    let mut values = noise(positions * shape.value_len, seed ^ 77);
    for position in 0..positions {
        let key = &mut keys[position * shape.key_len..][..shape.key_len];
        let value = &mut values[position * shape.value_len..][..shape.value_len];
        if spoil == Some(position) {
            key.fill(f32::NAN);
            value.fill(f32::NAN);
        }
        let (index, row) = (position / run, position % run);
        let (tile, lane) = crate::cpu::kv::key_tile(row, tile_bytes);
        let tile = &mut runs.keys[index][tile];
        shape.format.store_key(key, lane, |at, bytes| {
            tile[at..at + bytes.len()].copy_from_slice(bytes);
        });
        shape.format.load_key(tile, lane, key);
        let row = &mut runs.values[index][row * value_bytes..][..value_bytes];
        shape.format.store_value(value, row);
        shape.format.load_value(row, value);
    }
    Sequence { runs, keys, values }
}

fn naive(shape: &AttentionShape, query: &[f32], sequence: &Sequence, at: usize) -> Vec<f64> {
    let visible = shape.visible(at);
    let scores: Vec<f64> = visible
        .clone()
        .map(|j| {
            let key = &sequence.keys[j * shape.key_len..][..shape.key_len];
            let pairs = query.iter().zip(key);
            let s: f64 = pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            let s = s * f64::from(shape.scale);
            let cap = shape.soft_cap.map(f64::from);
            cap.map_or(s, |cap| cap * (s / cap).tanh())
        })
        .collect();
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = scores.iter().map(|s| (s - max).exp()).sum();
    let element = |d: usize| {
        let weighted = visible.clone().zip(&scores).map(|(j, s)| {
            (s - max).exp() / total * f64::from(sequence.values[j * shape.value_len + d])
        });
        weighted.sum()
    };
    (0..shape.value_len).map(element).collect()
}

/// Columns from `position` on, in one tile: their outputs one after the other.
fn outputs(
    isa: Isa,
    shape: &AttentionShape,
    queries: &[f32],
    columns: usize,
    position: usize,
    runs: &Runs,
) -> Vec<f32> {
    let len = shape.group * shape.key_len;
    let tile = QueryTile {
        queries: &|column| &queries[column * len..][..len],
        columns,
        position,
    };
    let mut out = vec![7.0; columns * shape.group * shape.value_len];
    let mut places = out.chunks_exact_mut(shape.group * shape.value_len);
    let mut scratch = AttentionScratch::default();
    attend(isa, shape, &tile, runs, &mut scratch, &mut |_| {
        places.next().unwrap()
    });
    out
}

/// As [`outputs`], by splits that are merged afterwards.
fn outputs_by_splits(
    isa: Isa,
    shape: &AttentionShape,
    tile: &QueryTile<'_>,
    runs: &Runs,
) -> Vec<f32> {
    let mut scratch = AttentionScratch::default();
    let (rows, len) = (tile.columns * shape.group, shape.part_len());
    let splits = tile.splits(shape);
    let mut parts = vec![0.0; rows * splits.len() * len];
    for split in splits.clone() {
        let at = split - splits.start;
        let mut places = parts.chunks_exact_mut(len).skip(at).step_by(splits.len());
        attend_split(isa, shape, tile, runs, split, &mut scratch, &mut |_| {
            places.next().unwrap()
        });
    }
    let mut out = vec![7.0; rows * shape.value_len];
    let parts = parts.chunks_exact(splits.len() * len);
    for (parts, out) in parts.zip(out.chunks_exact_mut(shape.value_len)) {
        merge_splits(isa, shape, parts, &mut scratch, out);
    }
    out
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

fn shapes() -> impl Strategy<Value = AttentionShape> {
    let format = prop::sample::select(vec![KvFormat::F32, KvFormat::F16, KvFormat::Q8_0]);
    let lens = prop::sample::select(vec![3usize, 20, 24, 64, 80, 96, 112, 128, 256]);
    let window = prop::option::of(1usize..700);
    (
        1usize..10,
        lens.clone(),
        lens,
        format,
        any::<bool>(),
        window,
    )
        .prop_map(|(group, key_len, value_len, format, capped, window)| {
            // Blocks of 32 in this format.
            let fit = |len: usize| match format {
                KvFormat::Q8_0 => len.next_multiple_of(32),
                _ => len,
            };
            let (key_len, value_len) = (fit(key_len), fit(value_len));
            AttentionShape {
                group,
                key_len,
                value_len,
                scale: 1.0 / (key_len as f32).sqrt(),
                soft_cap: capped.then_some(5.0),
                window,
                format,
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn is_softmax_whatever_the_tile_the_splits_and_the_instruction_set(
        shape in shapes(),
        position in 0usize..1400,
        columns in 1usize..=TILE_COLUMNS,
        run in prop::sample::select(vec![16usize, 64, 96, 256]),
        seed in any::<u32>(),
    ) {
        let sequence = sequence(&shape, position + columns, run, seed, None);
        let runs = &sequence.runs;
        let (query_len, out_len) = (shape.group * shape.key_len, shape.group * shape.value_len);
        let queries = noise(columns * query_len, seed ^ 5);
        let best = Isa::detect();
        let found = outputs(best, &shape, &queries, columns, position, runs);
        // The first, the last and one in between, alone.
        for column in [0, columns / 2, columns - 1] {
            let query = &queries[column * query_len..][..query_len];
            let part = &found[column * out_len..][..out_len];
            for isa in Isa::available() {
                let alone = outputs(isa, &shape, query, 1, position + column, runs);
                prop_assert_eq!(bits(&alone), bits(part), "{}", isa.name());
            }
            for head in 0..shape.group {
                let query = &query[head * shape.key_len..][..shape.key_len];
                let exact = naive(&shape, query, &sequence, position + column);
                for (a, b) in part[head * shape.value_len..].iter().zip(&exact) {
                    prop_assert!((f64::from(*a) - b).abs() < 1e-5, "{a} for {b}");
                }
            }
        }
        let tile = QueryTile {
            queries: &|column| &queries[column * query_len..][..query_len],
            columns,
            position,
        };
        let by_splits = outputs_by_splits(best, &shape, &tile, runs);
        prop_assert_eq!(bits(&by_splits), bits(&found));
    }

    #[test]
    fn a_nan_shows_where_it_is_seen_and_nowhere_else(
        shape in shapes(),
        position in 0usize..200,
        columns in 1usize..=TILE_COLUMNS,
        spoiled in 0usize..216,
        seed in any::<u32>(),
    ) {
        prop_assume!(shape.format != KvFormat::Q8_0 && spoiled < position + columns);
        let sequence = sequence(&shape, position + columns, 64, seed, Some(spoiled));
        let queries = noise(columns * shape.group * shape.key_len, seed ^ 5);
        let found = outputs(Isa::detect(), &shape, &queries, columns, position, &sequence.runs);
        for (column, out) in found.chunks_exact(shape.group * shape.value_len).enumerate() {
            let sees = shape.visible(position + column).contains(&spoiled);
            prop_assert!(out.iter().all(|x| x.is_nan() == sees), "column {column}");
        }
    }
}
