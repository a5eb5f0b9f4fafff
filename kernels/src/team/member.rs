//! What a program sees of the thread that runs it.

use super::{
    barrier::{Barrier, Grain, Passage},
    crew::Crew,
};
use std::{
    cell::Cell,
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// Said by a barrier when a thread is to leave the program: it was cancelled,
/// another thread panicked, or there is nothing for this one to do for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Halt;

/// Who waits for items of others for as long as one spins, having needed less
/// than this for its own, waits for a thread that does not run.
const ITEMS_SHORT: Duration = Duration::from_micros(10);

/// Phases between looks at the clock of a caller whose time is limited.
const PHASES_PER_LOOK: u32 = 4;

/// Into how many parts per thread what is left of a phase is divided, of which
/// a thread takes one: a core of a quarter of the speed does not hold up the
/// others with the first.
const GUIDED_PARTS: usize = 4;

/// One thread's place in a run.
pub struct Member<'a> {
    pub(super) index: usize,
    pub(super) threads: usize,
    pub(super) barrier: &'a Barrier,
    pub(super) cancel: &'a AtomicBool,
    pub(super) stalled: &'a AtomicBool,
    pub(super) crew: &'a Crew,
    pub(super) deadline: Option<Instant>,
    /// The phase that this thread is in.
    pub(super) phase: Cell<u32>,
    /// Items of that phase.
    pub(super) items: Cell<usize>,
    /// How many of them this thread took.
    pub(super) taken: Cell<usize>,
    /// Ranges of items that it took since it came.
    pub(super) ranges: Cell<u32>,
    pub(super) entered: Instant,
    /// Whether it leaves a program that goes on, and then whether because it
    /// was late; see [`Served::Left`](super::crew::Served::Left).
    pub(super) left: Cell<Option<bool>>,
}

impl Member<'_> {
    /// This thread's number, from 0; no other thread that is inside has it.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Number of threads in the run.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Ends a phase: what its items wrote is seen by all after. Waits until
    /// all are done, not until all threads are here.
    pub fn barrier(&self) -> Result<(), Halt> {
        let phase = self.phase.get();
        let (items, taken) = (self.items.take(), self.taken.take());
        // One thread decides for all, or some would go on to a phase that the
        // others never reach.
        let cancelled = || self.cancel.load(Ordering::Relaxed);
        let passage = self.barrier.pass(phase, taken, items, cancelled);
        match passage {
            Passage::Led => {
                self.crew.ring();
                if self.stalled.load(Ordering::Relaxed) {
                    self.stalled.store(false, Ordering::Relaxed);
                    if self.index > 0 {
                        self.phase.set(phase + 1);
                        self.left.set(Some(true));
                        return Err(Halt);
                    }
                }
            }
            Passage::Open => {}
            Passage::Halted | Passage::Poisoned => return Err(Halt),
            Passage::Long => {
                let ranges = if taken > 0 { self.ranges.get() } else { 0 };
                if self.entered.elapsed() < ITEMS_SHORT * ranges {
                    self.stalled.store(true, Ordering::Relaxed);
                }
                self.left.set(Some(false));
                return Err(Halt);
            }
        }
        self.phase.set(phase + 1);
        if let Some(deadline) = self.deadline
            && phase.is_multiple_of(PHASES_PER_LOOK)
            && Instant::now() >= deadline
        {
            self.left.set(Some(false));
            return Err(Halt);
        }
        Ok(())
    }

    /// Takes ranges of up to `grain` of the `items` of this phase until none
    /// is left; the threads share them by who comes first, so that slow cores
    /// take fewer. At most one call between two barriers. What was taken has to
    /// be done before the barrier.
    pub fn chunks(&self, items: usize, grain: usize) -> Chunks<'_> {
        self.share(items, Grain::Fixed(grain.max(1)))
    }

    /// As [`chunks`](Self::chunks), in multiples of `least`, large ones first
    /// and small ones at the end, as OpenMP's guided schedule has them: few
    /// are taken, and the threads end together all the same.
    pub fn guided(&self, items: usize, least: usize) -> Chunks<'_> {
        let (least, parts) = (least.max(1), GUIDED_PARTS * self.threads);
        self.share(items, Grain::Guided { least, parts })
    }

    fn share(&self, items: usize, grain: Grain) -> Chunks<'_> {
        debug_assert_eq!(self.items.get(), 0, "one call between two barriers");
        self.items.set(items);
        Chunks {
            barrier: self.barrier,
            phase: self.phase.get(),
            taken: &self.taken,
            ranges: &self.ranges,
            items,
            grain,
        }
    }
}

/// The ranges of items that fall to one thread; see [`Member::chunks`] and
/// [`Member::guided`].
pub struct Chunks<'a> {
    barrier: &'a Barrier,
    phase: u32,
    taken: &'a Cell<usize>,
    ranges: &'a Cell<u32>,
    items: usize,
    grain: Grain,
}

impl Iterator for Chunks<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let range = self.barrier.take(self.phase, self.items, self.grain)?;
        self.taken.set(self.taken.get() + range.len());
        self.ranges.set(self.ranges.get().saturating_add(1));
        Some(range)
    }
}
