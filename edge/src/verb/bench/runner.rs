//! Running one test.

use super::{
    samples::Samples,
    sampling::Sampling,
    test::{Test, Work},
};
use crate::{energy::EnergyMeter, interrupt, read_speed};
use outrigger_kernels::cpu::isa::Isa;
use outrigger_runtime::{
    kv::SequenceId,
    loaded::{LoadedModel, RunOptions},
    platform::memory,
    stage::{Batch, Column, Pipeline, Profile},
    tokenizer::TokenId,
    transcript::Class,
};
use std::{
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

/// How long the speed of reading is measured for, before and after each
/// repetition.
const PROBE: Duration = Duration::from_millis(50);
/// Weights that are read to measure it: much more than caches hold, little
/// enough that a pass is short.
const PROBE_BYTES: usize = 1 << 30;

/// What came out of a test.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The time of each repetition.
    pub(super) samples: Samples,
    /// Bytes per second at which the test's threads read the mapped weights,
    /// before each repetition and after the last. Generations only, unless
    /// there is a profile.
    pub(super) read_speeds: Vec<f64>,
    /// Energy of all repetitions, where that is measured.
    pub(super) joules: Option<f64>,
    /// Memory of the process, where that is known.
    pub(super) memory: Option<Peak>,
    /// The kernels that computed.
    pub(super) kernel_set: String,
    /// The instruction set that they used.
    pub(super) isa: &'static str,
    /// Most columns in one pass.
    pub(super) columns_max: usize,
    /// Where the time of all repetitions went, if that was asked for.
    pub(super) profile: Option<Profile>,
    /// What the sampler took besides, if that was asked for.
    pub(super) sampling: Duration,
}

/// The most memory that was in RAM during a test, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Peak {
    pub(super) resident: u64,
    /// The process' own part of it, as seen after each repetition.
    pub(super) anonymous: u64,
    /// Pages of the model's file, likewise.
    pub(super) file: u64,
}

/// How a test is run.
pub(super) struct Runner<'a> {
    pub(super) loaded: &'a LoadedModel,
    pub(super) repetitions: usize,
    pub(super) meter: Option<&'a EnergyMeter>,
    pub(super) profile: bool,
    pub(super) columns_max: usize,
    pub(super) isa: Isa,
    pub(super) cancel: &'a AtomicBool,
}

impl Runner<'_> {
    /// Runs a test: once to warm up, as llama-bench does, then the
    /// repetitions. `done` is called after each of these.
    pub(super) fn run(&self, test: &Test, mut done: impl FnMut()) -> anyhow::Result<Outcome> {
        memory::reset_peak();
        let options = RunOptions {
            threads: Some(test.threads),
            kv_format: test.kv,
            columns_max: self.columns_max.max(test.sequences()),
            sequences: test.sequences(),
            isa: Some(self.isa),
        };
        let mut session = Session {
            pipeline: self.loaded.pipeline(&options)?,
            batch: Batch::default(),
            tokens: Tokens(1),
            cancel: self.cancel,
            sampling: None,
        };
        let probe = match test.work {
            Work::Prompt(_) if !self.profile => Vec::new(),
            Work::Prompt(_) | Work::Generate { .. } => self.probed(),
        };
        let mut outcome = Outcome {
            isa: self.isa.name(),
            kernel_set: session.pipeline.kernel_set(),
            columns_max: session.pipeline.columns_max(),
            ..Outcome::default()
        };
        session.create(test.sequences())?;
        session.work(&match test.work {
            Work::Prompt(_) => test.work,
            Work::Generate { columns, .. } => Work::Generate { tokens: 1, columns },
        })?;
        done();
        if self.profile && matches!(test.work, Work::Generate { .. }) {
            session.sampling = Some(Sampling::new(session.pipeline.vocab())?);
        }
        for _ in 0..self.repetitions {
            session.keep(test.depth, test.sequences())?;
            outcome.probe(&probe, test.threads);
            if self.profile {
                session.pipeline.start_profile()?;
            }
            let energy = self.meter.and_then(EnergyMeter::read);
            let started = Instant::now();
            session.work(&test.work)?;
            let elapsed = started.elapsed();
            let sampling = session
                .sampling
                .as_mut()
                .map_or(Duration::ZERO, Sampling::take);
            outcome.samples.push(elapsed.saturating_sub(sampling));
            outcome.sampling += sampling;
            if let (Some(meter), Some(before)) = (self.meter, energy)
                && let Some(after) = meter.read()
            {
                *outcome.joules.get_or_insert_default() += meter.joules(&before, &after);
            }
            if self.profile {
                let profile = session.pipeline.take_profile()?;
                outcome.profile.get_or_insert_default().add(&profile);
            }
            outcome.look_at_memory();
            done();
        }
        outcome.probe(&probe, test.threads);
        Ok(outcome)
    }

    /// The weights that measure the speed of reading.
    fn probed(&self) -> Vec<&[u8]> {
        let mut left = PROBE_BYTES;
        let mut slices = Vec::new();
        for matrix in self.loaded.model().pass_matrices() {
            let bytes = matrix.bytes();
            let slice = &bytes[..bytes.len().min(left)];
            left -= slice.len();
            slices.push(slice);
        }
        slices
    }
}

impl Outcome {
    fn probe(&mut self, slices: &[&[u8]], threads: usize) {
        if !slices.is_empty() {
            let speed = read_speed::measure(slices, threads, PROBE);
            self.read_speeds.push(speed);
        }
    }

    fn look_at_memory(&mut self) {
        let Some(now) = memory::process() else { return };
        let peak = self.memory.get_or_insert_default();
        peak.resident = now.resident_peak;
        peak.anonymous = peak.anonymous.max(now.anonymous);
        peak.file = peak.file.max(now.file);
    }
}

/// A model laid out for a test, and its sequences.
struct Session<'a> {
    pipeline: Pipeline,
    batch: Batch,
    tokens: Tokens,
    cancel: &'a AtomicBool,
    /// What samples each step's logits, while a generation is profiled.
    sampling: Option<Sampling>,
}

impl Session<'_> {
    fn create(&mut self, sequences: usize) -> anyhow::Result<()> {
        for id in ids(sequences) {
            self.pipeline.create(id)?;
        }
        Ok(())
    }

    /// Brings every sequence to `depth` positions. Each is computed on its own,
    /// so that each has keys and values of its own to read.
    fn keep(&mut self, depth: usize, sequences: usize) -> anyhow::Result<()> {
        for id in ids(sequences) {
            let held = self.len(id);
            let kept = self.pipeline.truncate(id, held.min(depth as u32))?;
            self.prompt(id, depth - kept as usize, false)?;
        }
        Ok(())
    }

    /// What is timed.
    fn work(&mut self, work: &Work) -> anyhow::Result<()> {
        match *work {
            Work::Prompt(tokens) => self.prompt(SequenceId(0), tokens, true),
            Work::Generate { tokens, columns } => (0..tokens).try_for_each(|_| self.step(columns)),
        }
    }

    /// Appends a prompt to a sequence; the logits of its last token are
    /// computed if they are wanted.
    fn prompt(&mut self, sequence: SequenceId, tokens: usize, wanted: bool) -> anyhow::Result<()> {
        let end = self.len(sequence) + tokens as u32;
        loop {
            let start = self.len(sequence);
            if start == end {
                return Ok(());
            }
            let stop = end.min(start + self.pipeline.columns_max() as u32);
            self.batch.clear();
            for position in start..stop {
                let column = Column {
                    sequence,
                    position,
                    class: Class::Prompt,
                    wanted: wanted && position + 1 == end,
                };
                self.push(column);
            }
            self.forward()?;
        }
    }

    /// Appends a token to each of `columns` sequences.
    fn step(&mut self, columns: usize) -> anyhow::Result<()> {
        self.batch.clear();
        for sequence in ids(columns) {
            let column = Column {
                sequence,
                position: self.len(sequence),
                class: Class::Generated,
                wanted: true,
            };
            self.push(column);
        }
        self.forward()?;
        if let Some(sampling) = &mut self.sampling {
            let position = self.batch.columns.first().map_or(0, |c| c.position + 1);
            sampling.sample(&self.batch.output, self.pipeline.vocab(), position)?;
        }
        Ok(())
    }

    fn push(&mut self, column: Column) {
        let token = self.tokens.next(self.pipeline.vocab());
        self.batch.push(column, token);
    }

    fn forward(&mut self) -> anyhow::Result<()> {
        let result = self.pipeline.forward(&mut self.batch, self.cancel);
        interrupt::check()?;
        Ok(result?)
    }

    fn len(&self, sequence: SequenceId) -> u32 {
        self.pipeline.len(sequence).unwrap_or(0)
    }
}

fn ids(sequences: usize) -> impl Iterator<Item = SequenceId> {
    (0..).map(SequenceId).take(sequences)
}

/// Tokens as if at random, the same in every run (the generator of Knuth's
/// MMIX).
struct Tokens(u64);

impl Tokens {
    fn next(&mut self, vocab: usize) -> TokenId {
        const FACTOR: u64 = 6_364_136_223_846_793_005;
        const TERM: u64 = 1_442_695_040_888_963_407;
        self.0 = self.0.wrapping_mul(FACTOR).wrapping_add(TERM);
        ((self.0 >> 33) % vocab.max(1) as u64) as TokenId
    }
}
