//! The verbs, a file each.

mod bench;
mod completions;
mod doctor;
mod inspect;
mod logits;
mod node;
mod pair;
mod perplexity;
mod policy;
mod quantize;
mod run;
mod template;
mod tokenize;

use crate::{
    args::Arguments,
    config::Config,
    console::{self, LogFormat},
    interrupt,
};
use anyhow::Context as _;
use clap::Subcommand;

/// What outrigger can be asked to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Run(Box<run::Run>),
    Inspect(inspect::Inspect),
    Tokenize(tokenize::Tokenize),
    Template(template::Template),
    Logits(logits::Logits),
    Perplexity(perplexity::Perplexity),
    Bench(Box<bench::Bench>),
    Quantize(quantize::Quantize),
    Node(Box<node::Node>),
    Pair(Box<pair::Pair>),
    Policy(policy::Policy),
    Doctor(doctor::Doctor),
    Completions(completions::Completions),
}

/// What a verb works with beside its own arguments.
#[derive(Debug)]
pub(crate) struct Session {
    /// Whether data is printed as JSON.
    pub(crate) json: bool,
    /// How the log is written.
    pub(crate) log_format: LogFormat,
    /// The settings of the configuration file.
    pub(crate) config: Config,
}

/// Does what was asked for.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { globals, verb } = arguments;
    console::log(globals.verbose, globals.log_format)?;
    interrupt::handle()?;
    let session = Session {
        json: globals.json,
        log_format: globals.log_format,
        config: Config::load(globals.config.as_deref())?,
    };
    match verb {
        Verb::Run(run) => run.run(&session),
        Verb::Inspect(inspect) => inspect.run(&session),
        Verb::Tokenize(tokenize) => tokenize.run(&session),
        Verb::Template(template) => template.run(&session),
        Verb::Logits(logits) => logits.run(&session),
        Verb::Perplexity(perplexity) => perplexity.run(&session),
        Verb::Bench(bench) => bench.run(&session),
        Verb::Quantize(quantize) => quantize.run(&session),
        Verb::Node(node) => node.run(&session),
        Verb::Pair(pair) => pair.run(&session),
        Verb::Policy(policy) => policy.run(&session),
        Verb::Doctor(doctor) => doctor.run(&session),
        Verb::Completions(completions) => completions.run(),
    }
}

/// What waits for the network, beside the threads that compute.
fn tokio_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("outrigger-link")
        .enable_all()
        .build()
        .context("no thread for the network could be started")
}
