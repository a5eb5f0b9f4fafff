//! Where the time of passes went.

use crate::model::Operation;
use std::time::Duration;

/// The time of passes, by what it was spent on.
///
/// Times are those of a mean thread of the team: what all threads spent on
/// something, divided by their number. The operations and the hand-over then
/// sum to [`wall`](Self::wall).
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Passes.
    pub passes: u64,
    /// Their columns.
    pub columns: u64,
    /// From the hand-over of each batch to its completion.
    pub wall: Duration,
    /// From there until the thread was at work; all of the pass, for one that
    /// did not come to it.
    pub hand_over: Duration,
    /// From the last thread's end until the completion was seen.
    pub hand_back: Duration,
    /// By [`Operation::index`].
    pub operations: [OperationProfile; Operation::COUNT],
}

/// One operation of all layers and passes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct OperationProfile {
    /// Time at work.
    pub busy: Duration,
    /// Time at the barrier after it, waiting for the other threads.
    pub wait: Duration,
    /// Bytes that had to be read: of weights once per pass, and of keys and
    /// values once per pass and sequence. Of a mixture's experts the number to
    /// expect, as in [`Model::pass_bytes`](crate::model::Model::pass_bytes).
    pub bytes: f64,
    /// Multiplications and additions of its products.
    pub arithmetic: f64,
}

impl OperationProfile {
    /// Time until all threads were through.
    pub fn time(&self) -> Duration {
        self.busy + self.wait
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            passes: 0,
            columns: 0,
            wall: Duration::ZERO,
            hand_over: Duration::ZERO,
            hand_back: Duration::ZERO,
            operations: [OperationProfile::default(); Operation::COUNT],
        }
    }
}

impl Profile {
    /// The figures of one operation.
    pub fn operation(&self, operation: Operation) -> &OperationProfile {
        &self.operations[operation.index()]
    }

    /// Adds another time of the same stage.
    pub fn add(&mut self, other: &Self) {
        self.passes += other.passes;
        self.columns += other.columns;
        self.add_times(other);
    }

    /// Adds what another stage spent on the same passes.
    pub fn add_stage(&mut self, other: &Self) {
        self.passes = self.passes.max(other.passes);
        self.columns = self.columns.max(other.columns);
        self.add_times(other);
    }

    fn add_times(&mut self, other: &Self) {
        self.wall += other.wall;
        self.hand_over += other.hand_over;
        self.hand_back += other.hand_back;
        for (sum, term) in self.operations.iter_mut().zip(&other.operations) {
            sum.busy += term.busy;
            sum.wait += term.wait;
            sum.bytes += term.bytes;
            sum.arithmetic += term.arithmetic;
        }
    }
}
