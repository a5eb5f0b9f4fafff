//! A barrier that spins a bounded time and then parks.
//!
//! Invariants:
//! 1. `arrived` counts the threads inside the current episode; only the last
//!    to arrive resets it, and it does so before it releases the others.
//! 2. `episode` changes exactly once per episode, after everything the leader
//!    does for the next one; a thread that saw the change sees all of that.
//! 3. A thread parks only under `lock`, having announced itself in `parked`
//!    and read `episode` again; the leader changes `episode` before it reads
//!    `parked`. Both have a sequentially consistent fence in between, so either
//!    the leader sees the parked thread or that thread sees the new episode.
//!    (Fences and not orderings, because those are what loom can check.)
//! 4. Once `poisoned`, no thread waits: all that are inside leave, and all
//!    that come return at once, until `reset`.

#[cfg(loom)]
use loom::{
    hint::spin_loop,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering, fence},
    },
};
#[cfg(not(loom))]
use std::{
    hint::spin_loop,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering, fence},
    },
};

/// Spins before a thread parks. At 3 GHz about 20 us: longer than any phase's
/// unevenness on idle cores, shorter than a scheduler's time slice, so that an
/// oversubscribed machine gets its core back.
const SPINS: u32 = if cfg!(loom) { 1 } else { 4_000 };

/// Keeps a word on a cache line of its own; two lines, because x86 prefetches
/// lines in pairs.
#[repr(align(128))]
struct Padded<T>(T);

/// What a thread learns when it leaves the barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passage {
    /// All threads arrived.
    Open,
    /// The barrier was poisoned: some thread will never arrive.
    Poisoned,
}

pub(super) struct Barrier {
    threads: usize,
    arrived: Padded<AtomicUsize>,
    episode: Padded<AtomicUsize>,
    parked: AtomicUsize,
    poisoned: AtomicBool,
    lock: Mutex<()>,
    wake: Condvar,
}

impl Barrier {
    pub(super) fn new(threads: usize) -> Self {
        Self {
            threads,
            arrived: Padded(AtomicUsize::new(0)),
            episode: Padded(AtomicUsize::new(0)),
            parked: AtomicUsize::new(0),
            poisoned: AtomicBool::new(false),
            lock: Mutex::new(()),
            wake: Condvar::new(),
        }
    }

    /// Makes a barrier that was poisoned usable again. No thread may be inside.
    pub(super) fn reset(&self) {
        self.arrived.0.store(0, Ordering::Relaxed);
        self.poisoned.store(false, Ordering::Release);
    }

    /// Waits until all threads have arrived. The last of them runs `leader`
    /// before any is released.
    pub(super) fn wait(&self, leader: impl FnOnce()) -> Passage {
        if self.poisoned.load(Ordering::Acquire) {
            return Passage::Poisoned;
        }
        let episode = self.episode.0.load(Ordering::Acquire);
        if self.arrived.0.fetch_add(1, Ordering::AcqRel) + 1 == self.threads {
            self.arrived.0.store(0, Ordering::Relaxed);
            leader();
            self.episode
                .0
                .store(episode.wrapping_add(1), Ordering::Release);
            self.wake_parked();
            return Passage::Open;
        }
        for _ in 0..SPINS {
            if self.episode.0.load(Ordering::Acquire) != episode {
                return Passage::Open;
            }
            if self.poisoned.load(Ordering::Relaxed) {
                return Passage::Poisoned;
            }
            spin_loop();
        }
        self.park(episode)
    }

    /// Lets all waiting threads go, and all that come later. A thread that
    /// will not arrive (it panics) calls this.
    pub(super) fn poison(&self) {
        self.poisoned.store(true, Ordering::Release);
        self.wake_parked();
    }

    fn wake_parked(&self) {
        fence(Ordering::SeqCst);
        if self.parked.load(Ordering::Relaxed) > 0 {
            // Taking the lock orders this after the parked thread's last look
            // at `episode` and before it sleeps, or after it sleeps.
            drop(self.lock.lock().unwrap_or_else(|e| e.into_inner()));
            self.wake.notify_all();
        }
    }

    fn park(&self, episode: usize) -> Passage {
        let mut guard = self.lock.lock().unwrap_or_else(|e| e.into_inner());
        self.parked.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let passage = loop {
            if self.episode.0.load(Ordering::Acquire) != episode {
                break Passage::Open;
            }
            if self.poisoned.load(Ordering::Acquire) {
                break Passage::Poisoned;
            }
            guard = self.wake.wait(guard).unwrap_or_else(|e| e.into_inner());
        };
        self.parked.fetch_sub(1, Ordering::Relaxed);
        passage
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn phases_never_overlap() {
        const THREADS: usize = 4;
        const PHASES: usize = 2_000;
        let barrier = Arc::new(Barrier::new(THREADS));
        let sum = Arc::new(AtomicUsize::new(0));
        let workers: Vec<_> = (0..THREADS)
            .map(|_| {
                let (barrier, sum) = (barrier.clone(), sum.clone());
                std::thread::spawn(move || {
                    for phase in 1..=PHASES {
                        sum.fetch_add(1, Ordering::Relaxed);
                        assert_eq!(barrier.wait(|| ()), Passage::Open);
                        assert_eq!(sum.load(Ordering::Relaxed), phase * THREADS);
                        assert_eq!(barrier.wait(|| ()), Passage::Open);
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
    }

    #[test]
    fn a_parked_thread_is_woken() {
        let barrier = Arc::new(Barrier::new(2));
        let waiter = {
            let barrier = barrier.clone();
            std::thread::spawn(move || barrier.wait(|| ()))
        };
        while barrier.parked.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        assert_eq!(barrier.wait(|| ()), Passage::Open);
        assert_eq!(waiter.join().unwrap(), Passage::Open);
    }

    #[test]
    fn poison_releases_spinning_parked_and_late_threads() {
        let barrier = Arc::new(Barrier::new(3));
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let barrier = barrier.clone();
                std::thread::spawn(move || barrier.wait(|| ()))
            })
            .collect();
        barrier.poison();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Passage::Poisoned);
        }
        assert_eq!(barrier.wait(|| ()), Passage::Poisoned);
        barrier.reset();
        assert!(!barrier.poisoned.load(Ordering::SeqCst));
    }
}

/// Run with `RUSTFLAGS="--cfg loom" cargo test -p outrigger-kernels --release loom`.
#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::{cell::UnsafeCell, sync::Arc, thread};

    #[test]
    fn loom_what_was_written_before_is_seen_after() {
        loom::model(|| {
            let barrier = Arc::new(Barrier::new(2));
            let cell = Arc::new(UnsafeCell::new(0));
            let other = {
                let (barrier, cell) = (barrier.clone(), cell.clone());
                thread::spawn(move || {
                    // SAFETY: only this thread touches the cell before the barrier.
                    cell.with_mut(|p| unsafe { *p = 7 });
                    assert_eq!(barrier.wait(|| ()), Passage::Open);
                })
            };
            assert_eq!(barrier.wait(|| ()), Passage::Open);
            // SAFETY: the writer passed the barrier too and writes no more.
            assert_eq!(cell.with(|p| unsafe { *p }), 7);
            other.join().unwrap();
        });
    }

    #[test]
    fn loom_poison_is_never_missed() {
        loom::model(|| {
            let barrier = Arc::new(Barrier::new(2));
            let waiter = {
                let barrier = barrier.clone();
                thread::spawn(move || assert_eq!(barrier.wait(|| ()), Passage::Poisoned))
            };
            barrier.poison();
            waiter.join().unwrap();
        });
    }
}
