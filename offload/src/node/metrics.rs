//! What a node counts.

use crate::{transport::ArrivalError, trust, wire};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Upper bounds of the classes that passes are counted in, by their columns.
pub const COLUMN_CLASSES: [usize; 8] = [1, 2, 4, 8, 16, 32, 64, usize::MAX];

/// The same by the time they took, in microseconds.
pub const PASS_US_CLASSES: [u64; 11] = [
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    u64::MAX,
];

/// Counters of a node, shared by its threads.
#[derive(Debug, Default)]
pub struct Metrics {
    passes: [AtomicU64; COLUMN_CLASSES.len()],
    pass_times: [AtomicU64; PASS_US_CLASSES.len()],
    columns: AtomicU64,
    tokens: AtomicU64,
    prompt_tokens: AtomicU64,
    busy_us: AtomicU64,
    sessions: AtomicU64,
    opened: AtomicU64,
    closed: AtomicU64,
    orphaned: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    kv_positions: AtomicU64,
    refusals: Mutex<BTreeMap<&'static str, u64>>,
    clients: Mutex<BTreeMap<u64, ClientCounts>>,
}

/// The counters at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Passes, in classes of columns ([`COLUMN_CLASSES`]).
    pub passes: [u64; COLUMN_CLASSES.len()],
    /// Passes, in classes of time ([`PASS_US_CLASSES`]).
    pub pass_times: [u64; PASS_US_CLASSES.len()],
    /// Columns of all passes.
    pub columns: u64,
    /// Tokens chosen.
    pub tokens: u64,
    /// Tokens of prompts taken in.
    pub prompt_tokens: u64,
    /// Time spent in passes, in microseconds.
    pub busy_us: u64,
    /// Generations under way.
    pub sessions: u64,
    /// Generations begun.
    pub opened: u64,
    /// Generations ended.
    pub closed: u64,
    /// Times that a generation's edge went away.
    pub orphaned: u64,
    /// Requests refused.
    pub refused: u64,
    /// Passes that failed.
    pub failed: u64,
    /// Positions in the transcripts of the generations under way.
    pub kv_positions: u64,
}

/// What one client was given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientCounts {
    /// The name it is enrolled under.
    pub name: String,
    /// Tokens chosen for it.
    pub tokens: u64,
}

impl Metrics {
    /// The counters now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            passes: std::array::from_fn(|class| self.passes[class].load(Relaxed)),
            pass_times: std::array::from_fn(|class| self.pass_times[class].load(Relaxed)),
            columns: self.columns.load(Relaxed),
            tokens: self.tokens.load(Relaxed),
            prompt_tokens: self.prompt_tokens.load(Relaxed),
            busy_us: self.busy_us.load(Relaxed),
            sessions: self.sessions.load(Relaxed),
            opened: self.opened.load(Relaxed),
            closed: self.closed.load(Relaxed),
            orphaned: self.orphaned.load(Relaxed),
            refused: self.refused.load(Relaxed),
            failed: self.failed.load(Relaxed),
            kv_positions: self.kv_positions.load(Relaxed),
        }
    }

    /// What was refused so far, links and requests, by reason.
    pub fn refusals(&self) -> BTreeMap<&'static str, u64> {
        held(&self.refusals).clone()
    }

    /// The clients that came since the node started, as many as it has
    /// enrolled at most.
    pub fn clients(&self) -> Vec<ClientCounts> {
        held(&self.clients).values().cloned().collect()
    }

    pub(super) fn passed(&self, columns: usize, us: u64) {
        let class = COLUMN_CLASSES.iter().position(|&most| columns <= most);
        self.passes[class.unwrap_or(COLUMN_CLASSES.len() - 1)].fetch_add(1, Relaxed);
        let class = PASS_US_CLASSES.iter().position(|&most| us <= most);
        self.pass_times[class.unwrap_or(PASS_US_CLASSES.len() - 1)].fetch_add(1, Relaxed);
        self.columns.fetch_add(columns as u64, Relaxed);
        self.busy_us.fetch_add(us, Relaxed);
    }

    pub(super) fn chose(&self, client: u64, tokens: usize) {
        self.tokens.fetch_add(tokens as u64, Relaxed);
        if let Some(counts) = held(&self.clients).get_mut(&client) {
            counts.tokens += tokens as u64;
        }
    }

    pub(super) fn prompted(&self, tokens: u64) {
        self.prompt_tokens.fetch_add(tokens, Relaxed);
    }

    pub(super) fn opened(&self) {
        self.opened.fetch_add(1, Relaxed);
    }

    pub(super) fn closed(&self) {
        self.closed.fetch_add(1, Relaxed);
    }

    pub(super) fn orphaned(&self) {
        self.orphaned.fetch_add(1, Relaxed);
    }

    pub(super) fn sessions(&self, now: usize) {
        self.sessions.store(now as u64, Relaxed);
    }

    pub(super) fn kv_positions(&self, now: u64) {
        self.kv_positions.store(now, Relaxed);
    }

    pub(super) fn refused(&self, refused: &wire::Refused) {
        self.refused.fetch_add(1, Relaxed);
        self.refused_for(reason(refused));
    }

    pub(super) fn not_admitted(&self, error: &ArrivalError) {
        self.refused_for(match error {
            ArrivalError::Refused(refused) => link_reason(*refused),
            ArrivalError::Slow(_) => "slow_handshake",
            ArrivalError::Lost(_) => "broken_handshake",
            ArrivalError::Enrolment(_) => "enrolment",
        });
    }

    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// Notes a client that came.
    pub(super) fn client(&self, client: u64, name: &str) {
        let mut clients = held(&self.clients);
        let counts = clients.entry(client).or_default();
        if counts.name.is_empty() {
            counts.name = name.to_owned();
        }
    }

    fn refused_for(&self, reason: &'static str) {
        *held(&self.refusals).entry(reason).or_default() += 1;
    }
}

/// What a lock guards. Nothing is changed in more than one step, so that a
/// panic leaves it whole.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The name of a request's refusal among the metrics and in the log.
pub(super) fn reason(refused: &wire::Refused) -> &'static str {
    match refused {
        wire::Refused::Tokenizer => "tokenizer",
        wire::Refused::Model => "model",
        wire::Refused::KernelSet { .. } => "kernel_set",
        wire::Refused::Draining => "draining",
        wire::Refused::Sessions { .. } => "sessions",
        wire::Refused::Context { .. } => "context",
        wire::Refused::Quota => "quota",
        wire::Refused::Protocol { .. } => "protocol",
        wire::Refused::Split => "split",
        wire::Refused::Layers { .. } => "layers",
        wire::Refused::Stages { .. } => "stages",
        wire::Refused::KvFormat { .. } => "kv_format",
    }
}

/// The same of a link's.
fn link_reason(refused: trust::Refused) -> &'static str {
    match refused {
        trust::Refused::NoCertificate => "no_certificate",
        trust::Refused::Foreign => "foreign_certificate",
        trust::Refused::Expired => "expired_certificate",
        trust::Refused::Revoked => "revoked_certificate",
        trust::Refused::WrongPurpose => "certificate_of_other_purpose",
        trust::Refused::BadCertificate => "bad_certificate",
        trust::Refused::Version => "version",
        trust::Refused::Full => "links",
        trust::Refused::ClientFull => "client_links",
        trust::Refused::Draining => "draining",
        trust::Refused::NodeFault => "node_fault",
    }
}
