//! The binary as its users see it.

mod binary;
mod model;
mod usage;
mod vocabulary;
