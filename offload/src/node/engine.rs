//! The thread that computes: takes in what edges ask for, plans passes,
//! commits their tokens and hands them out.

mod draft;

use super::{
    Compute, Metrics, NodeLimits, StageCommand, Stages,
    drafting::Guesses,
    plan::{Ready, Room, Share, share},
};
use crate::{
    session::{NodeSession, PassRecord},
    wire::{Accepted, Failed, Failure, Open, Refused, Run, ToEdge, ToNode, Verify},
};
use draft::{ends_in_prompt, guesses_of};
use outrigger_runtime::{
    decoder::{DecodeError, Outcome, Part},
    kv::SequenceId,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::Instant};

/// Names a generation: whose it is, and what its edge calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// The client.
    pub client: u64,
    /// The edge's name for it.
    pub session: u64,
}

/// What the engine is told.
#[derive(Debug)]
pub enum Command {
    /// A generation begins, or its edge has come back.
    Open {
        /// Its name.
        key: SessionKey,
        /// The stream that its edge speaks on, which no other command's is.
        stream: u64,
        /// What its edge said.
        open: Box<Open>,
        /// Where its messages go.
        outbox: mpsc::Sender<ToEdge>,
    },
    /// A message of a generation.
    Message {
        /// Its name.
        key: SessionKey,
        /// The stream that it came on. Does nothing once another has taken
        /// the generation over.
        stream: u64,
        /// The message.
        message: ToNode,
    },
    /// Its edge is gone, or has ended it in order.
    Gone {
        /// Its name.
        key: SessionKey,
        /// The stream that is gone. Does nothing if it is not the
        /// generation's.
        stream: u64,
        /// Whether it will not come back.
        ended: bool,
    },
    /// What concerns a split generation.
    Stage(StageCommand),
    /// No more generations are taken; those under way are finished.
    Drain,
}

/// Where commands to an engine go.
#[derive(Debug, Clone)]
pub struct EngineHandle {
    /// The bounded queue.
    pub commands: mpsc::Sender<Command>,
    /// The engine's counters.
    pub metrics: Arc<Metrics>,
}

/// A generation at the node.
struct Slot {
    state: NodeSession,
    sequence: SequenceId,
    /// The stream that its edge speaks on.
    stream: u64,
    outbox: mpsc::Sender<ToEdge>,
    /// Since when its edge is gone.
    orphan: Option<Instant>,
    /// When the work on its next tokens began.
    since: Instant,
    /// The node's own guesses.
    guesses: Guesses,
}

impl Slot {
    /// Since when nobody works with it: its edge is gone, or has asked for
    /// nothing, or read nothing, for as long as `idle`.
    fn spare_since(&self, idle: Duration) -> Option<Instant> {
        let waits = self.state.requested().is_none() || self.outbox.capacity() <= 1;
        let idle = waits && self.since.elapsed() >= idle;
        self.orphan.or(idle.then_some(self.since))
    }
}

/// Plans and computes passes for all generations of a node.
pub struct Engine<C> {
    compute: C,
    limits: NodeLimits,
    commands: mpsc::Receiver<Command>,
    metrics: Arc<Metrics>,
    slots: BTreeMap<SessionKey, Slot>,
    /// The split generations, which take turns with the others.
    stages: Stages,
    /// Columns that each client has had, while it has generations.
    served: BTreeMap<u64, u64>,
    /// Tokens that each client was given.
    spent: BTreeMap<u64, u64>,
    free: Vec<SequenceId>,
    draining: bool,
    outcomes: Vec<Outcome>,
    /// What the last pass took.
    took: Duration,
    scratch: Scratch,
}

/// What a pass is planned with, kept for the next.
#[derive(Default)]
struct Scratch {
    keys: Vec<SessionKey>,
    ready: Vec<Ready>,
    shares: Vec<Share>,
}

impl<C: Compute> Engine<C> {
    /// An engine and the way to it. `compute` has room for
    /// [`NodeLimits::sessions_max`] sequences.
    pub fn new(compute: C, limits: NodeLimits) -> (Self, EngineHandle) {
        let (sender, commands) = mpsc::channel(limits.commands.max(1));
        let metrics = Arc::new(Metrics::default());
        let last = u32::try_from(limits.sessions_max).unwrap_or(u32::MAX);
        let handle = EngineHandle {
            commands: sender,
            metrics: metrics.clone(),
        };
        let engine = Self {
            compute,
            limits,
            commands,
            metrics,
            slots: BTreeMap::new(),
            stages: Stages::default(),
            served: BTreeMap::new(),
            spent: BTreeMap::new(),
            free: (0..last).rev().map(SequenceId).collect(),
            draining: false,
            outcomes: Vec::new(),
            took: Duration::ZERO,
            scratch: Scratch::default(),
        };
        (engine, handle)
    }

    /// Computes layers for edges as well.
    pub fn with_stages(mut self, stages: Stages) -> Self {
        self.stages = stages;
        self
    }

    /// Runs until all handles are gone, or until it was drained.
    pub async fn run(mut self) {
        loop {
            // No more than a queue's worth, so that who sends without end does
            // not keep passes from being computed.
            for _ in 0..self.limits.commands.max(1) {
                let Ok(command) = self.commands.try_recv() else {
                    break;
                };
                self.take(command);
            }
            self.forget_orphans();
            self.retire();
            self.stages.tend(self.draining);
            if self.draining && self.slots.is_empty() && self.stages.is_empty() {
                return;
            }
            let others = (self.slots.values()).any(|slot| slot.state.requested().is_some());
            let staged = self.stages.pass(others, &self.metrics);
            if !self.pass().await && !staged && !self.idle().await {
                return;
            }
        }
    }

    /// Waits for something to do. False if there will be nothing.
    async fn idle(&mut self) -> bool {
        // Outboxes that were full, and orphans, are looked after at intervals.
        const LOOK: Duration = Duration::from_millis(20);
        let command = match self.slots.is_empty() && self.stages.is_empty() {
            true => self.commands.recv().await,
            false => match tokio::time::timeout(LOOK, self.commands.recv()).await {
                Ok(command) => command,
                Err(_) => return true,
            },
        };
        let Some(command) = command else { return false };
        self.take(command);
        true
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Open {
                key,
                stream,
                open,
                outbox,
            } => {
                if let Err(refused) = self.open(key, stream, *open, outbox.clone()) {
                    self.metrics.refused(&refused);
                    // A full outbox is one that nobody reads.
                    let _ = outbox.try_send(ToEdge::Refused(refused));
                }
            }
            Command::Message {
                key,
                stream,
                message,
            } => self.message(key, stream, &message),
            Command::Gone { key, stream, ended } => {
                let slot = self.slots.get_mut(&key);
                match slot.filter(|slot| slot.stream == stream) {
                    Some(_) if ended => self.close(key),
                    Some(slot) => {
                        self.metrics.orphaned();
                        slot.orphan = Some(Instant::now());
                        slot.state.give_up();
                    }
                    None => {}
                }
            }
            Command::Stage(command) => self.stages.take(command, &self.metrics),
            Command::Drain => self.draining = true,
        }
    }

    /// While draining, ends the generations that have what they asked for, and
    /// those whose edge has not read for as long as an orphan is kept.
    fn retire(&mut self) {
        if !self.draining {
            return;
        }
        let keep = self.limits.orphan;
        let done = self.slots.iter().filter(|(_, slot)| {
            let unread = slot.outbox.capacity() <= 1 && slot.since.elapsed() >= keep;
            slot.state.requested().is_none() || unread
        });
        let done: Vec<_> = done.map(|(&key, _)| key).collect();
        for key in done {
            if let Some(slot) = self.slots.get(&key) {
                let _ = slot.outbox.try_send(ToEdge::Failed(Failed {
                    epoch: slot.state.epoch(),
                    failure: Failure::Draining,
                }));
            }
            self.close(key);
        }
    }

    fn open(
        &mut self,
        key: SessionKey,
        stream: u64,
        open: Open,
        outbox: mpsc::Sender<ToEdge>,
    ) -> Result<(), Refused> {
        if self.draining {
            return Err(Refused::Draining);
        }
        if let Some(slot) = self.slots.get_mut(&key) {
            if *slot.state.opened() != open {
                let what = "a generation that is under way under the same name".into();
                return Err(Refused::Protocol { what });
            }
            slot.stream = stream;
            slot.outbox = outbox;
            slot.orphan = None;
            return Ok(());
        }
        if open.sampling.seed.is_none() {
            let what = "a generation without a seed".into();
            return Err(Refused::Protocol { what });
        }
        if let Err(error) = open.sampling.validate() {
            let what = format!("a sampling that cannot be: {error}");
            return Err(Refused::Protocol { what });
        }
        if self.used_up(key.client) {
            return Err(Refused::Quota);
        }
        let max = self.limits.client_sessions_max;
        let held = self.slots.keys().filter(|k| k.client == key.client);
        if held.count() >= max && !self.close_spare(|k| k.client == key.client) {
            let max = u32::try_from(max).unwrap_or(u32::MAX);
            return Err(Refused::Sessions { max });
        }
        let full = Refused::Sessions {
            max: u32::try_from(self.limits.sessions_max).unwrap_or(u32::MAX),
        };
        if self.free.is_empty() {
            self.close_spare(|_| true);
        }
        let sequence = self.free.pop().ok_or(full)?;
        if let Err(error) = self.compute.open(sequence) {
            self.free.push(sequence);
            tracing::error!("a sequence cannot be opened: {error}");
            return Err(Refused::Quota);
        }
        // A client that comes anew is not served before those who waited.
        let least = self.served.values().min().copied().unwrap_or(0);
        self.served.entry(key.client).or_insert(least);
        let slot = Slot {
            state: NodeSession::new(open, self.compute.context()),
            sequence,
            stream,
            outbox,
            orphan: None,
            since: Instant::now(),
            guesses: Guesses::default(),
        };
        self.slots.insert(key, slot);
        self.metrics.opened();
        self.metrics.sessions(self.slots.len());
        Ok(())
    }

    /// Whether a client has had all the tokens that it may have.
    fn used_up(&self, client: u64) -> bool {
        let spent = self.spent.get(&client).copied().unwrap_or(0);
        self.limits
            .client_tokens_max
            .is_some_and(|max| spent >= max)
    }

    /// Closes the generation of these that has been spared longest, to make
    /// room. False if none is to spare.
    fn close_spare(&mut self, of: impl Fn(&SessionKey) -> bool) -> bool {
        let slots = self.slots.iter().filter(|(key, _)| of(key));
        let idle = self.limits.idle;
        let spare = slots.filter_map(|(&key, slot)| Some((slot.spare_since(idle)?, key)));
        let Some((_, key)) = spare.min() else {
            return false;
        };
        if let Some(slot) = self.slots.get(&key) {
            let max = u32::try_from(self.limits.sessions_max).unwrap_or(u32::MAX);
            let _ = slot.outbox.try_send(ToEdge::Failed(Failed {
                epoch: slot.state.epoch(),
                failure: Failure::Refused(Refused::Sessions { max }),
            }));
        }
        self.close(key);
        true
    }

    fn message(&mut self, key: SessionKey, stream: u64, message: &ToNode) {
        let used_up = self.used_up(key.client);
        let slot = self.slots.get_mut(&key);
        let Some(slot) = slot.filter(|slot| slot.stream == stream) else {
            return;
        };
        let idle = slot.state.requested().is_none();
        let epoch = slot.state.epoch();
        let len = slot.state.transcript().len();
        let (epoch, taken) = match message {
            ToNode::Append(append) => (append.epoch, slot.state.append(append)),
            ToNode::Run(Run { epoch, .. }) | ToNode::Verify(Verify { epoch, .. }) if used_up => {
                (*epoch, Err(Refused::Quota))
            }
            ToNode::Run(run) => (run.epoch, slot.state.run(run)),
            ToNode::Verify(verify) => (verify.epoch, slot.state.verify(verify)),
            ToNode::Stop(stop) => {
                slot.state.stop(*stop);
                (stop.epoch, Ok(()))
            }
            ToNode::Open(_)
            | ToNode::OpenStage(_)
            | ToNode::Hello(_)
            | ToNode::Goodbye(_)
            | ToNode::Ping(_) => {
                let what = "a message that does not belong to a generation".into();
                (epoch, Err(Refused::Protocol { what }))
            }
        };
        if matches!(message, ToNode::Append(append) if append.prompt) {
            let new = slot.state.transcript().len().saturating_sub(len);
            self.metrics.prompted(new.into());
        }
        if idle && slot.state.requested().is_some() {
            slot.since = Instant::now();
        }
        if let Err(refused) = taken {
            self.metrics.refused(&refused);
            slot.state.give_up();
            let _ = slot.outbox.try_send(ToEdge::Failed(Failed {
                epoch,
                failure: Failure::Refused(refused),
            }));
        }
    }

    fn close(&mut self, key: SessionKey) {
        let Some(slot) = self.slots.remove(&key) else {
            return;
        };
        if let Err(error) = self.compute.close(slot.sequence) {
            tracing::error!("{} cannot be closed: {error}", slot.sequence);
        }
        self.free.push(slot.sequence);
        if !self.slots.keys().any(|k| k.client == key.client) {
            self.served.remove(&key.client);
        }
        self.metrics.closed();
        self.metrics.sessions(self.slots.len());
    }

    fn forget_orphans(&mut self) {
        let keep = self.limits.orphan;
        let old = |slot: &Slot| slot.orphan.is_some_and(|since| since.elapsed() >= keep);
        let orphans = self.slots.iter().filter(|(_, slot)| old(slot));
        let orphans: Vec<_> = orphans.map(|(&key, _)| key).collect();
        for key in orphans {
            self.close(key);
        }
    }

    /// Computes a pass for those who want something. False if nobody does.
    async fn pass(&mut self) -> bool {
        self.draft().await;
        let positions = self.slots.values().map(|s| s.state.transcript().len());
        self.metrics.kv_positions(positions.map(u64::from).sum());
        let mut scratch = std::mem::take(&mut self.scratch);
        let passed = self.pass_over(&mut scratch).await;
        self.scratch = scratch;
        passed
    }

    async fn pass_over(&mut self, scratch: &mut Scratch) -> bool {
        let Scratch {
            keys,
            ready,
            shares,
        } = scratch;
        keys.clear();
        keys.extend(self.slots.keys().copied());
        ready.clear();
        for (index, (key, slot)) in self.slots.iter().enumerate() {
            // Who does not read gets no more.
            let reads = slot.orphan.is_none() && slot.outbox.capacity() > 1;
            if let Some(requested) = slot.state.requested().filter(|_| reads) {
                ready.push(Ready {
                    index,
                    served: self.served.get(&key.client).copied().unwrap_or(0),
                    behind: self.compute.behind(slot.sequence, slot.state.transcript()),
                    guesses: match ends_in_prompt(slot.state.transcript()) {
                        // A prompt's columns and guesses are of two classes.
                        true => 0,
                        false => guesses_of(slot, requested.guesses).len(),
                    },
                });
            }
        }
        let columns = self.compute.columns_max();
        let room = Room {
            columns: match self.stages.is_empty() {
                true => columns,
                false => columns.min(self.limits.prompt_columns.max(self.slots.len())),
            },
            prompt_columns: self.limits.prompt_columns,
        };
        share(ready, room, shares);
        if shares.is_empty() {
            return false;
        }
        if let Err(error) = self.compute(keys, shares).await {
            self.blame(keys, shares, &error).await;
        } else {
            self.deliver(keys, shares);
        }
        true
    }

    /// Computes one pass of these shares.
    async fn compute(&mut self, keys: &[SessionKey], shares: &[Share]) -> Result<(), DecodeError> {
        let parts: Vec<Part<'_>> = shares
            .iter()
            .map(|share| {
                let slot = &self.slots[&keys[share.index]];
                let requested = slot.state.requested().map(|r| r.guesses);
                let guesses = guesses_of(slot, requested.unwrap_or_default());
                Part {
                    sequence: slot.sequence,
                    transcript: slot.state.transcript(),
                    drafted: &guesses[..share.guesses],
                    columns_max: share.columns,
                    logprobs: slot.state.opened().logprobs.map(usize::from),
                }
            })
            .collect();
        let started = Instant::now();
        let result = self.compute.pass(&parts, &mut self.outcomes).await;
        drop(parts);
        let columns: usize = shares.iter().map(|s| s.columns + s.guesses).sum();
        let us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.metrics.passed(columns, us);
        self.took = started.elapsed();
        result
    }

    /// After a pass that failed: computes each share by itself, so that only
    /// those fail that are at fault.
    async fn blame(&mut self, keys: &[SessionKey], shares: &[Share], error: &DecodeError) {
        self.metrics.failed();
        tracing::error!("a pass failed: {error}");
        for share in shares {
            let alone = std::slice::from_ref(share);
            let result = match shares.len() {
                1 => Err(error.to_string()),
                _ => (self.compute(keys, alone).await).map_err(|error| error.to_string()),
            };
            match result {
                Ok(()) => self.deliver(keys, alone),
                Err(error) => {
                    if let Some(slot) = self.slots.get_mut(&keys[share.index]) {
                        fail(slot, &error);
                    }
                }
            }
        }
    }

    /// Hands out what a pass brought.
    fn deliver(&mut self, keys: &[SessionKey], shares: &[Share]) {
        let sharing = u32::try_from(shares.len()).unwrap_or(u32::MAX);
        let mut outcomes = std::mem::take(&mut self.outcomes);
        for (share, outcome) in shares.iter().zip(outcomes.drain(..)) {
            let key = keys[share.index];
            let Some(slot) = self.slots.get_mut(&key) else {
                continue;
            };
            let columns = (share.columns + share.guesses) as u64;
            *self.served.entry(key.client).or_default() += columns;
            match outcome {
                Outcome::Behind { computed } => {
                    // Told where there is room: the tokens behind it matter.
                    if slot.outbox.capacity() > self.limits.outbox / 2 {
                        let _ = slot.outbox.try_send(ToEdge::Accepted(Accepted {
                            epoch: slot.state.epoch(),
                            done: computed,
                            total: slot.state.transcript().len(),
                        }));
                    }
                }
                Outcome::Tokens(decoded) => {
                    self.metrics.chose(key.client, decoded.len());
                    *self.spent.entry(key.client).or_default() += decoded.len() as u64;
                    let pass = PassRecord {
                        took_ms: slot.since.elapsed().as_secs_f32() * 1e3,
                        columns: u32::try_from(columns).unwrap_or(u32::MAX),
                        sharing,
                    };
                    slot.since = Instant::now();
                    let compute = &self.compute;
                    let took_ms = self.took.as_secs_f32() * 1e3;
                    if slot.state.opened().draft && share.columns == 1 {
                        let guesses = share.guesses.min(slot.guesses.tokens.len());
                        (slot.guesses).judge(guesses, &decoded, took_ms, |t| compute.ends(t));
                    }
                    let tokens = slot.state.chosen(decoded, pass, |t| compute.ends(t));
                    let _ = slot.outbox.try_send(ToEdge::Tokens(tokens));
                    self.end_if_used_up(key);
                }
                Outcome::Failed(error) => fail(slot, &error.to_string()),
            }
        }
        self.outcomes = outcomes;
    }

    /// Ends a request whose client has just had its last token.
    fn end_if_used_up(&mut self, key: SessionKey) {
        let used_up = self.used_up(key.client);
        let slot = self.slots.get_mut(&key).filter(|_| used_up);
        let Some(slot) = slot.filter(|slot| slot.state.requested().is_some()) else {
            return;
        };
        slot.state.give_up();
        self.metrics.refused(&Refused::Quota);
        let _ = slot.outbox.try_send(ToEdge::Failed(Failed {
            epoch: slot.state.epoch(),
            failure: Failure::Refused(Refused::Quota),
        }));
    }
}

fn fail(slot: &mut Slot, why: &str) {
    slot.state.give_up();
    let _ = slot.outbox.try_send(ToEdge::Failed(Failed {
        epoch: slot.state.epoch(),
        failure: Failure::Decode(why.into()),
    }));
}
