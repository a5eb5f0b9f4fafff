//! The local decoder and generations, over the repository's reference models.

use outrigger_runtime::{
    decoder::{
        DecodeError, Decoder, FinishReason, Follower as _, Generation, GenerationOptions,
        LocalDecoder,
    },
    kv::KvFormat,
    loaded::{LoadError, LoadedModel, RunOptions},
    model::ModelOptions,
    sampler::SamplerParams,
    transcript::Transcript,
};
use outrigger_tests::reference::{Reference, own_folder};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

const MODEL: &str = "llama3-rope";

fn open(name: &str, file: &str, context: u32) -> LoadedModel {
    let options = ModelOptions {
        context: Some(context),
        ..ModelOptions::default()
    };
    LoadedModel::open(&own_folder().join(name).join(file), &options).unwrap()
}

fn model() -> LoadedModel {
    open(MODEL, "llama3-rope-Q8_0.gguf", 256)
}

fn decoder(model: &LoadedModel) -> LocalDecoder {
    let options = RunOptions {
        threads: Some(2),
        ..RunOptions::default()
    };
    LocalDecoder::new(model, &options).unwrap()
}

fn greedy() -> SamplerParams {
    SamplerParams {
        temperature: 0.0,
        ..SamplerParams::default()
    }
}

fn sampled(seed: u64) -> SamplerParams {
    SamplerParams {
        seed: Some(seed),
        temperature: 1.0,
        ..SamplerParams::default()
    }
}

fn transcript(sampling: SamplerParams, prompt: &[u32]) -> Transcript {
    let mut transcript = Transcript::new(sampling);
    transcript.push_prompt(prompt);
    transcript
}

fn tokens(n: usize) -> GenerationOptions {
    GenerationOptions {
        tokens_max: Some(n),
        ignore_eos: true,
        ..GenerationOptions::default()
    }
}

/// Runs to the end; the generation and its text.
fn run(
    model: &LoadedModel,
    decoder: &mut dyn Decoder,
    transcript: Transcript,
    options: GenerationOptions,
) -> Result<(Generation, String), DecodeError> {
    let mut generation = Generation::new(transcript, model.tokenizer().clone(), options)?;
    let mut text = String::new();
    loop {
        let step = generation.step(decoder, &AtomicBool::new(false), &mut |_| ())?;
        text += step.text;
        if step.finished.is_some() {
            return Ok((generation, text));
        }
    }
}

fn ids(generation: &Generation) -> Vec<u32> {
    generation.records().iter().map(|r| r.token).collect()
}

#[test]
fn greedy_tokens_are_the_references() {
    let reference = Reference::read(&own_folder().join(MODEL));
    let model = open(MODEL, "llama3-rope-F16.gguf", 256);
    let greedy_run = &reference.expected("llama3-rope-F16.gguf").greedy;
    let options = RunOptions {
        kv_format: KvFormat::F32,
        ..RunOptions::default()
    };
    let mut decoder = LocalDecoder::new(&model, &options).unwrap();
    let start = transcript(greedy(), &greedy_run.prompt);
    let (generation, text) = run(&model, &mut decoder, start, tokens(32)).unwrap();
    assert_eq!(ids(&generation), greedy_run.tokens);
    assert_eq!(generation.finished(), Some(FinishReason::Length));
    let whole = model
        .tokenizer()
        .decode(&greedy_run.tokens, Default::default());
    assert_eq!(text, whole.unwrap());
}

#[test]
fn a_seed_gives_the_same_tokens_and_another_does_not() {
    let model = model();
    let mut first = decoder(&model);
    let mut go = |seed| {
        let start = transcript(sampled(seed), &[5, 6, 7]);
        ids(&run(&model, &mut first, start, tokens(40)).unwrap().0)
    };
    let tokens = go(1);
    assert_eq!(tokens, go(1));
    assert_ne!(tokens, go(2));
}

/// What promise 2 rests on: any decoder can go on from the transcript.
#[test]
fn decoders_may_take_turns() {
    let model = model();
    let (mut a, mut b) = (decoder(&model), decoder(&model));
    let start = transcript(sampled(3), &[65, 66, 67, 68]);
    let (alone, _) = run(&model, &mut a, start.clone(), tokens(40)).unwrap();
    let tokenizer = model.tokenizer().clone();
    let mut generation = Generation::new(start, tokenizer, tokens(40)).unwrap();
    for step in 0.. {
        let decoder = if step / 7 % 2 == 0 { &mut a } else { &mut b };
        let step = generation.step(decoder, &AtomicBool::new(false), &mut |_| ());
        if step.unwrap().finished.is_some() {
            break;
        }
    }
    assert_eq!(generation.records(), alone.records());
}

#[test]
fn a_decoder_that_followed_goes_on_with_the_same_bits() {
    let model = model();
    let (mut leader, mut follower) = (decoder(&model), decoder(&model));
    let prompt: Vec<u32> = (0..150).collect();
    let start = transcript(sampled(4), &prompt);
    let logprobs = GenerationOptions {
        logprobs: Some(3),
        ..tokens(60)
    };
    let (whole, _) = run(&model, &mut leader, start.clone(), logprobs.clone()).unwrap();
    let tokenizer = model.tokenizer().clone();
    let mut generation = Generation::new(start, tokenizer, logprobs).unwrap();
    let cancel = AtomicBool::new(false);
    let mut steps = 0;
    for _ in 0..40 {
        let step = generation.step(&mut leader, &cancel, &mut |_| ());
        assert_eq!(step.unwrap().finished, None);
    }
    let mut transcript = transcript(sampled(4), &prompt);
    let state = transcript.sampler_state();
    for record in generation.records() {
        transcript.commit(record.token, state);
    }
    while !follower.advance(transcript.positions(), &cancel).unwrap() {
        steps += 1;
        assert!(follower.behind(&transcript).unwrap() > 1);
    }
    assert!(steps >= 5, "{steps} steps, each of which is bounded");
    assert_eq!(follower.behind(&transcript), Some(1));
    while generation.finished().is_none() {
        generation
            .step(&mut follower, &cancel, &mut |_| ())
            .unwrap();
    }
    assert_eq!(generation.records(), whole.records());
}

#[test]
fn a_next_turn_computes_only_what_is_new_and_says_the_same() {
    let model = model();
    let mut kept = decoder(&model);
    let start = transcript(greedy(), &(0..100).collect::<Vec<u32>>());
    let (first, _) = run(&model, &mut kept, start, tokens(20)).unwrap();
    let mut next = first.into_transcript();
    let mut longer = next.tokens().to_vec();
    longer.extend([1, 2, 3, 4, 5]);
    next.continue_as(&longer);
    assert_eq!(
        kept.reusable(&next),
        119,
        "all but the last token, which was never fed"
    );
    let mut work = 0;
    let tokenizer = model.tokenizer().clone();
    let mut generation = Generation::new(next.clone(), tokenizer, tokens(1)).unwrap();
    generation
        .step(&mut kept, &AtomicBool::new(false), &mut |p| work = p.total)
        .unwrap();
    assert_eq!(work, 6);
    let (again, _) = run(&model, &mut kept, next.clone(), tokens(20)).unwrap();
    let (fresh, _) = run(&model, &mut decoder(&model), next, tokens(20)).unwrap();
    assert_eq!(ids(&again), ids(&fresh));
    let logprobs = GenerationOptions {
        logprobs: Some(3),
        ..tokens(1)
    };
    let end = fresh.into_transcript();
    let (a, _) = run(&model, &mut kept, end.clone(), logprobs.clone()).unwrap();
    let (b, _) = run(&model, &mut decoder(&model), end, logprobs).unwrap();
    assert_eq!(a.records(), b.records(), "log-probabilities bit for bit");
    assert_eq!(a.records()[0].top.len(), 3);
}

#[test]
fn a_prompt_that_does_not_fit_is_refused_with_both_numbers() {
    let model = model();
    let start = transcript(greedy(), &[1; 257]);
    let error = run(&model, &mut decoder(&model), start, tokens(1))
        .err()
        .unwrap();
    assert!(matches!(
        error,
        DecodeError::PromptTooLong {
            tokens: 257,
            context: 256
        }
    ));
    let message = error.to_string();
    assert!(
        message.contains("257") && message.contains("256"),
        "{message}"
    );
}

#[test]
fn the_context_ends_a_generation() {
    let model = open(MODEL, "llama3-rope-Q8_0.gguf", 10);
    let start = transcript(greedy(), &[1; 8]);
    let (generation, _) = run(&model, &mut decoder(&model), start, tokens(50)).unwrap();
    assert_eq!(generation.finished(), Some(FinishReason::Context));
    assert_eq!(
        generation.records().len(),
        3,
        "two that are fed, and one more"
    );
}

#[test]
fn a_context_of_one_token_gives_one_token() {
    let model = open(MODEL, "llama3-rope-Q8_0.gguf", 1);
    let (generation, _) = run(
        &model,
        &mut decoder(&model),
        transcript(greedy(), &[7]),
        tokens(5),
    )
    .unwrap();
    assert_eq!(generation.records().len(), 1);
    assert_eq!(generation.finished(), Some(FinishReason::Context));
    let options = ModelOptions {
        context: Some(0),
        ..ModelOptions::default()
    };
    let path = own_folder().join(MODEL).join("llama3-rope-Q8_0.gguf");
    assert!(matches!(
        LoadedModel::open(&path, &options),
        Err(LoadError::NoContext)
    ));
}

#[test]
fn an_empty_prompt_and_unknown_ids_are_errors() {
    let model = model();
    let mut decoder = decoder(&model);
    let empty = run(&model, &mut decoder, transcript(greedy(), &[]), tokens(1));
    assert!(matches!(empty.err().unwrap(), DecodeError::EmptyPrompt));
    let unknown = run(
        &model,
        &mut decoder,
        transcript(greedy(), &[1, 9999]),
        tokens(1),
    );
    let message = unknown.err().unwrap().to_string();
    assert_eq!(message, "token 9999 is beyond the vocabulary of 260");
    let (after, _) = run(&model, &mut decoder, transcript(greedy(), &[1]), tokens(3)).unwrap();
    assert_eq!(after.records().len(), 3);
}

#[test]
fn cancelling_keeps_what_there_is_and_the_decoder_goes_on() {
    let model = model();
    let mut decoder = decoder(&model);
    let tokenizer = model.tokenizer().clone();
    let start = transcript(greedy(), &(0..200).collect::<Vec<u32>>());
    let mut generation = Generation::new(start, tokenizer, tokens(20)).unwrap();
    let cancel = AtomicBool::new(false);
    for _ in 0..5 {
        generation.step(&mut decoder, &cancel, &mut |_| ()).unwrap();
    }
    cancel.store(true, Ordering::Relaxed);
    let step = generation.step(&mut decoder, &cancel, &mut |_| ()).unwrap();
    assert_eq!(step.finished, Some(FinishReason::Cancelled));
    assert_eq!(generation.records().len(), 5);
    let (rest, _) = run(
        &model,
        &mut decoder,
        generation.into_transcript(),
        tokens(15),
    )
    .unwrap();
    let start = transcript(greedy(), &(0..200).collect::<Vec<u32>>());
    let (whole, _) = run(&model, &mut decoder, start, tokens(20)).unwrap();
    assert_eq!(ids(&rest), ids(&whole)[5..]);
}

#[test]
fn a_stop_string_ends_the_text_before_it() {
    let model = model();
    let mut decoder = decoder(&model);
    let prompt: Vec<u32> = (97..120).collect();
    let start = transcript(sampled(11), &prompt);
    let (_, text) = run(&model, &mut decoder, start.clone(), tokens(60)).unwrap();
    let middle: String = text.chars().skip(20).take(4).collect();
    let options = GenerationOptions {
        stop: vec![middle.clone(), "never seen".into()],
        ..tokens(60)
    };
    let (stopped, cut) = run(&model, &mut decoder, start, options).unwrap();
    assert_eq!(stopped.finished(), Some(FinishReason::Stop));
    assert_eq!(cut, text[..text.find(&middle).unwrap()]);
}

#[test]
fn the_model_may_end_its_text() {
    let model = model();
    let eos = model.tokenizer().eos().unwrap();
    let sampling = SamplerParams {
        logit_bias: vec![(eos, 1e9)],
        ..greedy()
    };
    let start = transcript(sampling, &[3, 4]);
    let options = GenerationOptions::default();
    let (generation, text) = run(&model, &mut decoder(&model), start, options).unwrap();
    assert_eq!(generation.finished(), Some(FinishReason::Stop));
    assert_eq!((text.as_str(), generation.records().len()), ("", 0));
    assert_eq!(generation.into_transcript().tokens(), [3, 4, eos]);
}

#[test]
fn provenance_says_where_each_token_came_from() {
    let model = model();
    let (generation, _) = run(
        &model,
        &mut decoder(&model),
        transcript(greedy(), &[1]),
        tokens(4),
    )
    .unwrap();
    let [run] = generation.provenance() else {
        panic!("one run of tokens");
    };
    assert_eq!((run.from, run.tokens), (0, 4));
    assert_eq!(run.provenance.source, "local");
    assert!(generation.time_to_first_token().is_some());
    assert!(generation.time_per_output_token().is_some());
    let shared: Arc<_> = model.tokenizer().clone();
    assert!(Arc::strong_count(&shared) > 1);
}
