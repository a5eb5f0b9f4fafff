//! The team: a fixed set of threads.

use super::{
    crew::Crew,
    run::{Program, Run},
};
use std::sync::Arc;

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
///
/// A thread that [waits](Run::wait) for a program works on it as one of them,
/// so that a pass of one thread needs no other, and a thread of the team's own
/// sleeps meanwhile.
pub struct Team {
    crew: Arc<Crew>,
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
        let crew = Arc::new(Crew::new());
        let own = crew.clone();
        pool.spawn_broadcast(move |context| own.work(context.index()));
        Ok(Self { crew, pool })
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// A place for runs of programs of type `P`, to be used again and again.
    pub fn prepare<P: Program>(&self) -> Arc<Run<P>> {
        Arc::new(Run::new(self.threads(), self.crew.clone()))
    }

    /// Starts `program` on all threads and returns at once. Programs of
    /// several runs execute in the order of their starts.
    ///
    /// When [`Run::wait`] or [`Run::poll`] reports the end, the team holds no
    /// clone of `program` any more.
    ///
    /// # Panics
    /// If `run` was prepared by another team or is still running.
    pub fn start<P: Program>(&self, run: &Arc<Run<P>>, program: Arc<P>) {
        assert!(run.belongs_to(&self.crew), "a run belongs to its team");
        run.begin(program);
        self.crew.push(run.clone());
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.crew.close();
    }
}
