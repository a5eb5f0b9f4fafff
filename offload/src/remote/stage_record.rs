//! Where the time of split steps went.

use super::traffic::{Meter, Traffic};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The time of steps of one generated token each, one right behind the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// Steps.
    pub steps: u64,
    /// On this machine: from an answer of the node to the next question.
    pub here: Duration,
    /// From a question until its answer is at hand, without what the node
    /// took: the round trip, and the ends' threads that wake each other.
    pub wire: Duration,
    /// What the node says that it took.
    pub node: Duration,
}

impl StageTimes {
    /// The mean of all steps, in milliseconds: here, on the wire, at the node.
    pub fn mean_ms(&self) -> [f64; 3] {
        let steps = self.steps.max(1) as f64;
        [self.here, self.wire, self.node].map(|time| time.as_secs_f64() * 1e3 / steps)
    }

    pub(super) fn add(&mut self, step: &Self) {
        self.steps += step.steps;
        self.here += step.here;
        self.wire += step.wire;
        self.node += step.node;
    }
}

/// What a remote stage counts, to be looked at while a decoder has the stage.
#[derive(Debug, Clone)]
pub struct StageRecord {
    meter: Arc<Meter>,
    times: Arc<Mutex<StageTimes>>,
}

impl StageRecord {
    pub(super) fn new(meter: Arc<Meter>) -> Self {
        Self {
            meter,
            times: Arc::default(),
        }
    }

    /// Bytes of frames both ways, without what QUIC and UDP add.
    pub fn traffic(&self) -> Traffic {
        self.meter.read()
    }

    /// Where the time of steps went.
    pub fn times(&self) -> StageTimes {
        *self.lock()
    }

    pub(super) fn add(&self, step: &StageTimes) {
        self.lock().add(step);
    }

    fn lock(&self) -> MutexGuard<'_, StageTimes> {
        // Sums are never left half-way.
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
