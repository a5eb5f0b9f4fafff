//! Model descriptions: GGUF metadata and tensor names mapped onto one decoder block.
