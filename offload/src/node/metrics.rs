//! What a node counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Upper bounds of the classes that passes are counted in, by their columns.
pub const COLUMN_CLASSES: [usize; 8] = [1, 2, 4, 8, 16, 32, 64, usize::MAX];

/// Counters of a node, shared by its threads.
#[derive(Debug, Default)]
pub struct Metrics {
    passes: [AtomicU64; COLUMN_CLASSES.len()],
    columns: AtomicU64,
    tokens: AtomicU64,
    busy_us: AtomicU64,
    sessions: AtomicU64,
    opened: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
}

/// The counters at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Passes, in classes of columns ([`COLUMN_CLASSES`]).
    pub passes: [u64; COLUMN_CLASSES.len()],
    /// Columns of all passes.
    pub columns: u64,
    /// Tokens chosen.
    pub tokens: u64,
    /// Time spent in passes, in microseconds.
    pub busy_us: u64,
    /// Generations under way.
    pub sessions: u64,
    /// Generations begun.
    pub opened: u64,
    /// Requests refused.
    pub refused: u64,
    /// Passes that failed.
    pub failed: u64,
}

impl Metrics {
    /// The counters now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            passes: std::array::from_fn(|class| self.passes[class].load(Relaxed)),
            columns: self.columns.load(Relaxed),
            tokens: self.tokens.load(Relaxed),
            busy_us: self.busy_us.load(Relaxed),
            sessions: self.sessions.load(Relaxed),
            opened: self.opened.load(Relaxed),
            refused: self.refused.load(Relaxed),
            failed: self.failed.load(Relaxed),
        }
    }

    pub(super) fn passed(&self, columns: usize, us: u64) {
        let class = COLUMN_CLASSES.iter().position(|&most| columns <= most);
        self.passes[class.unwrap_or(COLUMN_CLASSES.len() - 1)].fetch_add(1, Relaxed);
        self.columns.fetch_add(columns as u64, Relaxed);
        self.busy_us.fetch_add(us, Relaxed);
    }

    pub(super) fn chose(&self, tokens: usize) {
        self.tokens.fetch_add(tokens as u64, Relaxed);
    }

    pub(super) fn opened(&self) {
        self.opened.fetch_add(1, Relaxed);
    }

    pub(super) fn sessions(&self, now: usize) {
        self.sessions.store(now as u64, Relaxed);
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }
}
