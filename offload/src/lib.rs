//! Decode steps from an edge device to a cloud node: the wire protocol, its
//! transport over QUIC, the node, remote decoders, and the policy that picks
//! where tokens come from.
#![warn(missing_docs)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod digests;
pub mod frames;
pub mod identity;
pub mod node;
mod pace;
pub mod policy;
pub mod remote;
pub mod session;
pub mod times;
pub mod transport;
pub mod trust;
mod waiter;
pub mod wire;

pub use waiter::Waiter;
