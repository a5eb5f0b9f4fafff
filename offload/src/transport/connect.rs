use super::{LinkConfig, NodeAddress};
use crate::trust::{Identity, Refused, SERVER_NAME, TrustError, link_client_tls};
use quinn::{ConnectionError, Endpoint};
use std::{io, time::Duration};
use tokio::task::JoinSet;

/// What a node says on a link that it lets in.
pub(super) const WELCOME: &[u8] = b"ok";

/// Addresses of a node that are tried.
const ADDRESSES_MAX: usize = 4;
/// How long one address is waited for before the next is tried too.
const STAGGER: Duration = Duration::from_millis(250);

/// Why there is no link to a node.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The node's name is unknown to the network.
    #[error("the address of {address} was not found: {source}")]
    Resolve {
        /// The node.
        address: NodeAddress,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody answered in time.
    #[error("{address} did not answer within {} ms", after.as_millis())]
    Silent {
        /// The node.
        address: NodeAddress,
        /// How long it was waited.
        after: Duration,
    },
    /// One end refused the other.
    #[error("{address}: {refused}")]
    Refused {
        /// The node.
        address: NodeAddress,
        /// Why.
        refused: Refused,
    },
    /// The connection broke.
    #[error("{address}: {source}")]
    Lost {
        /// The node.
        address: NodeAddress,
        /// What quinn said.
        source: ConnectionError,
    },
    /// Nothing could be sent from here.
    #[error("no connection can be begun here: {0}")]
    Local(#[from] quinn::ConnectError),
    /// The identity cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

impl ConnectError {
    /// Whether trying again later may succeed with nothing changed here.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Resolve { .. } | Self::Silent { .. } | Self::Lost { .. } => true,
            Self::Refused { refused, .. } => refused.is_passing(),
            Self::Local(_) | Self::Trust(_) => false,
        }
    }

    pub(super) fn of(address: &NodeAddress, error: ConnectionError) -> Self {
        let address = address.clone();
        match Refused::of(&error) {
            Some(refused) => Self::Refused { address, refused },
            None => Self::Lost {
                address,
                source: error,
            },
        }
    }
}

/// Opens a link to a node and waits until the node has let this edge in, which
/// takes two round trips: TLS 1.3 completes at the client before the node has
/// seen its certificate.
///
/// # Errors
/// [`ConnectError`]; all that can go wrong does so within
/// `handshake_ms_max`.
pub async fn connect(
    endpoint: &Endpoint,
    address: &NodeAddress,
    identity: &Identity,
    config: &LinkConfig,
) -> Result<quinn::Connection, ConnectError> {
    let client = config.client(link_client_tls(identity)?);
    let after = config.handshake_time();
    let opened = tokio::time::timeout(after, async {
        let connection = open(endpoint, address, client).await?;
        let lost = |e| ConnectError::of(address, e);
        let mut welcome = connection.accept_uni().await.map_err(lost)?;
        // A node that says anything else is left to the protocol's own hello.
        let _ = welcome.read_to_end(WELCOME.len()).await;
        match connection.close_reason() {
            Some(error) => Err(lost(error)),
            None => Ok(connection),
        }
    });
    opened.await.unwrap_or_else(|_| {
        Err(ConnectError::Silent {
            address: address.clone(),
            after,
        })
    })
}

/// Makes a connection to the first of the node's addresses that answers. The
/// next is tried as soon as one fails, or has not answered for a while
/// (RFC 8305).
pub(super) async fn open(
    endpoint: &Endpoint,
    address: &NodeAddress,
    config: quinn::ClientConfig,
) -> Result<quinn::Connection, ConnectError> {
    let resolve = |source| ConnectError::Resolve {
        address: address.clone(),
        source,
    };
    let found = address.resolve().await.map_err(resolve)?;
    let ipv6 = endpoint.local_addr().is_ok_and(|a| a.is_ipv6());
    let reachable = found.into_iter().filter(|a| ipv6 || a.is_ipv4());
    let mut targets = reachable.take(ADDRESSES_MAX).peekable();
    // They end with this set, but for the one that is returned.
    let mut attempts = JoinSet::new();
    let mut failure = resolve(io::Error::new(
        io::ErrorKind::AddrNotAvailable,
        "it has IPv6 addresses only, which this socket does not reach",
    ));
    loop {
        if let Some(target) = targets.next() {
            let connecting = endpoint.connect_with(config.clone(), target, SERVER_NAME)?;
            attempts.spawn(connecting);
        }
        let ended = tokio::select! {
            biased;
            ended = attempts.join_next() => ended,
            () = tokio::time::sleep(STAGGER), if targets.peek().is_some() => continue,
        };
        match ended {
            Some(Ok(Ok(connection))) => return Ok(connection),
            Some(Ok(Err(error))) => failure = ConnectError::of(address, error),
            // A task that ended otherwise was ended with its runtime.
            Some(Err(_)) => {}
            None if targets.peek().is_none() => return Err(failure),
            None => {}
        }
    }
}
