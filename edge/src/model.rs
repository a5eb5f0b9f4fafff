//! Which model a verb works on, and how it is run.

use crate::{
    bundled,
    config::{self, Config},
    exit::Usage,
};
use anyhow::Context as _;
use clap::{Args, ValueHint};
use outrigger_kernels::cpu::isa::Isa;
use outrigger_runtime::{
    gguf::Gguf,
    kv::KvFormat,
    loaded::{LoadError, LoadedModel, RunOptions},
    model::ModelOptions,
};
use std::{
    num::{NonZeroU32, NonZeroUsize},
    path::{Path, PathBuf},
};

/// Flags of every verb that reads a model.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model options")]
pub(crate) struct ModelArgs {
    /// The model's GGUF file, of a split model any part [default: the bundled model]
    #[arg(
        short,
        long,
        value_name = "PATH",
        env = "OUTRIGGER_MODEL",
        hide_env_values = true,
        value_hint = ValueHint::FilePath
    )]
    pub(crate) model: Option<PathBuf>,
}

/// Flags of every verb that runs a model.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model options")]
pub(crate) struct RunArgs {
    /// Threads that compute [default: the processors this process may use; `run` tries which
    /// number of them is fastest for a model, and remembers it]
    #[arg(
        short,
        long,
        value_name = "N",
        env = "OUTRIGGER_THREADS",
        hide_env_values = true
    )]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Positions a sequence may have [default: as the verb says]
    #[arg(
        short,
        long,
        value_name = "N",
        env = "OUTRIGGER_CTX_SIZE",
        hide_env_values = true
    )]
    pub(crate) ctx_size: Option<NonZeroU32>,
    /// How keys and values are cached: f16, f32 or q8_0
    #[arg(
        long,
        value_name = "FORMAT",
        env = "OUTRIGGER_KV",
        hide_env_values = true,
        value_parser = config::kv_format
    )]
    pub(crate) kv: Option<KvFormat>,
    #[command(flatten)]
    pub(crate) isa: IsaArgs,
}

/// The flag of every verb whose kernels can be chosen.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model options")]
pub(crate) struct IsaArgs {
    /// Instruction set of the kernels, as `doctor` names them [default: the best there is]
    #[arg(
        long,
        value_name = "NAME",
        env = "OUTRIGGER_ISA",
        hide_env_values = true,
        value_parser = named_isa
    )]
    pub(crate) isa: Option<Isa>,
}

fn named_isa(name: &str) -> Result<Isa, String> {
    Isa::named(name).ok_or_else(|| {
        let available = Isa::available();
        let names: Vec<_> = available.iter().map(|isa| isa.name()).collect();
        format!("this processor has {}", names.join(", "))
    })
}

impl ModelArgs {
    /// Opens the file that was named, by whatever means, or else the model
    /// that comes with the program. It need not hold a model that can be run.
    pub(crate) fn gguf(&self, config: &Config) -> anyhow::Result<Gguf> {
        let Some(path) = self.model.as_ref().or(config.model.as_ref()) else {
            return Ok(bundled::open()?);
        };
        if path.to_str().is_some_and(|path| path.starts_with("hf:")) {
            return Err(Usage(format!(
                "{}: models cannot be pulled from Hugging Face yet; download the GGUF file and \
                 give its path",
                path.display()
            ))
            .into());
        }
        Ok(Gguf::open(path)?)
    }

    /// Opens the model.
    pub(crate) fn load(
        &self,
        config: &Config,
        options: &ModelOptions,
    ) -> anyhow::Result<LoadedModel> {
        let gguf = self.gguf(config)?;
        let name = name(&gguf);
        let model = LoadedModel::from_gguf(gguf, options);
        model.map_err(|error| match error {
            // These name the file themselves.
            LoadError::Gguf(error) => error.into(),
            error => anyhow::Error::new(error).context(name),
        })
    }
}

impl RunArgs {
    /// How many positions a sequence may have, if that is set anywhere.
    pub(crate) fn context(&self, config: &Config) -> Option<u32> {
        self.ctx_size.or(config.run.context).map(NonZeroU32::get)
    }

    /// How the model is laid out; `kv` is the verb's own default.
    pub(crate) fn options(&self, config: &Config, kv: KvFormat) -> RunOptions {
        let defaults = RunOptions::default();
        let columns_max = config.run.columns_max.map(NonZeroUsize::get);
        RunOptions {
            threads: self.threads.or(config.run.threads).map(NonZeroUsize::get),
            kv_format: self.kv.or(config.run.kv).unwrap_or(kv),
            columns_max: columns_max.unwrap_or(defaults.columns_max),
            isa: self.isa.isa,
            ..defaults
        }
    }
}

/// What to call the model in a message.
pub(crate) fn name(gguf: &Gguf) -> String {
    gguf.path().map_or_else(
        || "the bundled model".into(),
        |path| path.display().to_string(),
    )
}

/// Reads a file of text, or stdin for `-`.
pub(crate) fn read_text(path: &Path) -> anyhow::Result<String> {
    if path.as_os_str() == "-" {
        return std::io::read_to_string(std::io::stdin()).context("stdin");
    }
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}
