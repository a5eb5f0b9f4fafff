//! GGUF mapping, tokenizer, chat template, model description, stages, KV
//! cache, sampler and local decoders.
//!
//! `ARCHITECTURE.md` at the repository's root shows the way of a token
//! through these modules.
#![warn(missing_docs)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod chat;
pub mod decoder;
#[cfg(feature = "ggml")]
pub mod ggml;
pub mod gguf;
pub mod kv;
pub mod loaded;
pub mod model;
pub mod platform;
pub mod quantize;
pub mod sampler;
pub mod stage;
pub mod template;
pub mod threads;
pub mod tokenizer;
pub mod transcript;
