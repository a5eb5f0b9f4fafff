//! Running a program on all threads of a team.

use super::{
    barrier::Barrier,
    crew::{Crew, Served, Work},
    member::{Halt, Member},
    spin::Spin,
};
use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// What every thread of a team executes.
///
/// A program is a sequence of phases: [`Member::chunks`], then
/// [`Member::barrier`]. All threads go through the same phases in the same
/// order, but not all through each of them at the same time: one that is late
/// gets no items of a phase that is over. So a program touches what it shares
/// only while it holds items, and decides what comes next by things that do not
/// change while it runs.
pub trait Program: Send + Sync + 'static {
    /// Runs the part of `member`, which returns as soon as a barrier says
    /// [`Halt`]. A thread that halts may be asked again, and then gets the
    /// items of phases that are still open.
    ///
    /// The program has ended when one thread returns without an error; others
    /// then finish the items that they hold.
    fn run(&self, member: &Member<'_>) -> Result<(), Halt>;
}

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

struct State<P> {
    program: Option<Arc<P>>,
    /// Threads that work on the program.
    inside: usize,
    panicked: bool,
    cancelled: bool,
}

impl<P> State<P> {
    fn new(program: Option<Arc<P>>) -> Self {
        Self {
            program,
            inside: 0,
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
    crew: Arc<Crew>,
    barrier: Barrier,
    cancel: AtomicBool,
    /// Who ends the phase has kept the others waiting.
    stalled: AtomicBool,
    /// No further thread is to come.
    ended: AtomicBool,
    /// No thread is inside any more either.
    over: AtomicBool,
    /// A thread inside has seat 0.
    seat_0_taken: AtomicBool,
    state: Mutex<State<P>>,
}

impl<P: Program> Run<P> {
    pub(super) fn new(threads: usize, crew: Arc<Crew>) -> Self {
        Self {
            threads,
            crew,
            barrier: Barrier::new(),
            cancel: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            ended: AtomicBool::new(true),
            over: AtomicBool::new(true),
            seat_0_taken: AtomicBool::new(false),
            state: Mutex::new(State::new(None)),
        }
    }

    pub(super) fn belongs_to(&self, crew: &Arc<Crew>) -> bool {
        Arc::ptr_eq(&self.crew, crew)
    }

    /// Takes in the next program.
    pub(super) fn begin(&self, program: Arc<P>) {
        let mut state = self.lock();
        assert!(self.is_over(), "a run is started again after its end");
        *state = State::new(Some(program));
        self.barrier.reset();
        self.cancel.store(false, Ordering::Relaxed);
        self.stalled.store(false, Ordering::Relaxed);
        self.ended.store(false, Ordering::Release);
        self.over.store(false, Ordering::Release);
    }

    /// Asks the program to end at its next barrier.
    pub fn cancel(&self) {
        self.cancel.store(true, Ordering::Relaxed);
    }

    /// How the run ended; `None` while it is under way.
    pub fn poll(&self) -> Option<Result<(), RunError>> {
        if self.is_over() {
            return Some(self.lock().outcome());
        }
        self.crew.leave_unattended(self.place());
        None
    }

    /// Waits for the end of the run. The calling thread works on it as one of
    /// the team's, if no program is before it.
    pub fn wait(&self) -> Result<(), RunError> {
        self.attend(None);
        self.lock().outcome()
    }

    /// Waits for the end of the run as [`wait`](Self::wait) does, but for not
    /// much longer than `at_most`.
    pub fn wait_at_most(&self, at_most: Duration) -> Option<Result<(), RunError>> {
        let deadline = Instant::now().checked_add(at_most);
        self.attend(deadline).then(|| self.lock().outcome())
    }

    /// Works on the run until it is over; false if the deadline came first.
    fn attend(&self, deadline: Option<Instant>) -> bool {
        while !self.is_over() {
            if !self.crew.is_first(self.place()) {
                self.crew.leave_unattended(self.place());
                return self.crew.park(deadline, || self.is_over());
            }
            let left = match self.serve_until(0, deadline) {
                Served::Left { phase, .. } => Some(phase),
                Served::Ended | Served::Refused => {
                    let mut spin = Spin::new();
                    while !self.is_over() && spin.turn() {}
                    None
                }
            };
            if self.is_over() {
                break;
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return false;
            }
            let found = self.crew.park(deadline, || {
                self.is_over() || left.is_some_and(|phase| self.goes_on(phase))
            });
            if !found {
                return false;
            }
        }
        true
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// What the crew knows this run by.
    fn place(&self) -> *const () {
        (&raw const *self).cast()
    }

    fn lock(&self) -> MutexGuard<'_, State<P>> {
        // Nothing inside the lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The program, for a thread that takes `seat`.
    fn enter(&self, seat: usize) -> Result<Arc<P>, Served> {
        let mut state = self.lock();
        if self.ended.load(Ordering::Relaxed) {
            return Err(Served::Ended);
        }
        if seat == 0 && self.seat_0_taken.swap(true, Ordering::Relaxed) {
            return Err(Served::Refused);
        }
        state.inside += 1;
        state.program.clone().ok_or(Served::Ended)
    }

    fn serve_until(&self, seat: usize, deadline: Option<Instant>) -> Served {
        let program = match self.enter(seat) {
            Ok(program) => program,
            Err(served) => return served,
        };
        let member = Member {
            index: seat,
            threads: self.threads,
            barrier: &self.barrier,
            cancel: &self.cancel,
            stalled: &self.stalled,
            crew: &self.crew,
            deadline,
            phase: Cell::new(0),
            items: Cell::new(0),
            taken: Cell::new(0),
            ranges: Cell::new(0),
            entered: Instant::now(),
            left: Cell::new(None),
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| program.run(&member)));
        drop(program);
        let panicked = outcome.is_err();
        if panicked {
            self.barrier.poison();
        }
        let left = member.left.get().filter(|_| !panicked);
        let mut state = self.lock();
        state.panicked |= panicked;
        state.cancelled |= matches!(outcome, Ok(Err(Halt))) && left.is_none();
        state.inside -= 1;
        if seat == 0 {
            self.seat_0_taken.store(false, Ordering::Relaxed);
        }
        if left.is_none() {
            self.ended.store(true, Ordering::Release);
        }
        let over = state.inside == 0 && self.ended.load(Ordering::Relaxed);
        if over {
            state.program = None;
        }
        drop(state);
        if over {
            // Off the queue first: who sees the end may start the run again.
            self.crew.pop(|| self.over.store(true, Ordering::Release));
        } else if left.is_none() {
            // Those who wait for a phase need not any more.
            self.crew.ring();
        }
        let Some(late) = left else {
            return Served::Ended;
        };
        if seat == 0 {
            self.crew.seat_0_left();
        }
        let phase = member.phase.get();
        Served::Left { phase, late }
    }
}

impl<P: Program> Work for Run<P> {
    fn serve(&self, seat: usize) -> Served {
        self.serve_until(seat, None)
    }

    fn goes_on(&self, phase: u32) -> bool {
        self.barrier.over(phase)
    }

    fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn seat_0_is_free(&self) -> bool {
        !self.seat_0_taken.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::team::{SharedBuffer, Team, TeamError};
    use std::{sync::atomic::AtomicUsize, thread};

    struct Count {
        taken: SharedBuffer<u32>,
        phases: usize,
        panic_in: Option<usize>,
    }

    impl Program for Count {
        fn run(&self, member: &Member<'_>) -> Result<(), Halt> {
            for phase in 0..self.phases {
                for range in member.chunks(self.taken.len(), 3) {
                    if self.panic_in == Some(phase) && range.contains(&70) {
                        panic!("on purpose");
                    }
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
        for threads in [1, 2, 4, 9] {
            let team = Team::new(threads).unwrap();
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
    }

    #[test]
    fn a_panic_ends_the_run_for_all_and_the_team_lives_on() {
        let team = Team::new(3).unwrap();
        let run = team.prepare();
        for _ in 0..20 {
            team.start(&run, count(10, Some(4)));
            assert_eq!(run.wait(), Err(RunError::Panicked));
            team.start(&run, count(10, None));
            assert_eq!(run.wait(), Ok(()));
        }
    }

    #[test]
    fn a_cancelled_run_ends_early() {
        for threads in [1, 2] {
            let team = Team::new(threads).unwrap();
            let run = team.prepare();
            team.start(&run, count(usize::MAX, None));
            assert_eq!(run.poll(), None);
            assert_eq!(run.wait_at_most(Duration::from_millis(1)), None);
            run.cancel();
            assert_eq!(run.wait(), Err(RunError::Cancelled));
            assert_eq!(run.poll(), Some(Err(RunError::Cancelled)));
        }
    }

    #[test]
    fn a_run_that_nobody_waits_for_goes_on() {
        for threads in [1, 3] {
            let team = Team::new(threads).unwrap();
            let run = team.prepare();
            for waits in [false, true] {
                team.start(&run, count(1_000, None));
                if waits {
                    // The seat of a caller who gives up is taken by another.
                    run.wait_at_most(Duration::ZERO);
                }
                while run.poll().is_none() {
                    thread::yield_now();
                }
                assert_eq!(run.poll(), Some(Ok(())));
            }
        }
    }

    #[test]
    fn two_runs_on_one_team_do_not_mix() {
        for threads in [1, 3] {
            let team = Team::new(threads).unwrap();
            let (a, b) = (team.prepare(), team.prepare());
            for _ in 0..50 {
                team.start(&a, count(20, None));
                team.start(&b, count(20, None));
                assert_eq!(b.wait(), Ok(()));
                assert_eq!(a.wait(), Ok(()));
            }
        }
    }

    /// A program whose first phase takes so long that the others leave, and
    /// whose second needs them all.
    struct Long {
        met: AtomicUsize,
    }

    impl Program for Long {
        fn run(&self, member: &Member<'_>) -> Result<(), Halt> {
            for _ in member.chunks(1, 1) {
                thread::sleep(Duration::from_millis(5));
            }
            member.barrier()?;
            for _ in member.chunks(member.threads(), 1) {
                self.met.fetch_add(1, Ordering::Relaxed);
                while self.met.load(Ordering::Relaxed) < member.threads() {
                    thread::yield_now();
                }
            }
            member.barrier()
        }
    }

    #[test]
    fn threads_that_left_a_long_phase_come_back() {
        let team = Team::new(4).unwrap();
        let run = team.prepare();
        for _ in 0..10 {
            let met = AtomicUsize::new(0);
            team.start(&run, Arc::new(Long { met }));
            assert_eq!(run.wait(), Ok(()));
        }
    }

    #[test]
    fn a_team_that_is_dropped_finishes_what_was_started() {
        for threads in [1, 2] {
            let team = Team::new(threads).unwrap();
            let (a, b) = (team.prepare(), team.prepare());
            team.start(&a, count(100, None));
            team.start(&b, count(100, None));
            drop(team);
            while b.poll().is_none() {
                thread::yield_now();
            }
            assert_eq!((a.wait(), b.wait()), (Ok(()), Ok(())));
        }
    }

    #[test]
    fn no_threads_is_an_error() {
        assert!(matches!(Team::new(0), Err(TeamError::NoThreads)));
    }
}
