//! Parking until something changes that is changed without a lock.
//!
//! Invariant: a thread parks only under the lock, having announced itself in
//! `parked` and looked again; who changes something does so before it reads
//! `parked` in [`ring`](Bell::ring). Both have a sequentially consistent fence
//! in between, so either the ringer sees the parked thread or that thread sees
//! the change. (Fences and not orderings, because those are what loom can
//! check.)

#[cfg(loom)]
use loom::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering, fence},
};
#[cfg(not(loom))]
use std::sync::{
    Condvar, Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering, fence},
};
use std::time::Instant;

/// What parked threads are woken by. They look at things under a lock, which
/// several bells may share.
pub(super) struct Bell {
    parked: AtomicUsize,
    wake: Condvar,
}

impl Bell {
    pub(super) fn new() -> Self {
        Self {
            parked: AtomicUsize::new(0),
            wake: Condvar::new(),
        }
    }

    /// Makes all parked threads look again.
    pub(super) fn ring<T>(&self, lock: &Mutex<T>) {
        fence(Ordering::SeqCst);
        if self.parked.load(Ordering::Relaxed) > 0 {
            // Taking the lock orders this after the parked thread's last look
            // and before it sleeps, or after it sleeps.
            drop(lock.lock().unwrap_or_else(|e| e.into_inner()));
            self.wake.notify_all();
        }
    }

    /// Parks until `look` finds something, but not beyond `deadline`.
    pub(super) fn park<T, R>(
        &self,
        lock: &Mutex<T>,
        deadline: Option<Instant>,
        mut look: impl FnMut(&mut T) -> Option<R>,
    ) -> Option<R> {
        let mut guard = lock.lock().unwrap_or_else(|e| e.into_inner());
        self.parked.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let found = loop {
            if let Some(found) = look(&mut guard) {
                break Some(found);
            }
            guard = match deadline {
                None => self.wake.wait(guard).unwrap_or_else(|e| e.into_inner()),
                Some(deadline) => match self.sleep(guard, deadline) {
                    Some(guard) => guard,
                    None => break None,
                },
            };
        };
        self.parked.fetch_sub(1, Ordering::Relaxed);
        found
    }

    /// Sleeps until rung; `None` if the deadline has passed before.
    fn sleep<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Instant,
    ) -> Option<MutexGuard<'a, T>> {
        let left = deadline.checked_duration_since(Instant::now())?;
        let (guard, _) = self
            .wake
            .wait_timeout(guard, left)
            .unwrap_or_else(|e| e.into_inner());
        Some(guard)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::{sync::Arc, time::Duration};

    #[test]
    fn a_parked_thread_is_woken_and_a_deadline_ends_the_wait() {
        let shared = Arc::new((Bell::new(), Mutex::new(()), AtomicUsize::new(0)));
        let waiter = {
            let shared = shared.clone();
            std::thread::spawn(move || {
                let (bell, lock, value) = &*shared;
                bell.park(lock, None, |()| match value.load(Ordering::Relaxed) {
                    0 => None,
                    value => Some(value),
                })
            })
        };
        let (bell, lock, value) = &*shared;
        while bell.parked.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        value.store(7, Ordering::Relaxed);
        bell.ring(lock);
        assert_eq!(waiter.join().unwrap(), Some(7));
        let soon = Instant::now() + Duration::from_millis(1);
        assert_eq!(bell.park(lock, Some(soon), |()| None::<()>), None);
    }
}

/// Run with `RUSTFLAGS="--cfg loom" cargo test -p outrigger-kernels --release loom`.
#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::{sync::Arc, thread};

    #[test]
    fn loom_a_change_is_never_slept_through() {
        loom::model(|| {
            let shared = Arc::new((Bell::new(), Mutex::new(()), AtomicUsize::new(0)));
            let waiter = {
                let shared = shared.clone();
                thread::spawn(move || {
                    let (bell, lock, value) = &*shared;
                    bell.park(lock, None, |()| {
                        (value.load(Ordering::Relaxed) == 1).then_some(())
                    })
                })
            };
            let (bell, lock, value) = &*shared;
            value.store(1, Ordering::Relaxed);
            bell.ring(lock);
            assert_eq!(waiter.join().unwrap(), Some(()));
        });
    }
}
