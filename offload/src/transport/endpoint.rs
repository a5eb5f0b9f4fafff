use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use std::{io, net::SocketAddr, sync::Arc};

/// A UDP socket for links, of an edge or of a node. Must be called within a
/// tokio runtime.
///
/// # Errors
/// If the address cannot be bound.
pub fn bind(address: SocketAddr) -> io::Result<Endpoint> {
    let socket = std::net::UdpSocket::bind(address)?;
    let runtime = Arc::new(TokioRuntime);
    Endpoint::new(EndpointConfig::default(), None, socket, runtime)
}
