//! A node as its operator sees it, and as those do who mean it no good.

mod client;
mod drain;
mod hostile;
mod process;
mod replay;
mod told;
