use std::time::Duration;

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
