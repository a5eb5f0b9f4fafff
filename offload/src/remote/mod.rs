//! Tokens that come from a node.

mod client;
mod error;
mod stream;
mod verify;

pub use client::{Client, Connect, Remote};
pub use error::RemoteError;
pub use stream::StreamDecoder;
pub use verify::VerifyTarget;
