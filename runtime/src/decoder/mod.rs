//! Decoders: committed tokens in, further tokens out.
