//! `quantize`: a GGUF file with other formats.

use super::Session;
use crate::{
    config, console,
    exit::{Interrupted, Usage},
    interrupt,
    model::ModelArgs,
    progress::Progress,
    units,
    whole_file::WholeFile,
};
use anyhow::Context as _;
use clap::{Args, ValueHint};
use outrigger_runtime::{
    gguf::{Format, Gguf},
    model::mixture::Mixture,
    platform::cpus,
    quantize::{ImportanceMatrix, Plan, PlanError, QuantizeError},
};
use serde::Serialize;
use std::{
    io::Write,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

#[cfg(feature = "ggml")]
use outrigger_runtime::ggml::Ggml as Blocks;
#[cfg(not(feature = "ggml"))]
use outrigger_runtime::quantize::Native as Blocks;

/// Writes a model with its matrices in other formats
///
/// TYPE is a mixture of formats by the name that llama.cpp gives it, such as Q4_K_M, and the file
/// is, byte for byte, the one that llama-quantize writes. Start from F32, F16 or BF16: what
/// another quantization has lost does not come back.
///
/// F32, F16, BF16 and Q8_0 are made by every build; the other types are made by ggml, in builds
/// with `--features ggml`. Types of few bits need an importance matrix, which llama-imatrix makes.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  outrigger quantize model-f16.gguf model-q8_0.gguf q8_0
  outrigger quantize model-f16.gguf model-q4_k_m.gguf q4_k_m
  outrigger quantize model-f16.gguf model-iq2_xs.gguf iq2_xs --imatrix model.imatrix.gguf
  outrigger quantize model-f16.gguf model-q4_k_m.gguf q4_k_m --dry-run --json")]
pub(crate) struct Quantize {
    /// The GGUF file to read, of a split model any part
    #[arg(value_name = "IN", value_hint = ValueHint::FilePath)]
    input: PathBuf,
    /// The GGUF file to write
    #[arg(value_name = "OUT", value_hint = ValueHint::FilePath)]
    output: PathBuf,
    /// The mixture of formats, such as Q4_K_M
    #[arg(value_name = "TYPE", value_parser = config::mixture)]
    mixture: Mixture,
    /// An importance matrix: how much each column matters, as llama-imatrix writes it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    imatrix: Option<PathBuf>,
    /// Shows what the file would be without writing it
    #[arg(long)]
    dry_run: bool,
    /// Threads that compute [default: the processors this process may use]
    #[arg(
        short,
        long,
        value_name = "N",
        env = "OUTRIGGER_THREADS",
        hide_env_values = true
    )]
    threads: Option<NonZeroUsize>,
}

impl Quantize {
    pub(super) fn run(self, session: &Session) -> anyhow::Result<()> {
        let model = ModelArgs {
            model: Some(self.input.clone()),
        };
        let gguf = model.gguf(&session.config)?;
        let importance = self.imatrix.as_deref().map(ImportanceMatrix::open);
        let importance = importance.transpose()?;
        let plan = Plan::new(&gguf, self.mixture, importance.as_ref(), &Blocks);
        let mut plan = plan.map_err(refused)?;
        if let Some(file) = &self.imatrix {
            plan.record_importance(&file.display().to_string());
        }
        self.warn(&plan);
        if !self.dry_run {
            let threads = self.threads.or(session.config.run.threads);
            write(&plan, &self.output, threads)?;
        }
        let report = Report::of(&gguf, &plan, &self);
        if session.json {
            return console::print_json(&report);
        }
        let mut out = console::stdout();
        writeln!(out, "{report}")?;
        out.flush()?;
        Ok(())
    }

    /// Says what makes the result worse than it could be.
    fn warn(&self, plan: &Plan<'_>) {
        let exact = [Format::F32, Format::F16, Format::BF16, Format::F64];
        let mut changed = plan.tensors().iter().filter(|t| t.changes());
        if let Some(tensor) = changed.find(|tensor| !exact.contains(&tensor.source.format)) {
            tracing::warn!(
                "{} is quantized already ({} among others); start from F32, F16 or BF16 for a \
                 better result",
                self.input.display(),
                tensor.source.format,
            );
        }
        let missing = |t: &&_| -> bool { plan.lacks_importance(t) };
        if let Some(tensor) = plan.tensors().iter().find(missing) {
            tracing::warn!(
                "the importance matrix says nothing about {} of the tensors, the first is {}",
                plan.tensors().iter().filter(missing).count(),
                console::visible(&tensor.source.name),
            );
        }
    }
}

/// What to do about a refusal.
fn refused(error: PlanError) -> anyhow::Error {
    if matches!(error, PlanError::NoEncoder { .. }) && cfg!(not(feature = "ggml")) {
        return Usage(format!(
            "{error}; this build makes F32, F16, BF16 and Q8_0, and one by `cargo build \
             --release --features ggml`, which takes cmake and libclang, makes them all"
        ))
        .into();
    }
    error.into()
}

fn write(plan: &Plan<'_>, path: &Path, threads: Option<NonZeroUsize>) -> anyhow::Result<()> {
    let threads = threads.or_else(|| NonZeroUsize::new(cpus::usable()));
    let threads = threads.unwrap_or(NonZeroUsize::MIN);
    let mut file = WholeFile::create(path)?;
    let mut progress = Progress::new(plan.source_bytes(), "quantizing");
    interrupt::flag();
    let written = plan.write(file.writer(), &Blocks, threads, |bytes| {
        progress.advance(bytes);
        interrupt::check().is_ok()
    });
    match written {
        Ok(_) => file.finish(),
        Err(QuantizeError::Cancelled) => Err(Interrupted.into()),
        Err(QuantizeError::Write(error)) => Err(error).with_context(|| path.display().to_string()),
        Err(error) => Err(error.into()),
    }
}

/// What came of it.
#[derive(Serialize)]
struct Report {
    file: String,
    #[serde(rename = "type")]
    mixture: &'static str,
    tensors: usize,
    tensors_changed: usize,
    tensor_bytes_before: u64,
    tensor_bytes: u64,
    bits_per_weight: f64,
    dry_run: bool,
}

impl Report {
    fn of(gguf: &Gguf, plan: &Plan<'_>, arguments: &Quantize) -> Self {
        let values: u64 = gguf.tensors().iter().map(|t| t.values() as u64).sum();
        Self {
            file: arguments.output.display().to_string(),
            mixture: arguments.mixture.name(),
            tensors: plan.tensors().len(),
            tensors_changed: plan.tensors().iter().filter(|t| t.changes()).count(),
            tensor_bytes_before: plan.source_bytes(),
            tensor_bytes: plan.bytes(),
            bits_per_weight: plan.bytes() as f64 * 8.0 / values.max(1) as f64,
            dry_run: arguments.dry_run,
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}{}: {}, {} of {} tensors changed, {} -> {}, {:.2} bits per weight",
            console::visible(&self.file),
            if self.dry_run { " (not written)" } else { "" },
            self.mixture,
            self.tensors_changed,
            self.tensors,
            units::bytes(self.tensor_bytes_before),
            units::bytes(self.tensor_bytes),
            self.bits_per_weight,
        )
    }
}
