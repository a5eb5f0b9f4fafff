//! The sampler: from logits to one token.
