//! Stages one after the other: a whole model.

use super::{Batch, Profile, Stage, StageError};
use crate::kv::SequenceId;
use std::{
    mem,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// How long a request to cancel may go unseen during a pass.
const CANCEL_INTERVAL: Duration = Duration::from_millis(10);

/// The stages of a model, in order, from token ids to logits.
pub struct Pipeline {
    stages: Vec<Box<dyn Stage>>,
}

/// Stages that do not make up a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PipelineError {
    /// There is no stage at all, or the ends are missing.
    #[error("a pipeline begins with a stage that embeds and ends with one that has the head")]
    Ends,
    /// A stage does not begin where the one before ends.
    #[error("stage {index} does not continue the one before it")]
    Gap {
        /// The stage, from 0.
        index: usize,
    },
    /// A stage is of layers that the model does not have.
    #[error("a stage has the layers {start}..{end}, and the model 0..{layers}")]
    Layers {
        /// The first layer.
        start: usize,
        /// The layer behind the last.
        end: usize,
        /// Layers of the model.
        layers: usize,
    },
}

impl Pipeline {
    /// Puts stages together.
    pub fn new(stages: Vec<Box<dyn Stage>>) -> Result<Self, PipelineError> {
        let ends = stages.first().is_some_and(|s| s.span().embed)
            && stages.last().is_some_and(|s| s.span().head);
        if !ends {
            return Err(PipelineError::Ends);
        }
        for (index, pair) in stages.windows(2).enumerate() {
            let (a, b) = (pair[0].span(), pair[1].span());
            let joined = a.layers.end == b.layers.start && !a.head && !b.embed;
            if !joined || pair[0].width() != pair[1].width() {
                return Err(PipelineError::Gap { index: index + 1 });
            }
        }
        Ok(Self { stages })
    }

    /// Size of the vocabulary.
    pub fn vocab(&self) -> usize {
        self.stages.last().map_or(0, |s| s.output_len())
    }

    /// Most columns in one batch.
    pub fn columns_max(&self) -> usize {
        let columns = self.stages.iter().map(|s| s.columns_max());
        columns.min().unwrap_or(0)
    }

    /// The kernel sets of the stages, joined by `+`.
    pub fn kernel_set(&self) -> String {
        let mut names: Vec<&str> = self.stages.iter().map(|s| s.kernel_set()).collect();
        names.dedup();
        names.join("+")
    }

    /// Runs a batch through all stages; the logits of its wanted columns are
    /// in `batch.output` after. `cancel` is looked at between stages and at
    /// each barrier inside them.
    ///
    /// If a later stage fails, the earlier ones are taken back to where they
    /// were, so that all stages agree on the length of every sequence.
    pub fn forward(&mut self, batch: &mut Batch, cancel: &AtomicBool) -> Result<(), StageError> {
        let mut result = Ok(());
        let mut done = 0;
        for stage in &mut self.stages {
            if done > 0 {
                mem::swap(&mut batch.hidden, &mut batch.output);
            }
            result = run(stage.as_mut(), batch, cancel);
            if result.is_err() {
                break;
            }
            done += 1;
        }
        if result.is_err() {
            self.roll_back(batch, done)?;
        }
        result
    }

    /// Takes the positions of `batch` back from the first `done` stages.
    fn roll_back(&mut self, batch: &Batch, done: usize) -> Result<(), StageError> {
        for stage in &mut self.stages[..done] {
            for column in &batch.columns {
                let len = stage.len(column.sequence);
                if len.is_some_and(|len| len > column.position) {
                    stage.truncate(column.sequence, column.position)?;
                }
            }
        }
        Ok(())
    }

    /// Makes an empty sequence in all stages.
    pub fn create(&mut self, id: SequenceId) -> Result<(), StageError> {
        self.stages.iter_mut().try_for_each(|s| s.create(id))
    }

    /// Forgets a sequence in all stages.
    pub fn release(&mut self, id: SequenceId) -> Result<(), StageError> {
        self.stages.iter_mut().try_for_each(|s| s.release(id))
    }

    /// Positions that all stages have of a sequence; `None` if one lacks it.
    pub fn len(&self, id: SequenceId) -> Option<u32> {
        let mut stages = self.stages.iter();
        stages.try_fold(u32::MAX, |least, s| Some(least.min(s.len(id)?)))
    }

    /// Cuts a sequence in all stages to `len` positions, or to less where one
    /// of them cannot keep as much; returns the length kept.
    pub fn truncate(&mut self, id: SequenceId, len: u32) -> Result<u32, StageError> {
        let mut kept = len;
        for stage in &mut self.stages {
            kept = stage.truncate(id, kept)?.min(kept);
        }
        // A stage that kept less than those before it pulls them along.
        for stage in &mut self.stages {
            if stage.len(id).is_some_and(|len| len > kept) {
                stage.truncate(id, kept)?;
            }
        }
        Ok(kept)
    }

    /// Makes `to` a copy of `from`'s first `len` positions in all stages;
    /// returns the length kept.
    pub fn fork(&mut self, from: SequenceId, to: SequenceId, len: u32) -> Result<u32, StageError> {
        let mut kept = len;
        for stage in &mut self.stages {
            kept = stage.fork(from, to, kept)?.min(kept);
        }
        self.truncate(to, kept)
    }

    /// Records from now on where the time of passes goes.
    pub fn start_profile(&mut self) -> Result<(), StageError> {
        self.stages.iter_mut().try_for_each(|s| s.start_profile())
    }

    /// What all stages recorded since, and records no more.
    pub fn take_profile(&mut self) -> Result<Profile, StageError> {
        let mut sum = Profile::default();
        for stage in &mut self.stages {
            if let Some(profile) = stage.take_profile()? {
                sum.add_stage(&profile);
            }
        }
        Ok(sum)
    }
}

/// One stage's part of a pass.
fn run(stage: &mut dyn Stage, batch: &mut Batch, cancel: &AtomicBool) -> Result<(), StageError> {
    if cancel.load(Ordering::Relaxed) {
        return Err(StageError::Cancelled);
    }
    let ticket = match stage.submit(mem::take(batch)) {
        Ok(ticket) => ticket,
        Err(refused) => {
            *batch = refused.batch;
            return Err(refused.error);
        }
    };
    loop {
        if let Some(completion) = stage.wait(ticket, CANCEL_INTERVAL) {
            *batch = completion.batch;
            return completion.result;
        }
        if cancel.load(Ordering::Relaxed) {
            stage.cancel(ticket);
        }
    }
}
