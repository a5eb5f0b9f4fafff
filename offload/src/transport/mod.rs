//! QUIC connections between an edge and its nodes.
//!
//! [`listen`] and [`connect`] hand out connections whose ends have proven who
//! they are; what is said on them is another module's. Both work over any
//! [`quinn::Endpoint`]: over UDP ([`bind`]) and over the in-memory network of
//! [`simulated`].

mod address;
mod admission;
mod backoff;
mod breaker;
mod connect;
mod crowd;
mod endpoint;
mod enrol;
mod heartbeat;
mod link_config;
mod link_estimate;
mod listener;
mod nodes;
mod path;
pub mod priority;
pub mod relay;
pub mod simulated;

#[cfg(test)]
mod tests;

pub use address::{NodeAddress, NodeAddressError};
pub use admission::{Link, LinkGauge, LinkTotals};
pub use backoff::Backoff;
pub use breaker::Breaker;
pub use connect::{ConnectError, connect};
pub use endpoint::{bind, bind_edge};
pub use enrol::{EnrolError, pair, renew};
pub use heartbeat::{Beat, Heartbeat, HeartbeatConfig};
pub use link_config::{AdmissionConfig, LinkConfig, LinkConfigError};
pub use link_estimate::LinkEstimate;
pub use listener::{Arrival, ArrivalError, ListenError, Listener, listen};
pub use nodes::{Next, Nodes, NodesError};
pub use path::Path;
pub use quinn::{Connection, Endpoint};
