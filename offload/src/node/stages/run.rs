//! A run of layers, and the passes of the generations that use it.

use outrigger_runtime::stage::{Batch, Column, Stage, StageError};
use std::{ops::Range, time::Duration};

/// A stage and the batch that goes through it.
pub(super) struct LayerRun {
    pub(super) layers: Range<usize>,
    pub(super) stage: Box<dyn Stage>,
    pub(super) batch: Batch,
}

impl LayerRun {
    pub(super) fn new(layers: Range<usize>, stage: Box<dyn Stage>) -> Self {
        Self {
            layers,
            stage,
            batch: Batch::default(),
        }
    }

    /// Appends columns, the first of which is `from`. Their states are
    /// appended by the caller.
    pub(super) fn push(&mut self, columns: usize, from: Column) {
        let positions = (from.position..).take(columns);
        let columns = positions.map(|position| Column { position, ..from });
        self.batch.columns.extend(columns);
    }

    /// Computes the batch; its states are in `batch.output` after.
    pub(super) fn pass(&mut self) -> Result<(), StageError> {
        // The engine has nothing else to do meanwhile.
        const LONG: Duration = Duration::from_secs(1);
        let batch = std::mem::take(&mut self.batch);
        let ticket = match self.stage.submit(batch) {
            Ok(ticket) => ticket,
            Err(refused) => {
                self.batch = refused.batch;
                return Err(refused.error);
            }
        };
        loop {
            if let Some(completion) = self.stage.wait(ticket, LONG) {
                self.batch = completion.batch;
                return completion.result;
            }
        }
    }
}
