//! The transcript of one generation.
