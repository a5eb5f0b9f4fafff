//! The binary as its users see it.

mod bench;
mod binary;
mod model;
#[cfg(target_os = "linux")]
mod node;
mod offload;
mod policy;
mod quantize;
mod run;
mod usage;
mod vocabulary;
