//! The split generations of all edges, those of the same layers in shared
//! passes.

use super::{StageCommand, StageSource, States, run::LayerRun};
use crate::{
    node::{
        Metrics, NodeLimits, SessionKey,
        plan::{Ready, Room, Share, share},
    },
    session::{StageSession, Taken},
    wire::{
        Failed, Failure, OpenStage, Refused, STATES_DOWN, Staged, StatesHeader, StatesShape,
        ToEdge, encode,
    },
};
use outrigger_runtime::{
    kv::SequenceId,
    stage::{Column, StageError},
    transcript::Class,
};
use std::{collections::BTreeMap, ops::Range};
use tokio::{
    sync::mpsc,
    time::{Duration, Instant},
};

/// Different runs of layers in use at once. Each has a KV cache of its own.
const RUNS_MAX: usize = 2;

/// A generation of which the node computes some layers.
struct Slot {
    session: StageSession<States>,
    layers: Range<usize>,
    shape: StatesShape,
    sequence: SequenceId,
    /// The stream that its edge speaks on.
    stream: u64,
    outbox: mpsc::Sender<Vec<u8>>,
    /// Since when its edge is gone.
    orphan: Option<Instant>,
}

/// The split generations of a node.
#[derive(Default)]
pub struct Stages {
    source: Option<Box<dyn StageSource>>,
    limits: NodeLimits,
    runs: Vec<LayerRun>,
    slots: BTreeMap<SessionKey, Slot>,
    /// Columns that each client has had, while it has generations.
    served: BTreeMap<u64, u64>,
    /// Generated columns that each client has had.
    spent: BTreeMap<u64, u64>,
    free: Vec<SequenceId>,
    draining: bool,
}

impl Stages {
    /// Up to [`NodeLimits::split_sessions_max`] generations, for which
    /// `source`'s stages have room. The default refuses all.
    pub fn new(source: impl StageSource + 'static, limits: NodeLimits) -> Self {
        let sessions = u32::try_from(limits.split_sessions_max).unwrap_or(u32::MAX);
        Self {
            source: Some(Box::new(source)),
            limits,
            free: (0..sessions).rev().map(SequenceId).collect(),
            ..Self::default()
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(crate) fn take(&mut self, command: StageCommand, metrics: &Metrics) {
        match command {
            StageCommand::Open {
                key,
                stream,
                open,
                outbox,
                answer,
            } => {
                let opened = self.open(key, stream, &open, outbox);
                // An edge that is gone by now is told of later.
                let _ = answer.send(opened);
            }
            StageCommand::Step {
                key,
                stream,
                header,
                states,
            } => self.step(key, stream, header, states, metrics),
            StageCommand::Gone { key, stream, ended } => {
                let slot = self.slots.get_mut(&key);
                match slot.filter(|slot| slot.stream == stream) {
                    Some(_) if ended => self.close(key),
                    Some(slot) => {
                        slot.orphan = Some(Instant::now());
                        slot.session.give_up();
                    }
                    None => {}
                }
            }
        }
    }

    fn open(
        &mut self,
        key: SessionKey,
        stream: u64,
        open: &OpenStage,
        outbox: mpsc::Sender<Vec<u8>>,
    ) -> Result<Staged, Refused> {
        if self.draining {
            return Err(Refused::Draining);
        }
        let source = self.source.as_ref().ok_or(Refused::Split)?;
        if self.limits.split_sessions_max == 0 {
            return Err(Refused::Split);
        }
        let layers = open.first as usize..open.end as usize;
        if layers.is_empty() || layers.end > source.layers() {
            let layers = u32::try_from(source.layers()).unwrap_or(u32::MAX);
            return Err(Refused::Layers { layers });
        }
        if open.kv != source.kv() {
            let node = source.kv().into();
            return Err(Refused::KvFormat { node });
        }
        let shape = StatesShape::new(source.width(), open.numbers);
        let shape = shape.ok_or_else(|| protocol("for states too wide for a frame"))?;
        let (context, rollback) = (source.context(), source.rollback(layers.clone()));
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        let staged = Staged {
            width: number(shape.width),
            columns_max: number(shape.columns_max),
            context,
            len: 0,
            rollback,
        };
        if let Some(slot) = self.slots.get_mut(&key) {
            if (&slot.layers, slot.shape) != (&layers, shape) {
                return Err(protocol(
                    "a generation that is under way under the same name",
                ));
            }
            slot.stream = stream;
            slot.outbox = outbox;
            slot.orphan = None;
            slot.session.reopen();
            let len = slot.session.len();
            return Ok(Staged { len, ..staged });
        }
        let max = self.limits.client_sessions_max;
        let held = self.slots.keys().filter(|k| k.client == key.client);
        if held.count() >= max && !self.close_orphan(|k, _| k.client == key.client) {
            return Err(Refused::Sessions { max: number(max) });
        }
        if self.free.is_empty() && !self.close_orphan(|_, _| true) {
            let max = number(self.limits.split_sessions_max);
            return Err(Refused::Sessions { max });
        }
        let run = self.run_of(&layers)?;
        let sequence = self.free.pop().ok_or(Refused::Split)?;
        if let Err(error) = self.runs[run].stage.create(sequence) {
            self.free.push(sequence);
            tracing::error!("a sequence cannot be opened: {error}");
            return Err(Refused::Quota);
        }
        // A client that comes anew is not served before those who waited.
        let least = self.served.values().min().copied().unwrap_or(0);
        self.served.entry(key.client).or_insert(least);
        let slot = Slot {
            session: StageSession::new(context),
            layers,
            shape,
            sequence,
            stream,
            outbox,
            orphan: None,
        };
        self.slots.insert(key, slot);
        Ok(staged)
    }

    /// The run of these layers, which takes the place of one that is not in
    /// use where there are too many.
    fn run_of(&mut self, layers: &Range<usize>) -> Result<usize, Refused> {
        let has = |runs: &[LayerRun]| runs.iter().position(|run| run.layers == *layers);
        if let Some(run) = has(&self.runs) {
            return Ok(run);
        }
        while self.runs.len() >= RUNS_MAX {
            let used = |run: &LayerRun| self.slots.values().any(|slot| slot.layers == run.layers);
            match self.runs.iter().position(|run| !used(run)) {
                Some(idle) => drop(self.runs.swap_remove(idle)),
                None if self.close_orphan(|_, _| true) => {}
                None => {
                    let max = RUNS_MAX as u32;
                    return Err(Refused::Stages { max });
                }
            }
        }
        let source = self.source.as_ref().ok_or(Refused::Split)?;
        let stage = source.stage(layers.clone()).map_err(|error| {
            tracing::error!("the layers {layers:?} cannot be laid out: {error}");
            Refused::Quota
        })?;
        self.runs.push(LayerRun::new(layers.clone(), stage));
        Ok(self.runs.len() - 1)
    }

    fn step(
        &mut self,
        key: SessionKey,
        stream: u64,
        header: StatesHeader,
        states: States,
        metrics: &Metrics,
    ) {
        let slot = self.slots.get_mut(&key);
        let Some(slot) = slot.filter(|slot| slot.stream == stream) else {
            return;
        };
        let spent = self.spent.get(&key.client).copied().unwrap_or(0);
        let used_up = (self.limits.client_tokens_max).is_some_and(|max| spent >= max);
        let taken = match used_up {
            true => Err(Refused::Quota),
            false => slot.session.take(header, states),
        };
        let refused = match taken {
            Ok(Taken::Late | Taken::Waits { cut: None }) => return,
            Ok(Taken::Waits { cut: Some(cut) }) => {
                let run = self.runs.iter_mut().find(|run| run.layers == slot.layers);
                let kept = run.map(|run| run.stage.truncate(slot.sequence, cut));
                match kept {
                    Some(Ok(kept)) if kept == cut => return,
                    Some(Ok(kept)) => slot.session.lost(kept),
                    Some(Err(_)) | None => slot.session.lost(0),
                }
                protocol("states at a position that is behind the layers' windows")
            }
            Err(refused) => refused,
        };
        metrics.refused(&refused);
        slot.session.give_up();
        slot.tell_failed(header.epoch, Failure::Refused(refused));
    }

    /// Closes the generation of these that has been without its edge longest.
    /// False if none is.
    fn close_orphan(&mut self, of: impl Fn(&SessionKey, &Slot) -> bool) -> bool {
        let slots = self.slots.iter().filter(|(key, slot)| of(key, slot));
        let orphans = slots.filter_map(|(&key, slot)| Some((slot.orphan?, key)));
        let Some((_, key)) = orphans.min() else {
            return false;
        };
        self.close(key);
        true
    }

    fn close(&mut self, key: SessionKey) {
        let Some(slot) = self.slots.remove(&key) else {
            return;
        };
        let run = self.runs.iter_mut().find(|run| run.layers == slot.layers);
        if let Some(Err(error)) = run.map(|run| run.stage.release(slot.sequence)) {
            tracing::error!("{} cannot be closed: {error}", slot.sequence);
        }
        self.free.push(slot.sequence);
        if !self.slots.keys().any(|k| k.client == key.client) {
            self.served.remove(&key.client);
        }
    }

    /// Forgets generations whose edges are gone for long, and while draining
    /// all that do not wait for anything.
    pub(crate) fn tend(&mut self, draining: bool) {
        self.draining = draining;
        let keep = self.limits.orphan;
        let old = |since: Instant| since.elapsed() >= keep;
        let done = self.slots.iter().filter(|(_, slot)| {
            let idle = draining && slot.session.next().is_none();
            idle || slot.orphan.is_some_and(old)
        });
        let done: Vec<_> = done.map(|(&key, _)| key).collect();
        for key in done {
            if let Some(slot) = self.slots.get(&key).filter(|_| draining) {
                slot.tell_failed(slot.session.epoch(), Failure::Draining);
            }
            self.close(key);
        }
    }

    /// Computes a pass of each run of layers for those who want one, of few
    /// columns where `others` wait for the same threads. False if nobody does.
    pub(crate) fn pass(&mut self, others: bool, metrics: &Metrics) -> bool {
        let mut any = false;
        for run in 0..self.runs.len() {
            any |= self.pass_of(run, others, metrics);
        }
        any
    }

    fn pass_of(&mut self, run: usize, others: bool, metrics: &Metrics) -> bool {
        let layers = &self.runs[run].layers;
        let keys: Vec<SessionKey> = self.slots.keys().copied().collect();
        let mut ready = Vec::with_capacity(keys.len());
        for (index, (key, slot)) in self.slots.iter().enumerate() {
            // Who does not read gets no more.
            let reads = slot.orphan.is_none() && slot.outbox.capacity() > 1;
            if let Some((left, ..)) = slot.session.next()
                && reads
                && slot.layers == *layers
            {
                ready.push(Ready {
                    index,
                    served: self.served.get(&key.client).copied().unwrap_or(0),
                    behind: left.columns.into(),
                    guesses: 0,
                });
            }
        }
        let columns = self.runs[run].stage.columns_max();
        let room = Room {
            columns: match others {
                true => columns.min(self.limits.prompt_columns.max(self.slots.len())),
                false => columns,
            },
            prompt_columns: self.limits.prompt_columns,
        };
        let mut shares = Vec::new();
        share(&mut ready, room, &mut shares);
        if shares.is_empty() {
            return false;
        }
        if let Err(error) = self.compute(run, &keys, &shares, metrics) {
            self.blame(run, &keys, &shares, &error, metrics);
        } else {
            self.deliver(run, &keys, &shares);
        }
        true
    }

    /// Computes one pass of these shares.
    fn compute(
        &mut self,
        run: usize,
        keys: &[SessionKey],
        shares: &[Share],
        metrics: &Metrics,
    ) -> Result<(), StageError> {
        let run = &mut self.runs[run];
        run.batch.clear();
        for share in shares {
            let slot = &self.slots[&keys[share.index]];
            let Some((left, done, states)) = slot.session.next() else {
                continue;
            };
            let from = Column {
                sequence: slot.sequence,
                position: left.position,
                class: left.class,
                wanted: true,
            };
            run.push(share.columns, from);
            let bytes = slot.shape.column_bytes();
            let values = &states.values[usize::from(done) * bytes..][..share.columns * bytes];
            slot.shape.read_values(values, &mut run.batch.hidden);
        }
        let started = Instant::now();
        let result = run.pass();
        let columns: usize = shares.iter().map(|share| share.columns).sum();
        metrics.passed(columns, micros(started.elapsed()));
        result
    }

    /// After a pass that failed: computes each share by itself, so that only
    /// those fail that are at fault.
    fn blame(
        &mut self,
        run: usize,
        keys: &[SessionKey],
        shares: &[Share],
        error: &StageError,
        metrics: &Metrics,
    ) {
        metrics.failed();
        tracing::error!("a pass failed: {error}");
        for share in shares {
            let alone = std::slice::from_ref(share);
            let result = match shares.len() {
                1 => Err(error.to_string()),
                _ => (self.compute(run, keys, alone, metrics)).map_err(|error| error.to_string()),
            };
            match result {
                Ok(()) => self.deliver(run, keys, alone),
                Err(error) => {
                    if let Some(slot) = self.slots.get_mut(&keys[share.index]) {
                        slot.session.give_up();
                        slot.tell_failed(slot.session.epoch(), Failure::Decode(error));
                    }
                }
            }
        }
    }

    /// Hands out what a pass brought.
    fn deliver(&mut self, run: usize, keys: &[SessionKey], shares: &[Share]) {
        let sharing = u16::try_from(shares.len()).unwrap_or(u16::MAX);
        let mut output = &self.runs[run].batch.output[..];
        for share in shares {
            let key = keys[share.index];
            let Some(slot) = self.slots.get_mut(&key) else {
                continue;
            };
            *self.served.entry(key.client).or_default() += share.columns as u64;
            let Some((values, rest)) = output.split_at_checked(share.columns * slot.shape.width)
            else {
                return;
            };
            output = rest;
            let Some((left, _, states)) = slot.session.next() else {
                continue;
            };
            let columns = u16::try_from(share.columns).unwrap_or(u16::MAX);
            let header = StatesHeader {
                columns,
                took_us: u32::try_from(micros(states.taken.elapsed())).unwrap_or(u32::MAX),
                sharing,
                ..left
            };
            let mut frame = Vec::new();
            header.write(STATES_DOWN, &slot.shape, values, &mut frame);
            // There was room when the pass began.
            let _ = slot.outbox.try_send(frame);
            slot.session.computed(columns);
            if header.class == Class::Generated {
                *self.spent.entry(key.client).or_default() += u64::from(columns);
            }
        }
    }
}

impl Slot {
    fn tell_failed(&self, epoch: u32, failure: Failure) {
        if let Ok(frame) = encode(&ToEdge::Failed(Failed { epoch, failure })) {
            // A full outbox is one that nobody reads.
            let _ = self.outbox.try_send(frame);
        }
    }
}

fn protocol(what: &str) -> Refused {
    Refused::Protocol { what: what.into() }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
