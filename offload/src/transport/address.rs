use serde::{Deserialize, Serialize};
use std::{fmt, io, net::SocketAddr, str::FromStr};

const HOST_LENGTH_MAX: usize = 253;

/// Where a node is reached: a host name or an IP address, and a UDP port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct NodeAddress {
    host: String,
    port: u16,
}

/// Why a text is no address of a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no address of a node: HOST:PORT is, or [IPV6]:PORT")]
pub struct NodeAddressError(String);

impl NodeAddress {
    /// The addresses that the host has, asked anew each time; at least one.
    ///
    /// # Errors
    /// If the name cannot be resolved.
    pub async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await?;
        let found: Vec<_> = found.collect();
        if found.is_empty() {
            let what = format!("{} has no address", self.host);
            return Err(io::Error::new(io::ErrorKind::NotFound, what));
        }
        Ok(found)
    }
}

impl FromStr for NodeAddress {
    type Err = NodeAddressError;

    fn from_str(text: &str) -> Result<Self, NodeAddressError> {
        let read = || {
            let (host, port) = text.rsplit_once(':')?;
            let port = port.parse().ok().filter(|p| *p != 0)?;
            let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
            let known = match bare {
                Some(host) => host.parse::<std::net::Ipv6Addr>().is_ok(),
                None => host
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)),
            };
            let host = bare.unwrap_or(host).to_owned();
            let fits = known && (1..=HOST_LENGTH_MAX).contains(&host.len());
            fits.then_some(Self { host, port })
        };
        read().ok_or_else(|| NodeAddressError(text.chars().take(80).collect()))
    }
}

impl From<SocketAddr> for NodeAddress {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: address.ip().to_string(),
            port: address.port(),
        }
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

impl From<NodeAddress> for String {
    fn from(address: NodeAddress) -> Self {
        address.to_string()
    }
}

impl TryFrom<String> for NodeAddress {
    type Error = NodeAddressError;

    fn try_from(text: String) -> Result<Self, NodeAddressError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for text in ["node.example:4433", "127.0.0.1:1", "[::1]:65535"] {
            let address: NodeAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
        for text in [
            "",
            "node",
            "node:",
            "node:0",
            "node:70000",
            ":1",
            "::1:80",
            "a b:1",
            "[::1:1",
        ] {
            assert!(text.parse::<NodeAddress>().is_err(), "{text}");
        }
    }
}
