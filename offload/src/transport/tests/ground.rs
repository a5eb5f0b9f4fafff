//! A node and an edge on a simulated network.

use super::super::{
    Arrival, ArrivalError, ConnectError, Link, LinkConfig, Listener, NodeAddress, Path, connect,
    listen, simulated::Network,
};
use crate::trust::{Authority, EnrolAnswer, EnrolRequest, Identity, NewKey, Validity};
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tempfile::TempDir;

pub(super) const NODE: SocketAddr = address(1);
pub(super) const EDGE: SocketAddr = address(2);
pub(super) const RTT: Duration = Duration::from_millis(40);
pub(super) const TOKEN_LASTS: Duration = Duration::from_secs(600);

pub(super) const fn address(last: u8) -> SocketAddr {
    let ip = std::net::Ipv4Addr::new(10, 0, 0, last);
    SocketAddr::new(std::net::IpAddr::V4(ip), 4433)
}

/// A network with a round trip of 40 ms and a node on it.
pub(super) struct Ground {
    pub(super) network: Network,
    pub(super) authority: Arc<Authority>,
    _folder: TempDir,
    pub(super) config: LinkConfig,
    pub(super) node: Listener,
    pub(super) edge: quinn::Endpoint,
}

impl Ground {
    pub(super) fn new(seed: u64) -> Self {
        Self::with(seed, LinkConfig::default())
    }

    pub(super) fn with(seed: u64, config: LinkConfig) -> Self {
        let network = Network::new(seed, Path::with_round_trip(RTT));
        let (_folder, authority) = authority();
        let endpoint = network.endpoint(NODE).unwrap();
        let node = listen(endpoint, authority.clone(), &config).unwrap();
        let edge = network.endpoint(EDGE).unwrap();
        Self {
            network,
            authority,
            _folder,
            config,
            node,
            edge,
        }
    }

    pub(super) async fn connect(
        &self,
        identity: &Identity,
    ) -> Result<quinn::Connection, ConnectError> {
        connect(&self.edge, &NodeAddress::from(NODE), identity, &self.config).await
    }

    /// A link, as its edge and as its node have it.
    pub(super) async fn link(&mut self, identity: &Identity) -> (quinn::Connection, Link) {
        let edge = self.connect(identity).await.unwrap();
        match self.node.next().await.unwrap() {
            Arrival::Link(link) => (edge, link),
            Arrival::Refused { error, .. } => panic!("{error}"),
        }
    }

    /// Why the node let the next arrival not in.
    pub(super) async fn refusal(&mut self) -> ArrivalError {
        match self.node.next().await.unwrap() {
            Arrival::Refused { error, .. } => error,
            Arrival::Link(link) => panic!("let in: {:?}", link.peer()),
        }
    }
}

pub(super) fn authority() -> (TempDir, Arc<Authority>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trust");
    let opened = Authority::open(&path, Validity::default(), SystemTime::now());
    (folder, Arc::new(opened.unwrap()))
}

/// Enrols without a network.
pub(super) fn identity(authority: &Authority, name: &str, now: SystemTime) -> Identity {
    let address = NODE.to_string();
    let token = authority.issue_token(&address, TOKEN_LASTS, now).unwrap();
    let key = NewKey::generate().unwrap();
    let request = EnrolRequest::First {
        id: token.id,
        secret: token.secret,
        name: name.to_owned(),
        csr: key.csr().to_vec(),
    };
    let EnrolAnswer::Signed(signed) = authority.answer(&request, None, now).unwrap() else {
        panic!("refused");
    };
    Identity::new(&address, &key, signed).unwrap()
}
