//! Layers that a node computes, behind the trait of all stages.

use super::{
    Connect, Remote, RemoteError,
    stage_line::{FRAMES_MAX, StageLine},
    stage_record::{StageRecord, StageTimes},
};
use crate::{
    Waiter,
    frames::Incoming,
    wire::{NumberFormat, OpenStage, STATES_UP, StatesHeader, StatesShape, ToEdge},
};
use outrigger_runtime::{
    kv::{KvError, KvFormat, KvSnapshot, SequenceId},
    stage::{Batch, Column, Completion, Refused, Span, Stage, StageError, Ticket},
};
use std::{ops::Range, time::Duration};
use tokio::{
    sync::mpsc::error::TryRecvError,
    time::{Instant, timeout},
};

/// Most columns in a batch: what a prompt's pass has on one machine.
const COLUMNS_MAX: usize = 512;

/// The slowest node that is waited for, in the time of a column.
const COLUMN_TIME: Duration = Duration::from_millis(100);

/// The slowest link that is waited for, in bytes a second.
const LINK_RATE: f64 = 16e3;

/// What a node computes, and how states cross.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteStageConfig {
    /// The layers.
    pub layers: Range<usize>,
    /// Values in a hidden state.
    pub width: usize,
    /// SHA-256 of the model's tensors.
    pub model: [u8; 32],
    /// How keys and values are stored, at both ends.
    pub kv: KvFormat,
    /// How values cross. Others than f32 lose some of their bits, and the
    /// kernel set of the stage says so.
    pub numbers: NumberFormat,
    /// The node's kernel set.
    pub kernel_set: String,
}

/// A run of layers at a node. It holds one sequence.
///
/// The link is made where a sequence is cut or begun, and made again there
/// after a failure; what the node has lost by then is missing from the
/// sequence's length.
pub struct RemoteStage<C: Connect> {
    remote: Remote<C>,
    waiter: Waiter,
    config: RemoteStageConfig,
    span: Span,
    shape: StatesShape,
    kernel_set: String,
    line: Option<StageLine>,
    sequence: Option<Sequence>,
    under_way: Option<UnderWay>,
    tickets: u64,
    record: StageRecord,
    /// When the last step came back, if it was one of a generated token.
    idle_since: Option<Instant>,
}

struct Sequence {
    id: SequenceId,
    /// Its name at the node.
    session: u64,
    epoch: u32,
    /// Positions that the node has computed and this end has seen.
    len: u32,
    /// The most positions that the node may have had since it began anew:
    /// windows have moved on that far.
    high: u32,
}

struct UnderWay {
    ticket: Ticket,
    batch: Batch,
    /// Position of the next column to come, and the one behind the last.
    next: u32,
    end: u32,
    since: Instant,
    /// When to give up.
    until: Instant,
    cancelled: bool,
    /// Of a step of one generated token: the time here before it.
    step: Option<StageTimes>,
}

impl<C: Connect> RemoteStage<C> {
    /// A stage at a node; nothing is sent yet. It must be used outside of the
    /// runtime that it waits on. `None` if the states are too wide to cross.
    pub fn new(
        remote: Remote<C>,
        waiter: impl Into<Waiter>,
        config: RemoteStageConfig,
    ) -> Option<Self> {
        let kernel_set = match config.numbers {
            NumberFormat::F32 => config.kernel_set.clone(),
            lossy => format!("{}:{}", lossy.name(), config.kernel_set),
        };
        Some(Self {
            span: Span {
                embed: false,
                layers: config.layers.clone(),
                head: false,
            },
            shape: StatesShape::new(config.width, config.numbers)?,
            kernel_set,
            line: None,
            sequence: None,
            under_way: None,
            tickets: 0,
            record: StageRecord::new(remote.meter().clone()),
            idle_since: None,
            remote,
            waiter: waiter.into(),
            config,
        })
    }

    /// What it counts.
    pub fn record(&self) -> StageRecord {
        self.record.clone()
    }

    /// The time of the runtime, which a simulation sets.
    fn now(&self) -> Instant {
        self.waiter.wait(async { Instant::now() })
    }

    fn sequence(&mut self, id: SequenceId) -> Result<&mut Sequence, StageError> {
        let sequence = self.sequence.as_mut().filter(|sequence| sequence.id == id);
        Ok(sequence.ok_or(KvError::Unknown(id))?)
    }

    /// Makes the link if there is none, and finds out what the node has.
    fn connect(&mut self, id: SequenceId) -> Result<(), StageError> {
        while let Some(line) = &mut self.line {
            match line.inbox.try_recv() {
                // Nothing is asked, so it is late.
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(TryRecvError::Disconnected) => self.line = None,
                Err(TryRecvError::Empty) => return Ok(()),
            }
        }
        let session = self.sequence(id)?.session;
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        let open = OpenStage {
            session,
            model: self.config.model,
            first: number(self.config.layers.start),
            end: number(self.config.layers.end),
            numbers: self.config.numbers,
            kv: self.config.kv.name().into(),
        };
        self.remote.work(true);
        let opening = StageLine::open(&self.remote, open, self.shape);
        let line = self.waiter.wait(opening);
        self.remote.work(false);
        let line = line.map_err(|error| elsewhere(self.remote.explain(error)))?;
        let held = line.staged.len;
        self.line = Some(line);
        let sequence = self.sequence(id)?;
        sequence.len = sequence.len.min(held);
        if held == 0 {
            sequence.high = 0;
        }
        // What is under way from before is late.
        sequence.epoch += 1;
        Ok(())
    }

    /// Checks a batch, and sends it in as many frames as it takes.
    fn send(&mut self, batch: &Batch) -> Result<(), StageError> {
        let columns = batch.columns.len();
        let first = batch.columns.first().ok_or(StageError::EmptyBatch)?;
        if columns > self.columns_max() {
            return Err(StageError::TooManyColumns {
                columns,
                max: self.columns_max(),
            });
        }
        let (found, wanted) = (batch.hidden.len(), columns * self.shape.width);
        if found != wanted {
            return Err(StageError::InputLength { found, wanted });
        }
        let id = first.sequence;
        let sequence = self.sequence(id)?;
        for (column, position) in batch.columns.iter().zip(sequence.len..) {
            if column.sequence != id {
                return Err(KvError::Unknown(column.sequence).into());
            }
            if column.position != position {
                return Err(StageError::Position {
                    sequence: id,
                    found: column.position,
                    wanted: position,
                });
            }
        }
        let epoch = sequence.epoch;
        let line = self.line.as_ref();
        let line = line.ok_or_else(|| elsewhere(RemoteError::Closed))?;
        let cuts = |a: &Column, b: &Column| a.class == b.class;
        let frames = (batch.columns.chunk_by(cuts))
            .flat_map(|columns| columns.chunks(line.shape.columns_max));
        if frames.clone().count() > line.frames.capacity() {
            return Err(StageError::Busy { in_flight: 1 });
        }
        let mut values = &batch.hidden[..];
        for columns in frames {
            let (now, rest) = values.split_at(columns.len() * line.shape.width);
            values = rest;
            let header = StatesHeader {
                epoch,
                position: columns[0].position,
                columns: u16::try_from(columns.len()).unwrap_or(u16::MAX),
                class: columns[0].class,
                took_us: 0,
                sharing: 0,
            };
            let mut frame = Vec::new();
            header.write(STATES_UP, &line.shape, now, &mut frame);
            // There is room; a stream that has ended is told of by its reader.
            let _ = line.frames.try_send(frame);
        }
        let end = self.sequence(id)?;
        end.high = end.high.max(end.len + columns as u32);
        Ok(())
    }

    /// Takes in what came; true once the batch is whole.
    fn hear(&mut self, heard: Incoming<ToEdge>) -> Result<bool, RemoteError> {
        let epoch = self.sequence.as_ref().map_or(0, |sequence| sequence.epoch);
        let Some(under_way) = &mut self.under_way else {
            return Ok(false);
        };
        let (header, values) = match heard {
            Incoming::States(header, values) => (header, values),
            Incoming::Message(ToEdge::Failed(failed)) if failed.epoch == epoch => {
                return Err(failed.failure.into());
            }
            Incoming::Message(ToEdge::Failed(_)) => return Ok(false),
            Incoming::Message(ToEdge::Refused(refused)) => {
                return Err(RemoteError::Refused(refused));
            }
            Incoming::Message(_) => {
                return Err(RemoteError::Protocol("an answer to what was not asked"));
            }
        };
        if header.epoch != epoch {
            return Ok(false);
        }
        if header.position != under_way.next || header.end() > under_way.end {
            return Err(RemoteError::Protocol("states that were not asked for"));
        }
        (self.shape).read_values(&values, &mut under_way.batch.output);
        under_way.next = header.end();
        if let Some(step) = &mut under_way.step {
            step.node = Duration::from_micros(header.took_us.into());
        }
        Ok(under_way.next == under_way.end)
    }

    /// Waits until the batch is whole. May be given up at any point.
    async fn arrive(&mut self) -> Result<(), RemoteError> {
        loop {
            let line = self.line.as_mut().ok_or(RemoteError::Closed)?;
            let heard = line
                .inbox
                .recv()
                .await
                .unwrap_or(Err(RemoteError::Closed))?;
            if self.hear(heard)? {
                return Ok(());
            }
        }
    }

    fn complete(&mut self, result: Result<(), RemoteError>) -> Option<Completion> {
        let under_way = self.under_way.take()?;
        let now = self.now();
        self.remote.work(false);
        self.idle_since = None;
        let sequence = self.sequence.as_mut()?;
        let result = match result {
            Ok(()) => {
                sequence.len = under_way.end;
                if let Some(mut step) = under_way.step {
                    let whole = now.saturating_duration_since(under_way.since);
                    step.wire = whole.saturating_sub(step.node);
                    self.idle_since = Some(now);
                    if step.steps > 0 {
                        let [here, wire, node] = step.mean_ms();
                        tracing::debug!(here, wire, node, "split step, ms");
                        self.record.add(&step);
                    }
                }
                Ok(())
            }
            Err(error) => {
                // Late answers are known by their epoch.
                sequence.epoch += 1;
                if !matches!(error, RemoteError::Cancelled) {
                    self.line = None;
                }
                Err(match self.remote.explain(error) {
                    RemoteError::Cancelled => StageError::Cancelled,
                    error => elsewhere(error),
                })
            }
        };
        Some(Completion {
            batch: under_way.batch,
            result,
        })
    }
}

fn elsewhere(error: RemoteError) -> StageError {
    StageError::Elsewhere(Box::new(error))
}

impl<C: Connect> Stage for RemoteStage<C> {
    fn span(&self) -> &Span {
        &self.span
    }

    fn width(&self) -> usize {
        self.shape.width
    }

    fn output_len(&self) -> usize {
        self.shape.width
    }

    fn columns_max(&self) -> usize {
        // A frame is left for each change of class.
        COLUMNS_MAX.min(self.shape.columns_max * (FRAMES_MAX - 4))
    }

    fn in_flight_max(&self) -> usize {
        1
    }

    fn kernel_set(&self) -> &str {
        &self.kernel_set
    }

    fn submit(&mut self, mut batch: Batch) -> Result<Ticket, Box<Refused>> {
        if self.under_way.is_some() {
            let error = StageError::Busy { in_flight: 1 };
            return Err(Box::new(Refused { batch, error }));
        }
        if let Err(error) = self.send(&batch) {
            return Err(Box::new(Refused { batch, error }));
        }
        batch.output.clear();
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let (since, columns) = (self.now(), batch.columns.len());
        let next = batch.columns.first().map_or(0, |column| column.position);
        let step = (columns == 1).then(|| StageTimes {
            steps: u64::from(self.idle_since.is_some()),
            here: self.idle_since.map_or(Duration::ZERO, |idle| since - idle),
            ..StageTimes::default()
        });
        let bytes = (2 * columns * self.shape.column_bytes()) as f64;
        let crossing = Duration::from_secs_f64(bytes / LINK_RATE);
        let patience = self.remote.silence() + COLUMN_TIME * columns as u32 + crossing;
        self.under_way = Some(UnderWay {
            ticket,
            batch,
            next,
            end: next + columns as u32,
            since,
            until: since + patience,
            cancelled: false,
            step,
        });
        self.remote.work(true);
        Ok(ticket)
    }

    fn poll(&mut self, ticket: Ticket) -> Option<Completion> {
        self.wait(ticket, Duration::ZERO)
    }

    fn wait(&mut self, ticket: Ticket, at_most: Duration) -> Option<Completion> {
        let under_way = self.under_way.as_ref().filter(|u| u.ticket == ticket)?;
        if under_way.cancelled {
            return self.complete(Err(RemoteError::Cancelled));
        }
        let (since, until) = (under_way.since, under_way.until);
        let waiter = self.waiter.clone();
        let arrived = waiter.wait(async { timeout(at_most, self.arrive()).await });
        match arrived {
            Ok(result) => self.complete(result),
            Err(_) if self.now() >= until => {
                let silent = until - since;
                self.complete(Err(RemoteError::Silent(silent)))
            }
            Err(_) => None,
        }
    }

    fn cancel(&mut self, ticket: Ticket) {
        let under_way = self.under_way.as_mut().filter(|u| u.ticket == ticket);
        if let Some(under_way) = under_way {
            under_way.cancelled = true;
        }
    }

    fn create(&mut self, id: SequenceId) -> Result<(), StageError> {
        match &self.sequence {
            Some(sequence) if sequence.id == id => Err(KvError::Exists(id).into()),
            Some(_) => Err(StageError::Unsupported {
                what: "hold more than one sequence",
            }),
            None => {
                self.sequence = Some(Sequence {
                    id,
                    session: self.remote.next_session(),
                    epoch: 0,
                    len: 0,
                    high: 0,
                });
                Ok(())
            }
        }
    }

    fn release(&mut self, id: SequenceId) -> Result<(), StageError> {
        if self.under_way.is_some() {
            return Err(StageError::Busy { in_flight: 1 });
        }
        if self
            .sequence
            .take_if(|sequence| sequence.id == id)
            .is_some()
            && let Some(line) = self.line.take()
        {
            line.close();
        }
        Ok(())
    }

    fn len(&self, id: SequenceId) -> Option<u32> {
        let sequence = self.sequence.as_ref();
        sequence.filter(|s| s.id == id).map(|sequence| sequence.len)
    }

    fn fork(&mut self, _: SequenceId, _: SequenceId, _: u32) -> Result<u32, StageError> {
        Err(StageError::Unsupported {
            what: "hold more than one sequence",
        })
    }

    fn truncate(&mut self, id: SequenceId, len: u32) -> Result<u32, StageError> {
        if self.under_way.is_some() {
            return Err(StageError::Busy { in_flight: 1 });
        }
        let held = self.sequence(id)?.len;
        if len > held {
            return Err(KvError::Beyond {
                sequence: id,
                len: held,
                asked: len,
            }
            .into());
        }
        self.connect(id)?;
        let rollback = self.line.as_ref().map_or(0, |line| line.staged.rollback);
        let sequence = self.sequence(id)?;
        let len = len.min(sequence.len);
        if len < sequence.len {
            // The node cuts when the next step of a newer epoch comes.
            sequence.epoch += 1;
        }
        if sequence.high - len <= rollback {
            sequence.len = len;
        } else {
            (sequence.len, sequence.high) = (0, 0);
        }
        Ok(sequence.len)
    }

    fn snapshot(&mut self, _: SequenceId) -> Result<KvSnapshot, StageError> {
        Err(StageError::Unsupported {
            what: "give its keys and values away",
        })
    }

    fn restore(&mut self, _: SequenceId, _: &KvSnapshot) -> Result<(), StageError> {
        Err(StageError::Unsupported {
            what: "take keys and values of elsewhere",
        })
    }
}

impl<C: Connect> Drop for RemoteStage<C> {
    fn drop(&mut self) {
        if let Some(line) = self.line.take() {
            line.close();
        }
        let times = self.record.times();
        if times.steps > 0 {
            let [here, wire, node] = times.mean_ms();
            tracing::info!(
                steps = times.steps,
                here,
                wire,
                node,
                "split steps, mean ms"
            );
        }
    }
}
