use fastrand::Rng;
use quinn::{ConnectionId, ConnectionIdGenerator};
use std::time::Duration;

const LENGTH: usize = 8;

/// Connection ids from a seed.
#[derive(Debug)]
pub(super) struct SeededIds(pub(super) Rng);

impl ConnectionIdGenerator for SeededIds {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&self.0.u64(..).to_le_bytes())
    }

    fn cid_len(&self) -> usize {
        LENGTH
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
