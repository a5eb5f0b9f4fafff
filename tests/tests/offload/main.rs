//! Offload: where tokens come from changes nothing of what they are.

mod node;

use node::TestNode;
use outrigger_offload::{
    node::NodeLimits,
    remote::{StreamDecoder, VerifyTarget},
};
use outrigger_runtime::{
    decoder::{
        Decoder, Generation, GenerationOptions, LocalDecoder, LookupDraft, Provenance,
        SpeculativeDecoder,
    },
    loaded::{LoadedModel, RunOptions},
    model::ModelOptions,
    sampler::{Mirostat, SamplerParams},
    transcript::Transcript,
};
use std::{
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

const CONTEXT: u32 = 256;

fn bundled() -> PathBuf {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../edge/assets");
    assets.join("demo-target-q8_0.gguf")
}

fn open() -> LoadedModel {
    let options = ModelOptions {
        context: Some(CONTEXT),
        ..ModelOptions::default()
    };
    LoadedModel::open(&bundled(), &options).unwrap()
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

#[test]
fn decoders_take_over_between_any_two_tokens() {
    let model = open();
    let node = TestNode::start(&model, NodeLimits::default());
    let mut local = LocalDecoder::new(&model, &run_options()).unwrap();
    let mut stream = StreamDecoder::new(node.remote(), node.runtime(), CONTEXT, provenance());
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
            let decoder: &mut dyn Decoder = match turn % 2 {
                0 => &mut stream,
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
