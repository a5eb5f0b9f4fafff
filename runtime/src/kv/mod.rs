//! The KV cache.
