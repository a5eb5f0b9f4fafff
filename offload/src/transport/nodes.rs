use super::{Backoff, Breaker, ConnectError, LinkConfig, NodeAddress, NodeAddressError, connect};
use crate::trust::Identity;
use quinn::{Connection, Endpoint};
use std::time::{Duration, Instant};

const RETRY: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(10)];

/// Several nodes in order of preference, each with what its past attempts
/// mean for the next.
#[derive(Debug)]
pub struct Nodes {
    nodes: Vec<Node>,
    backoff: Backoff,
}

#[derive(Debug)]
struct Node {
    address: NodeAddress,
    identity: Identity,
    breaker: Breaker,
    failures: u32,
    not_before: Option<Instant>,
    /// It refused in a way that time does not mend.
    refused: bool,
}

/// Which node to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// This one now, by its place in the order.
    Try(usize),
    /// None before this time.
    Wait(Instant),
    /// None at all: each has refused, or there is none.
    Nobody,
}

/// Why no node was reached.
#[derive(Debug, thiserror::Error)]
pub enum NodesError {
    /// Nothing worked in the time given.
    #[error("no node was reached within {} ms; the last attempt: {last}", within.as_millis())]
    Time {
        /// The time given.
        within: Duration,
        /// Why the last attempt failed.
        last: Box<ConnectError>,
    },
    /// Every node is being left alone after failures.
    #[error("no node may be tried within {} ms, after earlier failures", .0.as_millis())]
    Waiting(Duration),
    /// Every node refused for good.
    #[error("no node is left to try: {0}")]
    Refused(Box<ConnectError>),
    /// Every node refused for good at an earlier time, or there is none.
    #[error("there is no node to try; pair with one")]
    Nobody,
}

impl Nodes {
    /// Nodes in order of preference. `seed` is for the jitter of retries.
    ///
    /// # Errors
    /// If an identity's address is none.
    pub fn new(
        identities: impl IntoIterator<Item = Identity>,
        seed: u64,
    ) -> Result<Self, NodeAddressError> {
        let nodes = identities.into_iter();
        let nodes = nodes.map(|identity| Ok((identity.address().parse()?, identity)));
        let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        Ok(Self::at(nodes, seed))
    }

    /// The same where nodes may have moved: each at this address.
    pub fn at(nodes: impl IntoIterator<Item = (NodeAddress, Identity)>, seed: u64) -> Self {
        let nodes = nodes.into_iter().map(|(address, identity)| Node {
            address,
            identity,
            breaker: Breaker::default(),
            failures: 0,
            not_before: None,
            refused: false,
        });
        Self {
            nodes: nodes.collect(),
            backoff: Backoff::new(RETRY[0], RETRY[1], seed),
        }
    }

    /// The first node that may be tried now, or when one may be.
    pub fn next(&self, now: Instant) -> Next {
        let mut earliest = None;
        for (index, node) in self.nodes.iter().enumerate() {
            if node.refused {
                continue;
            }
            let at = node.breaker.next(now).max(node.not_before.unwrap_or(now));
            if at <= now {
                return Next::Try(index);
            }
            earliest = Some(earliest.map_or(at, |e: Instant| e.min(at)));
        }
        earliest.map_or(Next::Nobody, Next::Wait)
    }

    /// Takes in that an attempt with a node begins.
    pub fn began(&mut self, index: usize, now: Instant) {
        if let Some(node) = self.nodes.get_mut(index) {
            node.breaker.began(now);
        }
    }

    /// Takes in that a node works.
    pub fn succeeded(&mut self, index: usize) {
        if let Some(node) = self.nodes.get_mut(index) {
            node.breaker.succeeded();
            node.failures = 0;
            node.not_before = None;
        }
    }

    /// Takes in that an attempt failed, or that a node in use died. One that
    /// time does not mend (`passing` is false) ends the attempts.
    pub fn failed(&mut self, index: usize, passing: bool, now: Instant) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        node.refused |= !passing;
        node.breaker.failed(now);
        node.failures = node.failures.saturating_add(1);
        node.not_before = Some(now + self.backoff.wait(node.failures));
    }

    /// Takes in that a node has signed this edge anew.
    pub fn renewed(&mut self, index: usize, identity: Identity) {
        if let Some(node) = self.nodes.get_mut(index) {
            node.identity = identity;
        }
    }

    /// Opens a link to the first node that lets this edge in, and says which
    /// it is. Nodes that fail are tried again, with growing waits.
    ///
    /// # Errors
    /// [`NodesError`], at the latest after `within`.
    pub async fn connect(
        &mut self,
        endpoint: &Endpoint,
        config: &LinkConfig,
        within: Duration,
    ) -> Result<(usize, Connection), NodesError> {
        let clock = tokio::time::Instant::now;
        let end = clock() + within;
        let mut last = None;
        loop {
            let index = match self.next(clock().into_std()) {
                Next::Try(index) => index,
                Next::Wait(at) if at < end.into_std() => {
                    tokio::time::sleep_until(at.into()).await;
                    continue;
                }
                Next::Wait(_) => return Err(out_of_time(last, within)),
                Next::Nobody => {
                    let last = last.map(Box::new);
                    return Err(last.map_or(NodesError::Nobody, NodesError::Refused));
                }
            };
            self.began(index, clock().into_std());
            let Node {
                address, identity, ..
            } = &self.nodes[index];
            let attempt = connect(endpoint, address, identity, config);
            let error = match tokio::time::timeout_at(end, attempt).await {
                Ok(Ok(connection)) => {
                    self.succeeded(index);
                    return Ok((index, connection));
                }
                Ok(Err(error)) => error,
                Err(_) => ConnectError::Silent {
                    address: address.clone(),
                    after: within,
                },
            };
            tracing::info!("{error}");
            self.failed(index, error.is_passing(), clock().into_std());
            last = Some(error);
            if clock() >= end {
                return Err(out_of_time(last, within));
            }
        }
    }
}

fn out_of_time(last: Option<ConnectError>, within: Duration) -> NodesError {
    match last.map(Box::new) {
        Some(last) => NodesError::Time { within, last },
        None => NodesError::Waiting(within),
    }
}
