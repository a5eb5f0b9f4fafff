//! The clocks of a pass that is profiled.
//!
//! Every thread has a record of its own with one place per operation, made when
//! recording starts: nothing is allocated or shared while a pass runs. A
//! thread's intervals follow each other without a gap, each beginning where the
//! one before ended, so that they sum to the time since it came to the pass.

use super::demand::{Demand, PassSize};
use crate::{model::Operation, stage::Profile};
use outrigger_kernels::team::SharedBuffer;
use std::time::{Duration, Instant};

/// What the threads of a stage recorded since it was made.
pub(super) struct Recorder {
    threads: SharedBuffer<ThreadRecord>,
    demand: Demand,
    submitted: Instant,
    /// Sums over threads until [`finish`](Self::finish).
    profile: Profile,
}

/// A thread's own part. On cache lines of its own, because it is written at
/// every phase.
#[repr(align(128))]
struct ThreadRecord {
    /// The end of the last interval.
    last: Instant,
    /// When the thread came to the pass under way; `None` before it does.
    begun: Option<Instant>,
    /// What it was at last.
    last_operation: Operation,
    times: [Times; Operation::COUNT],
}

#[derive(Clone, Copy, Default)]
struct Times {
    busy: Duration,
    wait: Duration,
}

impl ThreadRecord {
    fn new(now: Instant) -> Self {
        Self {
            last: now,
            begun: None,
            last_operation: Operation::Embed,
            times: [Times::default(); Operation::COUNT],
        }
    }

    /// The time since the last call.
    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        let time = now.saturating_duration_since(self.last);
        self.last = now;
        time
    }
}

impl Recorder {
    pub(super) fn new(threads: usize, demand: Demand) -> Self {
        let now = Instant::now();
        let records = (0..threads).map(|_| ThreadRecord::new(now)).collect();
        Self {
            threads: SharedBuffer::from_vec(records),
            demand,
            submitted: now,
            profile: Profile::default(),
        }
    }

    #[allow(clippy::mut_from_ref)] // each thread has its own
    fn record(&self, thread: usize) -> &mut ThreadRecord {
        // SAFETY: during a pass each thread asks for its own record alone, and
        // no caller holds two results at a time; between passes the recorder
        // is held exclusively.
        unsafe { &mut self.threads.get_mut(thread..thread + 1)[0] }
    }

    /// A pass is handed to the team.
    pub(super) fn submit(&mut self) {
        self.submitted = Instant::now();
        for record in self.threads.as_mut_slice() {
            record.begun = None;
            record.last = self.submitted;
        }
    }

    /// A thread comes to the pass, or comes back to it.
    pub(super) fn begin(&self, thread: usize) {
        let record = self.record(thread);
        let away = record.lap();
        match record.begun {
            None => record.begun = Some(record.last),
            // It left because it had to wait.
            Some(_) => record.times[record.last_operation.index()].wait += away,
        }
    }

    /// A thread has done some work of an operation.
    pub(super) fn worked(&self, thread: usize, operation: Operation) {
        let record = self.record(thread);
        let time = record.lap();
        record.times[operation.index()].busy += time;
        record.last_operation = operation;
    }

    /// A thread has waited for the others after an operation.
    pub(super) fn waited(&self, thread: usize, operation: Operation) {
        let record = self.record(thread);
        let time = record.lap();
        record.times[operation.index()].wait += time;
    }

    /// The pass has completed without error.
    pub(super) fn complete(&mut self, size: &mut PassSize<'_>) {
        let completed = Instant::now();
        let since = |later: Instant, earlier| later.saturating_duration_since(earlier);
        let records = self.threads.as_mut_slice();
        let ended = records.iter().map(|r| r.last).max().unwrap_or(completed);
        let profile = &mut self.profile;
        for record in &mut *records {
            profile.wall += since(completed, self.submitted);
            profile.hand_back += since(completed, ended);
            // The others did not wait for one that never came.
            let begun = record.begun.unwrap_or(ended);
            profile.hand_over += since(begun, self.submitted);
            // Behind the last operation there is no barrier.
            let rest = since(ended, record.last.max(begun));
            record.times[record.last_operation.index()].wait += rest;
        }
        profile.passes += 1;
        profile.columns += size.columns as u64;
        self.demand.add(size, &mut profile.operations);
    }

    /// The figures of the passes that were completed.
    pub(super) fn finish(mut self) -> Profile {
        let records = self.threads.as_mut_slice();
        let mut profile = self.profile;
        for record in &*records {
            for (sum, times) in profile.operations.iter_mut().zip(&record.times) {
                sum.busy += times.busy;
                sum.wait += times.wait;
            }
        }
        let threads = records.len().max(1) as u32;
        profile.wall /= threads;
        profile.hand_over /= threads;
        profile.hand_back /= threads;
        for operation in &mut profile.operations {
            operation.busy /= threads;
            operation.wait /= threads;
        }
        profile
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        kv::SequenceId,
        loaded::{LoadedModel, RunOptions},
        model::{
            ModelOptions, Operation,
            synthetic::{SyntheticFormats, SyntheticModel, SyntheticShape},
        },
        stage::{Batch, Column, Pipeline, Profile},
        transcript::Class,
    };
    use outrigger_kernels::format::Format;
    use std::{fs::File, sync::atomic::AtomicBool, time::Duration};

    /// Two passes of two columns, recorded.
    fn profile(shape: &SyntheticShape, threads: usize) -> Profile {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let model = SyntheticModel::new(shape, &SyntheticFormats::all(Format::Q8_0), 1).unwrap();
        model.write(File::create(&path).unwrap()).unwrap();
        let loaded = LoadedModel::open(&path, &ModelOptions::default()).unwrap();
        let options = RunOptions {
            threads: Some(threads),
            ..RunOptions::default()
        };
        let mut pipeline = loaded.pipeline(&options).unwrap();
        let sequence = SequenceId(0);
        pipeline.create(sequence).unwrap();
        let mut batch = Batch::default();
        let mut pass = |pipeline: &mut Pipeline| {
            let first = pipeline.len(sequence).unwrap();
            batch.clear();
            for position in first..first + 2 {
                let column = Column {
                    sequence,
                    position,
                    class: Class::Generated,
                    wanted: true,
                };
                batch.push(column, position);
            }
            let never = AtomicBool::new(false);
            pipeline.forward(&mut batch, &never).unwrap();
        };
        // Neither the first pass is recorded nor the last.
        pass(&mut pipeline);
        pipeline.start_profile().unwrap();
        pass(&mut pipeline);
        pass(&mut pipeline);
        let profile = pipeline.take_profile().unwrap();
        pass(&mut pipeline);
        assert_eq!(pipeline.take_profile().unwrap(), Profile::default());
        profile
    }

    #[test]
    fn all_of_the_time_is_someones() {
        let shape = SyntheticShape::preset("tiny").unwrap();
        for threads in [1, 3] {
            let profile = profile(&shape, threads);
            assert_eq!((profile.passes, profile.columns), (2, 4));
            let times = profile.operations.iter().map(|o| o.time());
            let sum = times.sum::<Duration>() + profile.hand_over + profile.hand_back;
            // But for what dividing by the threads rounds off.
            assert!(sum.abs_diff(profile.wall) < Duration::from_micros(1));
        }
    }

    #[test]
    fn an_operation_has_time_where_the_model_has_it() {
        let tiny = SyntheticShape::preset("tiny").unwrap();
        let experts = SyntheticShape {
            architecture: "qwen3moe",
            experts: Some((4, 2)),
            ..tiny.clone()
        };
        let (dense, experts) = (profile(&tiny, 2), profile(&experts, 2));
        let timed = |profile: &Profile| -> Vec<Operation> {
            let all = Operation::ALL.into_iter();
            all.filter(|&o| profile.operation(o).time() > Duration::ZERO)
                .collect()
        };
        use Operation as O;
        let attention = [
            O::Embed,
            O::QueryKeyValue,
            O::Rope,
            O::Attention,
            O::AttentionOutput,
        ];
        let ends = [O::FeedForwardNorm, O::LayerEnd, O::HeadNorm, O::Head];
        for profile in [&dense, &experts] {
            for operation in attention.iter().chain(&ends) {
                assert!(timed(profile).contains(operation), "{operation:?}");
            }
        }
        let block = [O::GateUp, O::HiddenQuantize, O::Down];
        let chosen = [
            O::Router,
            O::Choice,
            O::ExpertsGateUp,
            O::ExpertsQuantize,
            O::ExpertsDown,
        ];
        let absent = [
            O::QueryKeyNorm,
            O::SharedGateUp,
            O::SharedDown,
            O::SharedWeight,
        ];
        for (profile, has, lacks) in [
            (&dense, &block[..], &chosen[..]),
            (&experts, &chosen, &block),
        ] {
            let timed = timed(profile);
            assert!(has.iter().all(|o| timed.contains(o)), "{timed:?}");
            assert!(
                !lacks.iter().chain(&absent).any(|o| timed.contains(o)),
                "{timed:?}"
            );
        }
    }
}
