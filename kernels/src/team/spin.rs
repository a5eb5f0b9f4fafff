//! Waiting a short time without giving the processor away.

#[cfg(loom)]
use loom::hint::spin_loop;
#[cfg(not(loom))]
use std::time::Duration;
#[cfg(not(loom))]
use std::{hint::spin_loop, time::Instant};

/// How long a thread spins: longer than the unevenness of most phases on idle
/// cores and than waking a thread takes (50 us and more in virtual machines),
/// much shorter than a scheduler's time slice, so that an oversubscribed machine
/// gets its core back.
#[cfg(not(loom))]
const TIME: Duration = Duration::from_micros(60);

/// Turns between looks at the clock. A turn takes 10 to 40 ns.
#[cfg(not(loom))]
const TURNS: u32 = 32;

/// A wait that is under way.
pub(super) struct Spin {
    #[cfg(not(loom))]
    turns: u32,
    #[cfg(not(loom))]
    end: Option<Instant>,
    #[cfg(loom)]
    turned: bool,
}

#[cfg(not(loom))]
impl Spin {
    pub(super) fn new() -> Self {
        Self {
            turns: 0,
            end: None,
        }
    }

    /// Waits a moment; false if the time is up.
    pub(super) fn turn(&mut self) -> bool {
        spin_loop();
        self.turns += 1;
        if !self.turns.is_multiple_of(TURNS) {
            return true;
        }
        let now = Instant::now();
        now < *self.end.get_or_insert(now + TIME)
    }
}

#[cfg(loom)]
impl Spin {
    pub(super) fn new() -> Self {
        Self { turned: false }
    }

    /// Waits a moment; false if the time is up.
    pub(super) fn turn(&mut self) -> bool {
        spin_loop();
        !std::mem::replace(&mut self.turned, true)
    }
}
