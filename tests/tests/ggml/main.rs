//! Against ggml, which the feature `ggml` builds.
#![cfg(feature = "ggml")]

mod blocks;
mod files;
mod products;
mod random;
