//! A network in memory, for tests and for simulations.
//!
//! Its clock is tokio's. In a current-thread runtime whose clock is paused
//! (`tokio::time::pause`, feature `test-util`) time goes on by itself as soon
//! as every task waits, so that hours of traffic take seconds, and a run is
//! the same each time for the same seed: what each datagram meets depends on
//! the seed and on the order of sending alone. tokio counts whole
//! milliseconds, and so does the arrival of datagrams; delays that are whole
//! milliseconds are exact.

mod connection_ids;
mod network;
mod socket;
mod trace;

pub use network::Network;
pub use trace::Counts;
