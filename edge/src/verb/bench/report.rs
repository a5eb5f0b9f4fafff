//! What is told of a test.

use super::{
    profile::{Breakdown, Measured},
    runner::{Outcome, Peak},
    samples::{deviation, mean, median},
    test::{Test, Work},
};
use crate::{
    table::{Align, Table},
    units,
};
use outrigger_runtime::{
    model::{Model, mixture::Mixture},
    platform::cpus,
    template::CivilTime,
};
use serde::Serialize;
use std::{
    io::{self, Write},
    time::Duration,
};

/// What `--json` prints of a test: llama-bench's fields, as far as they have a
/// meaning here, then our own.
#[derive(Debug, Serialize)]
pub(super) struct Record {
    build_commit: &'static str,
    build_number: u32,
    cpu_info: String,
    gpu_info: String,
    backends: &'static str,
    model_filename: String,
    model_type: String,
    /// Bytes of all tensors.
    model_size: u64,
    model_n_params: u64,
    n_batch: usize,
    n_ubatch: usize,
    n_threads: usize,
    type_k: &'static str,
    type_v: &'static str,
    n_prompt: usize,
    n_gen: usize,
    n_depth: usize,
    test_time: String,
    avg_ns: u64,
    stddev_ns: u64,
    avg_ts: f64,
    stddev_ts: f64,
    samples_ns: Vec<u64>,
    samples_ts: Vec<f64>,

    /// The name of the test.
    test: String,
    /// Sequences decoded at once.
    n_parallel: usize,
    /// The instruction set, and the kernels' own name.
    isa: &'static str,
    kernel_set: String,
    /// Bytes that a generated token makes the threads read: weights, keys and
    /// values.
    bytes_per_token: Option<f64>,
    /// Bytes per second at which the same threads read the mapped weights, the
    /// median of `read_bandwidth_samples`.
    read_bandwidth: Option<f64>,
    read_bandwidth_samples: Vec<f64>,
    /// `bytes_per_token * avg_ts / read_bandwidth`.
    roofline: Option<f64>,
    joules_per_token: Option<f64>,
    peak_rss_bytes: Option<u64>,
    peak_anonymous_bytes: Option<u64>,
    peak_file_bytes: Option<u64>,
    /// Where a token's time went, with `--profile`.
    profile: Option<Breakdown>,
}

impl Record {
    /// The record of a test that has just ended.
    pub(super) fn new(model: &Model, file: &str, test: &Test, outcome: Outcome) -> Self {
        let tokens = test.tokens();
        let samples_ts = outcome.samples.rates(tokens);
        let samples_ns: Vec<f64> = outcome.samples.ns.iter().map(|&ns| ns as f64).collect();
        let avg_ts = mean(&samples_ts);
        let (n_prompt, n_gen, n_parallel) = match test.work {
            Work::Prompt(tokens) => (tokens, 0, 1),
            Work::Generate { tokens, columns } => (0, tokens, columns),
        };
        let bytes_per_token = (n_gen > 0).then(|| bytes_per_token(model, test)).flatten();
        let read_bandwidth = median(&outcome.read_speeds);
        let (resident, anonymous, file_pages) = match outcome.memory {
            Some(Peak {
                resident,
                anonymous,
                file,
            }) => (Some(resident), Some(anonymous), Some(file)),
            None => (None, None, None),
        };
        let measured = tokens * samples_ns.len();
        let time = Duration::from_nanos(outcome.samples.ns.iter().sum());
        let profile = outcome.profile.as_ref().map(|profile| {
            Breakdown::new(&Measured {
                profile,
                time,
                sampling: outcome.sampling,
                tokens: measured,
                read_bandwidth,
            })
        });
        Self {
            build_commit: env!("OUTRIGGER_BUILD_COMMIT"),
            build_number: env!("OUTRIGGER_BUILD_NUMBER").parse().unwrap_or(0),
            cpu_info: cpus::model_name().unwrap_or_default(),
            gpu_info: String::new(),
            backends: "CPU",
            model_filename: file.to_owned(),
            model_type: model_type(model),
            model_size: model.gguf().tensors().iter().map(|t| t.bytes as u64).sum(),
            model_n_params: model.parameters(),
            n_batch: outcome.columns_max,
            n_ubatch: outcome.columns_max,
            n_threads: test.threads,
            type_k: test.kv.name(),
            type_v: test.kv.name(),
            n_prompt,
            n_gen,
            n_depth: test.depth,
            test_time: CivilTime::now().format("%Y-%m-%dT%H:%M:%SZ"),
            avg_ns: mean(&samples_ns) as u64,
            stddev_ns: deviation(&samples_ns) as u64,
            avg_ts,
            stddev_ts: deviation(&samples_ts),
            samples_ns: outcome.samples.ns,
            samples_ts,
            test: test.to_string(),
            n_parallel,
            isa: outcome.isa,
            kernel_set: outcome.kernel_set,
            bytes_per_token,
            read_bandwidth,
            read_bandwidth_samples: outcome.read_speeds,
            roofline: bytes_per_token
                .zip(read_bandwidth)
                .map(|(bytes, speed)| bytes * avg_ts / speed),
            joules_per_token: outcome.joules.map(|joules| joules / measured as f64),
            peak_rss_bytes: resident,
            peak_anonymous_bytes: anonymous,
            peak_file_bytes: file_pages,
            profile,
        }
    }
}

/// Bytes read for a generated token: a step's weights, shared by its columns,
/// and the keys and values before it, at the middle of the test.
fn bytes_per_token(model: &Model, test: &Test) -> Option<f64> {
    let columns = test.sequences();
    let middle = (test.depth + test.positions()).div_ceil(2);
    let kv = model.kv_bytes(test.kv, u32::try_from(middle).ok()?)?;
    Some(model.pass_bytes(columns) / columns as f64 + kv as f64)
}

/// Architecture, size and mixture, such as `llama 1.24 B Q4_K_M`.
fn model_type(model: &Model) -> String {
    let number = model.gguf().metadata().u32("general.file_type");
    let mixture = number.ok().flatten().and_then(Mixture::from_file_type);
    let mut text = format!(
        "{} {}",
        model.architecture,
        units::count(model.parameters())
    );
    if let Some(mixture) = mixture {
        text += " ";
        text += mixture.name();
    }
    text
}

/// The headings of all cells; the last only where energy is measured.
const HEADINGS: [(&str, Align); 11] = [
    ("model", Align::Left),
    ("size", Align::Right),
    ("params", Align::Right),
    ("threads", Align::Right),
    ("kv", Align::Left),
    ("test", Align::Left),
    ("t/s", Align::Right),
    ("GB/token", Align::Right),
    ("read GB/s", Align::Right),
    ("roofline", Align::Right),
    ("J/token", Align::Right),
];

/// Prints the tests that were run as a table, and what they have in common.
pub(super) fn print(records: &[Record], out: &mut impl Write) -> io::Result<()> {
    let Some(last) = records.last() else {
        return Ok(());
    };
    if records.iter().any(|r| r.joules_per_token.is_some()) {
        let mut table = Table::new(HEADINGS);
        records.iter().for_each(|record| table.push(cells(record)));
        table.print(out)?;
    } else {
        let [headings @ .., _] = HEADINGS;
        let mut table = Table::new(headings);
        for record in records {
            let [cells @ .., _] = cells(record);
            table.push(cells);
        }
        table.print(out)?;
    }
    writeln!(out)?;
    for record in records {
        if let Some(profile) = &record.profile {
            writeln!(
                out,
                "{}, threads {}, kv {}: where a token's time goes",
                record.test, record.n_threads, record.type_k
            )?;
            profile.print(out)?;
            writeln!(out)?;
        }
    }
    if last.joules_per_token.is_none() {
        writeln!(
            out,
            "J/token is left out: no energy counter of /sys/class/powercap can be read"
        )?;
    }
    let most = |of: fn(&Record) -> Option<u64>| records.iter().filter_map(of).max();
    if let (Some(resident), Some(own), Some(file)) = (
        most(|r| r.peak_rss_bytes),
        most(|r| r.peak_anonymous_bytes),
        most(|r| r.peak_file_bytes),
    ) {
        writeln!(
            out,
            "peak memory: {}; own {}, of the model's file {}",
            units::bytes(resident),
            units::bytes(own),
            units::bytes(file)
        )?;
    }
    writeln!(out, "kernels: {}, {}", last.isa, last.kernel_set)?;
    writeln!(out, "build: {} ({})", last.build_commit, last.build_number)
}

fn cells(record: &Record) -> [String; HEADINGS.len()] {
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(String::new, |value| format!("{value:.digits$}"))
    };
    [
        record.model_type.clone(),
        units::bytes(record.model_size),
        units::count(record.model_n_params),
        record.n_threads.to_string(),
        record.type_k.to_owned(),
        record.test.clone(),
        format!("{:.2} \u{b1} {:.2}", record.avg_ts, record.stddev_ts),
        number(record.bytes_per_token.map(|bytes| bytes / 1e9), 3),
        number(record.read_bandwidth.map(|speed| speed / 1e9), 1),
        record
            .roofline
            .map_or_else(String::new, |part| format!("{:.0} %", 100.0 * part)),
        number(record.joules_per_token, 2),
    ]
}
