//! Runs of one sort together.

use super::Played;
use std::time::Duration;

/// What runs came to.
#[derive(Debug, Default)]
pub struct Tally {
    /// Runs.
    pub runs: usize,
    /// Runs without a fault found.
    pub right: usize,
    /// From faults to being told, ascending after [`sort`](Self::sort).
    pub detections: Vec<Duration>,
    /// From being told to the next token where the edge computed along.
    pub warm: Vec<Duration>,
    /// The same where it did not.
    pub rebuilt: Vec<Duration>,
}

impl Tally {
    /// Takes a run in.
    pub fn add(&mut self, played: &Played) {
        self.runs += 1;
        self.right += usize::from(played.faults_found.is_empty());
        self.detections.extend(&played.detections);
        let takeovers = match played.scenario.warm {
            true => &mut self.warm,
            false => &mut self.rebuilt,
        };
        takeovers.extend(played.takeovers.iter().map(|(takeover, _)| takeover));
    }

    /// Takes other runs in.
    pub fn merge(&mut self, other: Self) {
        self.runs += other.runs;
        self.right += other.right;
        self.detections.extend(other.detections);
        self.warm.extend(other.warm);
        self.rebuilt.extend(other.rebuilt);
    }

    /// Sorts all times.
    pub fn sort(&mut self) {
        for times in [&mut self.detections, &mut self.warm, &mut self.rebuilt] {
            times.sort_unstable();
        }
    }
}
