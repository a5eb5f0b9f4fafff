//! The command line as clap reads it.

use crate::{console::LogFormat, verb::Verb};
use clap::{ArgAction, Args, Parser};
use std::path::PathBuf;

/// What was asked for.
#[derive(Debug, Parser)]
#[command(
    name = "outrigger",
    version,
    about = "Runs a large language model on whatever compute a machine has",
    long_about = "Outrigger runs large language models from GGUF files on whatever compute a \
                  machine has.\n\n\
                  A setting is taken from the flag, else from the environment variable named \
                  with it, else from the file given with --config, else from its default.",
    after_long_help = EXIT_CODES,
    subcommand_required = true,
    subcommand_value_name = "VERB",
    subcommand_help_heading = "Verbs",
    max_term_width = 100
)]
pub(crate) struct Arguments {
    /// What applies to every verb.
    #[command(flatten)]
    pub(crate) globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Flags that may stand before or after the verb.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// Prints data as one line of JSON instead of tables
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Reads settings from a TOML file
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "OUTRIGGER_CONFIG",
        hide_env_values = true
    )]
    pub(crate) config: Option<PathBuf>,
    /// Says more on stderr: -v information, -vv details, -vvv everything
    ///
    /// OUTRIGGER_LOG, a filter such as `outrigger_runtime=debug`, says it more finely and wins.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// How the log on stderr is written: as text, or as a JSON object a line, with the time
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        env = "OUTRIGGER_LOG_FORMAT",
        hide_env_values = true,
        default_value = "text",
        hide_default_value = true
    )]
    pub(crate) log_format: LogFormat,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed; stderr says why in one sentence
  2    the command line or the configuration is wrong
  130  interrupted

Run `outrigger VERB --help` for what a verb does, with examples.";

/// Reads the command line of this process.
pub(crate) fn parse() -> Result<Arguments, clap::Error> {
    Arguments::try_parse()
}
