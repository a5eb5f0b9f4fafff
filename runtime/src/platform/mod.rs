//! What differs between operating systems.
//!
//! Everything works everywhere: what a system cannot do is answered by `None`
//! or has no effect.

pub mod advise;
pub mod cpus;
pub mod memory;
#[cfg(unix)]
mod ranges;
#[cfg(unix)]
pub mod sigbus;
#[cfg(not(unix))]
#[path = "sigbus_absent.rs"]
pub mod sigbus;
