//! Tokens that come from a node.

mod client;
mod error;
mod failover;
mod node_link;
mod placed;
mod pulse;
mod stream;
mod verify;

pub use client::{Client, Connect, Remote};
pub use error::RemoteError;
pub use failover::{FailoverDecoder, Reach, Takeover};
pub use node_link::NodeLink;
pub use placed::{NothingAllowed, PlacedDecoder, Placement, PolicySource, Surroundings};
pub use stream::StreamDecoder;
pub use verify::VerifyTarget;
