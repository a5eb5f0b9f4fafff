//! `bench`: how fast a model runs here.

mod counts;
mod profile;
mod report;
mod runner;
mod samples;
mod sampling;
mod source;
mod test;

use super::Session;
use crate::{
    config, console,
    energy::EnergyMeter,
    exit::Usage,
    interrupt,
    model::{self, IsaArgs, ModelArgs},
    progress::Progress,
};
use anyhow::Context as _;
use clap::{Args, ValueHint};
use counts::Counts;
use outrigger_kernels::cpu::isa::Isa;
use outrigger_runtime::{
    kv::KvFormat,
    loaded::{LoadedModel, RunOptions},
    model::{ModelOptions, mixture::Mixture, synthetic::SyntheticShape},
    platform::cpus,
};
use report::Record;
use runner::Runner;
use source::Temporary;
use std::{env, io::Write, num::NonZeroUsize, path::PathBuf};
use test::{Grid, Test};

/// Measures how fast a model reads prompts and generates tokens
///
/// The tests are llama-bench's: pp512 is a prompt of 512 tokens, tg128 are 128 tokens generated
/// one after the other, `@ d4096` with 4096 positions in the cache before, `@ b8` with 8 sequences
/// in each step (their tokens are counted together). Each test warms up once. Lists such as 1,4,8
/// and ranges such as 512-2048+512 or 1-32*2 make a test of every combination.
///
/// Beside a generation stands what bounds it: the bytes that a token makes the threads read
/// (weights, keys and values), how fast the same threads just read the mapped weights, and which
/// part of that speed the generation came to.
///
/// --profile shows below where a token's time goes, with a row per operation, summed over layers.
/// A row's time is that of a mean thread: at work (busy) and then waiting for the others at the
/// barrier behind it. GB/s are bytes that have to be read (weights once per pass, keys and values
/// once per pass and sequence), GOP/s multiplications and additions, both by the row's time. What
/// a row waits for is `threads` where a third of its time or more goes by at the barrier, else
/// `memory` where it reads at 60 % or more of the speed at which the threads just read, else
/// `compute`. `handover` is the way to the threads and back, `caller` what goes on between passes.
/// The tests do not sample; how long that takes is said besides.
///
/// --json prints an array with an object per test, with llama-bench's names for its fields; a
/// profile's rows are in its field `profile`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  outrigger bench -m model.gguf
  outrigger bench -m model.gguf -p 512,2048 -n 128 -d 0,4096 -t 1,2 --json
  outrigger bench -m model.gguf -p 0 -n 64 --columns 1,4,8,16,32
  outrigger bench -m model.gguf --profile
  outrigger bench --shape llama-1b --quant q4_k_m
      a model of random weights, so that nothing need be downloaded
  outrigger bench --shape llama-8b --quant q8_0 --save llama-8b-q8_0.gguf")]
pub(crate) struct Bench {
    /// Tokens of the prompts; 0 for none
    #[arg(
        short = 'p',
        long,
        value_name = "LIST",
        default_value = "512",
        value_parser = counts::parse
    )]
    n_prompt: Counts,
    /// Tokens to generate; 0 for none
    #[arg(
        short,
        long,
        value_name = "LIST",
        default_value = "128",
        value_parser = counts::parse
    )]
    n_gen: Counts,
    /// Positions in the cache before
    #[arg(
        short = 'd',
        long,
        value_name = "LIST",
        default_value = "0",
        value_parser = counts::parse
    )]
    n_depth: Counts,
    /// How often each test is repeated
    #[arg(short, long, value_name = "N", default_value = "5")]
    repetitions: NonZeroUsize,
    /// Sequences that are generated at once
    #[arg(
        long,
        value_name = "LIST",
        default_value = "1",
        value_parser = counts::parse_positive
    )]
    columns: Counts,
    /// Shows where a token's time goes, by operation, and what each waits for
    #[arg(long)]
    profile: bool,
    #[command(flatten)]
    isa: IsaArgs,
    /// Threads that compute [default: the processors this process may use]
    #[arg(
        short,
        long,
        value_name = "LIST",
        env = "OUTRIGGER_THREADS",
        hide_env_values = true,
        value_parser = counts::parse_positive
    )]
    threads: Option<Counts>,
    /// How keys and values are cached: f16, f32 or q8_0, or several of them
    #[arg(
        long,
        value_name = "LIST",
        env = "OUTRIGGER_KV",
        hide_env_values = true,
        value_delimiter = ',',
        value_parser = config::kv_format
    )]
    kv: Vec<KvFormat>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    synthetic: SyntheticArgs,
}

/// A model of random weights in place of a file.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model options")]
struct SyntheticArgs {
    /// Makes a model of this shape with random weights: tiny, llama-1b, qwen-3b, llama-8b or
    /// qwen3-30b-a3b
    #[arg(long, value_name = "NAME", requires = "quant", value_parser = source::shape)]
    shape: Option<SyntheticShape>,
    /// How the weights of --shape are stored, such as q4_k_m; tensors get the formats that
    /// llama.cpp's quantizer gives them
    #[arg(long, value_name = "TYPE", requires = "shape", value_parser = config::mixture)]
    quant: Option<Mixture>,
    /// Keeps the model of --shape as this file
    #[arg(
        long,
        value_name = "FILE",
        requires = "shape",
        value_hint = ValueHint::FilePath
    )]
    save: Option<PathBuf>,
}

impl Bench {
    pub(super) fn run(self, session: &Session) -> anyhow::Result<()> {
        let tests = self.tests(session);
        if tests.is_empty() {
            let why = "nothing to measure; -p and -n name no token";
            return Err(Usage(why.into()).into());
        }
        let positions = tests.iter().map(Test::positions).max().unwrap_or(0);
        let context = u32::try_from(positions).map_err(|_| {
            Usage(format!(
                "{positions} positions are more than any context has"
            ))
        })?;
        let cancel = interrupt::flag();
        let (loaded, _temporary) = self.load(session, context)?;
        let name = model::name(loaded.model().gguf());
        let meter = EnergyMeter::open();
        let runner = Runner {
            loaded: &loaded,
            repetitions: self.repetitions.get(),
            meter: meter.as_ref(),
            profile: self.profile,
            isa: self.isa.isa.unwrap_or_else(Isa::detect),
            columns_max: session
                .config
                .run
                .columns_max
                .map_or_else(|| RunOptions::default().columns_max, NonZeroUsize::get),
            cancel,
        };
        let mut records = Vec::with_capacity(tests.len());
        let mut result = Ok(());
        let runs = tests.len() * (1 + runner.repetitions);
        let mut progress = Progress::new(runs as u64, "runs");
        for test in &tests {
            let outcome = runner.run(test, || progress.advance(1));
            match outcome.with_context(|| format!("{name}, {test}")) {
                Ok(outcome) => records.push(Record::new(loaded.model(), &name, test, outcome)),
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        drop(progress);
        // What was measured before an error is told all the same.
        if result.is_err() && records.is_empty() {
            return result;
        }
        if session.json {
            console::print_json(&records)?;
        } else {
            let mut out = console::stdout();
            report::print(&records, &mut out)?;
            out.flush()?;
        }
        result
    }

    fn tests(&self, session: &Session) -> Vec<Test> {
        let run = &session.config.run;
        let threads = match &self.threads {
            Some(threads) => threads.0.clone(),
            None => vec![run.threads.map_or_else(cpus::usable, NonZeroUsize::get)],
        };
        let kv = match self.kv.as_slice() {
            [] => vec![run.kv.unwrap_or(KvFormat::F16)],
            kv => kv.to_vec(),
        };
        let grid = Grid {
            kv: &kv,
            depths: &self.n_depth.0,
            threads: &threads,
            prompts: &self.n_prompt.0,
            generations: &self.n_gen.0,
            columns: &self.columns.0,
        };
        grid.tests()
    }

    /// The model, and the file that it may have been made in.
    fn load(
        &self,
        session: &Session,
        context: u32,
    ) -> anyhow::Result<(LoadedModel, Option<Temporary>)> {
        let options = ModelOptions {
            context: Some(context),
            ..ModelOptions::default()
        };
        let SyntheticArgs { shape, quant, save } = &self.synthetic;
        let (Some(shape), Some(mixture)) = (shape, quant) else {
            return Ok((self.model.load(&session.config, &options)?, None));
        };
        // The variable gives way to the flag, but two flags are a mistake.
        if let Some(model) = &self.model.model
            && env::var_os("OUTRIGGER_MODEL").as_deref() != Some(model.as_os_str())
        {
            let why = "--model names a file and --shape makes one; give one of them";
            return Err(Usage(why.into()).into());
        }
        let (gguf, temporary) = source::make(shape, *mixture, save.as_deref())?;
        Ok((LoadedModel::from_gguf(gguf, &options)?, temporary))
    }
}
