//! How many threads generate a model's tokens fastest, found by trying.
//!
//! Threads have to meet a few hundred times per token, so a small model is
//! often fastest on one. The results are the same bits with any number; only
//! the speed differs.

use crate::{
    kv::SequenceId,
    loaded::{LoadError, LoadedModel, RunOptions},
    model::Matrix,
    platform::advise,
    stage::{Batch, Column, Pipeline},
    transcript::Class,
};
use outrigger_kernels::team::Team;
use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

/// A step that takes longer hides what threads cost each other, and trying
/// takes too long to go unnoticed.
const STEP_MAX: Duration = Duration::from_millis(100);
/// How long a number of threads is tried in a round, one step at least.
const TURN: Duration = Duration::from_millis(3);
/// How long all are tried, [`ROUNDS_MIN`] at least: in turns, so that a
/// disturbance does not meet only one of them.
const TIME: Duration = Duration::from_millis(60);
const ROUNDS_MIN: usize = 2;
/// A larger team may take so much longer for a step: it reads prompts faster.
const TOLERANCE: f64 = 1.05;
/// Enough for the one position of a step.
const CONTEXT: u32 = 64;

/// How fast a number of threads was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trial {
    /// The threads.
    pub threads: usize,
    /// The shortest time of a step.
    pub step: Duration,
}

/// The numbers of threads worth trying, the largest first: all processors, the
/// physical cores, half of these and one.
pub fn candidates(usable: usize, physical: Option<usize>) -> Vec<usize> {
    let physical = physical.unwrap_or(usable).clamp(1, usable.max(1));
    let mut counts = vec![usable.max(1), physical, physical.div_ceil(2), 1];
    counts.sort_unstable_by(|a, b| b.cmp(a));
    counts.dedup();
    counts
}

/// The choice between numbers of threads that were tried, the largest first:
/// the fastest, or a larger one that is hardly slower. `None` if there is none.
pub fn choice(trials: &[Trial]) -> Option<usize> {
    let best = trials.iter().map(|trial| trial.step).min()?;
    let good = |trial: &&Trial| trial.step <= best.mul_f64(TOLERANCE);
    trials.iter().find(good).map(|trial| trial.threads)
}

impl LoadedModel {
    /// Tries `candidates` on decode steps of the model, which takes about
    /// 0.1 s, and with large models a few steps of each. Empty if its weights
    /// are not in memory, where the disk would be measured; the first candidate
    /// alone if a step takes so long that what threads cost is nothing to it.
    pub fn try_threads(
        &self,
        options: &RunOptions,
        candidates: &[usize],
    ) -> Result<Vec<Trial>, LoadError> {
        if !self.model().pass_matrices().all(is_resident) {
            return Ok(Vec::new());
        }
        let mut steppers = Vec::with_capacity(candidates.len());
        for &threads in candidates {
            let mut stepper = Stepper::new(self, options, threads)?;
            // Not counted: pages are mapped, buffers made.
            let mapping = stepper.step()?;
            if steppers.is_empty() && mapping > STEP_MAX {
                let step = stepper.step()?;
                if step > STEP_MAX {
                    return Ok(vec![Trial { threads, step }]);
                }
            }
            steppers.push(stepper);
        }
        let (started, mut rounds) = (Instant::now(), 0);
        while steppers.len() > 1 && (rounds < ROUNDS_MIN || started.elapsed() < TIME) {
            for stepper in &mut steppers {
                stepper.turn()?;
            }
            rounds += 1;
        }
        Ok(steppers.iter().map(|stepper| stepper.trial).collect())
    }
}

fn is_resident(matrix: &Matrix) -> bool {
    let path = matrix.data().path();
    path.and_then(|path| advise::resident(matrix.bytes(), path)) != Some(false)
}

/// Decode steps on a team.
struct Stepper {
    pipeline: Pipeline,
    batch: Batch,
    trial: Trial,
}

impl Stepper {
    const ID: SequenceId = SequenceId(0);

    fn new(loaded: &LoadedModel, options: &RunOptions, threads: usize) -> Result<Self, LoadError> {
        let options = RunOptions {
            columns_max: 1,
            sequences: 1,
            ..*options
        };
        let team = Arc::new(Team::new(threads)?);
        let mut pipeline = loaded.lay_out(&team, &options, CONTEXT)?;
        pipeline.create(Self::ID)?;
        let step = Duration::MAX;
        Ok(Self {
            pipeline,
            batch: Batch::default(),
            trial: Trial { threads, step },
        })
    }

    fn turn(&mut self) -> Result<(), LoadError> {
        let started = Instant::now();
        loop {
            let step = self.step()?;
            self.trial.step = self.trial.step.min(step);
            if started.elapsed() >= TURN {
                return Ok(());
            }
        }
    }

    fn step(&mut self) -> Result<Duration, LoadError> {
        self.pipeline.truncate(Self::ID, 0)?;
        self.batch.clear();
        let column = Column {
            sequence: Self::ID,
            position: 0,
            class: Class::Generated,
            wanted: true,
        };
        self.batch.push(column, 0);
        let started = Instant::now();
        self.pipeline
            .forward(&mut self.batch, &AtomicBool::new(false))?;
        Ok(started.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        ModelOptions,
        synthetic::{SyntheticFormats, SyntheticModel, SyntheticShape},
    };
    use outrigger_kernels::format::Format;
    use std::fs::File;

    #[test]
    fn candidates_are_all_physical_half_and_one() {
        assert_eq!(candidates(16, Some(8)), [16, 8, 4, 1]);
        assert_eq!(candidates(6, None), [6, 3, 1]);
        assert_eq!(candidates(2, Some(2)), [2, 1]);
        assert_eq!(candidates(2, Some(1)), [2, 1]);
        assert_eq!(candidates(1, Some(1)), [1]);
        assert_eq!(candidates(0, None), [1]);
    }

    #[test]
    fn the_fastest_is_chosen_or_a_larger_team_that_is_hardly_slower() {
        let trials = |times: [u64; 3]| {
            let threads = [4, 2, 1].into_iter().zip(times);
            let trial = |(threads, step)| Trial {
                threads,
                step: Duration::from_micros(step),
            };
            choice(&threads.map(trial).collect::<Vec<_>>())
        };
        assert_eq!(trials([100, 150, 200]), Some(4));
        assert_eq!(trials([200, 150, 100]), Some(1));
        assert_eq!(trials([200, 104, 100]), Some(2));
        assert_eq!(choice(&[]), None);
    }

    #[test]
    fn every_candidate_is_timed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let shape = SyntheticShape::preset("tiny").unwrap();
        let formats = SyntheticFormats::all(Format::Q8_0);
        let made = SyntheticModel::new(&shape, &formats, 1).unwrap();
        made.write(File::create(&path).unwrap()).unwrap();
        let loaded = LoadedModel::open(&path, &ModelOptions::default()).unwrap();
        let trials = loaded.try_threads(&RunOptions::default(), &[2, 1]).unwrap();
        let threads: Vec<_> = trials.iter().map(|trial| trial.threads).collect();
        assert_eq!(threads, [2, 1]);
        assert!(trials.iter().all(|trial| trial.step < Duration::MAX));
    }
}
