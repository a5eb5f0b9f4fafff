//! A barrier that waits for the work of a phase, not for the threads.
//!
//! A phase ends when all its items are done. A thread that was preempted, or
//! never came, holds nobody up unless it is in the middle of items that it
//! took; when it comes it finds the phases that ended without it closed, runs
//! through them and joins in where the others are. On a machine with other
//! load that is the difference between losing one thread's share and losing a
//! time slice at every barrier.
//!
//! Invariants:
//! 1. `claim` holds the number of the phase and the first item that nobody has
//!    taken. Items are taken by exchanging the whole word, so a late thread
//!    never takes from a phase that is not its own.
//! 2. `done` counts items of the phase that are done. A thread adds what it
//!    took once, with release; who brings the sum to the number of items leads:
//!    it alone sets `done` and `claim` for the next phase. Until then all items
//!    have been taken, so nobody else changes either.
//! 3. Who sees a phase in `claim` (with acquire) sees all that was done in the
//!    phases before: the leader acquired it through `done`.
//! 4. Shared data of a phase may be touched only by who holds items of it: they
//!    keep the phase open. A late thread holds none.
//! 5. `halted` is set before `claim`, by a leader, and so for everyone at the
//!    same phase. Once `poisoned`, no thread waits.

use super::spin::Spin;
#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::ops::Range;
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Keeps a word on a cache line of its own; two lines, because x86 prefetches
/// lines in pairs.
#[repr(align(128))]
struct Padded<T>(T);

/// What a thread learns at the end of a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passage {
    /// The phase has ended, and this thread did the last of it.
    Led,
    /// The phase has ended.
    Open,
    /// The phase has ended, and the program ends with it.
    Halted,
    /// The phase will never end: some thread panicked in it.
    Poisoned,
    /// The phase goes on for longer than is worth spinning.
    Long,
}

/// How many items are taken at a time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Grain {
    Fixed(usize),
    /// The `parts`th part of what is left, in multiples of `least`.
    Guided {
        least: usize,
        parts: usize,
    },
}

impl Grain {
    fn of(self, left: usize) -> usize {
        match self {
            Self::Fixed(items) => items,
            Self::Guided { least, parts } => (left / parts / least * least).max(least),
        }
    }
}

pub(super) struct Barrier {
    claim: Padded<AtomicU64>,
    done: Padded<AtomicUsize>,
    halted: AtomicBool,
    poisoned: AtomicBool,
}

impl Barrier {
    pub(super) fn new() -> Self {
        Self {
            claim: Padded(AtomicU64::new(0)),
            done: Padded(AtomicUsize::new(0)),
            halted: AtomicBool::new(false),
            poisoned: AtomicBool::new(false),
        }
    }

    /// Back to the first phase. No thread may be inside.
    pub(super) fn reset(&self) {
        self.claim.0.store(0, Ordering::Relaxed);
        self.done.0.store(0, Ordering::Relaxed);
        self.halted.store(false, Ordering::Relaxed);
        self.poisoned.store(false, Ordering::Release);
    }

    /// Whether `phase` is over, or nobody waits for it any more.
    pub(super) fn over(&self, phase: u32) -> bool {
        unpack(self.claim.0.load(Ordering::Acquire)).0 != phase
            || self.poisoned.load(Ordering::Acquire)
    }

    /// Takes some of the `items` of `phase`; `None` if none is left.
    pub(super) fn take(&self, phase: u32, items: usize, grain: Grain) -> Option<Range<usize>> {
        let mut word = self.claim.0.load(Ordering::Acquire);
        loop {
            let (current, start) = unpack(word);
            let start = start as usize;
            if current != phase || start >= items {
                return None;
            }
            let end = items.min(start.saturating_add(grain.of(items - start)));
            match self.claim.0.compare_exchange_weak(
                word,
                pack(phase, end),
                Ordering::Acquire,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(start..end),
                Err(found) => word = found,
            }
        }
    }

    /// Says that `taken` of the `items` of `phase` are done, and waits a short
    /// time for the rest. The thread that did the last calls `cancelled`, and
    /// halts the program if that says so.
    pub(super) fn pass(
        &self,
        phase: u32,
        taken: usize,
        items: usize,
        cancelled: impl FnOnce() -> bool,
    ) -> Passage {
        // A phase without items is one of a single item with nothing to do.
        let last = match items {
            0 => self.take(phase, 1, Grain::Fixed(1)).is_some(),
            _ => taken > 0 && self.done.0.fetch_add(taken, Ordering::AcqRel) + taken == items,
        };
        if last {
            let halted = cancelled();
            self.halted.store(halted, Ordering::Relaxed);
            self.done.0.store(0, Ordering::Relaxed);
            let next = pack(phase.wrapping_add(1), 0);
            self.claim.0.store(next, Ordering::Release);
            return if halted {
                Passage::Halted
            } else {
                Passage::Led
            };
        }
        let mut spin = Spin::new();
        loop {
            if unpack(self.claim.0.load(Ordering::Acquire)).0 != phase {
                break;
            }
            if self.poisoned.load(Ordering::Relaxed) {
                return Passage::Poisoned;
            }
            if !spin.turn() {
                return Passage::Long;
            }
        }
        if self.halted.load(Ordering::Relaxed) {
            return Passage::Halted;
        }
        Passage::Open
    }

    /// Ends all waiting. A thread that will not finish what it took (it
    /// panics) calls this.
    pub(super) fn poison(&self) {
        self.poisoned.store(true, Ordering::Release);
    }
}

/// # Panics
/// If an item's number does not fit 32 bits: no phase has that many.
fn pack(phase: u32, item: usize) -> u64 {
    let item = u32::try_from(item).expect("a phase has fewer than 2^32 items");
    u64::from(phase) << 32 | u64::from(item)
}

fn unpack(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn never() -> bool {
        false
    }

    #[test]
    fn a_phase_ends_without_threads_that_never_came() {
        let barrier = Barrier::new();
        for phase in 0..3 {
            assert_eq!(barrier.take(phase, 5, Grain::Fixed(3)), Some(0..3));
            assert_eq!(barrier.take(phase, 5, Grain::Fixed(3)), Some(3..5));
            assert_eq!(barrier.take(phase, 5, Grain::Fixed(3)), None);
            assert_eq!(barrier.pass(phase, 5, 5, never), Passage::Led);
        }
        // A late thread runs through, and joins in.
        for phase in 0..3 {
            assert_eq!(barrier.take(phase, 5, Grain::Fixed(3)), None);
            assert_eq!(barrier.pass(phase, 0, 5, never), Passage::Open);
        }
        assert_eq!(barrier.take(3, 1, Grain::Fixed(1)), Some(0..1));
    }

    #[test]
    fn a_phase_waits_for_what_was_taken() {
        let barrier = Barrier::new();
        assert_eq!(barrier.take(0, 2, Grain::Fixed(1)), Some(0..1));
        assert_eq!(barrier.take(0, 2, Grain::Fixed(1)), Some(1..2));
        assert_eq!(barrier.pass(0, 1, 2, never), Passage::Long);
        assert!(!barrier.over(0));
        assert_eq!(barrier.pass(0, 1, 2, never), Passage::Led);
        assert!(barrier.over(0));
    }

    #[test]
    fn a_phase_of_no_items_ends_once() {
        let barrier = Barrier::new();
        assert_eq!(barrier.take(0, 0, Grain::Fixed(1)), None);
        assert_eq!(barrier.pass(0, 0, 0, never), Passage::Led);
        assert_eq!(barrier.pass(0, 0, 0, never), Passage::Open);
    }

    #[test]
    fn a_cancelled_program_halts_everyone_at_one_phase() {
        let barrier = Barrier::new();
        assert_eq!(barrier.take(0, 1, Grain::Fixed(1)), Some(0..1));
        assert_eq!(barrier.pass(0, 1, 1, || true), Passage::Halted);
        assert_eq!(barrier.pass(0, 0, 1, never), Passage::Halted);
    }

    #[test]
    fn poison_ends_the_wait() {
        let barrier = Barrier::new();
        assert_eq!(barrier.take(0, 1, Grain::Fixed(1)), Some(0..1));
        barrier.poison();
        assert_eq!(barrier.pass(0, 0, 1, never), Passage::Poisoned);
        assert!(barrier.over(0));
        barrier.reset();
        assert!(!barrier.over(0));
    }
}

/// Run with `RUSTFLAGS="--cfg loom" cargo test -p outrigger-kernels --release loom`.
#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::{cell::UnsafeCell, sync::Arc, thread};

    /// Two phases: each item of the first writes a cell, the item of the second
    /// reads both and writes.
    struct Shared {
        barrier: Barrier,
        cells: [UnsafeCell<u32>; 2],
    }

    /// What a member of the team does; `None` if it gave up waiting.
    fn member(shared: &Shared) -> Option<()> {
        let Shared { barrier, cells } = shared;
        let mut taken = 0;
        while let Some(items) = barrier.take(0, 2, Grain::Fixed(1)) {
            // SAFETY: `take` gave the item to this thread alone.
            cells[items.start].with_mut(|p| unsafe { *p += 1 });
            taken += 1;
        }
        pass(barrier, 0, taken, 2)?;
        if barrier.take(1, 1, Grain::Fixed(1)).is_some() {
            // SAFETY: the item is this thread's, and keeps the phase open; the
            // phase before, which wrote the cells, is over.
            let values = cells.each_ref().map(|c| c.with(|p| unsafe { *p }));
            assert_eq!(values, [1, 1]);
            // SAFETY: as above.
            cells[0].with_mut(|p| unsafe { *p = 9 });
        }
        Some(())
    }

    fn pass(barrier: &Barrier, phase: u32, taken: usize, items: usize) -> Option<()> {
        match barrier.pass(phase, taken, items, || false) {
            Passage::Led | Passage::Open => Some(()),
            Passage::Long => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn loom_what_was_done_before_is_seen_after_and_done_once() {
        let mut model = loom::model::Builder::new();
        // More would take hours; what goes wrong does so with few.
        model.preemption_bound = Some(3);
        model.check(|| {
            let shared = Arc::new(Shared {
                barrier: Barrier::new(),
                cells: [UnsafeCell::new(0), UnsafeCell::new(0)],
            });
            let other = {
                let shared = shared.clone();
                thread::spawn(move || member(&shared))
            };
            let mine = member(&shared);
            let theirs = other.join().unwrap();
            // Who gives up leaves; the other one ends the program.
            assert!(mine.is_some() || theirs.is_some());
        });
    }

    #[test]
    fn loom_poison_is_seen_by_who_waits() {
        loom::model(|| {
            let barrier = Arc::new(Barrier::new());
            assert_eq!(barrier.take(0, 1, Grain::Fixed(1)), Some(0..1));
            let waiter = {
                let barrier = barrier.clone();
                thread::spawn(move || match barrier.pass(0, 0, 1, || false) {
                    Passage::Long | Passage::Poisoned => {}
                    other => panic!("{other:?}"),
                })
            };
            barrier.poison();
            waiter.join().unwrap();
            assert!(barrier.over(0));
        });
    }
}
