//! Hostile GGUF files: each is refused in one sentence, and reading it never
//! holds more memory than a constant times its size.

mod allocator;
mod bytes;
mod header;
mod tensors;
mod whole;
