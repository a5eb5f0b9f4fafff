use fastrand::Rng;
use std::time::Duration;
use tokio::time::Instant;

/// What datagrams meet on the way from one socket to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Path {
    /// How long every datagram takes.
    pub delay: Duration,
    /// The most by which one may take longer. It does not change their order.
    pub jitter: Duration,
    /// Bits a second, if limited.
    pub rate_bits_s: Option<u64>,
    /// Bytes that may wait for a limited rate; more are dropped.
    pub queue_bytes: u32,
    /// The share that is lost, 0 to 1.
    pub loss: f64,
    /// The share that arrives twice, 0 to 1.
    pub duplicate: f64,
    /// The share that is held back by another `delay`, behind later ones, 0
    /// to 1.
    pub reorder: f64,
    /// Whether everything is lost.
    pub cut: bool,
}

impl Default for Path {
    /// At once, and all of it.
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            rate_bits_s: None,
            queue_bytes: 256 << 10,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            cut: false,
        }
    }
}

impl Path {
    /// Half of a round trip each way.
    pub fn with_round_trip(rtt: Duration) -> Self {
        Self {
            delay: rtt / 2,
            ..Self::default()
        }
    }
}

/// A path's past, as far as it matters to its future: what is still on its
/// way out, and what arrived last. It has no clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wire {
    free_at: Instant,
    last_arrival: Instant,
    stalled_until: Instant,
}

/// What becomes of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carried {
    /// It arrives then, once or more.
    Arrives {
        /// When.
        at: Instant,
        /// How many times.
        copies: u8,
    },
    /// The path lost it.
    Lost,
    /// Too much waited already.
    Dropped,
}

impl Wire {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            free_at: now,
            last_arrival: now,
            stalled_until: now,
        }
    }

    /// Lets nothing arrive before a time.
    pub(super) fn stall(&mut self, until: Instant) {
        self.stalled_until = until;
    }

    /// Sends a datagram over `path`. As many chances are drawn whatever
    /// becomes of it, so that a path that changes for one datagram leaves the
    /// chances of the next as they were.
    pub(super) fn carry(
        &mut self,
        path: &Path,
        bytes: usize,
        random: &mut Rng,
        now: Instant,
    ) -> Carried {
        let [lost, doubled, late, jitter]: [f64; 4] = std::array::from_fn(|_| random.f64());
        let mut left = now;
        if let Some(rate) = path.rate_bits_s {
            let begins = self.free_at.max(now);
            let rate = rate.max(1) as f64 / 8.0;
            if (begins - now).as_secs_f64() * rate > f64::from(path.queue_bytes) {
                return Carried::Dropped;
            }
            left = begins + Duration::from_secs_f64(bytes as f64 / rate);
            self.free_at = left;
        }
        if path.cut || lost < path.loss {
            return Carried::Lost;
        }
        let mut at = left + path.delay + path.jitter.mul_f64(jitter);
        if late < path.reorder {
            at += path.delay;
        } else {
            at = at.max(self.last_arrival);
            self.last_arrival = at;
        }
        let at = at.max(self.stalled_until);
        let copies = if doubled < path.duplicate { 2 } else { 1 };
        Carried::Arrives { at, copies }
    }
}
