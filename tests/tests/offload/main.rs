//! Offload: where tokens come from changes nothing of what they are.

mod node;
mod split;

use node::{Pipes, TestNode};
use outrigger_offload::{
    node::NodeLimits,
    remote::{PipelinedDecoder, Pipelining, StreamDecoder, VerifyTarget},
};
use outrigger_runtime::{
    decoder::{
        Decoder, Draft, DraftSource, Generation, GenerationOptions, LocalDecoder, LookupDraft,
        Provenance, SpeculativeDecoder,
    },
    loaded::{LoadedModel, RunOptions},
    model::ModelOptions,
    sampler::{Mirostat, SamplerParams},
    transcript::Transcript,
};
use outrigger_tests::drafts::{Failing, Knowing};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

const CONTEXT: u32 = 256;

fn bundled(name: &str) -> PathBuf {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../edge/assets");
    assets.join(name)
}

fn open_as(name: &str) -> LoadedModel {
    let options = ModelOptions {
        context: Some(CONTEXT),
        ..ModelOptions::default()
    };
    LoadedModel::open(&bundled(name), &options).unwrap()
}

fn open() -> LoadedModel {
    open_as("demo-target-q8_0.gguf")
}

/// The draft that goes with the model.
fn demo_draft(model: &LoadedModel) -> Box<dyn Draft> {
    let draft = open_as("demo-draft-q8_0.gguf");
    let (options, source) = (run_options(), DraftSource::Model(&draft));
    let team = options.team().unwrap();
    SpeculativeDecoder::draft(model, source, &team, &options).unwrap()
}

fn run_options() -> RunOptions {
    RunOptions {
        threads: Some(1),
        ..RunOptions::default()
    }
}

fn samplings() -> [SamplerParams; 3] {
    let greedy = SamplerParams {
        temperature: 0.0,
        seed: Some(1),
        ..SamplerParams::default()
    };
    let sampled = SamplerParams {
        temperature: 0.9,
        seed: Some(7),
        repeat_penalty: 1.1,
        ..SamplerParams::default()
    };
    let mirostat = SamplerParams {
        mirostat: Mirostat::V2,
        seed: Some(3),
        ..SamplerParams::default()
    };
    [greedy, sampled, mirostat]
}

fn transcript(model: &LoadedModel, sampling: SamplerParams, prompt: &str) -> Transcript {
    let mut transcript = Transcript::new(sampling);
    let options = outrigger_runtime::tokenizer::EncodeOptions {
        add_special: true,
        parse_special: false,
    };
    let tokens = model.tokenizer().encode(prompt, options).unwrap();
    transcript.push_prompt(&tokens);
    transcript
}

/// The transcript and the log-probabilities' bits of a whole generation.
fn generate(
    model: &LoadedModel,
    decoder: &mut dyn Decoder,
    start: &Transcript,
    tokens: usize,
) -> (Transcript, Vec<Option<u32>>) {
    let options = GenerationOptions {
        tokens_max: Some(tokens),
        logprobs: Some(2),
        ..GenerationOptions::default()
    };
    generate_with(model, decoder, start, options)
}

/// The same to the context's end, over the ends of texts.
fn generate_on(
    model: &LoadedModel,
    decoder: &mut dyn Decoder,
    start: &Transcript,
) -> (Transcript, Vec<Option<u32>>) {
    let options = GenerationOptions {
        ignore_eos: true,
        logprobs: Some(0),
        ..GenerationOptions::default()
    };
    generate_with(model, decoder, start, options)
}

fn generate_with(
    model: &LoadedModel,
    decoder: &mut dyn Decoder,
    start: &Transcript,
    options: GenerationOptions,
) -> (Transcript, Vec<Option<u32>>) {
    let tokenizer = model.tokenizer().clone();
    let mut generation = Generation::new(start.clone(), tokenizer, options).unwrap();
    loop {
        let step = generation.step(decoder, &AtomicBool::new(false), &mut |_| ());
        if step.unwrap().finished.is_some() {
            break;
        }
    }
    let bits = generation.records().iter();
    let bits = bits.map(|r| r.logprob.map(f32::to_bits)).collect();
    (generation.into_transcript(), bits)
}

fn provenance() -> Provenance {
    Provenance {
        source: "test".into(),
        model: "test".into(),
        kernel_set: "test".into(),
    }
}

const PROMPTS: [&str; 3] = [
    "Once upon a time there was a",
    "Tom and Lily went to the park. They saw a big",
    "The",
];

#[test]
fn a_stream_says_what_local_decoding_says() {
    let model = open();
    let node = TestNode::start(&model, NodeLimits::default());
    let mut local = LocalDecoder::new(&model, &run_options()).unwrap();
    let mut stream = StreamDecoder::new(node.remote(), node.runtime(), CONTEXT, provenance());
    for sampling in samplings() {
        for prompt in PROMPTS {
            let start = transcript(&model, sampling.clone(), prompt);
            let expected = generate(&model, &mut local, &start, 48);
            let found = generate(&model, &mut stream, &start, 48);
            assert_eq!(found, expected, "{prompt}");
        }
    }
}

#[test]
fn verified_guesses_say_what_local_decoding_says() {
    let model = open();
    let node = TestNode::start(&model, NodeLimits::default());
    let mut local = LocalDecoder::new(&model, &run_options()).unwrap();
    let vocab = model.model().vocab;
    let target = VerifyTarget::new(node.remote(), node.runtime(), CONTEXT, vocab, provenance());
    let mut verify = SpeculativeDecoder::over(
        Box::new(target),
        model.tokenizer().clone(),
        Box::new(LookupDraft::new()),
        3..=7,
    )
    .unwrap();
    for sampling in samplings() {
        for prompt in PROMPTS {
            let start = transcript(&model, sampling.clone(), prompt);
            let expected = generate(&model, &mut local, &start, 48);
            let found = generate(&model, &mut verify, &start, 48);
            assert_eq!(found, expected, "{prompt}");
        }
    }
    let record = verify.speculation().unwrap();
    assert!(record.drafted > 0 && record.accepted > 0, "{record:?}");
}

fn pipelined(
    node: &TestNode,
    model: &LoadedModel,
    draft: Box<dyn Draft>,
) -> PipelinedDecoder<Pipes> {
    let with = Pipelining {
        draft,
        tokenizer: model.tokenizer().clone(),
        vocab: model.model().vocab,
        context: CONTEXT,
        lengths: 1..=7,
        in_flight_max: 64,
        provenance: provenance(),
    };
    PipelinedDecoder::new(node.remote(), node.runtime(), with)
}

#[test]
fn guesses_ahead_of_answers_say_what_local_decoding_says() {
    let model = open();
    let node = TestNode::start(&model, NodeLimits::default());
    let mut local = LocalDecoder::new(&model, &run_options()).unwrap();
    let mut ahead = pipelined(&node, &model, demo_draft(&model));
    for sampling in samplings() {
        for prompt in PROMPTS {
            let start = transcript(&model, sampling.clone(), prompt);
            for tokens in [1, 2, 64] {
                let expected = generate(&model, &mut local, &start, tokens);
                let found = generate(&model, &mut ahead, &start, tokens);
                assert_eq!(found, expected, "{prompt}, {tokens}");
            }
        }
    }
    let record = ahead.speculation().unwrap();
    assert!(record.tokens > record.target_steps, "{record:?}");
    assert!(record.drafted > record.accepted && record.accepted > 0);
}

#[test]
fn guesses_ahead_go_to_the_context_s_end_and_survive_bad_drafts() {
    let model = open();
    let node = TestNode::start(&model, NodeLimits::default());
    let mut local = LocalDecoder::new(&model, &run_options()).unwrap();
    let vocab = model.model().vocab as u32;
    for sampling in samplings() {
        let start = transcript(&model, sampling, PROMPTS[0]);
        let expected = generate_on(&model, &mut local, &start);
        let knowing = |errors| -> Box<dyn Draft> {
            Box::new(Knowing {
                text: expected.0.tokens().to_vec(),
                errors,
                vocab,
                state: 7,
            })
        };
        let failing = Box::new(Failing {
            after: 9,
            asked: Arc::default(),
        });
        for draft in [
            knowing(0),
            knowing(60),
            Box::new(LookupDraft::new()),
            failing,
        ] {
            let mut ahead = pipelined(&node, &model, draft);
            let found = generate_on(&model, &mut ahead, &start);
            assert_eq!(found, expected, "{:?}", ahead.speculation());
        }
    }
}

#[test]
fn a_draft_at_the_node_changes_no_word() {
    let model = open();
    let draft = open_as("demo-draft-q8_0.gguf");
    let node = TestNode::start_with(&model, Some(&draft), NodeLimits::default());
    let mut local = LocalDecoder::new(&model, &run_options()).unwrap();
    let stream = StreamDecoder::new(node.remote(), node.runtime(), CONTEXT, provenance());
    let mut drafted = stream.with_draft_at_node();
    for sampling in samplings() {
        for prompt in PROMPTS {
            let start = transcript(&model, sampling.clone(), prompt);
            let expected = generate(&model, &mut local, &start, 48);
            let found = generate(&model, &mut drafted, &start, 48);
            assert_eq!(found, expected, "{prompt}");
        }
        let start = transcript(&model, sampling, PROMPTS[0]);
        let expected = generate_on(&model, &mut local, &start);
        assert_eq!(generate_on(&model, &mut drafted, &start), expected);
    }
    let counted = node.metrics();
    let more: u64 = counted.passes[1..].iter().sum();
    assert!(more > 0, "nothing was verified: {counted:?}");
    let traffic = drafted.traffic();
    assert!(
        traffic.sent > 0 && traffic.received > traffic.sent,
        "{traffic:?}"
    );
}

#[test]
fn generations_go_on_that_the_node_has_ended() {
    let model = open();
    let limits = NodeLimits {
        // Each of two takes the place of the other.
        sessions_max: 1,
        idle: Duration::from_millis(20),
        ..NodeLimits::default()
    };
    let node = TestNode::start(&model, limits);
    let mut local = LocalDecoder::new(&model, &run_options()).unwrap();
    let (remote, runtime) = (node.remote(), node.runtime());
    let mut stream = StreamDecoder::new(remote, runtime, CONTEXT, provenance());
    let mut ahead = pipelined(&node, &model, demo_draft(&model));
    let [greedy, ..] = samplings();
    let mut now = transcript(&model, greedy, PROMPTS[0]);
    let (expected, _) = generate(&model, &mut local, &now, 20);
    for turn in 0..4 {
        let decoder: &mut dyn Decoder = match turn % 2 {
            0 => &mut stream,
            _ => &mut ahead,
        };
        (now, _) = generate(&model, decoder, &now, 5);
        std::thread::sleep(Duration::from_millis(40));
    }
    assert_eq!(now, expected);
    assert_eq!(node.metrics().sessions, 1);
}

#[test]
fn many_edges_share_a_draft() {
    let model = open();
    let draft = open_as("demo-draft-q8_0.gguf");
    let node = TestNode::start_with(&model, Some(&draft), NodeLimits::default());
    let mut local = LocalDecoder::new(&model, &run_options()).unwrap();
    let [_, sampled, mirostat] = samplings();
    let starts: Vec<_> = (0..6)
        .map(|i| {
            let sampling = SamplerParams {
                seed: Some(i),
                ..[&sampled, &mirostat][i as usize % 2].clone()
            };
            transcript(&model, sampling, PROMPTS[i as usize % 3])
        })
        .collect();
    std::thread::scope(|scope| {
        for (index, start) in starts.iter().enumerate() {
            let expected = generate(&model, &mut local, start, 64);
            let (model, node) = (&model, &node);
            scope.spawn(move || {
                let (remote, runtime) = (node.remote(), node.runtime());
                let stream = StreamDecoder::new(remote, runtime, CONTEXT, provenance());
                let mut decoder = match index % 3 {
                    0 => stream,
                    _ => stream.with_draft_at_node(),
                };
                assert_eq!(generate(model, &mut decoder, start, 64), expected);
            });
        }
    });
}

#[test]
fn decoders_take_over_between_any_two_tokens() {
    let model = open();
    let node = TestNode::start(&model, NodeLimits::default());
    let mut local = LocalDecoder::new(&model, &run_options()).unwrap();
    let mut stream = StreamDecoder::new(node.remote(), node.runtime(), CONTEXT, provenance());
    let mut ahead = pipelined(&node, &model, demo_draft(&model));
    let [_, sampled, _] = samplings();
    let start = transcript(&model, sampled, PROMPTS[1]);
    let (expected, _) = generate(&model, &mut local, &start, 40);
    for every in [1, 3, 8] {
        let mut now = start.clone();
        for turn in 0.. {
            let left = expected.len() - now.len();
            if left == 0 {
                break;
            }
            let decoder: &mut dyn Decoder = match turn % 4 {
                0 => &mut stream,
                2 => &mut ahead,
                _ => &mut local,
            };
            (now, _) = generate(&model, decoder, &now, every.min(left as usize));
        }
        assert_eq!(now, expected, "every {every}");
    }
}

#[test]
fn many_edges_share_passes_and_say_the_same() {
    let model = open();
    let node = TestNode::start(&model, NodeLimits::default());
    let mut local = LocalDecoder::new(&model, &run_options()).unwrap();
    let [_, sampled, _] = samplings();
    let starts: Vec<_> = (0..8)
        .map(|i| {
            let sampling = SamplerParams {
                seed: Some(i),
                ..sampled.clone()
            };
            transcript(&model, sampling, PROMPTS[i as usize % 3])
        })
        .collect();
    let expected: Vec<_> = starts
        .iter()
        .map(|start| generate(&model, &mut local, start, 64))
        .collect();
    std::thread::scope(|scope| {
        for (start, expected) in starts.iter().zip(&expected) {
            let (model, node) = (&model, &node);
            scope.spawn(move || {
                let mut stream =
                    StreamDecoder::new(node.remote(), node.runtime(), CONTEXT, provenance());
                assert_eq!(&generate(model, &mut stream, start, 64), expected);
            });
        }
    });
    let counted = node.metrics();
    let shared: u64 = counted.passes[1..].iter().sum();
    assert!(shared > 0, "no pass was shared: {counted:?}");
}
