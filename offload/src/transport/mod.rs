//! QUIC connections between an edge and its nodes.
