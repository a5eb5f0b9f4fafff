//! What the engine is told of generations that are split.

use super::super::SessionKey;
use crate::wire::{OpenStage, Refused, Staged, StatesHeader};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    time::Instant,
};

/// What concerns a generation of which the node computes some layers.
#[derive(Debug)]
pub enum StageCommand {
    /// It begins, or its edge has come back.
    Open {
        /// Its name.
        key: SessionKey,
        /// The stream that its edge speaks on.
        stream: u64,
        /// What its edge said.
        open: Box<OpenStage>,
        /// Where frames to its edge go.
        outbox: mpsc::Sender<Vec<u8>>,
        /// Where the answer goes.
        answer: oneshot::Sender<Result<Staged, Refused>>,
    },
    /// Columns to compute.
    Step {
        /// Its name.
        key: SessionKey,
        /// The stream that they came on.
        stream: u64,
        /// Where they stand.
        header: StatesHeader,
        /// Their states.
        states: States,
    },
    /// Its edge is gone, or has ended it in order.
    Gone {
        /// Its name.
        key: SessionKey,
        /// The stream that is gone.
        stream: u64,
        /// Whether it will not come back.
        ended: bool,
    },
}

/// Hidden states that wait to be computed on.
#[derive(Debug)]
pub struct States {
    /// As they came.
    pub values: Vec<u8>,
    /// When they had come.
    pub taken: Instant,
    /// Room for them, which is given back with them.
    pub room: OwnedSemaphorePermit,
}
