//! Drafts of every quality before models and samplers of every kind.

use crate::{
    MODELS, assert_same, knowing, open, run, run_options, samplers, speculative, transcript,
};
use outrigger_runtime::decoder::{DRAFT_MAX, DraftSource, GenerationOptions, LocalDecoder};
use outrigger_tests::stages::{reference_file, tokens};
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct Case {
    model: usize,
    sampler: usize,
    seed: u64,
    prompt: usize,
    tokens: usize,
    context: u32,
    ignore_eos: bool,
    logprobs: Option<usize>,
    /// Wrong guesses in 256; `None` looks up.
    errors: Option<u32>,
    min: usize,
    max: usize,
    /// Whether a text from the middle ends it.
    stop: bool,
}

fn cases() -> impl Strategy<Value = Case> {
    let which = (0..MODELS.len(), 0..6usize, any::<u32>());
    let sizes = (1..60usize, 1..90usize, 64..256u32);
    let flags = (any::<bool>(), prop::option::of(0..4usize), any::<bool>());
    let errors = prop_oneof![
        Just(None),
        Just(Some(0)),
        Just(Some(30)),
        Just(Some(128)),
        Just(Some(256)),
    ];
    let lengths = (0..=DRAFT_MAX, 0..=DRAFT_MAX);
    (which, sizes, flags, errors, lengths).prop_map(|(which, sizes, flags, errors, lengths)| Case {
        model: which.0,
        sampler: which.1,
        seed: which.2.into(),
        prompt: sizes.0,
        tokens: sizes.1,
        context: sizes.2,
        ignore_eos: flags.0,
        logprobs: flags.1,
        stop: flags.2,
        errors,
        min: lengths.0.min(lengths.1),
        max: lengths.0.max(lengths.1),
    })
}

fn check(case: &Case) {
    let (name, format) = MODELS[case.model];
    let model = open(&reference_file(name, format), case.context);
    let mut sampling = samplers()[case.sampler].clone();
    sampling.seed = Some(case.seed);
    if case.ignore_eos {
        // Ends come up in the middle of drafts.
        let eos = model.tokenizer().eos().unwrap();
        sampling.logit_bias = vec![(eos, 1.5)];
    }
    let prompt = tokens(case.prompt, 256, case.seed as u32);
    let start = transcript(sampling, &prompt);
    let mut options = GenerationOptions {
        tokens_max: Some(case.tokens),
        ignore_eos: case.ignore_eos,
        logprobs: case.logprobs,
        ..GenerationOptions::default()
    };
    let mut local = LocalDecoder::new(&model, &run_options(1)).unwrap();
    let mut alone = run(&model, &mut local, &start, &options);
    let text = alone.0.into_transcript().tokens().to_vec();
    if case.stop {
        let middle = alone.1.chars().skip(alone.1.chars().count() / 2).take(3);
        let middle: String = middle.collect();
        options.stop = if middle.is_empty() {
            vec![]
        } else {
            vec![middle]
        };
    }
    alone = run(&model, &mut local, &start, &options);
    let draft = match case.errors {
        Some(errors) => knowing(&text, &model, errors, case.seed as u32),
        None => DraftSource::Lookup,
    };
    let mut decoder = speculative(&model, draft, case.min..=case.max);
    assert_same(run(&model, &mut decoder, &start, &options), alone);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_draft_of_any_kind_changes_nothing(case in cases()) {
        check(&case);
    }
}
