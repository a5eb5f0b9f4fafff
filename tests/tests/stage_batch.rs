//! What a stage computes does not depend on how it is asked: on the companions
//! in a batch, its size, the thread count, the instruction set, where the model
//! is split, or what happened to the KV cache in between. All of it bit for bit.

use outrigger_kernels::{cpu::isa::Isa, team::Team};
use outrigger_runtime::{
    kv::{KvFormat, SequenceId},
    stage::{Batch, Pipeline, Span, Stage},
    transcript::Class,
};
use outrigger_tests::{
    local::{Options, load, logits, pipeline},
    reference::nmse,
    stages::{batch, bits, feed, kv_config, reference_file, stage, tokens},
};
use std::sync::{Arc, atomic::AtomicBool};

const A: SequenceId = SequenceId(0);
const B: SequenceId = SequenceId(1);

/// One of each kind of block: norms before, after and at the side, fused and
/// expert matrices, windows, biases, query norms; float, 8-bit and 4-bit.
const MODELS: [(&str, &str); 13] = [
    ("llama3-rope", "F16"),
    ("llama3-rope", "Q8_0"),
    ("llama3-rope", "Q4_0"),
    ("qwen2moe", "Q4_0"),
    ("qwen3moe", "Q8_0"),
    ("gemma3", "Q4_0"),
    ("command-r", "Q8_0"),
    ("command-r-qk-norm", "F16"),
    ("olmo2", "Q4_0"),
    ("starcoder2", "Q8_0"),
    ("granite", "Q8_0"),
    ("mistral", "F16"),
    ("phi3-window", "F16"),
];

/// Those with a sliding window in some or all layers.
const WINDOWED: [(&str, &str); 3] = [
    ("mistral", "F16"),
    ("gemma3", "Q8_0"),
    ("phi3-window", "F16"),
];

/// Every token is below this in all reference models.
const VOCAB: usize = 256;

fn options() -> Options {
    Options {
        sequences: 8,
        ..Options::default()
    }
}

/// A fresh pipeline over a reference model.
fn fresh(model: (&str, &str), options: &Options) -> Pipeline {
    let model = load(&reference_file(model.0, model.1), options);
    pipeline(&model, options)
}

/// The logits of `tokens` as a sequence of their own, in batches of `chunk`.
fn alone(pipeline: &mut Pipeline, tokens: &[u32], class: Class, chunk: usize) -> Vec<Vec<u32>> {
    pipeline.release(A).unwrap();
    pipeline.create(A).unwrap();
    bits(&logits(pipeline, A, tokens, class, chunk).unwrap())
}

/// Logits of the columns of a batch.
fn rows(batch: &Batch, vocab: usize) -> Vec<Vec<u32>> {
    let rows = batch.output.chunks_exact(vocab).map(<[f32]>::to_vec);
    bits(&rows.collect::<Vec<_>>())
}

#[test]
fn sequences_that_share_a_pass_get_what_they_would_get_alone() {
    for model in MODELS {
        let options = options();
        let mut together = fresh(model, &options);
        let mut alone = fresh(model, &options);
        let vocab = together.vocab();
        let mut parts = Vec::new();
        for index in 0..8u32 {
            let id = SequenceId(index);
            let class = [Class::Prompt, Class::Generated][index as usize % 2];
            // 0 to 77 positions from before, and 1 to 8 columns now.
            let before = tokens(index as usize * 11, VOCAB, index + 1);
            let now = tokens((index as usize * 5) % 8 + 1, VOCAB, index + 100);
            for pipeline in [&mut together, &mut alone] {
                pipeline.create(id).unwrap();
                logits(pipeline, id, &before, class, 64).unwrap();
            }
            let mut own = batch(id, before.len() as u32, class, &now);
            alone.forward(&mut own, &AtomicBool::new(false)).unwrap();
            parts.push((own, now));
        }
        // Column by column in turn, so that no sequence's stand together.
        let mut all = Batch::default();
        let mut origin = Vec::new();
        for step in 0..8 {
            for (index, (own, now)) in parts.iter().enumerate() {
                if step < now.len() {
                    all.push(own.columns[step], now[step]);
                    origin.push((index, step));
                }
            }
        }
        together.forward(&mut all, &AtomicBool::new(false)).unwrap();
        let found = rows(&all, vocab);
        assert_eq!(found.len(), origin.len());
        for (found, (index, step)) in found.iter().zip(origin) {
            let wanted = &rows(&parts[index].0, vocab)[step];
            assert!(
                found == wanted,
                "{model:?}: sequence {index}, column {step}"
            );
        }
    }
}

#[test]
fn only_wanted_columns_have_logits_and_they_are_the_same() {
    let options = options();
    let mut pipeline = fresh(("llama3-rope", "Q8_0"), &options);
    let vocab = pipeline.vocab();
    let ids = tokens(20, VOCAB, 3);
    let wanted = alone(&mut pipeline, &ids, Class::Generated, 20);
    pipeline.create(B).unwrap();
    let mut some = batch(B, 0, Class::Generated, &ids);
    for (index, column) in some.columns.iter_mut().enumerate() {
        column.wanted = index % 3 == 1;
    }
    pipeline
        .forward(&mut some, &AtomicBool::new(false))
        .unwrap();
    let wanted: Vec<_> = wanted.into_iter().skip(1).step_by(3).collect();
    assert_eq!(rows(&some, vocab), wanted);
    let mut none = batch(B, 20, Class::Generated, &[1]);
    none.columns[0].wanted = false;
    pipeline
        .forward(&mut none, &AtomicBool::new(false))
        .unwrap();
    assert!(none.output.is_empty());
    assert_eq!(pipeline.len(B), Some(21));
}

#[test]
fn the_number_of_columns_in_a_pass_changes_nothing() {
    for model in MODELS {
        let mut pipeline = fresh(model, &options());
        let ids = tokens(64, VOCAB, 5);
        let wanted = alone(&mut pipeline, &ids, Class::Generated, 1);
        // All sizes for one model, those around the tiles' edges for the rest.
        let all: Vec<usize> = (2..=64).collect();
        let sizes = match model {
            ("llama3-rope", "Q4_0") => &all[..],
            _ => &[2, 7, 8, 9, 17, 64],
        };
        for &size in sizes {
            let found = alone(&mut pipeline, &ids, Class::Generated, size);
            assert!(found == wanted, "{model:?}, {size} columns");
        }
    }
}

#[test]
fn threads_instruction_sets_and_splits_change_nothing() {
    for model in MODELS {
        let ids = tokens(70, VOCAB, 7);
        let run = |options: &Options| {
            let mut pipeline = fresh(model, options);
            let mut rows = alone(&mut pipeline, &ids[..40], Class::Prompt, 33);
            let generated = logits(&mut pipeline, A, &ids[40..], Class::Generated, 3);
            rows.extend(bits(&generated.unwrap()));
            rows
        };
        let base = Options {
            threads: 1,
            isa: Isa::portable(),
            ..options()
        };
        let wanted = run(&base);
        for threads in 2..=8 {
            let options = Options {
                threads,
                ..base.clone()
            };
            assert!(run(&options) == wanted, "{model:?}, {threads} threads");
        }
        for isa in Isa::available() {
            let options = Options {
                isa,
                threads: 2,
                ..base.clone()
            };
            assert!(run(&options) == wanted, "{model:?}, {}", isa.name());
        }
        let layers = load(&reference_file(model.0, model.1), &base).layers.len();
        let mut ways = vec![vec![1]];
        // A stage in the middle needs a layer of its own.
        if layers > 2 {
            ways.extend([vec![layers - 1], vec![1, layers - 1]]);
        } else {
            ways.extend([vec![0], vec![0, 1], vec![1, layers]]);
        }
        for splits in ways {
            let options = Options {
                splits: splits.clone(),
                ..base.clone()
            };
            assert!(run(&options) == wanted, "{model:?}, split at {splits:?}");
        }
    }
}

#[test]
fn threads_that_share_out_a_long_context_change_nothing() {
    // Three ranges of 512 positions, the last begun, or what a window leaves.
    const LEN: usize = 1040;
    for (model, kv) in [
        (("llama3-rope", "Q8_0"), KvFormat::F32),
        (("llama3-rope", "Q4_0"), KvFormat::F16),
        (("qwen3moe", "Q8_0"), KvFormat::F16),
        (("gemma3", "Q4_0"), KvFormat::F32),
        (("command-r-qk-norm", "F16"), KvFormat::F16),
    ] {
        let ids = tokens(LEN + 30, VOCAB, 31);
        let run = |threads| {
            let options = Options {
                threads,
                kv,
                context: 1200,
                ..options()
            };
            let mut pipeline = fresh(model, &options);
            pipeline.create(A).unwrap();
            let mut rows = logits(&mut pipeline, A, &ids[..LEN], Class::Prompt, 400).unwrap();
            // One column, several, and as many as are still shared out.
            let mut start = LEN;
            for (count, chunk) in [(2, 1), (10, 5), (8, 8), (10, 10)] {
                let now = &ids[start..start + count];
                rows.extend(logits(&mut pipeline, A, now, Class::Generated, chunk).unwrap());
                start += count;
            }
            bits(&rows)
        };
        let wanted = run(1);
        for threads in 2..=8 {
            assert!(run(threads) == wanted, "{model:?}, {threads} threads");
        }
    }
}

#[test]
fn a_fork_goes_on_as_a_sequence_of_its_own_would() {
    for model in MODELS {
        let mut pipeline = fresh(model, &options());
        // Across a page's edge, inside a page, and nearly nothing.
        for (length, fork) in [(70, 70), (70, 65), (70, 64), (30, 1)] {
            let prefix = tokens(length, VOCAB, 11);
            let (left, right) = (tokens(20, VOCAB, 12), tokens(20, VOCAB, 13));
            let separate = |pipeline: &mut Pipeline, len: usize, rest: &[u32]| {
                let ids = [&prefix[..len], rest].concat();
                let rows = alone(pipeline, &ids, Class::Generated, 64);
                rows[len..].to_vec()
            };
            let wanted_left = separate(&mut pipeline, length, &left);
            let wanted_right = separate(&mut pipeline, fork, &right);
            alone(&mut pipeline, &prefix, Class::Generated, 64);
            pipeline.release(B).unwrap();
            assert_eq!(pipeline.fork(A, B, fork as u32).unwrap(), fork as u32);
            let right = logits(&mut pipeline, B, &right, Class::Generated, 7);
            let left = logits(&mut pipeline, A, &left, Class::Generated, 9);
            assert!(bits(&left.unwrap()) == wanted_left, "{model:?}, {fork}");
            assert!(bits(&right.unwrap()) == wanted_right, "{model:?}, {fork}");
        }
    }
}

#[test]
fn what_was_truncated_comes_back_the_same() {
    for model in MODELS {
        let mut pipeline = fresh(model, &options());
        let ids = tokens(100, VOCAB, 17);
        let other = tokens(30, VOCAB, 18);
        let wanted = alone(&mut pipeline, &ids, Class::Generated, 10);
        for len in [99u32, 64, 63, 1] {
            assert_eq!(pipeline.truncate(A, len).unwrap(), len);
            logits(&mut pipeline, A, &other, Class::Generated, 10).unwrap();
            assert_eq!(pipeline.truncate(A, len).unwrap(), len);
            let rest = &ids[len as usize..];
            let found = logits(&mut pipeline, A, rest, Class::Generated, 13);
            let found = bits(&found.unwrap());
            assert!(found == wanted[len as usize..], "{model:?}, {len}");
        }
    }
}

#[test]
fn behind_a_window_truncate_asks_for_a_rebuild_which_gives_the_same() {
    for model in WINDOWED {
        for splits in [vec![], vec![1]] {
            let options = Options {
                splits,
                ..options()
            };
            let mut pipeline = fresh(model, &options);
            let ids = tokens(450, VOCAB, 19);
            let wanted = alone(&mut pipeline, &ids, Class::Generated, 30);
            // Within the rollback of 256 positions.
            assert_eq!(pipeline.truncate(A, 300).unwrap(), 300);
            let found = logits(&mut pipeline, A, &ids[300..], Class::Generated, 50);
            assert!(bits(&found.unwrap()) == wanted[300..], "{model:?}");
            // Beyond it all stages have to begin anew.
            assert_eq!(pipeline.truncate(A, 20).unwrap(), 0, "{model:?}");
            assert_eq!(pipeline.len(A), Some(0));
            let found = logits(&mut pipeline, A, &ids, Class::Generated, 64);
            assert!(bits(&found.unwrap()) == wanted, "{model:?}");
            assert_eq!(pipeline.fork(A, B, 20).unwrap(), 0, "{model:?}");
            pipeline.release(B).unwrap();
        }
    }
}

#[test]
fn a_snapshot_goes_on_in_another_stage() {
    for model in MODELS {
        for kv in [KvFormat::F32, KvFormat::F16] {
            let options = Options { kv, ..options() };
            let model_file = load(&reference_file(model.0, model.1), &options);
            let team = Arc::new(Team::new(2).unwrap());
            let layers = model_file.layers.len();
            let kv = kv_config(&model_file, 0..layers, &options);
            let make = || stage(&model_file, &team, Span::whole(layers), kv, &options);
            let (mut first, mut second) = (make(), make());
            let ids = tokens(90, VOCAB, 23);
            first.create(A).unwrap();
            feed(&mut first, &mut batch(A, 0, Class::Prompt, &ids[..70])).unwrap();
            let snapshot = first.snapshot(A).unwrap();
            second.restore(B, &snapshot).unwrap();
            assert_eq!(second.len(B), Some(70));
            let mut wanted = batch(A, 70, Class::Generated, &ids[70..]);
            let mut found = batch(B, 70, Class::Generated, &ids[70..]);
            feed(&mut first, &mut wanted).unwrap();
            feed(&mut second, &mut found).unwrap();
            let vocab = first.output_len();
            assert!(rows(&found, vocab) == rows(&wanted, vocab), "{model:?}");
        }
    }
}

#[test]
fn smaller_caches_are_close_and_as_deterministic() {
    // Rounding to f16 errs by at most 2^-11 of a value, an NMSE of 1e-7; to 8
    // bits by 1/254 of a block's largest, about 3e-5. What reaches the logits
    // is some ten times that, for each layer reads what the one before made
    // of it, and more where another expert is chosen.
    let formats = [(KvFormat::F16, 1e-5), (KvFormat::Q8_0, 2e-3)];
    for model in [
        ("llama3-rope", "F16"),
        ("llama-wide-heads", "F16"),
        ("qwen3", "F16"),
        ("gemma", "F16"),
        ("starcoder2", "F16"),
    ] {
        let ids = tokens(150, VOCAB, 29);
        let run = |kv, threads, chunk| {
            let options = Options {
                kv,
                threads,
                ..options()
            };
            let file = load(&reference_file(model.0, model.1), &options);
            let heads = file.kv_shape(0..1)[0];
            kv.row_bytes(heads.key_len)?;
            let mut pipeline = pipeline(&file, &options);
            pipeline.create(A).unwrap();
            Some(logits(&mut pipeline, A, &ids, Class::Generated, chunk).unwrap())
        };
        let exact = run(KvFormat::F32, 2, 50).unwrap();
        for (format, bound) in formats {
            let Some(rows) = run(format, 2, 50) else {
                continue;
            };
            let pairs = rows.concat().into_iter().zip(exact.concat());
            let error = nmse(pairs);
            println!("{model:?} {}: {error:.1e}", format.name());
            assert!(error > 0.0 && error < bound, "{model:?}: {error:.1e}");
            assert!(
                bits(&rows) == bits(&run(format, 1, 1).unwrap()),
                "{model:?}"
            );
            assert!(
                bits(&rows) == bits(&run(format, 3, 64).unwrap()),
                "{model:?}"
            );
        }
    }
}
