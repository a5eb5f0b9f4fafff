use sha2::{Digest as _, Sha256};
use std::{net::SocketAddr, time::Duration};

/// What became of a datagram.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    Delivered = 0,
    Lost = 1,
    Dropped = 2,
    Unreachable = 3,
}

/// One sending.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) at: Duration,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) bytes: usize,
    pub(super) fate: Fate,
}

/// Datagrams and bytes that a socket sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Datagrams.
    pub datagrams: u64,
    /// Their bytes, without the headers of IP and UDP.
    pub bytes: u64,
}

/// A hash of all sendings so far: when, between whom, how large, and what
/// became of them. The bytes are left out: keys are new in each run.
#[derive(Debug, Clone, Default)]
pub(super) struct Trace(Sha256);

impl Trace {
    pub(super) fn note(&mut self, sent: Sent) {
        let Sent {
            at,
            from,
            to,
            bytes,
            fate,
        } = sent;
        self.0.update(at.as_nanos().to_le_bytes());
        self.0.update(format!("{from} {to} "));
        self.0.update((bytes as u64).to_le_bytes());
        self.0.update([fate as u8]);
    }

    pub(super) fn hash(&self) -> [u8; 32] {
        self.0.clone().finalize().into()
    }
}
