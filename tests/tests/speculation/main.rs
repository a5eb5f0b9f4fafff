//! Speculation: what a draft guesses decides the speed and nothing else.

mod property;

use outrigger_runtime::{
    decoder::{
        DecodeError, DecodeRequest, Decoder, DraftSource, FinishReason, Generation,
        GenerationOptions, LocalDecoder, ModelDraft, SpeculationError, SpeculativeDecoder,
    },
    kv::KvFormat,
    loaded::{LoadedModel, RunOptions},
    model::{
        ModelOptions,
        synthetic::{SyntheticFormats, SyntheticModel, SyntheticShape},
    },
    sampler::{Mirostat, SamplerParams},
    transcript::Transcript,
};
use outrigger_tests::{
    drafts::{Failing, Knowing},
    reference::own_folder,
    stages::{reference_file, tokens},
};
use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// Models with what makes decoders differ: sliding windows, norms on queries
/// and keys, experts, soft-caps, a large head.
const MODELS: [(&str, &str); 6] = [
    ("gemma3", "Q8_0"),
    ("phi3-window", "F16"),
    ("mistral", "F16"),
    ("qwen3", "Q8_0"),
    ("qwen2moe", "Q8_0"),
    ("command-r-qk-norm", "F16"),
];

fn open(path: &Path, context: u32) -> LoadedModel {
    let options = ModelOptions {
        context: Some(context),
        ..ModelOptions::default()
    };
    LoadedModel::open(path, &options).unwrap()
}

fn bundled(name: &str) -> PathBuf {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../edge/assets");
    assets.join(format!("demo-{name}-q8_0.gguf"))
}

fn run_options(threads: usize) -> RunOptions {
    RunOptions {
        threads: Some(threads),
        ..RunOptions::default()
    }
}

fn speculative(
    model: &LoadedModel,
    draft: DraftSource<'_>,
    lengths: RangeInclusive<usize>,
) -> SpeculativeDecoder {
    SpeculativeDecoder::new(model, draft, &run_options(1), lengths).unwrap()
}

fn knowing(text: &[u32], model: &LoadedModel, errors: u32, seed: u32) -> DraftSource<'static> {
    DraftSource::Other(Box::new(Knowing {
        text: text.to_vec(),
        errors,
        vocab: model.model().vocab as u32,
        state: seed | 1,
    }))
}

/// All that a generation gives: the transcript with the sampler's state, the
/// records, the text and the end.
fn run(
    model: &LoadedModel,
    decoder: &mut dyn Decoder,
    start: &Transcript,
    options: &GenerationOptions,
) -> (Generation, String) {
    let tokenizer = model.tokenizer().clone();
    let mut generation = Generation::new(start.clone(), tokenizer, options.clone()).unwrap();
    let mut text = String::new();
    loop {
        let step = generation.step(decoder, &AtomicBool::new(false), &mut |_| ());
        let step = step.unwrap();
        text += step.text;
        if step.finished.is_some() {
            return (generation, text);
        }
    }
}

#[track_caller]
fn assert_same(a: (Generation, String), b: (Generation, String)) {
    let bits = |g: &Generation| -> Vec<_> {
        let bits = |logprob: &f32| logprob.to_bits();
        let record = |r: &outrigger_runtime::decoder::TokenRecord| {
            let top = r.top.iter().map(|t| (t.token, bits(&t.logprob)));
            (
                r.token,
                r.logprob.as_ref().map(bits),
                top.collect::<Vec<_>>(),
            )
        };
        g.records().iter().map(record).collect()
    };
    assert_eq!(bits(&a.0), bits(&b.0));
    assert_eq!(a.1, b.1);
    assert_eq!(a.0.finished(), b.0.finished());
    assert_eq!(a.0.into_transcript(), b.0.into_transcript());
}

fn transcript(sampling: SamplerParams, prompt: &[u32]) -> Transcript {
    let mut transcript = Transcript::new(sampling);
    transcript.push_prompt(prompt);
    transcript
}

/// Samplers of every kind: without a draw, with one, and such as look back or
/// carry a state.
fn samplers() -> [SamplerParams; 6] {
    let sampled = SamplerParams {
        seed: Some(7),
        temperature: 0.9,
        ..SamplerParams::default()
    };
    [
        SamplerParams::greedy(),
        sampled.clone(),
        SamplerParams {
            repeat_penalty: 1.3,
            frequency_penalty: 0.2,
            repeat_last_n: 16,
            ..sampled.clone()
        },
        SamplerParams {
            dry_multiplier: 0.8,
            dry_allowed_length: 1,
            ..SamplerParams::greedy()
        },
        SamplerParams {
            mirostat: Mirostat::V2,
            ..sampled.clone()
        },
        SamplerParams {
            xtc_probability: 0.5,
            temperature: 1.5,
            ..sampled
        },
    ]
}

/// The pair that comes with the program, and that it is worth its while.
#[test]
fn the_bundled_pair_says_what_the_model_alone_says() {
    let (model, draft) = (open(&bundled("target"), 256), open(&bundled("draft"), 256));
    let story = "Once upon a time, there lived a little fox";
    let prompt = model.tokenizer().encode(story, Default::default());
    let prompt = prompt.unwrap();
    for (index, sampling) in samplers().into_iter().enumerate() {
        let start = transcript(sampling, &prompt);
        let options = GenerationOptions {
            tokens_max: Some(60),
            logprobs: Some(2),
            ignore_eos: true,
            ..GenerationOptions::default()
        };
        let mut local = LocalDecoder::new(&model, &run_options(1)).unwrap();
        for lengths in [4..=4, 0..=7] {
            let source = DraftSource::Model(&draft);
            let mut decoder = speculative(&model, source, lengths.clone());
            let with_draft = run(&model, &mut decoder, &start, &options);
            let record = with_draft.0.speculation().unwrap().clone();
            assert_same(with_draft, run(&model, &mut local, &start, &options));
            if lengths == (4..=4) && index < 2 {
                let rate = record.tokens_per_step().unwrap();
                assert!(rate > 2.0, "sampler {index}: {record:?}");
            }
        }
    }
}

/// A draft with another window, another context and a smaller cache than its
/// target, over positions beyond both windows and what they keep behind.
#[test]
fn windows_are_left_and_entered_again() {
    for (name, format) in [("phi3-window", "F16"), ("gemma3", "Q8_0")] {
        let model = open(&reference_file(name, format), 420);
        let sampling = SamplerParams {
            seed: Some(3),
            ..SamplerParams::default()
        };
        let start = transcript(sampling, &tokens(20, 256, 5));
        let options = GenerationOptions {
            tokens_max: Some(400),
            ignore_eos: true,
            ..GenerationOptions::default()
        };
        let mut local = LocalDecoder::new(&model, &run_options(1)).unwrap();
        let (alone, text) = run(&model, &mut local, &start, &options);
        let all = alone.into_transcript();
        let draft = knowing(all.tokens(), &model, 60, 9);
        let mut decoder = speculative(&model, draft, 0..=7);
        let with_draft = run(&model, &mut decoder, &start, &options);
        assert_eq!(with_draft.1, text);
        assert_eq!(with_draft.0.into_transcript(), all);
        let draft = open(&reference_file(name, format), 300);
        let mut decoder = speculative(&model, DraftSource::Model(&draft), 5..=7);
        let with_draft = run(&model, &mut decoder, &start, &options);
        assert_eq!(with_draft.0.into_transcript(), all);
    }
}

#[test]
fn a_draft_that_knows_the_text_makes_full_steps() {
    let model = open(&reference_file("qwen3", "Q8_0"), 256);
    let start = transcript(SamplerParams::greedy(), &[1, 2, 3]);
    let options = GenerationOptions {
        tokens_max: Some(81),
        ignore_eos: true,
        ..GenerationOptions::default()
    };
    let mut local = LocalDecoder::new(&model, &run_options(1)).unwrap();
    let (alone, _) = run(&model, &mut local, &start, &options);
    assert_eq!(alone.speculation(), None);
    // The model is its own best draft.
    let mut decoder = speculative(&model, DraftSource::Model(&model), 7..=7);
    let (with_draft, _) = run(&model, &mut decoder, &start, &options);
    let record = with_draft.speculation().unwrap();
    assert_eq!((record.target_steps, record.tokens), (10, 80));
    assert_eq!((record.drafted, record.accepted), (70, 70));
    assert_eq!(record.acceptance_rate(), Some(1.0));
    assert_eq!(record.tokens_per_step(), Some(8.0));
    assert_eq!(with_draft.records(), alone.records());
    assert_eq!(with_draft.provenance(), alone.provenance());
    // A second generation has a record of its own.
    let (again, _) = run(&model, &mut decoder, &start, &options);
    assert_eq!(again.speculation(), with_draft.speculation());
}

#[test]
fn a_text_that_repeats_itself_is_looked_up() {
    let model = open(&reference_file("qwen3", "Q8_0"), 512);
    // Nothing but what comes next round is likely.
    let sampling = SamplerParams {
        logit_bias: vec![(97, 1e6)],
        ..SamplerParams::greedy()
    };
    let start = transcript(sampling, &[97; 8]);
    let options = GenerationOptions {
        tokens_max: Some(161),
        ..GenerationOptions::default()
    };
    let mut decoder = speculative(&model, DraftSource::Lookup, 7..=7);
    let (generation, text) = run(&model, &mut decoder, &start, &options);
    assert_eq!(text, "a".repeat(161));
    let record = generation.speculation().unwrap();
    assert_eq!(record.draft, "ngram");
    assert_eq!(record.tokens_per_step(), Some(8.0));
}

/// What every decoder promises: an end that is guessed right is the last.
#[test]
fn nothing_comes_behind_an_end() {
    let model = open(&reference_file("qwen3", "Q8_0"), 256);
    let eos = model.tokenizer().eos().unwrap();
    let sampling = SamplerParams {
        logit_bias: vec![(eos, 1e9)],
        ..SamplerParams::greedy()
    };
    let mut start = transcript(sampling, &[1, 2]);
    let mut decoder = speculative(&model, DraftSource::Model(&model), 7..=7);
    // The first step follows on the prompt and drafts nothing.
    for _ in 0..2 {
        let mut out = Vec::new();
        let request = DecodeRequest {
            transcript: &start,
            tokens_max: 8,
            logprobs: None,
            cancel: &AtomicBool::new(false),
            progress: &mut |_| (),
        };
        decoder.decode(request, &mut out).unwrap();
        let tokens: Vec<u32> = out.iter().map(|d| d.token).collect();
        assert_eq!(tokens, [eos]);
        start.commit(eos, out[0].state);
    }
    let record = decoder.speculation().unwrap();
    assert_eq!((record.drafted, record.accepted), (1, 1));
}

#[test]
fn decoders_with_and_without_a_draft_may_take_turns() {
    let model = open(&reference_file("qwen3", "Q8_0"), 256);
    let start = transcript(samplers()[4].clone(), &tokens(30, 256, 2));
    let options = GenerationOptions {
        tokens_max: Some(80),
        ignore_eos: true,
        ..GenerationOptions::default()
    };
    let mut local = LocalDecoder::new(&model, &run_options(1)).unwrap();
    let alone = run(&model, &mut local, &start, &options);
    let mut with_draft = speculative(&model, DraftSource::Model(&model), 0..=7);
    let tokenizer = model.tokenizer().clone();
    let mut turns = Generation::new(start, tokenizer, options).unwrap();
    let mut text = String::new();
    for step in 0.. {
        let decoder: &mut dyn Decoder = match step / 5 % 2 {
            0 => &mut with_draft,
            _ => &mut local,
        };
        let step = turns.step(decoder, &AtomicBool::new(false), &mut |_| ());
        let step = step.unwrap();
        text += step.text;
        if step.finished.is_some() {
            break;
        }
    }
    assert_same((turns, text), alone);
}

#[test]
fn a_draft_that_fails_is_left_out() {
    let model = open(&reference_file("qwen3", "Q8_0"), 256);
    let start = transcript(samplers()[1].clone(), &[1, 2, 3]);
    let options = GenerationOptions {
        tokens_max: Some(30),
        ignore_eos: true,
        ..GenerationOptions::default()
    };
    let mut local = LocalDecoder::new(&model, &run_options(1)).unwrap();
    let alone = run(&model, &mut local, &start, &options);
    let asked = Arc::new(AtomicUsize::new(0));
    let failing = Failing {
        after: 3,
        asked: asked.clone(),
    };
    let mut decoder = speculative(&model, DraftSource::Other(Box::new(failing)), 2..=2);
    let with_draft = run(&model, &mut decoder, &start, &options);
    assert_same(with_draft, alone);
    assert_eq!(
        asked.load(Ordering::Relaxed),
        4,
        "not asked after its error"
    );
}

#[test]
fn cancelling_keeps_what_there_is_and_the_decoder_goes_on() {
    let model = open(&reference_file("qwen3", "Q8_0"), 256);
    let options = |n| GenerationOptions {
        tokens_max: Some(n),
        ignore_eos: true,
        ..GenerationOptions::default()
    };
    let start = transcript(samplers()[1].clone(), &tokens(50, 256, 8));
    let mut decoder = speculative(&model, DraftSource::Model(&model), 3..=3);
    let tokenizer = model.tokenizer().clone();
    let mut generation = Generation::new(start.clone(), tokenizer, options(40)).unwrap();
    let cancel = AtomicBool::new(false);
    for _ in 0..4 {
        generation.step(&mut decoder, &cancel, &mut |_| ()).unwrap();
    }
    cancel.store(true, Ordering::Relaxed);
    let step = generation.step(&mut decoder, &cancel, &mut |_| ()).unwrap();
    assert_eq!(step.finished, Some(FinishReason::Cancelled));
    assert_eq!(generation.records().len(), 13);
    let rest = generation.into_transcript();
    let (rest, _) = run(&model, &mut decoder, &rest, &options(27));
    let (whole, _) = run(&model, &mut decoder, &start, &options(40));
    assert_eq!(rest.records(), &whole.records()[13..]);
}

#[test]
fn an_error_of_the_model_leaves_the_transcript_as_it_was() {
    let model = open(&reference_file("qwen3", "Q8_0"), 64);
    let mut decoder = speculative(&model, DraftSource::Lookup, 0..=7);
    let tokenizer = model.tokenizer().clone();
    let start = transcript(SamplerParams::greedy(), &[1, 9999]);
    let options = GenerationOptions::default();
    let mut generation = Generation::new(start.clone(), tokenizer, options.clone()).unwrap();
    let step = generation.step(&mut decoder, &AtomicBool::new(false), &mut |_| ());
    assert!(matches!(step, Err(DecodeError::Stage(_))));
    assert_eq!(generation.into_transcript(), start);
    let start = transcript(SamplerParams::greedy(), &[1, 2]);
    let (after, _) = run(&model, &mut decoder, &start, &options);
    assert!(after.finished().is_some());
}

#[test]
fn a_pass_of_few_columns_verifies_as_many_as_fit() {
    let model = open(&reference_file("qwen3", "Q8_0"), 256);
    let start = transcript(SamplerParams::greedy(), &[4, 5, 6]);
    let options = GenerationOptions {
        tokens_max: Some(31),
        ignore_eos: true,
        ..GenerationOptions::default()
    };
    for (columns_max, per_step) in [(1, 1.0), (3, 3.0)] {
        let run_options = RunOptions {
            columns_max,
            kv_format: KvFormat::Q8_0,
            ..run_options(1)
        };
        let source = DraftSource::Model(&model);
        let decoder = SpeculativeDecoder::new(&model, source, &run_options, 7..=7);
        let with_draft = run(&model, &mut decoder.unwrap(), &start, &options);
        let record = with_draft.0.speculation().unwrap();
        assert_eq!(record.tokens_per_step(), Some(per_step));
        let mut local = LocalDecoder::new(&model, &run_options).unwrap();
        assert_same(with_draft, run(&model, &mut local, &start, &options));
    }
}

#[test]
fn a_draft_with_another_vocabulary_is_refused_by_what_differs() {
    let model = open(&bundled("target"), 256);
    let refused = |draft: &LoadedModel, target: &LoadedModel| {
        let source = DraftSource::Model(draft);
        let decoder = SpeculativeDecoder::new(target, source, &run_options(1), 0..=7);
        match decoder.err().unwrap() {
            error @ SpeculationError::Vocabulary { .. } => error.to_string(),
            error => panic!("{error}"),
        }
    };
    let other = open(&own_folder().join("qwen3/qwen3-Q8_0.gguf"), 256);
    let message = refused(&other, &model);
    assert!(message.contains("cannot draft for"), "{message}");
    assert!(message.contains("its token 0 is"), "{message}");
    let synthetic = |vocab| {
        let shape = SyntheticShape {
            vocab,
            ..SyntheticShape::preset("tiny").unwrap()
        };
        let formats = SyntheticFormats::all(outrigger_kernels::format::Format::Q8_0);
        let file = tempfile::NamedTempFile::new().unwrap();
        let model = SyntheticModel::new(&shape, &formats, 1).unwrap();
        drop(model.write(file.reopen().unwrap()).unwrap());
        open(file.path(), 64)
    };
    let (small, large) = (synthetic(300), synthetic(320));
    let message = refused(&small, &large);
    assert!(message.contains("its token 298 is"), "{message}");
    assert_eq!(
        ModelDraft::check_vocabulary(small.tokenizer(), small.tokenizer()),
        Ok(())
    );
    let lengths = SpeculativeDecoder::new(&model, DraftSource::Lookup, &run_options(1), 0..=8);
    assert!(matches!(
        lengths.err(),
        Some(SpeculationError::Lengths { min: 0, max: 8 })
    ));
}
