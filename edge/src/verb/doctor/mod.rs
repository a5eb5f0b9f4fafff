//! `doctor`: what the machine has, and what of it is used.

mod bandwidth;

use super::Session;
use crate::{
    bundled, console,
    printable::Printable,
    threads::{self, Choice},
    units,
};
use bandwidth::Bandwidth;
use clap::Args;
use outrigger_kernels::cpu::isa::Isa;
use outrigger_runtime::platform::{advise, cpus, memory};
use serde::Serialize;
use serde_json::{Map, Value};
use std::{
    io::{self, Write},
    path::Path,
};

/// Shows the hardware that is seen, what is missing, and how fast memory is read
///
/// Generating a token reads almost all of a model's weights once, so the bandwidth divided by the
/// model's size bounds the tokens per second. It is measured for about a second, by reading a
/// buffer larger than the caches with one thread and with all.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  outrigger doctor
  outrigger doctor --json | jq .bandwidth.all_threads.bytes_per_second")]
pub(crate) struct Doctor {}

impl Doctor {
    pub(super) fn run(self, session: &Session) -> anyhow::Result<()> {
        let findings = Findings::gather();
        if session.json {
            return console::print_json(&findings);
        }
        let mut out = console::stdout();
        findings.print(&mut out)?;
        out.flush()?;
        Ok(())
    }
}

/// What was found; what is not known how to ask is null.
#[derive(Debug, Serialize)]
struct Findings {
    version: &'static str,
    platform: String,
    cpu: Cpu,
    /// The numbers of threads that `run` found to be fastest here.
    threads_chosen: Vec<Choice>,
    memory: Memory,
    bandwidth: Option<Bandwidth>,
    gpu: Gpu,
    bundled_model: BundledModel,
}

#[derive(Debug, Serialize)]
struct Cpu {
    model: Option<String>,
    cores_usable: usize,
    cores_physical: Option<usize>,
    features: Map<String, Value>,
    /// The instruction sets that kernels exist in and this processor has.
    instruction_sets: Vec<&'static str>,
    /// The one that is used.
    instruction_set: &'static str,
}

#[derive(Debug, Serialize)]
struct Memory {
    bytes_total: Option<u64>,
    bytes_available: Option<u64>,
    page_bytes: usize,
}

#[derive(Debug, Serialize)]
struct Gpu {
    /// Whether this program can use one.
    supported: bool,
    /// Whether the machine has a driver for one.
    nvidia_driver: Option<bool>,
}

/// The model that comes with the program.
#[derive(Debug, Serialize)]
struct BundledModel {
    name: Option<String>,
    bytes: Option<u64>,
    /// Why it cannot be used; null when it can.
    error: Option<String>,
}

impl BundledModel {
    fn look() -> Self {
        match bundled::open() {
            Ok(gguf) => Self {
                name: gguf
                    .metadata()
                    .str("general.name")
                    .ok()
                    .flatten()
                    .map(str::to_owned),
                bytes: Some(gguf.total_bytes()),
                error: None,
            },
            Err(error) => Self {
                name: None,
                bytes: None,
                error: Some(error.to_string()),
            },
        }
    }
}

impl Findings {
    fn gather() -> Self {
        let features = Isa::features().into_iter();
        let system = memory::system();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cpu: Cpu {
                model: cpus::model_name(),
                cores_usable: cpus::usable(),
                cores_physical: cpus::physical(),
                features: features
                    .map(|(name, has)| (name.into(), has.into()))
                    .collect(),
                instruction_sets: Isa::available().into_iter().map(Isa::name).collect(),
                instruction_set: Isa::detect().name(),
            },
            threads_chosen: threads::remembered(),
            memory: Memory {
                bytes_total: system.map(|memory| memory.total),
                bytes_available: system.map(|memory| memory.available),
                page_bytes: advise::page_size(),
            },
            bandwidth: bandwidth::measure(cpus::usable()),
            gpu: Gpu {
                supported: false,
                nvidia_driver: cfg!(target_os = "linux")
                    .then(|| Path::new("/proc/driver/nvidia/version").exists()),
            },
            bundled_model: BundledModel::look(),
        }
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let mut line = |name: &str, value: &str| writeln!(out, "{name:<18}{value}");
        let unknown = || "not known".to_owned();
        let bytes = |count: Option<u64>| count.map_or_else(unknown, units::bytes);
        line("outrigger", self.version)?;
        line("platform", &self.platform)?;

        let Cpu {
            model,
            cores_usable,
            cores_physical,
            features,
            instruction_set,
            ..
        } = &self.cpu;
        line("processor", &model.clone().unwrap_or_else(unknown))?;
        let physical = cores_physical.map_or_else(unknown, |cores| cores.to_string());
        line(
            "cores",
            &format!("{cores_usable} usable, {physical} of them physical"),
        )?;
        let named = |wanted: bool| {
            let names = features.iter().filter(|(_, has)| **has == wanted);
            let names: Vec<&str> = names.map(|(name, _)| name.as_str()).collect();
            match names.as_slice() {
                [] => "none".to_owned(),
                names => names.join(" "),
            }
        };
        line("features", &named(true))?;
        line("lacking", &named(false))?;
        line("kernels", instruction_set)?;
        if self.threads_chosen.is_empty() {
            line("threads", "none chosen yet; `run` tries what is fastest")?;
        }
        for Choice { threads, model, .. } in &self.threads_chosen {
            line(
                "threads",
                &format!("{threads} for {}", Printable::start(model, 80)),
            )?;
        }

        let Memory {
            bytes_total,
            bytes_available,
            page_bytes,
        } = self.memory;
        line("memory", &bytes(bytes_total))?;
        line("available", &bytes(bytes_available))?;
        line("page size", &units::bytes(page_bytes as u64))?;
        match &self.bandwidth {
            Some(bandwidth) => {
                line("read, 1 thread", &bandwidth.one_thread.to_string())?;
                let name = format!("read, {} threads", bandwidth.all_threads.threads);
                line(&name, &bandwidth.all_threads.to_string())?;
            }
            None => line("read", "not measured: too little memory is available")?,
        }
        let driver = match self.gpu.nvidia_driver {
            Some(true) => "an NVIDIA driver is there, but ",
            Some(false) => "no NVIDIA driver is there, and ",
            None => "",
        };
        line(
            "GPU",
            &format!("not used: {driver}GPU support is not built in yet"),
        )?;
        let BundledModel { name, bytes, error } = &self.bundled_model;
        let bundled = match (error, bytes) {
            (Some(error), _) => format!("not usable: {error}"),
            (None, bytes) => {
                let name = name.as_deref().unwrap_or("without a name");
                format!("{name}, {}", bytes.map_or_else(unknown, units::bytes))
            }
        };
        line("bundled model", &bundled)
    }
}
