//! The binary as its users see it.

mod bench;
mod binary;
mod model;
mod offload;
mod policy;
mod quantize;
mod run;
mod usage;
mod vocabulary;
