//! Tokenizers built from the vocabulary in a GGUF file.
