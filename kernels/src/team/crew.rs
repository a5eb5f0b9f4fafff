//! The threads of a team between programs: who works on what, and who sleeps.
//!
//! Each thread stays inside one job of the pool for the team's life. Programs
//! wait in a queue; all threads work on the first until it is over.

use super::{bell::Bell, spin::Spin};
#[cfg(loom)]
use loom::sync::{Mutex, MutexGuard};
#[cfg(not(loom))]
use std::sync::{Mutex, MutexGuard};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long a thread sleeps that was preempted, so that the others get on
/// without it: long against a phase, short against what a user notices. Twice as
/// long if that comes soon after, up to [`NAPS`] times.
const NAP: Duration = Duration::from_micros(500);
const NAPS: u32 = 5;
/// What is not soon after.
const CALM: Duration = Duration::from_millis(50);

/// Programs that the queue has room for from the start; it grows beyond.
const QUEUE: usize = 8;

/// A program under way, as the crew sees it.
pub(super) trait Work: Send + Sync {
    /// Works on it in `seat`.
    fn serve(&self, seat: usize) -> Served;

    /// Whether it can go on where this thread left it; see [`Served::Left`].
    fn goes_on(&self, phase: u32) -> bool;

    /// Whether no further thread is to come.
    fn ended(&self) -> bool;

    /// Whether nobody has seat 0.
    fn seat_0_is_free(&self) -> bool;
}

/// Why a thread came back from work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    /// The program has ended.
    Ended,
    /// Another thread has seat 0.
    Refused,
    /// Others take long with this phase.
    Left {
        phase: u32,
        /// No, it was this thread that kept them waiting, and so long that it
        /// seems to have been preempted: something else wants its processor.
        late: bool,
    },
}

/// What a thread of the crew is to do.
enum Order {
    /// Works on the program of this number.
    Serve(u64, Arc<dyn Work>),
    /// Returns.
    Leave,
}

/// Where a thread has been: the program's number, and if it is to go there
/// again, the phase that it left.
#[derive(Clone, Copy)]
struct Visit {
    number: u64,
    left: Option<u32>,
}

pub(super) struct Crew {
    queue: Mutex<Queue>,
    /// For those who wait for work, a phase or an end.
    bell: Bell,
    /// For the thread that stands in for callers that do not wait.
    stand_in: Bell,
    /// Changes with the queue.
    changes: AtomicUsize,
}

struct Queue {
    programs: VecDeque<Entry>,
    /// Programs that there have been.
    number: u64,
    closed: bool,
}

struct Entry {
    number: u64,
    work: Arc<dyn Work>,
    /// Seat 0 is not kept for a caller.
    unattended: bool,
}

impl Crew {
    pub(super) fn new() -> Self {
        Self {
            queue: Mutex::new(Queue {
                programs: VecDeque::with_capacity(QUEUE),
                number: 0,
                closed: false,
            }),
            bell: Bell::new(),
            stand_in: Bell::new(),
            changes: AtomicUsize::new(0),
        }
    }

    /// Appends a program.
    pub(super) fn push(&self, work: Arc<dyn Work>) {
        let mut queue = self.lock();
        queue.number += 1;
        let number = queue.number;
        queue.programs.push_back(Entry {
            number,
            work,
            unattended: false,
        });
        drop(queue);
        self.changes.fetch_add(1, Ordering::Release);
        self.bell.ring(&self.queue);
    }

    /// Whether the first of the queue is `work`.
    pub(super) fn is_first(&self, work: *const ()) -> bool {
        let queue = self.lock();
        let first = queue.programs.front();
        first.is_some_and(|first| first.is(work))
    }

    /// Takes the first program off, which is over, and then says so by `over`.
    pub(super) fn pop(&self, over: impl FnOnce()) {
        let mut queue = self.lock();
        let first = queue.programs.pop_front();
        let more = !queue.programs.is_empty() || queue.closed;
        drop(queue);
        drop(first);
        over();
        self.changes.fetch_add(1, Ordering::Release);
        self.bell.ring(&self.queue);
        if more {
            self.stand_in.ring(&self.queue);
        }
    }

    /// Wakes those who wait for a phase or an end.
    pub(super) fn ring(&self) {
        self.bell.ring(&self.queue);
    }

    /// Lets the stand-in take seat 0 of `work` and of all programs before it,
    /// whose caller does not wait.
    pub(super) fn leave_unattended(&self, work: *const ()) {
        let mut queue = self.lock();
        let Some(last) = queue.programs.iter().position(|entry| entry.is(work)) else {
            return;
        };
        for entry in queue.programs.iter_mut().take(last + 1) {
            entry.unattended = true;
        }
        drop(queue);
        self.bell.ring(&self.queue);
        self.stand_in.ring(&self.queue);
    }

    /// Says that seat 0 of the first program is free again.
    pub(super) fn seat_0_left(&self) {
        if self.lock().programs.front().is_some_and(|e| e.unattended) {
            self.stand_in.ring(&self.queue);
        }
    }

    /// Parks a caller until `found` is true, but not beyond `deadline`.
    pub(super) fn park(&self, deadline: Option<Instant>, found: impl Fn() -> bool) -> bool {
        let look = |_: &mut Queue| found().then_some(());
        self.bell.park(&self.queue, deadline, look).is_some()
    }

    /// Lets the threads return once the queue is empty.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.bell.ring(&self.queue);
        self.stand_in.ring(&self.queue);
    }

    /// What thread `seat` of the crew does, until the crew is closed.
    pub(super) fn work(&self, seat: usize) {
        let mut last = Visit {
            number: 0,
            left: None,
        };
        let mut naps = Naps::default();
        loop {
            match self.next(seat, last) {
                Order::Leave => return,
                Order::Serve(number, work) => {
                    let served = work.serve(seat);
                    // It may be over, and its owner waits to have it back.
                    drop(work);
                    let left = match served {
                        Served::Ended => None,
                        Served::Left { phase, late } => {
                            if late {
                                naps.take();
                            }
                            Some(phase)
                        }
                        Served::Refused => continue,
                    };
                    last = Visit { number, left };
                }
            }
        }
    }

    /// Waits for something to do.
    fn next(&self, seat: usize, last: Visit) -> Order {
        let mut changes = self.changes.load(Ordering::Acquire);
        if let Some(order) = self.lock().order(seat, last) {
            return order;
        }
        // The next program comes soon where tokens follow each other. Who left
        // a phase has waited already, and the stand-in is seldom needed.
        if seat > 0 && last.left.is_none() {
            let mut spin = Spin::new();
            while spin.turn() {
                let now = self.changes.load(Ordering::Acquire);
                if now != changes {
                    changes = now;
                    if let Some(order) = self.lock().order(seat, last) {
                        return order;
                    }
                }
            }
        }
        let bell = match (seat, last.left) {
            (0, None) => &self.stand_in,
            _ => &self.bell,
        };
        let order = bell.park(&self.queue, None, |queue| queue.order(seat, last));
        // Without a deadline `park` ends with an order only.
        order.unwrap_or(Order::Leave)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing inside the lock can panic half-way through a change.
        self.queue.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// The naps that a thread took.
#[derive(Default)]
struct Naps {
    doublings: u32,
    last: Option<Instant>,
}

impl Naps {
    fn take(&mut self) {
        self.doublings = match self.last {
            Some(last) if last.elapsed() < CALM => NAPS.min(self.doublings + 1),
            _ => 0,
        };
        thread::sleep(NAP * (1 << self.doublings));
        self.last = Some(Instant::now());
    }
}

impl Entry {
    fn is(&self, work: *const ()) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.work), work)
    }
}

impl Queue {
    fn order(&self, seat: usize, last: Visit) -> Option<Order> {
        let Some(first) = self.programs.front() else {
            return self.closed.then_some(Order::Leave);
        };
        let work = &first.work;
        let wanted =
            first.number != last.number || last.left.is_some_and(|phase| work.goes_on(phase));
        let free = seat > 0 || (work.seat_0_is_free() && (first.unattended || self.closed));
        (wanted && free && !work.ended()).then(|| Order::Serve(first.number, work.clone()))
    }
}
