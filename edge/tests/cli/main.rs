//! The binary as its users see it.

mod bench;
mod binary;
mod model;
mod policy;
mod quantize;
mod run;
mod usage;
mod vocabulary;
