//! Running a program on all threads of a team.

use super::barrier::{Barrier, Passage};
use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// What every thread of a team executes.
pub trait Program: Send + Sync + 'static {
    /// Runs the part of `member`. Every member must pass the same barriers in
    /// the same order and return as soon as one says [`Halt`].
    fn run(&self, member: &Member<'_>) -> Result<(), Halt>;
}

/// Said by a barrier when the program is to end early: it was cancelled, or
/// another thread panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Halt;

/// How a run ended, if not well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// [`Run::cancel`] was called before the last barrier.
    #[error("the run was cancelled")]
    Cancelled,
    /// A thread panicked; this is a bug in a program.
    #[error("a thread of the team panicked (this is a bug; its message is on stderr)")]
    Panicked,
}

/// A team could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TeamError {
    /// A team of no threads was asked for.
    #[error("a team needs at least one thread")]
    NoThreads,
    /// The operating system refused the threads.
    #[error("cannot start {threads} threads: {source}")]
    Spawn {
        /// Threads asked for.
        threads: usize,
        /// What rayon said.
        source: rayon::ThreadPoolBuildError,
    },
}

/// A fixed set of threads on which programs run one after the other.
pub struct Team {
    pool: rayon::ThreadPool,
}

impl Team {
    /// Starts `threads` threads; they sleep until a program comes.
    pub fn new(threads: usize) -> Result<Self, TeamError> {
        if threads == 0 {
            return Err(TeamError::NoThreads);
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("outrigger-team-{index}"))
            .build()
            .map_err(|source| TeamError::Spawn { threads, source })?;
        Ok(Self { pool })
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// A place for runs of programs of type `P`, to be used again and again.
    pub fn prepare<P: Program>(&self) -> Arc<Run<P>> {
        Arc::new(Run {
            threads: self.threads(),
            barrier: Barrier::new(self.threads()),
            next: AtomicUsize::new(0),
            cancel: AtomicBool::new(false),
            halted: AtomicBool::new(false),
            state: Mutex::new(State::idle()),
            done: Condvar::new(),
        })
    }

    /// Starts `program` on all threads and returns at once. Programs of
    /// several runs execute in the order of their starts.
    ///
    /// When [`Run::wait`] or [`Run::poll`] reports the end, the team holds no
    /// clone of `program` any more.
    ///
    /// # Panics
    /// If `run` was prepared by a team of another size or is still running.
    pub fn start<P: Program>(&self, run: &Arc<Run<P>>, program: Arc<P>) {
        assert_eq!(run.threads, self.threads(), "a run belongs to its team");
        {
            let mut state = run.lock();
            assert_eq!(state.remaining, 0, "a run is started again after its end");
            *state = State {
                program: Some(program),
                remaining: run.threads,
                panicked: false,
                cancelled: false,
            };
        }
        run.barrier.reset();
        run.next.store(0, Ordering::Relaxed);
        run.cancel.store(false, Ordering::Relaxed);
        run.halted.store(false, Ordering::Relaxed);
        let run = run.clone();
        self.pool
            .spawn_broadcast(move |context| run.member(context.index()));
    }
}

struct State<P> {
    program: Option<Arc<P>>,
    remaining: usize,
    panicked: bool,
    cancelled: bool,
}

impl<P> State<P> {
    fn idle() -> Self {
        Self {
            program: None,
            remaining: 0,
            panicked: false,
            cancelled: false,
        }
    }

    fn outcome(&self) -> Result<(), RunError> {
        if self.panicked {
            Err(RunError::Panicked)
        } else if self.cancelled {
            Err(RunError::Cancelled)
        } else {
            Ok(())
        }
    }
}

/// One program under way on a team, or the place for the next one.
pub struct Run<P> {
    threads: usize,
    barrier: Barrier,
    /// First item of the current phase that no thread has taken.
    next: AtomicUsize,
    cancel: AtomicBool,
    halted: AtomicBool,
    state: Mutex<State<P>>,
    done: Condvar,
}

impl<P: Program> Run<P> {
    /// Asks the program to end at its next barrier.
    pub fn cancel(&self) {
        self.cancel.store(true, Ordering::Relaxed);
    }

    /// How the run ended; `None` while it is under way.
    pub fn poll(&self) -> Option<Result<(), RunError>> {
        let state = self.lock();
        (state.remaining == 0).then(|| state.outcome())
    }

    /// Waits for the end of the run.
    pub fn wait(&self) -> Result<(), RunError> {
        let mut state = self.lock();
        while state.remaining > 0 {
            state = self.done.wait(state).unwrap_or_else(|e| e.into_inner());
        }
        state.outcome()
    }

    /// Waits for the end of the run, but not for longer than `at_most`.
    pub fn wait_at_most(&self, at_most: Duration) -> Option<Result<(), RunError>> {
        let state = self.lock();
        let (state, _) = self
            .done
            .wait_timeout_while(state, at_most, |state| state.remaining > 0)
            .unwrap_or_else(|e| e.into_inner());
        (state.remaining == 0).then(|| state.outcome())
    }

    fn lock(&self) -> MutexGuard<'_, State<P>> {
        // Nothing inside the lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn member(&self, index: usize) {
        let program = self.lock().program.clone();
        let member = Member {
            index,
            threads: self.threads,
            barrier: &self.barrier,
            next: &self.next,
            cancel: &self.cancel,
            halted: &self.halted,
        };
        let outcome = program.as_ref().map_or(Ok(Ok(())), |program| {
            catch_unwind(AssertUnwindSafe(|| program.run(&member)))
        });
        drop(program);
        let panicked = outcome.is_err();
        if panicked {
            self.barrier.poison();
        }
        let mut state = self.lock();
        state.panicked |= panicked;
        state.cancelled |= matches!(outcome, Ok(Err(Halt)));
        state.remaining -= 1;
        if state.remaining == 0 {
            state.program = None;
            self.done.notify_all();
        }
    }
}

/// One thread's place in a run.
pub struct Member<'a> {
    index: usize,
    threads: usize,
    barrier: &'a Barrier,
    next: &'a AtomicUsize,
    cancel: &'a AtomicBool,
    halted: &'a AtomicBool,
}

impl<'a> Member<'a> {
    /// This thread's number, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Number of threads in the run.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Waits for all threads. What any of them wrote before is seen by all
    /// after, and the work counter stands at zero again.
    pub fn barrier(&self) -> Result<(), Halt> {
        let passage = self.barrier.wait(|| {
            self.next.store(0, Ordering::Relaxed);
            // One thread decides for all, or some would go on to a barrier
            // that the others never reach.
            self.halted
                .store(self.cancel.load(Ordering::Relaxed), Ordering::Relaxed);
        });
        if passage == Passage::Poisoned || self.halted.load(Ordering::Relaxed) {
            return Err(Halt);
        }
        Ok(())
    }

    /// Takes ranges of up to `grain` of the `items` of this phase until none
    /// is left; the threads share them by who comes first, so that slow cores
    /// take fewer. At most one call between two barriers.
    pub fn chunks(&self, items: usize, grain: usize) -> Chunks<'a> {
        Chunks {
            next: self.next,
            items,
            grain: grain.max(1),
        }
    }
}

/// The ranges of items that fall to one thread; see [`Member::chunks`].
pub struct Chunks<'a> {
    next: &'a AtomicUsize,
    items: usize,
    grain: usize,
}

impl Iterator for Chunks<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        // A look before the add keeps the counter from running away when many
        // threads find the work done.
        if self.next.load(Ordering::Relaxed) >= self.items {
            return None;
        }
        let start = self.next.fetch_add(self.grain, Ordering::Relaxed);
        (start < self.items).then(|| start..(start + self.grain).min(self.items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::team::SharedBuffer;

    struct Count {
        taken: SharedBuffer<u32>,
        phases: usize,
        panic_in: Option<usize>,
    }

    impl Program for Count {
        fn run(&self, member: &Member<'_>) -> Result<(), Halt> {
            for phase in 0..self.phases {
                if self.panic_in == Some(phase) && member.index() == member.threads() - 1 {
                    panic!("on purpose");
                }
                for range in member.chunks(self.taken.len(), 3) {
                    // SAFETY: `chunks` gives each item to one thread per phase.
                    for item in unsafe { self.taken.get_mut(range) } {
                        *item += 1;
                    }
                }
                member.barrier()?;
            }
            Ok(())
        }
    }

    fn count(phases: usize, panic_in: Option<usize>) -> Arc<Count> {
        Arc::new(Count {
            taken: SharedBuffer::zeroed(100),
            phases,
            panic_in,
        })
    }

    #[test]
    fn every_item_is_taken_once_per_phase() {
        let team = Team::new(4).unwrap();
        let run = team.prepare();
        for _ in 0..20 {
            let program = count(50, None);
            team.start(&run, program.clone());
            run.wait().unwrap();
            let program = Arc::into_inner(program).expect("the team holds no clone");
            let Count { mut taken, .. } = program;
            assert!(taken.as_mut_slice().iter().all(|&n| n == 50));
        }
    }

    #[test]
    fn a_panic_ends_the_run_for_all_and_the_team_lives_on() {
        let team = Team::new(3).unwrap();
        let run = team.prepare();
        team.start(&run, count(10, Some(4)));
        assert_eq!(run.wait(), Err(RunError::Panicked));
        team.start(&run, count(10, None));
        assert_eq!(run.wait(), Ok(()));
    }

    #[test]
    fn a_cancelled_run_ends_early() {
        let team = Team::new(2).unwrap();
        let run = team.prepare();
        team.start(&run, count(usize::MAX, None));
        assert_eq!(run.poll(), None);
        assert_eq!(run.wait_at_most(Duration::from_millis(1)), None);
        run.cancel();
        assert_eq!(run.wait(), Err(RunError::Cancelled));
        assert_eq!(run.poll(), Some(Err(RunError::Cancelled)));
    }

    #[test]
    fn two_runs_on_one_team_do_not_mix() {
        let team = Team::new(3).unwrap();
        let (a, b) = (team.prepare(), team.prepare());
        for _ in 0..50 {
            team.start(&a, count(20, None));
            team.start(&b, count(20, None));
            assert_eq!(b.wait(), Ok(()));
            assert_eq!(a.wait(), Ok(()));
        }
    }

    #[test]
    fn no_threads_is_an_error() {
        assert!(matches!(Team::new(0), Err(TeamError::NoThreads)));
    }
}
