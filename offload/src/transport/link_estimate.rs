use std::{collections::VecDeque, time::Duration};

/// Round trips over which the 95th percentile is taken.
const WINDOW: usize = 64;
/// The share of a new observation in the loss estimate.
const LOSS_SHARE: f64 = 1.0 / 64.0;
/// The share of a new transfer in a bandwidth estimate.
const BANDWIDTH_SHARE: f64 = 0.25;
/// Smaller transfers say more about the round trip than about the bandwidth.
const TRANSFER_BYTES_MIN: u64 = 16 << 10;

/// What a link was measured to be like. Nothing here reads a clock.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LinkEstimate {
    smoothed: Option<(Duration, Duration)>,
    recent: VecDeque<Duration>,
    loss: f64,
    up: Option<f64>,
    down: Option<f64>,
}

impl LinkEstimate {
    /// Nothing measured.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a round trip.
    pub fn round_trip(&mut self, rtt: Duration) {
        // RFC 6298, 2.2 and 2.3.
        self.smoothed = Some(match self.smoothed {
            None => (rtt, rtt / 2),
            Some((srtt, var)) => (srtt * 7 / 8 + rtt / 8, var * 3 / 4 + srtt.abs_diff(rtt) / 4),
        });
        if self.recent.len() == WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back(rtt);
    }

    /// Takes in whether an exchange of one datagram each way was lost.
    pub fn exchange(&mut self, lost: bool) {
        self.loss += (f64::from(u8::from(lost)) - self.loss) * LOSS_SHARE;
    }

    /// Takes in a transfer to the other end; small ones say nothing.
    pub fn sent(&mut self, bytes: u64, took: Duration) {
        take_in(&mut self.up, bytes, took);
    }

    /// Takes in a transfer from the other end; small ones say nothing.
    pub fn received(&mut self, bytes: u64, took: Duration) {
        take_in(&mut self.down, bytes, took);
    }

    /// The smoothed round trip.
    pub fn srtt(&self) -> Option<Duration> {
        self.smoothed.map(|(srtt, _)| srtt)
    }

    /// The mean deviation of the round trip.
    pub fn rttvar(&self) -> Option<Duration> {
        self.smoothed.map(|(_, var)| var)
    }

    /// What 95 % of the last 64 round trips did not exceed.
    pub fn rtt_p95(&self) -> Option<Duration> {
        let mut sorted: Vec<_> = self.recent.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (sorted.len() * 95).div_ceil(100);
        sorted.get(rank.checked_sub(1)?).copied()
    }

    /// The share of datagrams lost each way, 0 to 1, where both ways lose
    /// alike.
    pub fn loss(&self) -> f64 {
        1.0 - (1.0 - self.loss).max(0.0).sqrt()
    }

    /// Bytes a second to the other end.
    pub fn up_bytes_s(&self) -> Option<f64> {
        self.up
    }

    /// Bytes a second from the other end.
    pub fn down_bytes_s(&self) -> Option<f64> {
        self.down
    }
}

fn take_in(estimate: &mut Option<f64>, bytes: u64, took: Duration) {
    if bytes < TRANSFER_BYTES_MIN || took.is_zero() {
        return;
    }
    let rate = bytes as f64 / took.as_secs_f64();
    *estimate = Some(estimate.map_or(rate, |old| old + (rate - old) * BANDWIDTH_SHARE));
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn round_trips_are_smoothed() {
        let mut link = LinkEstimate::new();
        assert_eq!((link.srtt(), link.rtt_p95()), (None, None));
        link.round_trip(40 * MS);
        assert_eq!(link.srtt(), Some(40 * MS));
        assert_eq!(link.rttvar(), Some(20 * MS));
        link.round_trip(80 * MS);
        assert_eq!(link.srtt(), Some(45 * MS));
        assert_eq!(link.rttvar(), Some(25 * MS));
        for _ in 0..200 {
            link.round_trip(10 * MS);
        }
        assert!(link.srtt().unwrap() < 11 * MS);
        for _ in 0..4 {
            link.round_trip(90 * MS);
        }
        assert_eq!(link.rtt_p95(), Some(90 * MS), "4 of 64 are more than 5 %");
    }

    #[test]
    fn loss_and_bandwidth_follow_what_is_seen() {
        let mut link = LinkEstimate::new();
        for i in 0..2000 {
            link.exchange(i % 10 == 0);
        }
        assert!((link.loss() - 0.0513).abs() < 0.01, "{}", link.loss());
        link.sent(1000, MS);
        assert_eq!(link.up_bytes_s(), None);
        link.sent(1 << 20, 100 * MS);
        link.received(1 << 20, 50 * MS);
        assert!((link.up_bytes_s().unwrap() - 10_485_760.0).abs() < 1.0);
        assert!((link.down_bytes_s().unwrap() - 20_971_520.0).abs() < 1.0);
    }
}
