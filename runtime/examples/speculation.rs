//! Decodes prompts with and without a draft, in turn, and says what it brought
//! and whether the tokens are the same:
//!
//! ```text
//! cargo run --release -p outrigger-runtime --example speculation -- MODEL DRAFT|ngram [MIN-MAX]
//! ```
//!
//! 50 beginnings of stories, up to 128 tokens each, greedily and at a
//! temperature of 0.8. `MIN-MAX` bounds the draft lengths, `4-4` fixes them;
//! otherwise they are chosen online.

use outrigger_runtime::{
    decoder::{
        DRAFT_MAX, DecodeError, Decoder, DraftSource, Generation, GenerationOptions, LocalDecoder,
        Speculation, SpeculativeDecoder,
    },
    loaded::{LoadedModel, RunOptions},
    model::ModelOptions,
    sampler::SamplerParams,
    tokenizer::EncodeOptions,
    transcript::Transcript,
};
use std::{env, error::Error, path::Path, sync::atomic::AtomicBool, time::Duration};

const ANIMALS: [&str; 10] = [
    "fox", "cat", "rabbit", "bear", "duck", "mouse", "frog", "koala", "owl", "pony",
];

const BEGINNINGS: [&str; 5] = [
    "Once upon a time, there lived a little ",
    "One day, a sleepy ",
    "There was once a brave ",
    "Early one morning, a hungry ",
    "In a small house by the river lived a ",
];

const TOKENS: usize = 128;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let usage = "usage: speculation MODEL DRAFT|ngram [MIN-MAX]";
    let target = open(&args.next().ok_or(usage)?)?;
    let draft = match args.next().ok_or(usage)?.as_str() {
        "ngram" => None,
        path => Some(open(path)?),
    };
    let lengths = match args.next() {
        Some(lengths) => {
            let (min, max) = lengths.split_once('-').ok_or(usage)?;
            min.parse()?..=max.parse()?
        }
        None => 0..=DRAFT_MAX,
    };
    for (name, temperature) in [("greedy", 0.0), ("temperature 0.8", 0.8)] {
        let source = match &draft {
            Some(model) => DraftSource::Model(model),
            None => DraftSource::Lookup,
        };
        let options = RunOptions::default();
        let mut alone = Total::new(LocalDecoder::new(&target, &options)?);
        let with_draft = SpeculativeDecoder::new(&target, source, &options, lengths.clone())?;
        let mut with_draft = Total::new(with_draft);
        let prompts = BEGINNINGS.iter().flat_map(|beginning| {
            let animals = ANIMALS.iter();
            animals.map(move |animal| format!("{beginning}{animal}"))
        });
        let (mut prompts_run, mut identical) = (0, 0);
        for (seed, prompt) in (0..).zip(prompts) {
            let sampling = SamplerParams {
                seed: Some(seed),
                temperature,
                ..SamplerParams::default()
            };
            let plain = alone.run(&target, &prompt, sampling.clone())?;
            prompts_run += 1;
            identical += usize::from(plain == with_draft.run(&target, &prompt, sampling)?);
        }
        println!("{name}: identical {identical}/{prompts_run}");
        let (without, with) = (alone.rate(), with_draft.rate());
        println!(
            "  tokens/s {without:.1} without, {with:.1} with: {:.2}x",
            with / without
        );
        if let Some(record) = with_draft.decoder.speculation() {
            report(record);
        }
    }
    Ok(())
}

fn open(path: &str) -> Result<LoadedModel, Box<dyn Error>> {
    let options = ModelOptions {
        context: Some(512),
        ..ModelOptions::default()
    };
    Ok(LoadedModel::open(Path::new(path), &options)?)
}

fn report(record: &Speculation) {
    println!(
        "  {}: {} drafted, {} accepted ({:.3}), {} target steps, {:.2} tokens per target step",
        record.draft,
        record.drafted,
        record.accepted,
        record.acceptance_rate().unwrap_or_default(),
        record.target_steps,
        record.tokens_per_step().unwrap_or(1.0),
    );
}

/// A decoder with the tokens behind each first one, and their time.
struct Total<D> {
    decoder: D,
    tokens: u32,
    time: Duration,
}

impl<D: Decoder> Total<D> {
    fn new(decoder: D) -> Self {
        Self {
            decoder,
            tokens: 0,
            time: Duration::ZERO,
        }
    }

    /// The tokens of a completion, and the bits of their log-probabilities.
    fn run(
        &mut self,
        model: &LoadedModel,
        prompt: &str,
        sampling: SamplerParams,
    ) -> Result<Vec<(u32, Option<u32>)>, DecodeError> {
        let tokenizer = model.tokenizer();
        let options = EncodeOptions {
            add_special: true,
            parse_special: false,
        };
        let mut transcript = Transcript::new(sampling);
        transcript.push_prompt(&tokenizer.encode(prompt, options)?);
        let options = GenerationOptions {
            tokens_max: Some(TOKENS),
            logprobs: Some(0),
            ..GenerationOptions::default()
        };
        let mut generation = Generation::new(transcript, tokenizer.clone(), options)?;
        let never = AtomicBool::new(false);
        while (generation.step(&mut self.decoder, &never, &mut |_| ())?)
            .finished
            .is_none()
        {}
        let records = generation.records();
        if let Some(mean) = generation.time_per_output_token() {
            let tokens = records.len().saturating_sub(1) as u32;
            self.tokens += tokens;
            self.time += mean * tokens;
        }
        let bits = |logprob: Option<f32>| logprob.map(f32::to_bits);
        Ok(records.iter().map(|r| (r.token, bits(r.logprob))).collect())
    }

    fn rate(&self) -> f64 {
        f64::from(self.tokens) / self.time.as_secs_f64()
    }
}
