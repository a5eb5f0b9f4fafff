//! Stages one by one, for tests of what a stage promises.

use crate::{local::Options, reference::own_folder};
use outrigger_kernels::team::{Halt, Member, Program, Run, Team};
use outrigger_runtime::{
    kv::{KvConfig, SequenceId},
    model::Model,
    stage::{Batch, Column, CpuStage, CpuStageConfig, Span, Stage, StageError},
    transcript::Class,
};
use std::{
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

/// The file of one of the repository's reference models, `NAME-FORMAT.gguf`.
pub fn reference_file(name: &str, format: &str) -> PathBuf {
    own_folder()
        .join(name)
        .join(format!("{name}-{format}.gguf"))
}

/// The cache that [`crate::local::pipeline`] gives a stage of `layers`.
///
/// # Panics
///
/// When the sizes overflow.
pub fn kv_config(model: &Model, layers: std::ops::Range<usize>, options: &Options) -> KvConfig {
    let shape = model.kv_shape(layers);
    KvConfig::for_context(&shape, options.kv, options.context, options.sequences)
        .expect("a cache that fits")
}

/// A stage of part of a model.
///
/// # Panics
///
/// When it cannot be made.
pub fn stage(
    model: &Arc<Model>,
    team: &Arc<Team>,
    span: Span,
    kv: KvConfig,
    options: &Options,
) -> CpuStage {
    let config = CpuStageConfig {
        span,
        kv,
        columns_max: 512,
        isa: options.isa,
    };
    CpuStage::new(model.clone(), team.clone(), config).expect("a stage")
}

/// Columns of one sequence from `position` on, all of them wanted.
pub fn batch(sequence: SequenceId, position: u32, class: Class, tokens: &[u32]) -> Batch {
    let mut batch = Batch::default();
    for (index, &token) in (0..).zip(tokens) {
        let column = Column {
            sequence,
            position: position.wrapping_add(index),
            class,
            wanted: true,
        };
        batch.push(column, token);
    }
    batch
}

/// Runs a batch through one stage; the batch comes back filled.
///
/// # Errors
///
/// Those of the stage.
pub fn feed(stage: &mut dyn Stage, batch: &mut Batch) -> Result<(), StageError> {
    let ticket = match stage.submit(std::mem::take(batch)) {
        Ok(ticket) => ticket,
        Err(refused) => {
            *batch = refused.batch;
            return Err(refused.error);
        }
    };
    loop {
        if let Some(completion) = stage.wait(ticket, Duration::from_secs(1)) {
            *batch = completion.batch;
            return completion.result;
        }
    }
}

/// Tokens that differ from seed to seed, below `vocab`.
pub fn tokens(count: usize, vocab: usize, seed: u32) -> Vec<u32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state % vocab as u32
    };
    (0..count).map(|_| next()).collect()
}

/// The bits of logits: what has to be equal where results are promised to be.
pub fn bits(rows: &[Vec<f32>]) -> Vec<Vec<u32>> {
    let row = |row: &Vec<f32>| row.iter().map(|x| x.to_bits()).collect();
    rows.iter().map(row).collect()
}

/// A program that keeps a team busy, so that what is started after it stays
/// under way until [`Gate::open`].
pub struct Gate {
    run: Arc<Run<Door>>,
    door: Arc<Door>,
}

struct Door {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Program for Door {
    fn run(&self, _: &Member<'_>) -> Result<(), Halt> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        while !*open {
            open = self
                .opened
                .wait(open)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }
}

impl Gate {
    /// Occupies all threads of the team.
    pub fn close(team: &Team) -> Self {
        let door = Arc::new(Door {
            open: Mutex::new(false),
            opened: Condvar::new(),
        });
        let run = team.prepare();
        team.start(&run, door.clone());
        Self { run, door }
    }

    /// Lets the team go on.
    pub fn open(self) {
        drop(self);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let mut open = self
            .door
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *open = true;
        drop(open);
        self.door.opened.notify_all();
        // The door cannot fail, and a test that is unwinding has failed already.
        let _ = self.run.wait();
    }
}
