//! The stage that computes on this machine's processor.

mod activations;
mod attending;
mod attention;
mod demand;
mod feed_forward;
mod pass;
mod reader;
mod recorder;
mod workspace;

use super::{Batch, Completion, Profile, Refused, Span, Stage, StageError, Ticket};
use crate::{
    kv::{KvCache, KvConfig, KvError, KvSnapshot, SequenceId},
    model::Model,
};
use demand::{Demand, PassSize};
use outrigger_kernels::{
    cpu::isa::Isa,
    team::{Run, RunError, SharedBuffer, Team},
};
use pass::Pass;
use reader::Reader;
use recorder::Recorder;
use std::{mem, sync::Arc, time::Duration};
use workspace::Workspace;

/// How a CPU stage is sized.
#[derive(Debug, Clone, PartialEq)]
pub struct CpuStageConfig {
    /// The part of the model it executes.
    pub span: Span,
    /// The KV cache of its layers.
    pub kv: KvConfig,
    /// Most columns in one batch. Default 512: larger batches amortise the
    /// reading of weights further, but take more memory for activations.
    pub columns_max: usize,
    /// The instruction set that the kernels use.
    pub isa: Isa,
}

/// A run of layers on a thread team.
pub struct CpuStage {
    team: Arc<Team>,
    run: Arc<Run<Pass>>,
    /// This is the only handle, but while a pass is under way.
    pass: Arc<Pass>,
    kernel_set: String,
    columns_max: usize,
    under_way: Option<Ticket>,
    tickets: u64,
    /// Sequences of the batch under way, with its number of columns of each.
    counts: Vec<(SequenceId, u32)>,
    /// Reads the weights ahead of the first pass until the stage is dropped.
    _reader: Option<Reader>,
}

impl CpuStage {
    /// A stage that runs part of `model` on `team`.
    pub fn new(
        model: Arc<Model>,
        team: Arc<Team>,
        config: CpuStageConfig,
    ) -> Result<Self, StageError> {
        // First of all, so that the disk works while memory is laid out.
        let reader = Reader::start(&model, &config.span);
        let kv = KvCache::new(model.kv_shape(config.span.layers.clone()), config.kv)?;
        let columns = config.columns_max.max(1);
        let work = Workspace::new(&model, &config.span, columns, team.threads(), &config.kv);
        let pass = Pass {
            model,
            span: config.span,
            isa: config.isa,
            kv,
            work,
            batch: Batch::default(),
            output: SharedBuffer::from_vec(Vec::new()),
            wanted: Vec::with_capacity(columns),
            recorder: None,
        };
        Ok(Self {
            run: team.prepare(),
            pass: Arc::new(pass),
            // The portable definitions hold for every instruction set: each is
            // the same code compiled anew, and gives the same bits.
            kernel_set: "cpu-2".into(),
            columns_max: columns,
            under_way: None,
            tickets: 0,
            counts: Vec::with_capacity(columns),
            _reader: reader,
            team,
        })
    }

    /// The state between passes.
    fn idle(&mut self) -> Result<&mut Pass, StageError> {
        Arc::get_mut(&mut self.pass).ok_or(StageError::Busy { in_flight: 1 })
    }

    fn state(&self) -> &Pass {
        &self.pass
    }

    /// Checks a batch, makes room for it and takes it in.
    fn take_in(&mut self, batch: &Batch) -> Result<(), StageError> {
        if self.under_way.is_some() {
            return Err(StageError::Busy { in_flight: 1 });
        }
        let columns_max = self.columns_max;
        let mut counts = mem::take(&mut self.counts);
        let checked = self
            .idle()
            .and_then(|pass| check(pass, batch, columns_max, &mut counts));
        self.counts = counts;
        checked
    }

    /// Ends the pass that has run out of threads.
    fn complete(&mut self, outcome: Result<(), RunError>) -> Completion {
        self.under_way = None;
        let counts = mem::take(&mut self.counts);
        let (batch, result) = match self.idle() {
            Ok(pass) => {
                let result = conclude(pass, outcome, &counts);
                let mut batch = mem::take(&mut pass.batch);
                let output = mem::replace(&mut pass.output, SharedBuffer::from_vec(Vec::new()));
                batch.output = output.into_vec();
                (batch, result)
            }
            Err(error) => (Batch::default(), Err(error)),
        };
        self.counts = counts;
        Completion { batch, result }
    }
}

fn check(
    pass: &mut Pass,
    batch: &Batch,
    columns_max: usize,
    counts: &mut Vec<(SequenceId, u32)>,
) -> Result<(), StageError> {
    let columns = batch.columns.len();
    if columns == 0 {
        return Err(StageError::EmptyBatch);
    }
    if columns > columns_max {
        return Err(StageError::TooManyColumns {
            columns,
            max: columns_max,
        });
    }
    let (found, wanted) = if pass.span.embed {
        (batch.tokens.len(), columns)
    } else {
        (batch.hidden.len(), columns * pass.model.width)
    };
    if found != wanted {
        return Err(StageError::InputLength { found, wanted });
    }
    if pass.span.embed {
        let vocab = pass.model.vocab;
        if let Some(&token) = batch.tokens.iter().find(|&&t| t as usize >= vocab) {
            return Err(StageError::UnknownToken { token, vocab });
        }
    }
    counts.clear();
    for column in &batch.columns {
        let id = column.sequence;
        let index = match counts.iter().position(|(other, _)| *other == id) {
            Some(index) => index,
            None => {
                counts.push((id, 0));
                counts.len() - 1
            }
        };
        let len = pass.kv.len(id).ok_or(KvError::Unknown(id))?;
        let wanted = len + counts[index].1;
        if column.position != wanted {
            return Err(StageError::Position {
                sequence: id,
                found: column.position,
                wanted,
            });
        }
        counts[index].1 += 1;
    }
    for &(id, count) in counts.iter() {
        if let Err(error) = pass.kv.prepare(id, count) {
            give_back(pass, counts);
            return Err(error.into());
        }
    }
    Ok(())
}

/// Gives back the pages that were prepared for a batch that came to nothing.
fn give_back(pass: &mut Pass, counts: &[(SequenceId, u32)]) {
    for &(id, _) in counts {
        pass.kv.trim(id);
    }
}

/// Counts the positions of a pass that went well.
fn conclude(
    pass: &mut Pass,
    outcome: Result<(), RunError>,
    counts: &[(SequenceId, u32)],
) -> Result<(), StageError> {
    let outcome = outcome.map_err(|error| match error {
        RunError::Cancelled => StageError::Cancelled,
        RunError::Panicked => StageError::Panicked,
    });
    // Where the file was cut under the map, zeros were read as weights.
    let intact = || pass.model.gguf().check_intact().map_err(StageError::from);
    if let Err(error) = outcome.and_then(|()| intact()) {
        give_back(pass, counts);
        return Err(error);
    }
    for &(id, count) in counts {
        pass.kv.commit(id, count)?;
    }
    if let Some(recorder) = &mut pass.recorder {
        let kv = &pass.kv;
        let mut sequences = counts
            .iter()
            .map(|&(id, count)| (kv.len(id).unwrap_or(count), count));
        recorder.complete(&mut PassSize {
            columns: pass.batch.columns.len(),
            wanted: pass.wanted.len(),
            sequences: &mut sequences,
        });
    }
    Ok(())
}

impl Stage for CpuStage {
    fn span(&self) -> &Span {
        &self.state().span
    }

    fn width(&self) -> usize {
        self.state().model.width
    }

    fn output_len(&self) -> usize {
        let pass = self.state();
        if pass.span.head {
            pass.model.vocab
        } else {
            pass.model.width
        }
    }

    fn columns_max(&self) -> usize {
        self.columns_max
    }

    fn in_flight_max(&self) -> usize {
        1
    }

    fn kernel_set(&self) -> &str {
        &self.kernel_set
    }

    fn submit(&mut self, mut batch: Batch) -> Result<Ticket, Box<Refused>> {
        if let Err(error) = self.take_in(&batch) {
            return Err(Box::new(Refused { batch, error }));
        }
        let output_len = self.output_len();
        let pass = match self.idle() {
            Ok(pass) => pass,
            Err(error) => return Err(Box::new(Refused { batch, error })),
        };
        pass.wanted.clear();
        let wanted = batch.columns.iter().enumerate().filter(|(_, c)| c.wanted);
        pass.wanted.extend(wanted.map(|(index, _)| index));
        let rows = if pass.span.head {
            pass.wanted.len()
        } else {
            batch.columns.len()
        };
        let mut output = mem::take(&mut batch.output);
        output.resize(rows * output_len, 0.0);
        pass.output = SharedBuffer::from_vec(output);
        pass.batch = batch;
        if let Some(recorder) = &mut pass.recorder {
            recorder.submit();
        }
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.under_way = Some(ticket);
        self.team.start(&self.run, self.pass.clone());
        Ok(ticket)
    }

    fn poll(&mut self, ticket: Ticket) -> Option<Completion> {
        if self.under_way != Some(ticket) {
            return None;
        }
        let outcome = self.run.poll()?;
        Some(self.complete(outcome))
    }

    fn wait(&mut self, ticket: Ticket, at_most: Duration) -> Option<Completion> {
        if self.under_way != Some(ticket) {
            return None;
        }
        let outcome = self.run.wait_at_most(at_most)?;
        Some(self.complete(outcome))
    }

    fn cancel(&mut self, ticket: Ticket) {
        if self.under_way == Some(ticket) {
            self.run.cancel();
        }
    }

    fn create(&mut self, id: SequenceId) -> Result<(), StageError> {
        Ok(self.idle()?.kv.create(id)?)
    }

    fn release(&mut self, id: SequenceId) -> Result<(), StageError> {
        self.idle()?.kv.release(id);
        Ok(())
    }

    fn len(&self, id: SequenceId) -> Option<u32> {
        self.state().kv.len(id)
    }

    fn fork(&mut self, from: SequenceId, to: SequenceId, len: u32) -> Result<u32, StageError> {
        Ok(self.idle()?.kv.fork(from, to, len)?)
    }

    fn truncate(&mut self, id: SequenceId, len: u32) -> Result<u32, StageError> {
        Ok(self.idle()?.kv.truncate(id, len)?)
    }

    fn snapshot(&mut self, id: SequenceId) -> Result<KvSnapshot, StageError> {
        Ok(self.idle()?.kv.snapshot(id)?)
    }

    fn restore(&mut self, id: SequenceId, snapshot: &KvSnapshot) -> Result<(), StageError> {
        Ok(self.idle()?.kv.restore(id, snapshot)?)
    }

    fn start_profile(&mut self) -> Result<(), StageError> {
        let threads = self.team.threads();
        let pass = self.idle()?;
        let demand = Demand::new(&pass.model, &pass.span, pass.kv.config().format);
        pass.recorder = Some(Recorder::new(threads, demand));
        Ok(())
    }

    fn take_profile(&mut self) -> Result<Option<Profile>, StageError> {
        Ok(self.idle()?.recorder.take().map(Recorder::finish))
    }
}

impl Drop for CpuStage {
    fn drop(&mut self) {
        if self.under_way.is_some() {
            self.run.cancel();
            // The outcome no longer matters to anyone.
            let _ = self.run.wait();
        }
    }
}
