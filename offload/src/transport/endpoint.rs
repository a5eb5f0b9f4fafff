use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

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

/// [`bind`] for an edge: any port, IPv6 where the system has it, which most
/// systems let reach IPv4 too, else IPv4.
///
/// # Errors
/// If neither can be bound.
pub fn bind_edge() -> io::Result<Endpoint> {
    let [v6, v4]: [SocketAddr; 2] = [
        (Ipv6Addr::UNSPECIFIED, 0).into(),
        (Ipv4Addr::UNSPECIFIED, 0).into(),
    ];
    bind(v6).or_else(|_| bind(v4))
}
