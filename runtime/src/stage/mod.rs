//! Stages: runs of consecutive decoder layers that execute in one place and
//! own their KV cache.
//!
//! A batch of columns goes in, hidden states (or, behind the head, logits)
//! come out. Work is submitted and its completion polled or awaited, so that
//! stages may overlap. Local, accelerated, streamed and remote stages are the
//! same trait.

mod batch;
mod cpu;
mod error;
mod pipeline;
mod profile;

pub use batch::{Batch, Column};
pub use cpu::{CpuStage, CpuStageConfig};
pub use error::{Recovery, StageError};
pub use pipeline::{Pipeline, PipelineError};
pub use profile::{OperationProfile, Profile};

use crate::kv::{KvSnapshot, SequenceId};
use std::{ops::Range, time::Duration};

/// The part of a model that a stage executes.
///
/// Besides its layers a stage may hold the model's ends: with `embed` its
/// input is token ids, with `head` its output is logits. A stage of a whole
/// model has both, so that a forward pass on one machine is one program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Whether the token embedding stands before the layers.
    pub embed: bool,
    /// The layers, by index in the model.
    pub layers: Range<usize>,
    /// Whether norm and head stand behind the layers.
    pub head: bool,
}

impl Span {
    /// A whole model of that many layers.
    pub fn whole(layers: usize) -> Self {
        Self {
            embed: true,
            layers: 0..layers,
            head: true,
        }
    }
}

/// Names one submitted batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

/// A batch that came back from a stage.
#[derive(Debug)]
pub struct Completion {
    /// The batch, its output filled in if all went well.
    pub batch: Batch,
    /// How it went. After an error no position of the batch counts as
    /// computed, unless the error says that state was lost.
    pub result: Result<(), StageError>,
}

/// A batch that a stage did not take, with the reason.
#[derive(Debug)]
pub struct Refused {
    /// The batch, unchanged.
    pub batch: Batch,
    /// Why it was refused.
    pub error: StageError,
}

/// A run of layers that executes in one place; see the [module](self).
///
/// A stage owns the keys and values of its layers. Positions of a sequence are
/// computed in order: a batch's columns of a sequence continue where the
/// sequence ends, and count once the batch has completed without error.
pub trait Stage: Send {
    /// The part of the model it executes.
    fn span(&self) -> &Span;

    /// Values in a hidden state.
    fn width(&self) -> usize;

    /// Values in a column of output: the width, or behind a head the vocabulary.
    fn output_len(&self) -> usize;

    /// Most columns in one batch.
    fn columns_max(&self) -> usize;

    /// Batches that may be under way at once.
    fn in_flight_max(&self) -> usize;

    /// Names the code that computes: results of stages with the same kernel
    /// set are equal bit for bit.
    fn kernel_set(&self) -> &str;

    /// Hands over a batch and returns without waiting for it.
    fn submit(&mut self, batch: Batch) -> Result<Ticket, Box<Refused>>;

    /// The completion of a batch, if it has completed. A completion is given
    /// out once; `None` also for a ticket that is not under way.
    fn poll(&mut self, ticket: Ticket) -> Option<Completion>;

    /// Waits for a batch, but not for longer than `at_most`. `None` if it has
    /// not completed by then, and for a ticket that is not under way.
    fn wait(&mut self, ticket: Ticket, at_most: Duration) -> Option<Completion>;

    /// Asks for an early end of a batch under way. It still completes, with
    /// [`StageError::Cancelled`] if the request came in time.
    fn cancel(&mut self, ticket: Ticket);

    /// Makes an empty sequence.
    fn create(&mut self, id: SequenceId) -> Result<(), StageError>;

    /// Forgets a sequence; no error if there is none.
    fn release(&mut self, id: SequenceId) -> Result<(), StageError>;

    /// Positions of a sequence; `None` if it does not exist.
    fn len(&self, id: SequenceId) -> Option<u32>;

    /// Makes `to` a copy of the first `len` positions of `from`. Returns the
    /// length kept, as [`truncate`](Self::truncate) does.
    fn fork(&mut self, from: SequenceId, to: SequenceId, len: u32) -> Result<u32, StageError>;

    /// Cuts a sequence to `len` positions and returns the length that could be
    /// kept: `len`, or less where a sliding window has been let go. The caller
    /// computes the positions from there on again.
    fn truncate(&mut self, id: SequenceId, len: u32) -> Result<u32, StageError>;

    /// Copies a sequence's keys and values out.
    fn snapshot(&mut self, id: SequenceId) -> Result<KvSnapshot, StageError>;

    /// Puts a snapshot back as a new sequence.
    fn restore(&mut self, id: SequenceId, snapshot: &KvSnapshot) -> Result<(), StageError>;

    /// Records from now on where the time of passes goes. A stage that cannot
    /// tell does nothing.
    fn start_profile(&mut self) -> Result<(), StageError> {
        Ok(())
    }

    /// What was recorded since, and records no more. `None` if it was not
    /// asked to.
    fn take_profile(&mut self) -> Result<Option<Profile>, StageError> {
        Ok(None)
    }
}
